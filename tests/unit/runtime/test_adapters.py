"""Requests with LoRA adapters in the engine: apart from others in every step and in the cache."""

from collections.abc import Iterator

import pytest

from skerry_agent.runtime import AdapterFile, EmbedRequest, GenerateRequest
from skerry_agent.runtime.adapter_turns import TURN_S, AdapterTurns
from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.job_state import JobState
from skerry_agent.runtime.prefix_domain import client_of, prefix_domain
from skerry_agent.runtime.wire import Embedded, Failed, Finished
from support.scripted_model import EngineBench, ScriptedModel

GERMAN, DUTCH = (AdapterFile(name, name * 4, 1000) for name in ("german", "dutch"))


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel("y" * 20, context=64, cells=400, batch=16)


@pytest.fixture
def bench(model: ScriptedModel) -> Iterator[EngineBench]:
    made = EngineBench(model)
    yield made
    made.close()


def ask(prompt: str, *adapters: AdapterFile, max_tokens: int = 20) -> GenerateRequest:
    return GenerateRequest(prompt=prompt, adapters=adapters, max_tokens=max_tokens)


def test_only_requests_with_equal_adapters_share_a_step(bench: EngineBench, model: ScriptedModel) -> None:
    groups: list[tuple[AdapterFile, ...]] = [(), (GERMAN,), (DUTCH,), (GERMAN, DUTCH)]
    for number in range(8):
        bench.engine.submit(number, ask(f"{number}: what is it?", *groups[number % 4]))
    ends = [bench.end(number) for number in range(8)]

    assert all(isinstance(end, Finished) for end in ends)
    assert {bench.text(number) for number in range(8)} == {"y" * 20}
    used: dict[tuple[str, ...], set[int]] = {}
    for adapters, sequences in model.adapters_of:
        used.setdefault(tuple(adapters), set()).update(sequences)
    assert len(used) == 4
    assert sum(map(len, used.values())) == len(set.union(*used.values()))


def test_prefixes_are_never_shared_between_adapters(bench: EngineBench) -> None:
    def cached(*adapters: AdapterFile) -> int:
        number = len(bench.ends())
        _, end = bench.run(ask("the very same prompt for all", *adapters, max_tokens=1), number)
        assert isinstance(end, Finished)
        return end.usage.cached_tokens

    assert [cached(), cached(GERMAN), cached(DUTCH)] == [0, 0, 0]
    assert min(cached(), cached(GERMAN), cached(DUTCH)) > 20


@pytest.mark.parametrize("path", ["damaged", "unloadable"])
def test_an_adapter_that_cannot_be_used_fails_its_own_requests_only(bench: EngineBench, path: str) -> None:
    bench.engine.submit(1, ask("one"))
    bench.engine.submit(2, ask("two", AdapterFile(path, "bad", 1)))

    end = bench.end(2)
    assert isinstance(end, Failed)
    assert "adapter" in end.message
    assert isinstance(bench.end(1), Finished)


def test_vectors_come_with_adapters_too(bench: EngineBench) -> None:
    bench.engine.embed(1, EmbedRequest(inputs=("abc",), adapters=(GERMAN,)))
    bench.engine.embed(2, EmbedRequest(inputs=("abc",), adapters=(AdapterFile("damaged", "bad", 1),)))

    assert isinstance(bench.end(1), Embedded)
    assert isinstance(bench.end(2), Failed)


class Turns:
    """Turns over jobs, with a clock to set."""

    def __init__(self) -> None:
        self.now = 1.0
        self.used: list[list[str]] = []
        self.turns = AdapterTurns(self, EngineStats(), lambda: self.now)

    def use_adapters(self, adapters: object) -> None:
        assert isinstance(adapters, tuple)
        self.used.append([adapter.path for adapter in adapters])


def test_groups_take_turns_and_stay_as_long_as_nobody_else_waits() -> None:
    world = Turns()
    plain, german, dutch = (
        JobState(number, ask("x", *adapters)) for number, adapters in enumerate([(), (GERMAN,), (DUTCH,)])
    )
    assert world.turns.choose([plain]) == [plain]
    assert world.turns.choose([german, plain]) == [german]  # its turn began before there was another
    world.now += TURN_S / 2
    assert world.turns.choose([german, plain]) == [german]
    order = []
    for _ in range(6):
        world.now += TURN_S
        order += world.turns.choose([plain, german, dutch])
    assert order == [dutch, plain, german, dutch, plain, german]
    world.now += 10 * TURN_S
    assert world.turns.choose([german]) == [german]
    assert world.turns.choose([]) == []


def test_domains_of_prefixes_keep_clients_and_adapters_apart() -> None:
    clients, adapters = ["", "a", "\0a", "\0x\0a"], [(), (GERMAN,), (GERMAN, DUTCH)]
    domains = {prefix_domain(c, a): c for c in clients for a in adapters}

    assert len(domains) == len(clients) * len(adapters)
    assert all(client_of(domain) == client for domain, client in domains.items())
    assert prefix_domain("a", ()) == "a"  # as it was before there were adapters
