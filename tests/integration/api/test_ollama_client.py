"""The unmodified ollama client takes the device for the real thing."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest

from skerry_agent.runtime import PromptTooLongError, RunnerCrashedError
from skerry_protocol.reported import Reason, SlotReport
from support.local_api import LocalApi, ScriptedFleet, say

USER = [{"role": "user", "content": "hi"}]
SHA = "ab" * 32


def add(a: int) -> int:
    """Add.

    Args:
        a: a number
    """
    return a


@pytest.fixture
def api(tmp_path: Path) -> LocalApi:
    return LocalApi.in_folder(tmp_path)


@pytest.fixture
def url(api: LocalApi) -> Iterator[str]:
    with api.served() as one:
        yield one


@pytest.fixture
def client(url: str) -> Iterator[ollama.Client]:
    with ollama.Client(url) as one:
        yield one


@pytest.fixture
def manager(api: LocalApi, url: str) -> Iterator[ollama.Client]:
    """A client with a token."""
    _, secret = asyncio.run(api.tokens.create("test"))
    with ollama.Client(url, headers={"Authorization": f"Bearer {secret}"}) as one:
        yield one


def test_a_chat_has_true_counts_and_durations(client: ollama.Client) -> None:
    answer = client.chat("assistant", USER)
    assert answer.message.content == "Hello there"
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (7, 4)
    assert (answer.prompt_eval_duration, answer.eval_duration) == (20_000_000, 40_000_000)
    assert answer.total_duration is not None
    assert answer.load_duration is not None
    assert answer.total_duration > answer.load_duration >= 0


def test_a_streamed_chat_ends_with_the_counts(client: ollama.Client) -> None:
    parts = list(client.chat("assistant:latest", USER, stream=True))
    assert "".join(part.message.content or "" for part in parts) == "Hello there"
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == 4
    assert all(part.model == "assistant:latest" for part in parts)


def test_ollamas_defaults_and_options_hold(client: ollama.Client, api: LocalApi) -> None:
    client.chat("assistant", USER)
    client.chat(
        "assistant",
        USER,
        options={
            "temperature": 0.1,
            "num_predict": 5,
            "stop": ["x"],
            "repeat_last_n": 9,
            "num_gpu": 1,
            "seed": 3,
        },
    )
    plain, given = api.runners.requests
    assert (plain.sampling.top_p, plain.sampling.min_p, plain.sampling.repeat_penalty) == (0.9, 0.0, 1.1)
    assert plain.max_tokens is None
    assert (given.sampling.temperature, given.sampling.repeat_window, given.sampling.seed) == (0.1, 9, 3)
    assert (given.max_tokens, given.stop) == (5, ("x",))


@pytest.mark.parametrize(("num_ctx", "bound"), [(16, 16), (100_000, 100_000), (0, None), (-1, None)])
def test_a_request_chooses_its_context(
    client: ollama.Client, api: LocalApi, num_ctx: int, bound: int | None
) -> None:
    client.generate("assistant", "Hi", options={"num_ctx": num_ctx})
    assert api.runners.requests[-1].context_tokens == bound


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called(client: ollama.Client, api: LocalApi, stream: bool) -> None:
    api.runners.script = lambda _: say('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>')
    chat: Any = client.chat
    answers = chat("assistant", USER, tools=[add], stream=stream)
    calls = [call for part in (answers if stream else [answers]) for call in part.message.tool_calls or ()]
    assert [(call.function.name, call.function.arguments) for call in calls] == [("add", {"a": 1})]
    assert "Add" in (api.runners.requests[0].tools or "")


def test_a_result_of_a_tool_reaches_the_template(client: ollama.Client, api: LocalApi) -> None:
    call = {"function": {"name": "add", "arguments": {"a": 1}}}
    client.chat(
        "assistant",
        [
            *USER,
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_name": "add", "content": "1"},
        ],
        tools=[add],
    )
    _, calling, result = api.runners.requests[0].messages or ()
    assert json.loads(json.loads(calling.tool_calls or "")[0]["function"]["arguments"]) == {"a": 1}
    assert (result.role, result.name, result.content) == ("tool", "add", "1")


def test_tools_of_a_model_that_knows_none_are_told_in_words(client: ollama.Client, api: LocalApi) -> None:
    api.runners.script = lambda _: say('{"name": "add", "arguments": {"a": 1}}')
    answer = client.chat("mine", USER, tools=[add])
    assert answer.message.tool_calls
    asked = api.runners.requests[0]
    assert asked.tools is None
    assert asked.messages is not None
    assert '"add"' in asked.messages[0].content


def test_thinking_is_apart_when_it_is_wanted(client: ollama.Client, api: LocalApi) -> None:
    api.runners.script = lambda _: say("<think>hm</think>Yes.")
    answer = client.chat("assistant", USER, think=True)
    assert (answer.message.thinking, answer.message.content) == ("hm", "Yes.")
    assert json.loads(api.runners.requests[0].template_kwargs or "") == {"enable_thinking": True}
    parts = list(client.generate("assistant", "hi", think="low", stream=True))
    assert "".join(part.thinking or "" for part in parts) == "hm"
    assert client.chat("assistant", USER, think=False).message.content == "<think>hm</think>Yes."
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.chat("mine", USER, think=True)


@pytest.mark.parametrize(
    ("form", "schema"), [("json", {"type": "object"}), ({"type": "array"}, {"type": "array"}), ("", None)]
)
def test_a_form_is_asked_for(client: ollama.Client, api: LocalApi, form: Any, schema: object) -> None:
    client.generate("assistant", "hi", format=form)
    asked = api.runners.requests[0].json_schema
    assert (None if asked is None else json.loads(asked)) == schema


def test_prompts_go_through_the_template_unless_they_are_raw(client: ollama.Client, api: LocalApi) -> None:
    assert client.generate("assistant", "hi", system="Be brief.").response == "Hello there"
    client.generate("assistant", "[INST] hi", raw=True)
    client.generate("base", "hi", system="Be brief.")
    chat, raw, base = api.runners.requests
    assert [(m.role, m.content) for m in chat.messages or ()] == [("system", "Be brief."), ("user", "hi")]
    assert raw.prompt == "[INST] hi"
    assert base.prompt == "Be brief.\n\nhi"


def test_log_probabilities_are_given(client: ollama.Client) -> None:
    answer = client.generate("assistant", "hi", logprobs=True, top_logprobs=2)
    assert answer.logprobs is not None
    assert [token.token for token in answer.logprobs] == ["Hel", "lo ", "the", "re"]
    parts = client.chat("assistant", USER, logprobs=True, stream=True)
    assert [token.token for part in parts for token in part.logprobs or ()] == ["Hel", "lo ", "the", "re"]


def test_models_are_loaded_and_unloaded_by_empty_requests(client: ollama.Client, api: LocalApi) -> None:
    assert client.generate("assistant").done_reason == "load"
    assert [model.model for model in client.ps().models] == ["smol:2"]
    assert client.chat("assistant", [], keep_alive=0).done_reason == "unload"
    assert api.runners.requests == []
    assert client.ps().models == []


def test_a_model_is_unloaded_after_an_answer_that_says_so(client: ollama.Client, api: LocalApi) -> None:
    client.generate("assistant", "hi", keep_alive="0s")
    list(client.generate("assistant", "hi", keep_alive=0, stream=True))
    client.generate("assistant", "hi", keep_alive="5m")
    assert len(api.runners.retired) == 2


def test_vectors_are_given_in_both_ways(client: ollama.Client, api: LocalApi) -> None:
    answer = client.embed("mine", ["a", "b"], dimensions=2)
    assert [list(vector) for vector in answer.embeddings] == [[pytest.approx(0.6), pytest.approx(0.8)]] * 2
    assert answer.prompt_eval_count == 8
    assert list(client.embeddings("mine", "a").embedding) == [3.0, 4.0, 0.0]
    assert [request.normalise for request in api.runners.embeds] == [True, False]
    assert client.embed("mine", []).embeddings == []


def test_what_is_there_is_listed_and_shown(client: ollama.Client) -> None:
    names = {model.model for model in client.list().models}
    assert names == {"assistant/stable:latest", "smol:2", "local/mine:latest", "local/mine:1", "local/base:1"}
    for name in names:
        shown = client.show(str(name))
        assert shown.details is not None
        assert shown.details.parameter_size == "134.5M"
        assert shown.modelinfo is not None
        assert shown.modelinfo["general.architecture"] == "llama"
    assert client.show("assistant").capabilities == ["completion", "tools", "thinking"]
    assert client.show("mine").capabilities == ["completion"]


def test_an_unknown_model_is_a_404_that_lists_what_there_is(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="assistant/stable") as caught:
        client.chat("llama3", USER)
    assert caught.value.status_code == 404


@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_ollamas_form(client: ollama.Client, api: LocalApi, stream: bool) -> None:
    def fail(_: object) -> Any:
        raise PromptTooLongError(900, 512)

    api.runners.script = fail
    with pytest.raises(ollama.ResponseError, match=r"900 tokens.* 512 ") as caught:
        list(client.chat("assistant", USER, stream=stream))  # type: ignore[call-overload]  # both of them
    assert caught.value.status_code == 400


def test_an_error_in_the_middle_of_a_stream_is_a_line(client: ollama.Client, api: LocalApi) -> None:
    def fail(_: object) -> Any:
        yield say("Hello")[0]
        raise RunnerCrashedError("it died")

    api.runners.script = fail
    with pytest.raises(ollama.ResponseError, match="it died"):
        list(client.chat("assistant", USER, stream=True))


@pytest.mark.parametrize("name", ["pull", "create", "copy", "delete", "push"])
def test_models_are_changed_with_a_token_only(client: ollama.Client, api: LocalApi, name: str) -> None:
    calls: dict[str, Any] = {
        "pull": lambda: client.pull("assistant"),
        "create": lambda: client.create("mario", from_="assistant"),
        "copy": lambda: client.copy("assistant", "other"),
        "delete": lambda: client.delete("mine"),
        "push": lambda: client.push("mine"),
    }
    with pytest.raises(ollama.ResponseError, match="token create") as caught:
        calls[name]()
    assert caught.value.status_code == 401
    assert api.presets.all() == []
    assert len(api.models.installed) == 3


def test_a_created_model_answers_in_character_in_both_dialects(manager: ollama.Client, api: LocalApi) -> None:
    parts = list(
        manager.create(
            "mario",
            from_="assistant",
            system="You are Mario.",
            parameters={"temperature": 0.1, "stop": ["AI:"], "num_predict": 9},
            license="MIT",
            messages=[{"role": "user", "content": "who?"}, {"role": "assistant", "content": "Mario!"}],
            stream=True,
        )
    )
    assert [part.status for part in parts][-1] == "success"
    manager.chat("mario", USER)
    manager.chat("local/mario:latest", [{"role": "system", "content": "You are Luigi."}, *USER])
    manager.chat("mario", USER, options={"temperature": 0.9})
    first, second, third = api.runners.requests
    assert [m.content for m in first.messages or ()] == ["You are Mario.", "who?", "Mario!", "hi"]
    assert (first.sampling.temperature, first.stop, first.max_tokens) == (0.1, ("AI:",), 9)
    assert [m.content for m in second.messages or ()] == ["You are Luigi.", "who?", "Mario!", "hi"]
    assert third.sampling.temperature == 0.9
    shown = manager.show("mario")
    assert 'SYSTEM """You are Mario."""' in (shown.modelfile or "")
    assert "local/mario:latest" in {model.model for model in manager.list().models}
    assert ("preset_created", "local/mario") in [(n, d.get("model")) for n, d in api.events.emitted]


def test_a_copy_is_another_name_and_can_be_deleted(manager: ollama.Client, api: LocalApi) -> None:
    manager.create("mario", from_="assistant", system="You are Mario.")
    manager.copy("mario", "luigi:2")
    manager.chat("luigi:2", USER)
    assert (api.runners.requests[0].messages or ())[0].content == "You are Mario."
    manager.delete("luigi:2")
    with pytest.raises(ollama.ResponseError, match="luigi"):
        manager.chat("luigi:2", USER)
    assert [preset.name for preset in api.presets.all()] == ["mario"]


def test_a_preset_whose_base_is_gone_says_so(manager: ollama.Client) -> None:
    manager.create("mario", from_="local/base:1")
    manager.delete("local/base:1")
    with pytest.raises(ollama.ResponseError, match=r"mario is built on local/base@1") as caught:
        manager.generate("mario", "hi")
    assert caught.value.status_code == 404


def test_what_a_person_imported_can_be_deleted_and_what_the_fleet_sent_cannot(
    manager: ollama.Client, api: LocalApi
) -> None:
    manager.delete("mine")
    assert "local/mine@1" not in {one.ref for one in api.models.installed}
    assert "local/mine" not in api.models.active
    assert len(api.runners.retired) == 1
    with pytest.raises(ollama.ResponseError, match="belongs to the fleet"):
        manager.delete("assistant")


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"from_": "nothing"}, "nothing"),
        ({}, "from"),
        ({"from_": "assistant", "quantize": "q4_0"}, "quantize"),
        ({"from_": "assistant", "template": "x"}, "template"),
        ({"from_": "assistant", "files": {"a": "sha256:x"}}, "files"),
        ({"from_": "assistant", "parameters": {"temperature": "hot"}}, "temperature"),
        ({"from_": "assistant", "parameters": {"mirostat": 1}}, "mirostat"),
        ({"from_": "assistant", "model": "smol"}, "already"),
        ({"from_": "assistant", "model": "mine"}, "already"),
        ({"from_": "assistant", "model": "No Good"}, "not a name"),
    ],
)
def test_models_that_cannot_be_made_are_refused(
    manager: ollama.Client, api: LocalApi, more: dict[str, Any], match: str
) -> None:
    with pytest.raises(ollama.ResponseError, match=match):
        manager.create(**{"model": "mario", **more})
    assert api.presets.all() == []


def test_a_pull_shows_the_way_of_a_version_in_ollamas_words(manager: ollama.Client, api: LocalApi) -> None:
    def at(state: Any, done: int = 0) -> SlotReport:
        return SlotReport(state, target_sha256=SHA, bytes_done=done, bytes_total=100)

    states = [at("resolving"), at("resolving"), at("downloading", 10), at("downloading", 90)]
    fleet = ScriptedFleet([*states, at("verifying"), at("trial"), at("committed")])
    api.fleet = fleet
    parts = list(manager.pull("assistant", stream=True))
    told = list(dict.fromkeys(part.status for part in parts))
    assert told == [
        "pulling manifest",
        f"pulling {SHA[:12]}",
        "verifying sha256 digest",
        "running acceptance checks",
        "writing manifest",
        "success",
    ]
    assert (parts[-6].digest, parts[-6].total, parts[-6].completed) == (f"sha256:{SHA}", 100, 90)
    assert fleet.nudged == 1


def test_a_pull_that_is_refused_says_why(manager: ollama.Client, api: LocalApi) -> None:
    reason = Reason("no_memory", "it needs 2 GiB more")
    api.fleet = ScriptedFleet([SlotReport("refused", reason=reason)])
    with pytest.raises(ollama.ResponseError, match="2 GiB more"):
        manager.pull("assistant/stable")
    with pytest.raises(ollama.ResponseError, match="2 GiB more"):
        list(manager.pull("assistant/stable", stream=True))


def test_a_pull_takes_nothing_that_the_fleet_did_not_choose(manager: ollama.Client, api: LocalApi) -> None:
    with pytest.raises(ollama.ResponseError, match="belongs to no fleet"):
        manager.pull("llama3")
    api.fleet = ScriptedFleet([SlotReport("committed")])
    with pytest.raises(ollama.ResponseError, match="gives this device no channel") as caught:
        manager.pull("llama3")
    assert caught.value.status_code == 404
    assert manager.pull("mine").status == "success"


def test_with_the_setting_answers_need_a_token_too(api: LocalApi) -> None:
    api.require_token = True
    _, secret = asyncio.run(api.tokens.create("x"))
    with api.served() as url:
        with ollama.Client(url) as stranger, pytest.raises(ollama.ResponseError, match="token"):
            stranger.chat("assistant", USER)
        liar = ollama.Client(url, headers={"Authorization": "Bearer sk-skerry-wrong"})
        with liar, pytest.raises(ollama.ResponseError, match="not valid"):
            liar.list()
        with ollama.Client(url, headers={"Authorization": f"Bearer {secret}"}) as friend:
            assert friend.chat("assistant", USER).done
    assert api.runners.requests[0].client.startswith("token-")
