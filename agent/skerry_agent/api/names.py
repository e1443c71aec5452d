"""The names by which clients ask for models. Pure.

Ollama writes ``name:tag``. A tag is a version here: ``name:1`` is ``name@1``, ``name:latest`` is ``name``.
"""

LATEST = "latest"


def canonical_name(name: str) -> str:
    """The registry's form of a name in any dialect."""
    name = name.strip()
    base, separator, tag = name.rpartition(":")
    if not separator or "@" in name or "/" in tag:
        return name
    return base if tag == LATEST else f"{base}@{tag}"


def ollama_name(name: str) -> str:
    """Ollama's form of a registry's name: the inverse of :func:`canonical_name`."""
    base, separator, version = name.partition("@")
    return f"{base}:{version if separator else LATEST}"
