"""``/v1/responses`` as the unmodified openai client sees it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from skerry_agent.runtime import RunnerCrashedError
from support.local_api import LocalApi, say

TOOL: Any = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": None}
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


@pytest.fixture
def api(tmp_path: Path) -> LocalApi:
    return LocalApi.in_folder(tmp_path)


@pytest.fixture
def client(api: LocalApi) -> Iterator[openai.OpenAI]:
    with api.served() as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as one:
        yield one


def test_a_text_gets_a_text(client: openai.OpenAI, api: LocalApi) -> None:
    response = client.responses.create(
        model="assistant",
        instructions="Be brief.",
        input="hi",
        max_output_tokens=50,
        temperature=0.5,
        metadata={"a": "b"},
    )
    assert response.output_text == "Hello there"
    assert response.status == "completed"
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 4)
    assert response.metadata == {"a": "b"}
    [asked] = api.runners.requests
    assert [(m.role, m.content) for m in asked.messages or ()] == [("system", "Be brief."), ("user", "hi")]
    assert (asked.max_tokens, asked.sampling.temperature) == (50, 0.5)


def test_a_conversation_with_calls_comes_back_as_input(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda _: say(f"I add. {CALL}")
    first = client.responses.create(model="assistant", input="1+0?", tools=[TOOL])
    call = next(item for item in first.output if item.type == "function_call")
    assert json.loads(call.arguments) == {"a": 1}
    conversation: Any = [
        {"role": "user", "content": "1+0?"},
        *(item.model_dump() for item in first.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "1"},
    ]
    api.runners.script = lambda _: say("It is 1.")
    second = client.responses.create(model="assistant", input=conversation, tools=[TOOL])
    assert second.output_text == "It is 1."
    roles = [(m.role, m.content) for m in api.runners.requests[1].messages or ()]
    assert roles == [("user", "1+0?"), ("assistant", "I add."), ("assistant", ""), ("tool", "1")]


def test_a_cut_answer_is_incomplete(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda _: say("Hel", reason="length")
    response = client.responses.create(model="assistant", input="hi")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_parsed_answer_fits_its_class(client: openai.OpenAI, api: LocalApi) -> None:
    class Point(BaseModel):
        x: int

    api.runners.script = lambda _: say('{"x": 1}')
    response = client.responses.parse(model="assistant", input="hi", text_format=Point)
    assert response.output_parsed == Point(x=1)
    assert json.loads(api.runners.requests[0].json_schema or "")["properties"].keys() == {"x"}


def test_the_events_build_the_same_response(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda _: say(f"<think>hm</think>I add.{CALL}")
    with client.responses.stream(model="assistant", input="1+0?", tools=[TOOL]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "I add."
    assert "".join(e.delta for e in events if e.type == "response.reasoning_text.delta") == "hm"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    opened = [e for e in events if e.type == "response.output_item.added"]
    closed = [e for e in events if e.type == "response.output_item.done"]
    assert [(e.output_index, e.item.id) for e in opened] == [(e.output_index, e.item.id) for e in closed]


def test_log_probabilities_come_when_they_are_included(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model="assistant", input="hi", include=["message.output_text.logprobs"], top_logprobs=1
    )
    part = next(item for item in response.output if item.type == "message").content[0]
    assert part.type == "output_text"
    assert [token.token for token in part.logprobs or ()] == ["Hel", "lo ", "the", "re"]


def test_an_error_in_the_middle_ends_the_response_as_failed(client: openai.OpenAI, api: LocalApi) -> None:
    def fail(_: object) -> Any:
        yield say("Hel")[0]
        raise RunnerCrashedError("it died")

    api.runners.script = fail
    events = list(client.responses.create(model="assistant", input="hi", stream=True))
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.message == "it died"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "messages"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"top_logprobs": 99}, "top_logprobs"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text"),
    ],
)
def test_what_is_not_kept_or_not_here_is_refused(
    client: openai.OpenAI, more: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**{"model": "assistant", "input": "hi", **more})
    assert caught.value.param == param
