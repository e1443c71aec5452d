from collections.abc import Callable, Sequence

import pytest

from skerry_agent.runtime.draft import CHUNK_TOKENS, READING_SHARE, Draft, DraftGuesses
from skerry_agent.runtime.engine import EngineOptions
from skerry_agent.runtime.engine_ports import EngineBrokenError, NoRoomError, Part
from skerry_agent.runtime.requests import GenerateRequest
from skerry_agent.runtime.speculation import PROBES, Guesses, Speculation
from skerry_agent.runtime.wire import Finished, Stats
from support.scripted_model import EngineBench, ScriptedModel


class CountingModel:
    """A draft that always says the next number, and checks that its cache holds what it was told."""

    def __init__(self, *, context: int = 1000, sequences: int = 2, step_s: float = 1.0) -> None:
        self.context_tokens = context
        self.sequences = sequences
        self.now = 0.0
        self.step_s = step_s
        self.held: dict[int, list[int]] = {n: [] for n in range(sequences)}
        self.steps: list[int] = []
        self.error: Exception | None = None

    def clock(self) -> float:
        return self.now

    def decode(self, parts: Sequence[Part]) -> list[int]:
        if self.error is not None:
            raise self.error
        (part,) = parts
        held = self.held[part.sequence]
        assert part.position == len(held)
        assert len(part.tokens) <= CHUNK_TOKENS
        assert part.position + len(part.tokens) <= self.context_tokens
        held += part.tokens
        self.steps.append(len(part.tokens))
        self.now += self.step_s
        self._last = held[-1]
        return [len(part.tokens) - 1]

    def likeliest(self, row: int) -> int:
        assert row >= 0
        return self._last + 1

    def cut(self, sequence: int, length: int) -> None:
        del self.held[sequence][length:]


def _open(
    model: CountingModel, tokens: list[int]
) -> tuple[Draft[CountingModel], DraftGuesses[CountingModel]]:
    draft = Draft(model, model.clock)
    guesses = draft.open(tokens)
    assert guesses is not None
    return draft, guesses


def test_it_guesses_on_from_the_text_and_reads_nothing_twice() -> None:
    model = CountingModel()
    tokens = [1, 2, 3]
    draft, guesses = _open(model, tokens)
    assert guesses.guess(4) == [4, 5, 6, 7]
    assert model.steps == [3, 1, 1, 1]
    tokens += [4, 5, 6, 7, 8]  # all were right, and one more came
    assert guesses.guess(2) == [9, 10]
    assert model.steps[4:] == [2, 1]  # 7 had not been computed yet
    tokens += [9, 50]  # the second was wrong
    assert guesses.guess(2) == [51, 52]
    assert model.steps[6:] == [1, 1]
    assert model.held[guesses._sequence] == [*tokens, 51]
    assert draft.token_s == pytest.approx(1.0)
    assert draft.seconds == 8


def test_it_reads_a_long_prompt_in_pieces_for_a_share_of_the_time() -> None:
    model = CountingModel()
    tokens = list(range(CHUNK_TOKENS * 3 + 5))
    _, guesses = _open(model, tokens)
    model.now += 100
    assert guesses.guess(2) == []
    assert guesses.guess(2) == []
    assert guesses.guess(2) == []
    assert guesses.guess(2) == [len(tokens), len(tokens) + 1]
    assert model.steps == [CHUNK_TOKENS] * 3 + [5, 1]


def test_an_answer_loses_no_more_than_that_share() -> None:
    model = CountingModel()
    _, guesses = _open(model, list(range(CHUNK_TOKENS * 1000)))
    model.context_tokens = 10**6
    for _ in range(200):
        guesses.guess(1)
        model.now += 0.5
    assert len(model.steps) <= READING_SHARE * model.now + 1


def test_it_guesses_nothing_beyond_its_context() -> None:
    model = CountingModel(context=10)
    tokens = list(range(8))
    _, guesses = _open(model, tokens)
    assert guesses.guess(2) == [8, 9]
    assert guesses.guess(3) == []


