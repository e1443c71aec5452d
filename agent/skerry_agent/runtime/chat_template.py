"""The chat template that a model file carries, rendered as Hugging Face's transformers renders it.

Imports jinja2, so this belongs to the runner process only.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Never

import jinja2
import jinja2.ext
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from skerry_agent.runtime.requests import ChatMessage

MAX_RENDERED_CHARS = 4 * 1024 * 1024


class TemplateBrokenError(Exception):
    """The template itself cannot be used; no message list helps."""


class TemplateRefusedError(Exception):
    """The template does not take these messages, and says why."""


class _GenerationTag(jinja2.ext.Extension):
    """``{% generation %}`` marks training data for transformers; for rendering its content passes through."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 reads this class attribute as a plain set

    def parse(self, parser: Parser) -> Node | list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """One compiled template.

    Args:
        source: The Jinja text (``tokenizer.chat_template`` of the GGUF).
        bos_token: Text of the model's begin-of-sequence token, "" when it has none.
        eos_token: Text of its end-of-sequence token, "" when it has none.

    Raises:
        TemplateBrokenError: The text is not a template.
    """

    def __init__(self, source: str, *, bos_token: str, eos_token: str) -> None:
        # S701: the output is a prompt, not HTML; escaping would change what the model reads.
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, jinja2.ext.loopcontrols],
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateBrokenError(
                f"this model's chat template is broken ({error}); use completions"
            ) from error
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt for these messages, with the opening of the assistant's turn.

        Args:
            messages: The conversation.
            tools: OpenAI tools that the model may call.
            extra: More variables for the template, such as ``enable_thinking``.

        Raises:
            TemplateRefusedError: The template refused the messages (``raise_exception``).
            TemplateBrokenError: It failed in another way.
        """
        variables = {"documents": None, "add_generation_prompt": True, **(extra or {}), **self._tokens}
        variables |= {"messages": [_turn(message) for message in messages], "tools": tools or None}
        try:
            text = self._template.render(variables)
        except TemplateRefusedError:
            raise
        except Exception as error:
            # A template is a program: it may fail with any exception. Only the type is told, since the text
            # of some of them quotes the messages.
            raise TemplateBrokenError(
                f"this model's chat template failed ({type(error).__name__}); use completions"
            ) from error
        if len(text) > MAX_RENDERED_CHARS:
            raise TemplateBrokenError("this model's chat template made an endless prompt; use completions")
        return text


def _turn(message: ChatMessage) -> dict[str, Any]:
    """A message as templates know it; what is not there must be undefined, since they ask for that."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls is not None:
        turn["tool_calls"] = [_tool_call(call) for call in json.loads(message.tool_calls)]
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    if message.name:
        turn["name"] = message.name
    return turn


def _tool_call(call: Any) -> Any:
    """OpenAI sends arguments as JSON text, but templates write them with ``tojson``: they want the object."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        return call
    return {**call, "function": {**function, "arguments": arguments}}


def _raise_exception(message: object) -> Never:
    raise TemplateRefusedError(f"this model's chat template refuses the messages: {message}")


def _strftime_now(pattern: str) -> str:
    # Templates mean the device's local date, as transformers does.
    return datetime.now().astimezone().strftime(pattern)


def _to_json(
    value: Any, indent: int | None = None, *, ensure_ascii: bool = False, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)
