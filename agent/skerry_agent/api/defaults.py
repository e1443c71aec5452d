"""What a preset adds to a request."""

from collections.abc import Sequence

from skerry_agent.api.options import ModelOptions, read_options
from skerry_agent.api.presets import Preset
from skerry_agent.runtime import ChatMessage


def preset_options(preset: Preset | None) -> ModelOptions:
    """A preset's parameters."""
    return read_options(dict(preset.parameters)) if preset else ModelOptions()


def conversation(preset: Preset | None, messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The messages with the preset's before them; its system prompt only where they bring none."""
    if preset is None:
        return tuple(messages)
    before = [ChatMessage(message.role, message.content) for message in preset.messages]
    if preset.system and not any(message.role == "system" for message in messages):
        before.insert(0, ChatMessage("system", preset.system))
    system = [message for message in messages if message.role == "system"]
    rest = [message for message in messages if message.role != "system"]
    return (*system, *before, *rest) if before else tuple(messages)