def test_it_serves_as_many_answers_as_it_has_sequences() -> None:
    draft, first = _open(CountingModel(), [1])
    assert draft.open([2]) is not None
    assert draft.open([3]) is None
    first.guess(2)
    first.close()
    again = draft.open([7])
    assert again is not None
    assert again.guess(1) == [8]


@pytest.mark.parametrize("error", [NoRoomError(), ValueError("impossible"), RuntimeError("cut")])
def test_one_that_fails_is_given_up_and_the_answers_go_on(error: Exception) -> None:
    model = CountingModel()
    draft, guesses = _open(model, [1])
    model.error = error
    assert guesses.guess(2) == []
    model.error = None
    assert guesses.guess(2) == []
    assert draft.open([1]) is None
    guesses.close()


def test_what_breaks_llama_cpp_is_not_hidden() -> None:
    model = CountingModel()
    _, guesses = _open(model, [1])
    model.error = EngineBrokenError("code -3")
    with pytest.raises(EngineBrokenError):
        guesses.guess(1)


def _speculation(step_s: float, guess_s: float) -> tuple[Speculation, Guesses]:
    """Steps whose time hardly depends on their size, and a draft whose guesses cost so much."""
    model = CountingModel(step_s=guess_s)
    speculation = Speculation(9, Draft(model, model.clock).open)
    for size in (1, 2, 3, 5, 8):
        for _ in range(PROBES):
            speculation.times.observe(size, step_s)
    return speculation, speculation.begin([1, 2, 3, 4])


@pytest.mark.parametrize(("guess_s", "used"), [(0.01, True), (0.2, True), (2.0, False)])
def test_it_is_used_where_it_is_measured_to_pay(guess_s: float, used: bool) -> None:
    speculation, guesses = _speculation(1.0, guess_s)
    assert speculation.guess(guesses, 1, 7)  # nothing is known of its cost yet
    guesses.learn(2, 2)
    assert bool(speculation.guess(guesses, 1, 7)) is used


def test_one_that_is_wrong_is_given_up() -> None:
    speculation, guesses = _speculation(1.0, 0.1)
    for _ in range(20):
        guesses.learn(len(speculation.guess(guesses, 1, 7)), 0)
    assert speculation.guess(guesses, 1, 7) == []


def _reads(answer: str) -> Callable[[Sequence[int]], int]:
    return lambda held: (answer.encode() + bytes(8))[max(0, len(held) - 3)]


class TextModel(CountingModel):
    """A draft that knows an answer to a prompt of three bytes."""

    def __init__(self, answer: str) -> None:
        super().__init__(step_s=0.0)
        self._says = _reads(answer)

    def decode(self, parts: Sequence[Part]) -> list[int]:
        rows = super().decode(parts)
        self._next = self._says(self.held[parts[0].sequence])
        return rows

    def likeliest(self, row: int) -> int:
        assert row >= 0
        return self._next


@pytest.mark.parametrize(("knows", "accepted"), [("The quick brown fox jumps over it", 15), ("x" * 40, 0)])
def test_an_answer_is_the_same_with_a_draft(
    monkeypatch: pytest.MonkeyPatch, knows: str, accepted: int
) -> None:
    monkeypatch.setattr(Speculation, "size", lambda *_: 4)
    answer = "The quick brown fox jumps over it"
    model = ScriptedModel(answer, context=64, cells=128, batch=16)
    second = TextModel(knows)
    bench = EngineBench(model, options=EngineOptions(), draft=Draft(second))
    ends = [bench.run(GenerateRequest(prompt="say", prefix_cache=False), number) for number in (1, 2, 3)]
    bench.wait_for(lambda: any(isinstance(e, Stats) and not e.values.active for e in bench.events))
    bench.close()
    assert [text for text, _ in ends] == [answer] * 3
    assert all(isinstance(end, Finished) for _, end in ends)
    stats = next(e.values for e in reversed(bench.events) if isinstance(e, Stats))
    assert stats.drafted_tokens > accepted
    assert stats.accepted_tokens >= accepted
    assert second.held == {0: [], 1: []}  # every sequence was given back
