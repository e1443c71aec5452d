"""The chat template that a model file carries, rendered as Hugging Face's transformers renders it.

It is a program that came with the model, and runs on what a client sends: in a sandbox, for a time, and with
a bound on what it writes.

Imports jinja2, so this belongs to the runner process only.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Never

import jinja2

from skerry_agent.runtime.requests import ChatMessage
from skerry_agent.runtime.template_sandbox import TemplateSandbox
from skerry_agent.runtime.time_limit import TimeLimitError, run_limited

MAX_RENDERED_CHARS = 4 * 1024 * 1024
MAX_SOURCE_CHARS = 1024 * 1024
RENDER_CPU_S = 3.0
MAX_TIMEOUTS = 3
"""After so many in a row the template is not run any more: each holds up all other requests of the model."""


class TemplateBrokenError(Exception):
    """The template itself cannot be used; no message list helps."""


class TemplateRefusedError(Exception):
    """The template does not take these messages, and says why."""


class ChatTemplate:
    """One compiled template.

    Args:
        source: The Jinja text (``tokenizer.chat_template`` of the GGUF).
        bos_token: Text of the model's begin-of-sequence token, "" when it has none.
        eos_token: Text of its end-of-sequence token, "" when it has none.
        cpu_s: The longest time to read it, and to run it once, in seconds of a processor.

    Raises:
        TemplateBrokenError: The text is not a template.
    """

    def __init__(self, source: str, *, bos_token: str, eos_token: str, cpu_s: float = RENDER_CPU_S) -> None:
        environment = TemplateSandbox()
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        self._cpu_s = cpu_s
        self._timeouts = 0
        if len(source) > MAX_SOURCE_CHARS:
            raise _broken(f"is broken ({len(source)} characters long)")
        try:
            self._template = run_limited(lambda: environment.from_string(source), cpu_s)
        except jinja2.TemplateError as error:
            raise _broken(f"is broken ({error})") from error
        except Exception as error:
            # A text that is nested too deep ends the parser, or the compiler behind it, in several ways.
            raise _broken(f"is broken ({type(error).__name__})") from error
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
        if self._timeouts >= MAX_TIMEOUTS:
            raise _broken(f"is out of use, since it did not end {self._timeouts} times in a row")
        try:
            text = run_limited(lambda: self._write(variables), self._cpu_s)
        except TimeLimitError as error:
            self._timeouts += 1
            raise _broken(f"did not end within {self._cpu_s:g} s of computing") from error
        except (TemplateRefusedError, TemplateBrokenError):
            raise
        except Exception as error:
            # A template is a program: it may fail with any exception. Only the type is told, since the text
            # of some of them quotes the messages.
            raise _broken(f"failed ({type(error).__name__})") from error
        self._timeouts = 0
        return text

    def _write(self, variables: Mapping[str, Any]) -> str:
        written: list[str] = []
        room = MAX_RENDERED_CHARS
        for piece in self._template.generate(variables):
            room -= len(piece)
            if room < 0:
                raise _broken("made an endless prompt")
            written.append(piece)
        return "".join(written)


def _broken(what: str) -> TemplateBrokenError:
    return TemplateBrokenError(f"this model's chat template {what}; use completions")


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
