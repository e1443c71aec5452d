"""Many requests at once, in any order and cancelled at any time: nobody gets another's text.

The scripted sampler checks at each token that its sequence holds the prompt and the answer so far, and no
more.
"""

import random
import threading
from collections.abc import Sequence

import pytest

from skerry_agent.runtime.batcher import ShareScope
from skerry_agent.runtime.engine import EngineOptions
from skerry_agent.runtime.engine_ports import Part
from skerry_agent.runtime.requests import GenerateRequest
from skerry_agent.runtime.speculation import Speculation
from skerry_agent.runtime.wire import Cancelled, Finished, Stats
from support.scripted_model import EngineBench, ScriptedModel


def _answer(prompt: bytes) -> str:
    text = "".join(chr(97 + (byte * 7 + i) % 26) for i, byte in enumerate(prompt[::-1]))[:20]
    return text[:4] * 4 if len(prompt) % 2 else text  # half of them repeat themselves


def _prompt(rng: random.Random) -> str:
    shared = rng.choice(["", "You are a helpful assistant. ", "You are a helpful pirate. "])
    return shared + "".join(rng.choice("xyz") for _ in range(rng.randrange(1, 12)))


@pytest.mark.parametrize("share", ["all", "client", "off"])
@pytest.mark.parametrize("seed", range(4))
def test_each_answer_is_that_of_its_own_prompt(
    seed: int, share: ShareScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a test has to be repeatable
    # Guesses at any time, whether they pay or not; most are wrong.
    monkeypatch.setattr(Speculation, "size", lambda *_: rng.choice([0, 1, 3]))
    # Hardly room for two full requests: prompts wait, prefixes are evicted, answers are preempted.
    model = ScriptedModel(_answer, context=64, cells=110, batch=16, sequences=9)
    bench = EngineBench(model, options=EngineOptions(slots=5, share_prefixes=share))
    requests = {
        number: GenerateRequest(prompt=_prompt(rng), client=rng.choice("ab"), prefix_cache=rng.random() < 0.9)
        for number in range(60)
    }
    cancelled = {number for number in requests if rng.random() < 0.25}
    steps = threading.Semaphore(0)

    def cancel_some(_: Sequence[Part]) -> None:
        steps.release()
        if cancelled and rng.random() < 0.3:
            bench.engine.cancel(rng.choice(sorted(cancelled)))

    model.before_decode = cancel_some
    for number, request in requests.items():
        bench.engine.submit(number, request)
        if rng.random() < 0.5:
            assert steps.acquire(timeout=10)
    for number in cancelled:
        bench.engine.cancel(number)
    bench.wait(len(requests))
    bench.wait_for(lambda: any(isinstance(e, Stats) and not e.values.active for e in bench.events))
    bench.close()
    for number, request in requests.items():
        end = bench.end(number)
        assert isinstance(end, Finished) or (number in cancelled and isinstance(end, Cancelled)), end
        answer = _answer((request.prompt or "").encode())
        assert bench.text(number) == answer or isinstance(end, Cancelled)
        assert answer.startswith(bench.text(number))
    assert model.open_samplers == 0
    if share == "off":
        assert model.cells == []


def test_a_burst_of_equal_prompts_is_read_once() -> None:
    prompt = "You are a very helpful assistant who never says no: "
    model = ScriptedModel("ok", context=128, cells=500, batch=16, sequences=16)
    bench = EngineBench(model, options=EngineOptions(slots=8))
    for number in range(8):
        bench.engine.submit(number, GenerateRequest(prompt=f"{prompt}{number}"))
    bench.wait(8)
    bench.close()
    computed = sum(len(p.tokens) for step in model.decoded for p in step if p.position < len(prompt))
    assert computed <= len(prompt) + 16  # the leader's last piece reaches beyond what is common
    ends = [bench.end(number) for number in range(8)]
    cached = [end.usage.cached_tokens for end in ends if isinstance(end, Finished)]
    assert sorted(cached) == [0] + [len(prompt)] * 7


def test_a_cancelled_leader_leaves_what_it_has_read() -> None:
    prompt = "You are a very helpful assistant who never says no, however often: "
    model = ScriptedModel("ok", context=128, cells=500, batch=8, sequences=16)
    bench = EngineBench(model)

    def cancel(parts: Sequence[Part]) -> None:
        if parts[0].position == 32:
            bench.engine.cancel(0)

    model.before_decode = cancel
    for number in range(3):
        bench.engine.submit(number, GenerateRequest(prompt=f"{prompt}{number}"))
    bench.wait(3)
    bench.close()
    assert (bench.text(1), bench.text(2)) == ("ok", "ok")
    second = bench.end(1)
    assert isinstance(second, Finished)
    assert second.usage.cached_tokens >= 32


def test_a_full_cache_lets_the_youngest_answer_wait_and_none_is_lost() -> None:
    model = ScriptedModel("y" * 40, context=64, cells=64, batch=8, sequences=8)
    bench = EngineBench(model, options=EngineOptions(slots=4))
    for number in range(4):
        bench.engine.submit(number, GenerateRequest(prompt=chr(97 + number) * 10))
    bench.wait(4)
    bench.wait_for(lambda: any(isinstance(e, Stats) and not e.values.active for e in bench.events))
    bench.close()
    assert all(bench.text(number) == "y" * 40 for number in range(4))
    stats = next(e.values for e in bench.events if isinstance(e, Stats))
    assert stats.preemptions > 0
