"""Tools for a model whose chat template does not know of any: told in words, answered in JSON."""

from collections.abc import Sequence

import msgspec

from skerry_agent.runtime import ChatMessage, GenerateRequest

_PROMPT = """You can call functions. These are there, each with a JSON schema of its arguments:
{tools}
To call one, answer with nothing but JSON of this form: {{"name": "FUNCTION", "arguments": {{…}}}}
Call a function only when you need it; otherwise answer in words."""


def without_template_tools(request: GenerateRequest) -> GenerateRequest:
    """The same request with tools, calls and their results as plain messages."""
    messages = [_plain(message) for message in request.messages or ()]
    if request.tools is not None:
        messages = _told(messages, _PROMPT.format(tools=request.tools))
    return msgspec.structs.replace(request, messages=tuple(messages), tools=None)


def _told(messages: Sequence[ChatMessage], prompt: str) -> list[ChatMessage]:
    """The prompt in the system message: many templates take only one, at the beginning."""
    if messages and messages[0].role == "system":
        joined = msgspec.structs.replace(messages[0], content=f"{messages[0].content}\n\n{prompt}")
        return [joined, *messages[1:]]
    return [ChatMessage("system", prompt), *messages]


def _plain(message: ChatMessage) -> ChatMessage:
    if message.tool_calls is not None:
        return ChatMessage(
            "assistant", "\n".join(part for part in (message.content, message.tool_calls) if part)
        )
    if message.role == "tool":
        return ChatMessage("user", f"The function {message.name} gave: {message.content}".replace("  ", " "))
    return message
