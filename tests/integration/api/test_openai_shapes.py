"""What the unmodified openai client makes of answers that a test wrote: calls, forms, streams, errors."""

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from skerry_agent.runtime import PromptTooLongError, QueueFullError, RunnerCrashedError
from support.local_api import LocalApi, say

CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Turku"}}</tool_call>'
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
USER: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def api(tmp_path: Path) -> LocalApi:
    return LocalApi.in_folder(tmp_path)


@pytest.fixture
def client(api: LocalApi) -> Iterator[openai.OpenAI]:
    with api.served() as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as one:
        yield one


def test_a_call_of_a_tool_is_a_tool_call(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda _: say(CALL)
    answer = client.chat.completions.create(model="assistant", messages=USER, tools=[TOOL])
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    [call] = choice.message.tool_calls
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Turku"}
    assert call.id
    [asked] = api.runners.requests
    assert json.loads(asked.tools or "")[0]["function"]["name"] == "get_weather"


def test_a_streamed_call_arrives_with_its_id_and_index(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda _: say(f"I look.\n{CALL}{CALL}")
    chunks = list(client.chat.completions.create(model="assistant", messages=USER, tools=[TOOL], stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.content or "" for delta in deltas) == "I look."
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [call.index for call in calls] == [0, 1]
    assert len({call.id for call in calls}) == 2
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_only_one_call_when_no_more_are_wanted(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda _: say(CALL + CALL)
    more: Any = {"model": "assistant", "messages": USER, "tools": [TOOL], "parallel_tool_calls": False}
    message = client.chat.completions.create(**more).choices[0].message
    assert len(message.tool_calls or ()) == 1
    streamed = client.chat.completions.create(**more, stream=True)
    assert sum(len(chunk.choices[0].delta.tool_calls or ()) for chunk in streamed) == 1


def test_a_forced_call_holds_the_model_to_the_tools_schema(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda _: say('{"name": "get_weather", "arguments": {"city": "Turku"}}')
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    answer = client.chat.completions.create(
        model="assistant", messages=USER, tools=[TOOL], tool_choice=choice
    )
    assert answer.choices[0].message.tool_calls
    schema = json.loads(api.runners.requests[0].json_schema or "")
    assert schema["properties"]["name"] == {"const": "get_weather"}


def test_no_tools_reach_the_model_when_none_may_be_called(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda _: say(CALL)
    answer = client.chat.completions.create(
        model="assistant", messages=USER, tools=[TOOL], tool_choice="none"
    )
    assert answer.choices[0].message.content == CALL
    assert api.runners.requests[0].tools is None


def test_a_conversation_with_calls_reaches_the_template(client: openai.OpenAI, api: LocalApi) -> None:
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    client.chat.completions.create(model="assistant", messages=messages, tools=[TOOL])
    asked = api.runners.requests[0].messages or ()
    assert [message.role for message in asked] == ["system", "user", "assistant", "tool"]
    assert asked[1].content == "weather?"
    assert json.loads(asked[2].tool_calls or "")[0]["id"] == "c1"
    assert asked[3].tool_call_id == "c1"


def test_a_parsed_answer_fits_its_class(client: openai.OpenAI, api: LocalApi) -> None:
    class Point(BaseModel):
        x: int
        y: int

    api.runners.script = lambda _: say('{"x": 1, "y": 2}')
    answer = client.chat.completions.parse(model="assistant", messages=USER, response_format=Point)
    assert answer.choices[0].message.parsed == Point(x=1, y=2)
    schema = json.loads(api.runners.requests[0].json_schema or "")
    assert set(schema["properties"]) == {"x", "y"}


@pytest.mark.parametrize(
    ("extra", "schema", "grammar"),
    [
        ({"guided_json": {"type": "array"}}, {"type": "array"}, None),
        ({"guided_json": '{"type": "array"}'}, {"type": "array"}, None),
        ({"json_schema": {"type": "array"}}, {"type": "array"}, None),
        ({"structured_outputs": {"json": {"type": "array"}}}, {"type": "array"}, None),
        ({"grammar": 'root ::= "a"'}, None, 'root ::= "a"'),
        ({"guided_grammar": 'root ::= "a"'}, None, 'root ::= "a"'),
        ({"guided_choice": ["yes", 'n"o']}, None, 'root ::= "yes" | "n\\"o"'),
        ({"response_format": {"type": "json_object"}}, {"type": "object"}, None),
        ({"response_format": {"type": "text"}}, None, None),
    ],
)
def test_forms_are_asked_for_in_anyones_words(
    client: openai.OpenAI,
    api: LocalApi,
    extra: dict[str, Any],
    schema: dict[str, Any] | None,
    grammar: str | None,
) -> None:
    client.chat.completions.create(model="assistant", messages=USER, extra_body=extra)
    [asked] = api.runners.requests
    assert (None if asked.json_schema is None else json.loads(asked.json_schema)) == schema
    assert asked.grammar == grammar


def test_extras_of_other_servers_reach_the_sampler(client: openai.OpenAI, api: LocalApi) -> None:
    extra = {
        "top_k": -1,
        "min_p": 0.1,
        "typical_p": 0.9,
        "repetition_penalty": 1.2,
        "repeat_last_n": 10,
        "ignore_eos": True,
        "cache_prompt": False,
        "n_predict": 9,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    client.chat.completions.create(
        model="assistant",
        messages=USER,
        seed=-3,
        logit_bias={"5": -100},
        stop="x",
        reasoning_effort="low",
        extra_body=extra,
    )
    [asked] = api.runners.requests
    sampling = asked.sampling
    assert (sampling.top_k, sampling.min_p, sampling.typical_p) == (0, 0.1, 0.9)
    assert (sampling.repeat_penalty, sampling.repeat_window) == (1.2, 10)
    assert sampling.logit_bias == ((5, -100.0),)
    assert sampling.seed == 2**32 - 4
    assert (asked.ignore_eos, asked.prefix_cache, asked.max_tokens, asked.stop) == (True, False, 9, ("x",))
    assert json.loads(asked.template_kwargs or "") == {"enable_thinking": False, "reasoning_effort": "low"}


def test_several_choices_have_seeds_of_their_own_and_one_prompts_count(
    client: openai.OpenAI, api: LocalApi
) -> None:
    answer = client.chat.completions.create(model="assistant", messages=USER, n=6, seed=1)
    assert [choice.index for choice in answer.choices] == list(range(6))
    assert {asked.sampling.seed for asked in api.runners.requests} == set(range(1, 7))
    assert api.runners.most_open <= 4
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 7
    assert answer.usage.completion_tokens == 6 * 4


def test_streams_of_several_choices_are_told_apart(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda asked: say(f"number {asked.sampling.seed}")
    chunks = list(
        client.chat.completions.create(
            model="assistant",
            messages=USER,
            n=3,
            seed=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts = ["", "", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == ["number 0", "number 1", "number 2"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 7


def test_log_probabilities_are_numbers_that_json_can_hold(client: openai.OpenAI, api: LocalApi) -> None:
    answer = client.chat.completions.create(model="assistant", messages=USER, logprobs=True, top_logprobs=2)
    shown = answer.choices[0].logprobs
    assert shown is not None
    assert shown.content is not None
    assert [token.token for token in shown.content] == ["Hel", "lo ", "the", "re"]
    assert shown.content[0].bytes == list(b"Hel")
    assert shown.content[0].top_logprobs[1].logprob == -9999.0
    assert shown.content[0].top_logprobs[1].bytes == [255]
    assert api.runners.requests[0].logprobs == 2


def test_streamed_log_probabilities_are_all_there(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(model="assistant", messages=USER, logprobs=True, stream=True)
    tokens = [
        token.token
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content or ()
    ]
    assert tokens == ["Hel", "lo ", "the", "re"]


def test_reasoning_is_apart_from_the_answer(client: openai.OpenAI, api: LocalApi) -> None:
    api.runners.script = lambda _: say("<think>\nhm\n</think>\n\nYes.")
    message = client.chat.completions.create(model="assistant", messages=USER).choices[0].message
    assert message.content == "Yes."
    assert message.model_extra == {"reasoning_content": "hm"}


def test_prompts_of_all_kinds_are_completed(client: openai.OpenAI, api: LocalApi) -> None:
    prompts: list[Any] = ["a", ["a", "b"], [1, 2, 3], [[1, 2], [3]]]
    counts = [len(client.completions.create(model="mine", prompt=p).choices) for p in prompts]
    assert counts == [1, 2, 1, 2]
    asked = api.runners.requests
    assert [request.prompt for request in asked[:3]] == ["a", "a", "b"]
    assert [request.prompt_tokens for request in asked[3:]] == [(1, 2, 3), (1, 2), (3,)]
    assert all(request.max_tokens == 16 for request in asked)


def test_an_echo_and_choices_of_each_prompt(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="mine", prompt=["A ", "B "], n=2, echo=True)
    assert [choice.text for choice in answer.choices] == ["A Hello there"] * 2 + ["B Hello there"] * 2
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 14
    chunks = client.completions.create(model="mine", prompt="A ", echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "A Hello there"


def test_log_probabilities_of_completions_have_offsets(client: openai.OpenAI) -> None:
    shown = client.completions.create(model="mine", prompt="a", logprobs=2).choices[0].logprobs
    assert shown is not None
    assert shown.tokens == ["Hel", "lo ", "the", "re"]
    assert shown.text_offset == [0, 3, 6, 9]
    assert shown.token_logprobs == [-0.5] * 4


@pytest.mark.parametrize(
    "more",
    [
        {"prompt": []},
        {"prompt": ["a", 1]},
        {"prompt": ["a"] * 129},
        {"suffix": "x"},
        {"best_of": 5},
        {"logprobs": 21},
        {"echo": True, "logprobs": 1},
    ],
)
def test_completions_that_cannot_be_had_are_refused(client: openai.OpenAI, more: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{"model": "mine", "prompt": "a", **more})
    assert caught.value.param in more


def test_vectors_come_as_numbers_and_as_base64(client: openai.OpenAI) -> None:
    data = client.embeddings.create(model="mine", input=["a", "b"])
    assert data.data[1].embedding == [3.0, 4.0, 0.0]
    assert data.usage.prompt_tokens == 8
    raw = client.post(
        "/embeddings",
        body={"model": "mine", "input": "a", "encoding_format": "base64", "dimensions": 2},
        cast_to=object,
    )
    assert isinstance(raw, dict)
    values = struct.unpack("<2f", base64.b64decode(raw["data"][0]["embedding"]))
    assert values == pytest.approx((0.6, 0.8))


@pytest.mark.parametrize("more", [{"input": []}, {"input": [1, 2]}, {"dimensions": 0}])
def test_texts_that_cannot_be_embedded_are_refused(client: openai.OpenAI, more: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(**{"model": "mine", "input": "a", **more})


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PromptTooLongError(900, 512), 400, "context_length_exceeded"),
        (QueueFullError("busy", retry_after_s=2.2), 503, "queue_full"),
        (RunnerCrashedError("it died"), 500, "runner_crashed"),
    ],
)
def test_errors_have_openais_form_and_status(
    client: openai.OpenAI, api: LocalApi, error: Exception, status: int, code: str
) -> None:
    def fail(_: object) -> Any:
        raise error

    api.runners.script = fail
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="assistant", messages=USER, stream=stream)
        assert (caught.value.status_code, caught.value.code) == (status, code)
        if isinstance(error, QueueFullError):
            assert caught.value.response.headers["retry-after"] == "3"


def test_an_error_in_the_middle_of_a_stream_is_an_event(client: openai.OpenAI, api: LocalApi) -> None:
    def fail(_: object) -> Any:
        yield say("Hel")[0]
        raise RunnerCrashedError("it died")

    api.runners.script = fail
    stream = client.chat.completions.create(model="assistant", messages=USER, stream=True)
    with pytest.raises(openai.APIError, match="it died"):
        list(stream)
    assert api.runners.open == 0


def test_an_answer_that_takes_too_long_is_a_504(api: LocalApi) -> None:
    api.timeout_s = 0.05
    api.runners.script = lambda _: say("word " * 100_000)
    with api.served() as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        with pytest.raises(openai.APIStatusError, match="request_timeout_s") as caught:
            client.chat.completions.create(model="assistant", messages=USER)
        assert caught.value.status_code == 504
