"""Tools as both dialects define them."""

from typing import Any

import msgspec


class Function(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model may ask to call; ``parameters`` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True):
    """One tool; only functions can be called."""

    function: Function
    type: str = "function"


def tools_json(tools: list[Tool]) -> str | None:
    """The tools as the chat template gets them; None for none."""
    return msgspec.json.encode(tools).decode() if tools else None
