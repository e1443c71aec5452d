"""Tool choice and response format as one JSON schema that the engine holds the model to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from skerry_agent.api.reply.tools import Tool, tools_json

FORCED = "required"
JsonSchema = dict[str, Any]
ToolChoice = Literal["none", "auto", "required"]


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """How an answer is asked for and read.

    Attributes:
        tools: JSON text for the chat template; None for no tools.
        json_schema: JSON text that the answer has to fit; None for free text.
        names: Functions whose calls are looked for in the answer.
    """

    tools: str | None = None
    json_schema: str | None = None
    names: frozenset[str] = frozenset()


def plan_reply(tools: Sequence[Tool], choice: ToolChoice, answer_schema: JsonSchema | None) -> ReplyPlan:
    """Decide how to ask.

    Args:
        tools: The tools that may be called: all, or the one that was chosen.
        choice: ``auto`` leaves it to the model, ``required`` makes it call one.
        answer_schema: What an answer that is no call has to fit; None for free text.
    """
    if not tools or choice == "none":
        return ReplyPlan(json_schema=_encode(answer_schema))
    names = frozenset(tool.function.name for tool in tools)
    schema: JsonSchema | None = None
    if choice == FORCED:
        schema = _calls(tools, None)
    elif answer_schema is not None:
        # The model may call or answer; both are JSON then, which the reader tells apart.
        schema = _calls(tools, answer_schema)
    return ReplyPlan(tools_json(list(tools)), _encode(schema), names)


def _encode(schema: JsonSchema | None) -> str | None:
    return None if schema is None else msgspec.json.encode(schema).decode()


def _calls(tools: Sequence[Tool], answer: JsonSchema | None) -> dict[str, Any]:
    """A schema of one call of one of the tools, or of the answer."""
    definitions: dict[str, Any] = {}
    cases: list[Any] = []
    for number, tool in enumerate(tools):
        key = f"parameters{number}"
        definitions[key] = _moved(tool.function.parameters or {"type": "object"}, key)
        cases.append(
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool.function.name},
                    "arguments": {"$ref": f"#/$defs/{key}"},
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    if answer is not None:
        definitions["answer"] = _moved(answer, "answer")
        cases.append({"$ref": "#/$defs/answer"})
    whole = cases[0] if len(cases) == 1 else {"anyOf": cases}
    return {**whole, "$defs": definitions}


def _moved(schema: Any, key: str) -> Any:
    """A schema that now stands under ``#/$defs/KEY``: references to its own root have to follow."""
    if isinstance(schema, list):
        return [_moved(item, key) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: _moved(value, key) for name, value in schema.items()}
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = f"#/$defs/{key}{reference[1:]}"
    return moved
