"""Ollama's API: handlers of requests, imported at the first of them."""

from skerry_agent.api.ollama.answers import answer_chat, answer_generate
from skerry_agent.api.ollama.embeddings import answer_embed, answer_embeddings
from skerry_agent.api.ollama.manage import copy_model, create_model, delete_model, push_model, take_blob
from skerry_agent.api.ollama.models import list_running, list_tags, show_model, show_version
from skerry_agent.api.ollama.pull import pull_model

__all__ = [
    "answer_chat",
    "answer_embed",
    "answer_embeddings",
    "answer_generate",
    "copy_model",
    "create_model",
    "delete_model",
    "list_running",
    "list_tags",
    "pull_model",
    "push_model",
    "show_model",
    "show_version",
    "take_blob",
]
