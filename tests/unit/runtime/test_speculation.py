import pytest

from skerry_agent.runtime.engine import EngineOptions
from skerry_agent.runtime.requests import GenerateRequest
from skerry_agent.runtime.speculation import PROBES, Lookup, Speculation
from skerry_agent.runtime.wire import Finished, Stats
from support.scripted_model import EngineBench, ScriptedModel


def test_what_came_after_the_last_few_tokens_is_guessed() -> None:
    tokens = [1, 2, 3, 4, 5, 6, 1, 2, 3]
    lookup = Lookup(tokens)
    assert lookup.guess(2) == [4, 5]
    assert lookup.guess(8) == [4, 5, 6, 1, 2, 3, 4, 5]
    tokens += [9]
    assert lookup.guess(2) == []
    tokens += [1, 2, 3]
    assert lookup.guess(2) == [9, 1]


@pytest.mark.parametrize("tokens", [[], [1], [1, 2, 3], [1, 1, 1]])
def test_a_text_that_is_new_is_not_guessed(tokens: list[int]) -> None:
    assert Lookup(tokens).guess(4) == []


def test_a_text_of_one_token_goes_on_so() -> None:
    assert Lookup([7] * 6).guess(2) == [7, 7]


def _measured(seconds: dict[int, float]) -> Speculation:
    speculation = Speculation(9)
    for tokens, each in seconds.items():
        for _ in range(PROBES):
            speculation.times.observe(tokens, each)
    return speculation


FREE = {1: 1.0, 2: 1.0, 3: 1.0, 5: 1.0, 8: 1.0}
DEAR = {1: 1.0, 2: 2.0, 3: 3.0, 5: 5.0, 8: 8.0}


def test_guesses_are_made_when_they_cost_little() -> None:
    assert _measured(FREE).size(Lookup([]), 1) == 7
    assert _measured(DEAR).size(Lookup([]), 1) == 0


def test_what_is_wrong_mostly_is_given_up_and_tried_again_later() -> None:
    speculation = _measured({1: 1.0, 2: 1.3, 3: 1.6, 5: 2.0, 8: 3.0})
    lookup = Lookup([])
    assert speculation.size(lookup, 1) > 0
    for _ in range(10):
        lookup.learn(4, 0)
    assert speculation.size(lookup, 1) == 0
    for _ in range(1000):
        lookup.learn(0, 0)
    assert speculation.size(lookup, 1) > 0


def test_sizes_that_are_not_known_are_tried_and_only_where_there_is_room() -> None:
    assert Speculation(9).size(Lookup([]), 1) == 0  # not even one by one is known
    assert _measured({1: 1.0}).size(Lookup([]), 1) == 1
    assert _measured({1: 1.0, 2: 1.5}).size(Lookup([]), 1) == 2
    assert _measured({2: 1.0}).size(Lookup([]), 2) == 1
    assert _measured({3: 1.0}).size(Lookup([]), 3) == 0


def test_right_guesses_save_steps_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Speculation, "size", lambda *_: 4)
    model = ScriptedModel("0123456789" * 6, context=128, cells=256, batch=16)
    bench = EngineBench(model, options=EngineOptions())
    text, end = bench.run(GenerateRequest(prompt="count", max_tokens=55))
    bench.wait_for(lambda: any(isinstance(e, Stats) and not e.values.active for e in bench.events))
    bench.close()
    assert text == ("0123456789" * 6)[:55]
    assert isinstance(end, Finished)
    assert end.usage.completion_tokens == 55
    assert len(model.decoded) < 30
    stats = next(e.values for e in bench.events if isinstance(e, Stats))
    assert stats.accepted_tokens > 25
    assert stats.kv_used == len(model.cells)


def test_a_stop_string_inside_right_guesses_ends_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Speculation, "size", lambda *_: 4)
    model = ScriptedModel("abcdefgh" * 4 + "!" + "abcdefgh" * 4, context=128, cells=256, batch=16)
    bench = EngineBench(model)
    text, _ = bench.run(GenerateRequest(prompt="say", stop=("ef",)))
    again, _ = bench.run(GenerateRequest(prompt="abcdefgh abcdefgh: ", stop=("h!",)), 2)
    bench.close()
    assert text == "abcd"
    assert again == "abcdefgh" * 3 + "abcdefg"
    assert model.open_samplers == 0
