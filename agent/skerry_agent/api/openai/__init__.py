"""OpenAI's API: handlers of requests, imported at the first of them."""

from skerry_agent.api.openai.chat import answer_chat
from skerry_agent.api.openai.completions import answer_completions
from skerry_agent.api.openai.embeddings import answer_embeddings
from skerry_agent.api.openai.models import list_models, show_model
from skerry_agent.api.openai.responses import answer_responses

__all__ = [
    "answer_chat",
    "answer_completions",
    "answer_embeddings",
    "answer_responses",
    "list_models",
    "show_model",
]
