"""The engine with a scripted model: what it computes, in which order, and how requests end."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from skerry_agent.runtime.chat_template import ChatTemplate, TemplateBrokenError
from skerry_agent.runtime.engine import EngineOptions
from skerry_agent.runtime.engine_ports import EngineBrokenError, NoRoomError, Part, StepAbortedError
from skerry_agent.runtime.requests import ChatMessage, GenerateRequest
from skerry_agent.runtime.wire import Cancelled, Failed, Finished, Progress, Stats, Token
from support.scripted_model import EngineBench, ScriptedModel

Make = Callable[..., EngineBench]


@pytest.fixture
def bench() -> Iterator[Make]:
    made: list[EngineBench] = []

    def make(
        model: ScriptedModel,
        *,
        template: ChatTemplate | TemplateBrokenError | None = None,
        options: EngineOptions | None = None,
    ) -> EngineBench:
        made.append(EngineBench(model, template=template, options=options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def hold(model: ScriptedModel) -> tuple[threading.Event, threading.Event]:
    """Make the model wait in its first step: (it is there, let it go)."""
    entered, go = threading.Event(), threading.Event()

    def wait(_: Sequence[Part]) -> None:
        entered.set()
        assert go.wait(10)

    model.before_decode = wait
    return entered, go


def test_a_prompt_goes_in_pieces_and_only_its_last_token_has_logits(bench: Make) -> None:
    model = ScriptedModel("x")
    bench(model).run(GenerateRequest(prompt="abcdefghi"))
    prefill = [[(bytes(p.tokens), p.position, p.outputs) for p in step] for step in model.decoded[:3]]
    assert prefill == [[(b"abcd", 0, 0)], [(b"efgh", 4, 0)], [(b"i", 8, 1)]]


def test_the_answer_ends_at_the_end_token(bench: Make) -> None:
    model = ScriptedModel("hello")
    text, last = bench(model).run(GenerateRequest(prompt="abc"))
    assert text == "hello"
    assert isinstance(last, Finished)
    assert last.reason == "stop"
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (3, 5)
    assert last.timings.first_token_ms >= last.timings.prompt_ms > 0
    assert model.open_samplers == 0


def test_the_answer_ends_at_max_tokens(bench: Make) -> None:
    text, last = bench(ScriptedModel()).run(GenerateRequest(prompt="abc", max_tokens=2))
    assert text == "he"
    assert isinstance(last, Finished)
    assert last.reason == "length"


def test_the_answer_ends_when_the_context_is_full(bench: Make) -> None:
    text, last = bench(ScriptedModel("y" * 100)).run(GenerateRequest(prompt="a" * 30))
    assert text == "yy"
    assert isinstance(last, Finished)
    assert last.reason == "length"


def test_a_stop_string_ends_the_answer_before_it(bench: Make) -> None:
    text, last = bench(ScriptedModel("one END two")).run(GenerateRequest(prompt="a", stop=("END",)))
    assert text == "one "
    assert isinstance(last, Finished)
    assert last.reason == "stop"


def test_log_probabilities_come_for_each_token_shown_or_not(bench: Make) -> None:
    made = bench(ScriptedModel("one END two"))
    made.run(GenerateRequest(prompt="a", stop=("END",), logprobs=2))
    found = [each for event in made.events if isinstance(event, Token) for each in event.logprobs]
    assert b"".join(each.chosen.text for each in found) == b"one END"
    assert {len(each.top) for each in found} == {2}


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(bench: Make) -> None:
    _, last = bench(ScriptedModel()).run(GenerateRequest(prompt="a" * 32))
    assert isinstance(last, Failed)
    assert (last.code, last.prompt_tokens, last.context_tokens) == ("prompt_too_long", 32, 32)


def test_a_prompt_may_be_tokens_and_they_have_to_exist(bench: Make) -> None:
    made = bench(ScriptedModel())
    assert made.run(GenerateRequest(prompt_tokens=(1, 2, 3)))[0] == "hello"
    _, last = made.run(GenerateRequest(prompt_tokens=(1, 999)), 2)
    assert isinstance(last, Failed)
    assert last.code == "invalid_request"


def test_chat_without_a_template_is_refused(bench: Make) -> None:
    _, last = bench(ScriptedModel()).run(GenerateRequest(messages=(ChatMessage("user", "Hi"),)))
    assert isinstance(last, Failed)
    assert last.code == "no_chat_template"
    assert last.message == "this model has no chat template; use completions"


def test_chat_with_a_broken_template_is_refused(bench: Make) -> None:
    request = GenerateRequest(messages=(ChatMessage("user", "Hi"),))
    _, last = bench(ScriptedModel(), template=TemplateBrokenError("it is broken")).run(request)
    assert isinstance(last, Failed)
    assert (last.code, last.message) == ("no_chat_template", "it is broken")


@pytest.mark.parametrize(("source", "special"), [("<s>{{ messages[0].content }}", False), ("Q:", True)])
def test_a_chat_prompt_gets_exactly_one_begin_of_sequence_token(
    bench: Make, source: str, *, special: bool
) -> None:
    model = ScriptedModel()
    template = ChatTemplate(source, bos_token="<s>", eos_token="")  # noqa: S106 - no password
    bench(model, template=template).run(GenerateRequest(messages=(ChatMessage("user", "Hi"),)))
    assert model.specials == [special]


def test_the_template_gets_tools_and_variables(bench: Make) -> None:
    source = (
        "{{ tools[0].function.name }} {{ enable_thinking }} "
        "{{ messages[0].tool_calls[0].function.arguments.x }}"
    )
    seen: list[bytes] = []

    def answer(prompt: bytes) -> str:
        seen.append(prompt)
        return "ok"

    template = ChatTemplate(source, bos_token="", eos_token="")
    call = '[{"function": {"name": "f", "arguments": "{\\"x\\": 7}"}}]'
    request = GenerateRequest(
        messages=(ChatMessage("assistant", "", tool_calls=call),),
        tools='[{"function": {"name": "f"}}]',
        template_kwargs='{"enable_thinking": false}',
    )
    bench(ScriptedModel(answer), template=template).run(request)
    assert seen == [b"f False 7"]


def test_an_empty_prompt_is_run_all_the_same(bench: Make) -> None:
    text, _ = bench(ScriptedModel()).run(GenerateRequest(prompt=""))
    assert text == "hello"


def test_answers_go_on_side_by_side_while_a_prompt_is_read(bench: Make) -> None:
    model = ScriptedModel("y" * 20)
    entered, go = hold(model)
    made = bench(model)
    made.engine.submit(1, GenerateRequest(prompt="ab"))
    made.engine.submit(2, GenerateRequest(prompt="cd"))
    assert entered.wait(5)
    made.engine.submit(3, GenerateRequest(prompt="0123456789"))
    made.run(GenerateRequest(prompt="a" * 40), 4)  # refused: by then the intake has passed the others on
    go.set()
    made.wait(4)
    mixed = [step for step in model.decoded if len(step) == 3]
    assert mixed
    # Every step takes a token of each answer first; what is left of the batch is for the prompt.
    first = [[len(part.tokens) for part in step] for step in mixed]
    assert [1, 1, 2] in first


def test_no_more_requests_run_than_there_are_slots(bench: Make) -> None:
    model = ScriptedModel("yyyy")
    made = bench(model, options=EngineOptions(slots=2))
    for number in range(6):
        made.engine.submit(number, GenerateRequest(prompt=chr(97 + number)))
    made.wait(6)
    assert max(len(step) for step in model.decoded) == 2
    assert all(made.text(number) == "yyyy" for number in range(6))


def test_a_client_with_one_request_overtakes_one_with_many(bench: Make) -> None:
    model = ScriptedModel("x")
    entered, go = hold(model)
    made = bench(model, options=EngineOptions(slots=1))
    for number in range(5):
        made.engine.submit(number, GenerateRequest(prompt="a", client="many"))
    assert entered.wait(5)
    made.engine.submit(9, GenerateRequest(prompt="a", client="one"))
    made.run(GenerateRequest(prompt="a" * 40), 10)
    go.set()
    order = [event.job for event in made.wait(7) if isinstance(event, Finished)]
    assert order.index(9) <= 2


def test_a_request_whose_turn_does_not_come_is_given_up(bench: Make) -> None:
    model = ScriptedModel("x")
    entered, go = hold(model)
    made = bench(model, options=EngineOptions(slots=1))
    made.engine.submit(1, GenerateRequest(prompt="a"))
    assert entered.wait(5)
    made.engine.submit(2, GenerateRequest(prompt="b", deadline_s=0.0))
    made.run(GenerateRequest(prompt="a" * 40), 3)
    go.set()
    end = made.end(2)
    assert isinstance(end, Failed)
    assert end.code == "expired"
    assert isinstance(made.end(1), Finished)


def test_a_waiting_request_can_be_cancelled(bench: Make) -> None:
    model = ScriptedModel("x")
    entered, go = hold(model)
    made = bench(model, options=EngineOptions(slots=1))
    made.engine.submit(1, GenerateRequest(prompt="a"))
    made.engine.submit(2, GenerateRequest(prompt="a"))
    assert entered.wait(5)
    made.engine.cancel(2)
    go.set()
    made.wait(2)
    assert [(type(e), e.job) for e in made.ends()] == [(Cancelled, 2), (Finished, 1)]
    assert model.open_samplers == 0


@pytest.mark.parametrize(("at", "steps"), [(4, 2), (10, 5)], ids=["prefill", "decode"])
def test_a_running_request_stops_before_its_next_step(bench: Make, at: int, steps: int) -> None:
    model = ScriptedModel("y" * 20)
    made = bench(model)
    model.before_decode = lambda parts: made.engine.cancel(1) if parts[0].position == at else None
    _, last = made.run(GenerateRequest(prompt="abcdefghi"))
    assert isinstance(last, Cancelled)
    assert len(model.decoded) == steps
    assert model.open_samplers == 0


def test_cancelling_what_is_unknown_or_over_is_fine(bench: Make) -> None:
    made = bench(ScriptedModel("x"))
    made.run(GenerateRequest(prompt="a"))
    made.engine.cancel(1)
    made.engine.cancel(99)
    made.engine.submit(2, GenerateRequest(prompt="a"))
    assert isinstance(made.wait(2)[-1], Finished | Stats)


def test_a_failure_ends_what_runs_and_does_not_quote_it(
    bench: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    model = ScriptedModel("x")

    def fail(_: Sequence[Part]) -> None:
        raise ValueError("secret prompt")

    model.before_decode = fail
    made = bench(model)
    _, last = made.run(GenerateRequest(prompt="secret"))
    assert isinstance(last, Failed)
    assert last.code == "failed"
    assert "secret" not in last.message + capfd.readouterr().err
    model.before_decode = lambda _: None
    assert made.run(GenerateRequest(prompt="a"), 2)[0] == "x"
    assert model.open_samplers == 0


def test_a_broken_engine_says_so_and_ends(bench: Make) -> None:
    model = ScriptedModel("x")

    def break_(_: Sequence[Part]) -> None:
        raise EngineBrokenError("code -3")

    model.before_decode = break_
    made = bench(model)
    made.engine.submit(1, GenerateRequest(prompt="a"))
    made.wait_for(lambda: bool(made.broken))
    assert str(made.broken[0]) == "code -3"
    assert not made.ends()


def test_who_leaves_while_prompts_are_read_breaks_the_step_off(bench: Make) -> None:
    model = ScriptedModel("hello", batch=16)
    entered, go = hold(model)
    made = bench(model)
    made.engine.submit(1, GenerateRequest(prompt="a long prompt here"))
    assert entered.wait(10)
    model.before_decode = lambda _: None
    made.engine.cancel(1)
    assert model.broken_off == 1
    go.set()
    assert isinstance(made.end(1), Cancelled)


def test_an_engine_at_rest_clears_the_cache_and_still_knows_the_prefix(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("engine", "kv_cache"):
        monkeypatch.setattr(f"skerry_agent.runtime.{module}.PARK_AFTER_S", 0.01)
    model = ScriptedModel("hello", batch=16)
    made = bench(model, options=EngineOptions(parked_tokens=64))
    made.run(GenerateRequest(prompt="a prompt to keep"))
    made.wait_for(
        lambda: any(isinstance(e, Stats) and e.values.parked_tokens for e in made.events) and not model.cells
    )
    made.run(GenerateRequest(prompt="a prompt to keep, too"), number=2)
    end = made.end(2)
    assert isinstance(end, Finished)
    assert end.usage.cached_tokens == len("a prompt to keep")


def test_nobody_breaks_off_a_step_that_answers(bench: Make) -> None:
    model = ScriptedModel("hello")
    made = bench(model)
    reached, go = threading.Event(), threading.Event()

    def wait(_: Sequence[Part]) -> None:
        if made.text(1):
            reached.set()
            assert go.wait(10)

    model.before_decode = wait
    made.engine.submit(1, GenerateRequest(prompt="abc"))
    assert reached.wait(10)
    made.engine.submit(2, GenerateRequest(prompt="abd"))
    made.engine.cancel(1)
    go.set()
    assert isinstance(made.end(1), Cancelled)
    assert isinstance(made.end(2), Finished)
    assert model.broken_off == 0


@pytest.mark.parametrize("error", [NoRoomError, StepAbortedError])
def test_a_step_that_did_not_work_is_done_again(bench: Make, error: type[Exception]) -> None:
    model = ScriptedModel("hello")
    steps = iter(range(100))

    def fail(_: Sequence[Part]) -> None:
        if next(steps) in {1, 3}:
            raise error

    model.before_decode = fail
    made = bench(model)
    made.engine.submit(1, GenerateRequest(prompt="abcdef"))
    made.engine.submit(2, GenerateRequest(prompt="ghijkl"))
    made.wait(2)
    assert (made.text(1), made.text(2)) == ("hello", "hello")


def test_progress_is_shown_while_there_is_no_text(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skerry_agent.runtime.batcher.PROGRESS_INTERVAL_S", 0.0)
    made = bench(ScriptedModel("x"))
    made.run(GenerateRequest(prompt="abcdefghi"))
    assert len([e for e in made.events if isinstance(e, Progress)]) >= 3


def test_submitting_does_not_wait_for_the_engine(bench: Make) -> None:
    model = ScriptedModel("x")
    _, go = hold(model)
    made = bench(model)
    began = time.monotonic()
    for number in range(100):
        made.engine.submit(number, GenerateRequest(prompt="a"))
    assert time.monotonic() - began < 1
    go.set()
    made.wait(100)


def test_the_engine_tells_what_it_counted_when_it_comes_to_rest(bench: Make) -> None:
    made = bench(ScriptedModel("hello"))
    made.run(GenerateRequest(prompt="abcdefghi"))
    made.wait_for(lambda: any(isinstance(e, Stats) and not e.values.active for e in made.events))
    values = next(e.values for e in made.events if isinstance(e, Stats))
    assert (values.prompt_tokens, values.completion_tokens) == (9, 5)
    assert values.kv_used == len("abcdefghihello")
    assert values.rest_s > 0
