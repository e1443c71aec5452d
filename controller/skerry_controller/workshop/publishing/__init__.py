"""Publishing from the workshop: acceptance checks from figures, a model card, and what is signed."""

from skerry_controller.workshop.publishing.card import model_card
from skerry_controller.workshop.publishing.drafting import Draft, draft_acceptance, draft_toml
from skerry_controller.workshop.publishing.margins import Margins, parse_margins

__all__ = ["Draft", "Margins", "draft_acceptance", "draft_toml", "model_card", "parse_margins"]
