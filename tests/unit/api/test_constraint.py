"""Tool choice and response format become one schema."""

import json
from typing import Any

import pytest

from skerry_agent.api.reply import Function, Tool, plan_reply
from skerry_agent.api.reply.plain_tools import without_template_tools
from skerry_agent.runtime import ChatMessage, GenerateRequest

ADD = Tool(Function("add", "adds", {"type": "object", "properties": {"a": {"type": "integer"}}}))
TREE = Tool(
    Function(
        "tree",
        parameters={
            "type": "object",
            "properties": {"root": {"$ref": "#/$defs/node"}, "self": {"$ref": "#"}},
            "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        },
    )
)


def schema_of(text: str | None) -> dict[str, Any]:
    assert text is not None
    schema: dict[str, Any] = json.loads(text)
    return schema


def test_a_model_may_call_without_any_constraint() -> None:
    plan = plan_reply([ADD], "auto", None)
    assert plan.json_schema is None
    assert plan.names == {"add"}
    assert json.loads(plan.tools or "")[0]["function"]["name"] == "add"


def test_no_tools_are_shown_when_none_may_be_called() -> None:
    plan = plan_reply([ADD], "none", {"type": "object"})
    assert plan.tools is None
    assert not plan.names
    assert schema_of(plan.json_schema) == {"type": "object"}


def test_a_required_call_is_a_schema_of_one_call() -> None:
    schema = schema_of(plan_reply([ADD], "required", None).json_schema)
    assert schema["properties"]["name"] == {"const": "add"}
    assert schema["$defs"]["parameters0"]["properties"]["a"] == {"type": "integer"}


def test_one_of_several_tools_is_called() -> None:
    schema = schema_of(plan_reply([ADD, TREE], "required", None).json_schema)
    assert [case["properties"]["name"]["const"] for case in schema["anyOf"]] == ["add", "tree"]


def test_references_of_a_tools_schema_follow_it_to_its_new_place() -> None:
    schema = schema_of(plan_reply([TREE], "required", None).json_schema)
    moved = schema["$defs"]["parameters0"]
    assert moved["properties"]["root"]["$ref"] == "#/$defs/parameters0/$defs/node"
    assert moved["properties"]["self"]["$ref"] == "#/$defs/parameters0"
    assert moved["$defs"]["node"]["properties"]["next"]["$ref"] == "#/$defs/parameters0/$defs/node"


def test_an_answer_of_a_form_or_a_call_are_both_possible() -> None:
    schema = schema_of(plan_reply([ADD], "auto", {"type": "object", "title": "Answer"}).json_schema)
    assert schema["anyOf"][1] == {"$ref": "#/$defs/answer"}
    assert schema["$defs"]["answer"]["title"] == "Answer"


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_template_without_tools_gets_them_in_words(system: str | None) -> None:
    messages = [ChatMessage("system", system)] if system else []
    request = GenerateRequest(
        messages=(
            *messages,
            ChatMessage("user", "1+1?"),
            ChatMessage("assistant", "", tool_calls='[{"function":{"name":"add"}}]'),
            ChatMessage("tool", "2", name="add"),
        ),
        tools=plan_reply([ADD], "auto", None).tools,
    )
    plain = without_template_tools(request)
    assert plain.tools is None
    assert plain.messages is not None
    assert [message.role for message in plain.messages] == ["system", "user", "assistant", "user"]
    assert '"adds"' in plain.messages[0].content
    assert plain.messages[0].content.startswith(system or "You can call")
    assert "2" in plain.messages[3].content
