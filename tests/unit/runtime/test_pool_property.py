"""Whatever requests come, in whatever order: the budget holds, and who is served is not unloaded."""

import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from skerry_agent.runtime import ModelFile, ModelPool, NotEnoughMemoryError
from skerry_agent.runtime.model import MiB
from support.fake_runners import Nursery, fake_pool

BUDGET = 100


class Use(NamedTuple):
    """A request: for which model, after and for how many turns of the loop, what it says about keeping."""

    model: int
    starts: int
    lasts: int
    keep_alive_s: float | None


uses = st.lists(
    st.builds(
        Use,
        model=st.integers(0, 3),
        starts=st.integers(0, 20),
        lasts=st.integers(0, 20),
        keep_alive_s=st.sampled_from([None, 0.0, -1.0, 0.001]),
    ),
    min_size=1,
    max_size=25,
)
sizes = st.lists(st.integers(1, 120), min_size=4, max_size=4)


def make_models(folder: Path, wanted: list[int]) -> list[ModelFile]:
    models = []
    for number, size in enumerate(wanted):
        path = folder / f"{number}.gguf"
        with path.open("wb") as file:
            file.truncate(size * MiB)
        models.append(ModelFile(path, str(number) * 64, str(size)))
    return models


def check(nursery: Nursery) -> None:
    held = sum(int(runner.model.label) for runner in nursery.made if runner.alive)
    assert held <= BUDGET, f"{held} MiB are loaded"


async def serve(pool: ModelPool, nursery: Nursery, model: ModelFile, use: Use) -> None:
    for _ in range(use.starts):
        await asyncio.sleep(0)
    async with pool.lease(model, keep_alive_s=use.keep_alive_s) as runner:
        assert runner.model == model
        for _ in range(use.lasts):
            await asyncio.sleep(0)
            check(nursery)
            assert runner.alive, "it was unloaded while it was lent"


@settings(deadline=None, max_examples=60)
@given(sizes, uses, st.integers(0, 3))
def test_every_request_is_served_or_refused_for_its_size_alone(
    wanted: list[int], requests: list[Use], max_loaded: int
) -> None:
    async def run() -> None:
        nursery = Nursery()
        with tempfile.TemporaryDirectory() as folder:
            models = make_models(Path(folder), wanted)
            async with (
                fake_pool(nursery, memory_budget_bytes=BUDGET * MiB, max_loaded=max_loaded) as pool,
                asyncio.timeout(10),
            ):
                served = await asyncio.gather(
                    *(serve(pool, nursery, models[use.model], use) for use in requests),
                    return_exceptions=True,
                )
                check(nursery)
        for use, result in zip(requests, served, strict=True):
            if wanted[use.model] > BUDGET:
                assert isinstance(result, NotEnoughMemoryError)
            else:
                assert result is None, repr(result)

    asyncio.run(run())
