"""The unmodified openai client takes the device for the real thing, errors included."""

import json
import os
import signal
import threading
from collections.abc import Iterator

import openai
import pytest

from support.fleet import Device, http_json
from support.processes import wait_for


@pytest.fixture
def client(device: Device) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{device.url}/v1", api_key="none", max_retries=0, timeout=60) as one:
        yield one


def test_a_chat_gets_an_answer_with_its_counts(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "hello"}], max_tokens=5, temperature=0
    )
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens <= 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streamed_pieces_join_to_the_whole_answer(client: openai.OpenAI) -> None:
    def ask(**more: object) -> object:
        return client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "hello"}],
            max_tokens=12,
            temperature=0,
            **more,
        )  # type: ignore[call-overload]  # both overloads, chosen by ``stream``

    whole = ask().choices[0].message.content  # type: ignore[attr-defined]  # see above
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]  # see above
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason in ("length", "stop")
    assert chunks[-1].usage.completion_tokens > 0


def test_greedy_and_seeded_answers_repeat(client: openai.OpenAI) -> None:
    def text(seed: int, temperature: float) -> str:
        done = client.completions.create(
            model="tiny", prompt="abc", max_tokens=10, seed=seed, temperature=temperature
        )
        return done.choices[0].text

    assert text(1, 0.0) == text(2, 0.0)
    assert text(7, 1.0) == text(7, 1.0)


def test_a_completion_has_openais_default_length(client: openai.OpenAI) -> None:
    done = client.completions.create(model="base@1", prompt="abc", extra_body={"ignore_eos": True})
    assert done.usage is not None
    assert done.usage.completion_tokens == 16


def test_token_ids_are_a_prompt_and_choices_are_many(client: openai.OpenAI) -> None:
    done = client.completions.create(
        model="tiny", prompt=[[70, 71, 72], [73]], n=3, max_tokens=4, seed=1, extra_body={"ignore_eos": True}
    )
    assert [choice.index for choice in done.choices] == list(range(6))
    assert done.usage is not None
    assert done.usage.completion_tokens == 24
    assert len({choice.text for choice in done.choices}) > 1


def test_log_probabilities_are_of_the_tokens_of_the_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=6,
        temperature=0,
        logprobs=True,
        top_logprobs=3,
        extra_body={"ignore_eos": True},
    )
    choice = answer.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert len(choice.logprobs.content) == 6
    for token in choice.logprobs.content:
        assert token.logprob <= 0
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob, abs=1e-4)
        assert len(token.top_logprobs) == 3
    joined = b"".join(bytes(token.bytes or ()) for token in choice.logprobs.content)
    assert joined.decode("utf-8", "replace").startswith((choice.message.content or "")[:3])


def test_a_choice_of_answers_holds_the_model_to_them(client: openai.OpenAI) -> None:
    for seed in range(3):
        answer = client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "yes or no?"}],
            seed=seed,
            extra_body={"guided_choice": ["yes", 'n"o']},
        )
        assert answer.choices[0].message.content in ("yes", 'n"o')


def test_a_bias_forbids_a_token(client: openai.OpenAI) -> None:
    def first(bias: dict[str, int]) -> str:
        done = client.completions.create(
            model="tiny", prompt="abc", max_tokens=1, temperature=0, logprobs=0, logit_bias=bias
        )
        logprobs = done.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.tokens is not None
        return logprobs.tokens[0]

    likeliest = first({})
    ids = {str(token): -100 for token in range(300)}
    assert first(ids) != likeliest or len(likeliest) > 1


def test_tools_reach_a_model_whose_template_knows_none(client: openai.OpenAI) -> None:
    def count(**more: object) -> int:
        answer = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "hi"}], max_tokens=2, **more
        )  # type: ignore[call-overload]  # any fields
        assert answer.usage is not None
        return int(answer.usage.prompt_tokens)

    tool = {"type": "function", "function": {"name": "add", "description": "adds numbers"}}
    assert count(tools=[tool]) > count() + 20
    assert count(tools=[tool], tool_choice="none") == count()


POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "maximum": 99, "minimum": 0}, "ok": {"type": "boolean"}},
    "required": ["x", "ok"],
    "additionalProperties": False,
}


def test_an_answer_fits_the_schema_that_it_has_to(client: openai.OpenAI) -> None:
    for seed in range(3):
        answer = client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "a point"}],
            seed=seed,
            max_tokens=200,
            response_format={"type": "json_schema", "json_schema": {"name": "point", "schema": POINT}},
        )
        value = json.loads(answer.choices[0].message.content or "")
        assert set(value) == {"x", "ok"}
        assert isinstance(value["ok"], bool)


