"""The engine with a model of a few lines: its language is bytes, and it says what it is told to say."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from skerry_agent.runtime.chat_template import ChatTemplate, TemplateBrokenError
from skerry_agent.runtime.engine import Engine
from skerry_agent.runtime.requests import ChatMessage, GenerateRequest, Sampling
from skerry_agent.runtime.wire import Cancelled, Failed, Finished, FromRunner, Progress, Token

END = 256
LAST = (Finished, Failed, Cancelled)


class ScriptedModel:
    context_tokens = 32
    batch_tokens = 4

    def __init__(self, answer: str = "hello") -> None:
        self.answer: list[int] = [*answer.encode(), END]
        self.decoded: list[tuple[list[int], int, bool]] = []
        self.before_decode: Callable[[int], None] = lambda _: None
        self.specials: list[bool] = []
        self.open_samplers = 0
        self.forgets = 0

    def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        self.specials.append(add_special)
        return list(text.encode())

    def piece(self, token: int) -> bytes:
        return bytes([token])

    def is_end(self, token: int) -> bool:
        return token == END

    def forget(self) -> None:
        self.forgets += 1

    def decode(self, tokens: Sequence[int], position: int, *, want_logits: bool) -> None:
        self.before_decode(position)
        self.decoded.append((list(tokens), position, want_logits))

    def sampler(self, sampling: Sampling, prompt: Sequence[int]) -> "ScriptedSampler":
        self.open_samplers += 1
        return ScriptedSampler(self)


class ScriptedSampler:
    def __init__(self, model: ScriptedModel) -> None:
        self._model = model
        self._tokens: Iterator[int] = iter(model.answer)

    def next(self) -> int:
        assert self._model.decoded[-1][2], "sampling without logits"
        return next(self._tokens)

    def close(self) -> None:
        self._model.open_samplers -= 1


class Bench:
    """An engine that runs in its thread, and its events."""

    def __init__(
        self, model: ScriptedModel, template: ChatTemplate | TemplateBrokenError | None = None
    ) -> None:
        self.events: list[FromRunner] = []
        self._changed = threading.Condition()
        self.engine = Engine(model, template=template, bos_text="<s>", emit=self._take)
        self._thread = self.engine.start()

    def _take(self, event: FromRunner) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, ended: int) -> list[FromRunner]:
        with self._changed:
            assert self._changed.wait_for(
                lambda: len([e for e in self.events if isinstance(e, LAST)]) >= ended, 5
            )
            return list(self.events)

    def run(self, request: GenerateRequest) -> tuple[str, FromRunner]:
        self.engine.submit(1, request)
        events = self.wait(1)
        return "".join(e.text for e in events if isinstance(e, Token)), events[-1]

    def close(self) -> None:
        self.engine.close()
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(model: ScriptedModel, template: ChatTemplate | TemplateBrokenError | None = None) -> Bench:
        made.append(Bench(model, template))
        return made[-1]

    yield make
    for each in made:
        each.close()


Make = Callable[..., Bench]


def test_a_prompt_goes_in_pieces_and_only_its_last_token_has_logits(bench: Make) -> None:
    model = ScriptedModel("x")
    bench(model).run(GenerateRequest(prompt="abcdefghi"))
    prefill = [(bytes(t), p, logits) for t, p, logits in model.decoded[:3]]
    assert prefill == [(b"abcd", 0, False), (b"efgh", 4, False), (b"i", 8, True)]


def test_the_answer_ends_at_the_end_token(bench: Make) -> None:
    model = ScriptedModel("hello")
    text, last = bench(model).run(GenerateRequest(prompt="abc"))
    assert text == "hello"
    assert isinstance(last, Finished)
    assert last.reason == "stop"
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (3, 5)
    assert last.timings.first_token_ms >= last.timings.prompt_ms > 0
    assert model.open_samplers == 0
    assert model.forgets == 1


def test_the_answer_ends_at_max_tokens(bench: Make) -> None:
    text, last = bench(ScriptedModel()).run(GenerateRequest(prompt="abc", max_tokens=2))
    assert text == "he"
    assert isinstance(last, Finished)
    assert last.reason == "length"


def test_the_answer_ends_when_the_context_is_full(bench: Make) -> None:
    model = ScriptedModel("y" * 100)
    text, last = bench(model).run(GenerateRequest(prompt="a" * 30))
    assert text == "yy"
    assert isinstance(last, Finished)
    assert last.reason == "length"
    assert max(p + len(t) for t, p, _ in model.decoded) <= model.context_tokens


def test_a_stop_string_ends_the_answer_before_it(bench: Make) -> None:
    text, last = bench(ScriptedModel("one END two")).run(GenerateRequest(prompt="a", stop=("END",)))
    assert text == "one "
    assert isinstance(last, Finished)
    assert last.reason == "stop"


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(bench: Make) -> None:
    _, last = bench(ScriptedModel()).run(GenerateRequest(prompt="a" * 32))
    assert isinstance(last, Failed)
    assert (last.code, last.prompt_tokens, last.context_tokens) == ("prompt_too_long", 32, 32)


def test_chat_without_a_template_is_refused(bench: Make) -> None:
    _, last = bench(ScriptedModel()).run(GenerateRequest(messages=(ChatMessage("user", "Hi"),)))
    assert isinstance(last, Failed)
    assert last.code == "no_chat_template"
    assert last.message == "this model has no chat template; use completions"


def test_chat_with_a_broken_template_is_refused(bench: Make) -> None:
    request = GenerateRequest(messages=(ChatMessage("user", "Hi"),))
    _, last = bench(ScriptedModel(), TemplateBrokenError("it is broken")).run(request)
    assert isinstance(last, Failed)
    assert (last.code, last.message) == ("no_chat_template", "it is broken")


@pytest.mark.parametrize(("source", "special"), [("<s>{{ messages[0].content }}", False), ("Q:", True)])
def test_a_chat_prompt_gets_exactly_one_begin_of_sequence_token(
    bench: Make, source: str, *, special: bool
) -> None:
    model = ScriptedModel()
    template = ChatTemplate(source, bos_token="<s>", eos_token="")  # noqa: S106 - no password
    bench(model, template).run(GenerateRequest(messages=(ChatMessage("user", "Hi"),)))
    assert model.specials == [special]


def test_an_empty_prompt_is_run_all_the_same(bench: Make) -> None:
    text, _ = bench(ScriptedModel()).run(GenerateRequest(prompt=""))
    assert text == "hello"


def test_requests_run_in_order(bench: Make) -> None:
    made = bench(ScriptedModel("x"))
    for number in (1, 2, 3):
        made.engine.submit(number, GenerateRequest(prompt="a"))
    events = made.wait(3)
    assert [e.job for e in events if isinstance(e, Finished)] == [1, 2, 3]


def test_a_waiting_request_can_be_cancelled(bench: Make) -> None:
    model = ScriptedModel("x")
    entered, go = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        entered.set()
        assert go.wait(5)

    model.before_decode = hold
    made = bench(model)
    made.engine.submit(1, GenerateRequest(prompt="a"))
    made.engine.submit(2, GenerateRequest(prompt="a"))
    assert entered.wait(5)
    made.engine.cancel(2)
    go.set()
    ends = [e for e in made.wait(2) if isinstance(e, LAST)]
    assert [(type(e), e.job) for e in ends] == [(Cancelled, 2), (Finished, 1)]


@pytest.mark.parametrize(("at", "steps"), [(4, 2), (10, 4)], ids=["prefill", "decode"])
def test_the_running_request_stops_before_its_next_step(bench: Make, at: int, steps: int) -> None:
    model = ScriptedModel("y" * 20)
    made = bench(model)
    model.before_decode = lambda position: made.engine.cancel(1) if position == at else None
    _, last = made.run(GenerateRequest(prompt="abcdefghi"))
    assert isinstance(last, Cancelled)
    assert len(model.decoded) == steps + (at == 10)
    assert model.open_samplers == 0


def test_cancelling_what_is_unknown_or_over_is_fine(bench: Make) -> None:
    made = bench(ScriptedModel("x"))
    made.run(GenerateRequest(prompt="a"))
    made.engine.cancel(1)
    made.engine.cancel(99)
    made.engine.submit(2, GenerateRequest(prompt="a"))
    assert isinstance(made.wait(2)[-1], Finished)


def test_a_failure_ends_one_request_and_does_not_quote_it(
    bench: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    model = ScriptedModel("x")

    def fail(_: int) -> None:
        raise ValueError("secret prompt")

    model.before_decode = fail
    made = bench(model)
    _, last = made.run(GenerateRequest(prompt="secret"))
    assert isinstance(last, Failed)
    assert last.code == "failed"
    assert "secret" not in last.message + capfd.readouterr().err
    model.before_decode = lambda _: None
    made.engine.submit(2, GenerateRequest(prompt="a"))
    assert isinstance(made.wait(2)[-1], Finished)


def test_progress_is_shown_while_there_is_no_text(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skerry_agent.runtime.engine.PROGRESS_INTERVAL_S", 0.0)
    made = bench(ScriptedModel("x"))
    made.run(GenerateRequest(prompt="abcdefghi"))
    assert len([e for e in made.events if isinstance(e, Progress)]) >= 4


def test_submitting_does_not_wait_for_the_engine(bench: Make) -> None:
    model = ScriptedModel("x")
    go = threading.Event()

    def hold(_: int) -> None:
        assert go.wait(5)

    model.before_decode = hold
    made = bench(model)
    began = time.monotonic()
    for number in range(100):
        made.engine.submit(number, GenerateRequest(prompt="a"))
    assert time.monotonic() - began < 1
    go.set()
    made.wait(100)
