"""Draft models: which smaller model guesses tokens for a model, as the settings say."""

from collections.abc import Iterable

import structlog

from skerry_agent.errors import UsageError
from skerry_agent.registry import InstalledArtifact, ModelNotFoundError, Registry
from skerry_agent.runtime import ModelFile

log = structlog.get_logger(__name__)


class Drafts:
    """The pairs of the settings, by what their names stand for when a model is loaded.

    Args:
        pairs: ``MODEL=DRAFT``, each a channel, a name or ``name@version``.
        registry: Knows what a name stands for.
    """

    def __init__(self, pairs: Iterable[str], registry: Registry) -> None:
        self._pairs = [(name.strip(), draft.strip()) for name, _, draft in (p.partition("=") for p in pairs)]
        self._registry = registry

    async def find(self, model: ModelFile) -> ModelFile | None:
        """The draft model of a model; None when it has none, or that is not on this device."""
        for name, draft_name in self._pairs:
            artifact = await self._find(name)
            if artifact is None or artifact.file_sha256 != model.sha256:
                continue
            draft = await self._find(draft_name)
            if draft is None:
                log.warning("draft_model_unknown", model=model.label, draft=draft_name)
            elif draft.file_sha256 != model.sha256:
                return ModelFile(draft.path, draft.file_sha256, draft.ref)
        return None

    async def _find(self, name: str) -> InstalledArtifact | None:
        try:
            artifact = await self._registry.find(name)
        except (ModelNotFoundError, UsageError):
            return None
        return artifact if artifact.kind == "model" else None
