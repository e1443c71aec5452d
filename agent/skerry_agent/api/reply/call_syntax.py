"""Tool calls as models write them, when the whole text of the calls is there.

Hermes and Qwen write ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``, Llama 3 one bare object with
``parameters`` (after ``<|python_tag|>``, several with ``;`` between), Mistral ``[TOOL_CALLS] [{…}]``; others
write such JSON plainly or in a code fence.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from skerry_agent.api.reply.pieces import ToolCall

PREFIXES = ("<|python_tag|>", "[TOOL_CALLS]")
_FENCE = re.compile(r"```(?:json|tool_call|tool_code)?\s*\n?(.*?)\n?\s*```", re.DOTALL)
_BETWEEN = re.compile(r"[\s;,]*")
_DECODER = json.JSONDecoder()


def read_calls(text: str, names: Collection[str]) -> list[ToolCall] | None:
    """The calls that a text consists of; None when it is anything else.

    Args:
        text: All of the text.
        names: Functions that exist; a call of another one is no call but an answer.
    """
    text = text.strip()
    for prefix in PREFIXES:
        text = text.removeprefix(prefix).lstrip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1].strip()
    try:
        values = list(_values(text))
        calls = [_call(value, names) for value in values]
    except (ValueError, RecursionError):
        return None
    found = [call for call in calls if call is not None]
    return found if found and len(found) == len(calls) else None


def _values(text: str) -> Iterator[Any]:
    """JSON values one after another; a list stands for what is in it."""
    position = 0
    while position < len(text):
        value, position = _DECODER.raw_decode(text, position)
        if isinstance(value, list):
            yield from value
        else:
            yield value
        between = _BETWEEN.match(text, position)
        position = between.end() if between else position


def _call(value: Any, names: Collection[str]) -> ToolCall | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("name", value.get("function"))
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if not isinstance(name, str) or name not in names or not isinstance(arguments, dict):
        return None
    return ToolCall(name, json.dumps(arguments, ensure_ascii=False, separators=(",", ":")))