def test_a_required_call_is_made_with_arguments_that_fit(client: openai.OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "draw", "parameters": POINT}}
    for choice in ("required", {"type": "function", "function": {"name": "draw"}}):
        answer = client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "draw a point"}],
            tools=[tool],
            tool_choice=choice,
            max_tokens=150,
        )  # type: ignore[call-overload]  # plain dicts
        [call] = answer.choices[0].message.tool_calls
        assert call.function.name == "draw"
        assert set(json.loads(call.function.arguments)) == {"x", "ok"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/$defs/nowhere"},
        {"type": "string", "pattern": "("},
        {"enum": []},
    ],
)
def test_a_schema_that_nothing_can_fit_is_refused(client: openai.OpenAI, schema: object) -> None:
    with pytest.raises(openai.BadRequestError, match="schema"):
        client.post(
            "/chat/completions",
            body={
                "model": "tiny",
                "messages": [{"role": "user", "content": "x"}],
                "max_tokens": 20,
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            },
            cast_to=object,
        )


def test_vectors_of_equal_texts_are_equal_and_have_length_one(client: openai.OpenAI) -> None:
    data = client.embeddings.create(model="tiny", input=["hello world", "hello world", "the sea"]).data
    first, same, other = (entry.embedding for entry in data)
    assert first == pytest.approx(same, abs=1e-5)
    assert first != pytest.approx(other, abs=1e-3)
    assert sum(value * value for value in first) == pytest.approx(1.0, abs=1e-3)


def test_a_text_beyond_the_context_cannot_be_embedded(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="512"):
        client.embeddings.create(model="tiny", input="long " * 2000)


def test_a_prefix_that_was_read_is_counted_as_cached(client: openai.OpenAI) -> None:
    prompt = "the same beginning of a prompt, again and again: " * 6
    for number in range(2):
        done = client.completions.create(model="tiny", prompt=prompt + str(number), max_tokens=2)
    assert done.usage is not None
    assert done.usage.prompt_tokens_details is not None
    assert done.usage.prompt_tokens_details.cached_tokens


def test_models_are_listed_by_reference_and_slot(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"local/tiny@1", "local/base@1", "local/tiny"} <= names
    assert client.models.retrieve("tiny").id == "tiny"


@pytest.mark.parametrize("name", ["tiny", "tiny@1", "local/tiny", "local/tiny@1"])
def test_a_model_answers_to_each_of_its_names(client: openai.OpenAI, name: str) -> None:
    assert client.completions.create(model=name, prompt="a", max_tokens=1).model == name


def test_an_unknown_model_is_a_404_that_lists_what_there_is(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny") as caught:
        client.completions.create(model="gpt-4", prompt="a")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"


def test_a_model_without_chat_template_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no chat template") as caught:
        client.chat.completions.create(model="base@1", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "no_chat_template"
    assert client.completions.create(model="base@1", prompt="hi", max_tokens=2).choices[0].text is not None


def test_a_prompt_beyond_the_context_names_both_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"\d{3,} tokens.* 512 ") as caught:
        client.completions.create(model="tiny", prompt="long " * 2000)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("top_p", 2),
        ("max_tokens", 0),
        ("stop", ["x"] * 100),
        ("n", 0),
        ("n", 1000),
        ("seed", "abc"),
        ("tools", [{"type": "function"}]),
        ("tools", [{"type": "code_interpreter", "function": {"name": "x"}}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "yaml"}),
        ("top_logprobs", 3),
        ("logit_bias", {"word": 1}),
        ("modalities", ["audio"]),
    ],
)
def test_a_wrong_field_is_a_400_that_names_it(client: openai.OpenAI, field: str, value: object) -> None:
    body: dict[str, object] = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], field: value}
    with pytest.raises(openai.BadRequestError, match=field):
        client.post("/chat/completions", body=body, cast_to=object)


def test_a_killed_runner_is_a_clean_error_and_back_for_the_next_request(
    client: openai.OpenAI, device: Device
) -> None:
    client.completions.create(model="tiny", prompt="warm", max_tokens=1)
    runner = device.json("status")["runners"][0]["pid"]
    stream = client.completions.create(
        model="tiny", prompt="abc", max_tokens=480, stream=True, temperature=1.0
    )
    next(stream)
    os.kill(runner, signal.SIGKILL)
    with pytest.raises(openai.APIError, match="runner"):
        list(stream)
    assert client.completions.create(model="tiny", prompt="abc", max_tokens=2).choices
    assert device.service.running
    assert device.json("status")["runners"][0]["pid"] != runner


def test_a_client_that_leaves_frees_the_runner(client: openai.OpenAI, device: Device) -> None:
    stream = client.completions.create(model="tiny", prompt="abc", max_tokens=480, stream=True)
    next(iter(stream))
    stream.close()
    wait_for(
        lambda: not any(r["queue"] for r in http_json(f"{device.url}/health")["runners"]),
        "queue is not empty",
    )
    assert client.completions.create(model="tiny", prompt="abc", max_tokens=1).choices


def test_concurrent_requests_all_get_their_own_answer(client: openai.OpenAI) -> None:
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        done = client.completions.create(
            model="tiny", prompt=f"prompt {number % 2}", max_tokens=6, temperature=0
        )
        answers[number] = done.choices[0].text

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 6
    assert len({answers[n] for n in (0, 2, 4)}) == 1
    assert len({answers[n] for n in (1, 3, 5)}) == 1
