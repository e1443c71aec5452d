"""The pool's memory: the budget, keep-alive, pins, and trials that need room. Sizes are whole MiB."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    ModelFile,
    ModelLoadError,
    ModelOutOfServiceError,
    ModelUnavailableError,
    NotEnoughMemoryError,
    RuntimeEvent,
)
from skerry_agent.runtime.model import MiB
from support.fake_runners import FakeMachine, Nursery, fake_pool, until

MakeModel = Callable[[str, int], ModelFile]


@pytest.fixture
def model(tmp_path: Path) -> MakeModel:
    """Makes a model that needs so many MiB."""

    def make(name: str, size: int) -> ModelFile:
        path = tmp_path / f"{name}.gguf"
        with path.open("wb") as file:
            file.truncate(size * MiB)
        return ModelFile(path, name * 64, f"{name}@1")

    return make


@pytest.fixture
async def nursery() -> Nursery:
    return Nursery()


async def test_models_stay_loaded_together_while_they_fit(nursery: Nursery, model: MakeModel) -> None:
    a, b = model("a", 40), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        for each in (a, b, a, b):
            async with pool.lease(each):
                pass
        assert nursery.alive == [1, 2]
        metrics = pool.metrics()
        assert (metrics.loaded_models, metrics.loaded_bytes) == (2, 100 * MiB)
        assert metrics.memory_budget_bytes == 100 * MiB


async def test_the_model_that_is_wanted_least_makes_room(nursery: Nursery, model: MakeModel) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0  # so each load takes the same time
        return now

    a, b, c = model("a", 40), model("b", 40), model("c", 40)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB, clock=clock) as pool:
        for each in (a, b, a, a, b):
            async with pool.lease(each):
                pass
        async with pool.lease(c):
            assert nursery.alive == [1, 3]  # b was used later, but a more often
        assert pool.metrics().unloads_for_model == 1


async def test_what_cannot_fit_is_refused_with_numbers_and_starts_nothing(
    nursery: Nursery, model: MakeModel
) -> None:
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        with pytest.raises(
            NotEnoughMemoryError, match=r"a@1 needs 402 MiB \(weights 402\) and 100 MiB can be had"
        ) as caught:
            await pool.lease(model("a", 402)).__aenter__()
        assert (caught.value.need_bytes, caught.value.available_bytes) == (402 * MiB, 100 * MiB)
        assert nursery.starts == 0
        assert pool.metrics().loads_refused == 1
        assert pool.metrics().crashes == 0


async def test_a_refused_model_fits_when_there_is_more_memory(nursery: Nursery, model: MakeModel) -> None:
    machine = FakeMachine(available=100 * MiB)
    a = model("a", 90)
    async with fake_pool(nursery, machine=machine) as pool:
        with pytest.raises(NotEnoughMemoryError, match="80 MiB can be had: the budget is 80 MiB;"):
            await pool.lease(a).__aenter__()
        machine.available = 200 * MiB
        async with pool.lease(a):
            assert nursery.alive == [1]


async def test_a_budget_of_the_settings_is_never_more_than_there_is(
    nursery: Nursery, model: MakeModel
) -> None:
    machine = FakeMachine(available=100 * MiB, held={"a@1": 30 * MiB})
    async with fake_pool(nursery, machine=machine, memory_budget_bytes=1000 * MiB) as pool:
        async with pool.lease(model("a", 20)):
            machine.available = 70 * MiB
            assert pool.metrics().memory_budget_bytes == 100 * MiB  # what runs now could be had
        with pytest.raises(NotEnoughMemoryError, match="100 MiB can be had"):
            await pool.lease(model("b", 120)).__aenter__()


async def test_a_model_that_is_lent_is_not_unloaded_for_another(nursery: Nursery, model: MakeModel) -> None:
    a, b = model("a", 60), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        async with pool.lease(a):
            other = asyncio.create_task(pool.lease(b).__aenter__())
            await asyncio.sleep(0.01)
            assert nursery.alive == [1]
            assert [s.state for s in pool.status()] == ["ready", "queued"]
        assert (await other).pid == 2
        assert nursery.alive == [2]


async def test_a_busy_model_cannot_keep_another_out_for_ever(nursery: Nursery, model: MakeModel) -> None:
    a, b = model("a", 60), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        first = pool.lease(a)
        await first.__aenter__()
        other = asyncio.create_task(pool.lease(b).__aenter__())
        await asyncio.sleep(0.01)
        late = asyncio.create_task(pool.lease(a).__aenter__())  # overlaps the first, but waits behind b
        await asyncio.sleep(0.01)
        assert not late.done()
        await first.__aexit__(None, None, None)
        assert (await other).pid == 2
        assert not late.done()


async def test_two_models_take_turns_when_there_is_room_for_one(nursery: Nursery, model: MakeModel) -> None:
    models = [model("a", 60), model("b", 60)]
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:

        async def use(number: int) -> str:
            async with pool.lease(models[number % 2]) as runner:
                assert len(nursery.alive) == 1
                await asyncio.sleep(0.001)
                return runner.model.label

        async with asyncio.timeout(5):
            labels = await asyncio.gather(*(use(number) for number in range(40)))
        assert labels == ["a@1", "b@1"] * 20
        assert nursery.starts < 10


async def test_a_model_that_holds_more_than_predicted_pushes_idle_ones_out(
    nursery: Nursery, model: MakeModel
) -> None:
    machine = FakeMachine(held={"b@1": 80 * MiB})
    async with fake_pool(nursery, machine=machine, memory_budget_bytes=100 * MiB) as pool:
        async with pool.lease(model("a", 40)):
            pass
        async with pool.lease(model("b", 20)):
            await until(lambda: nursery.alive == [2])
            (status,) = (s for s in pool.status() if s.role == "serving")
            assert (status.predicted_bytes, status.measured_bytes) == (20 * MiB, 100 * MiB)
        assert pool.metrics().unloads_for_device == 1


async def test_idle_models_go_when_others_on_the_device_need_the_memory(
    nursery: Nursery, model: MakeModel
) -> None:
    machine = FakeMachine(available=200 * MiB)
    async with fake_pool(nursery, machine=machine, memory_check_interval_s=0.01) as pool:
        watch = asyncio.create_task(pool.watch_memory())
        async with pool.lease(model("b", 50)):
            async with pool.lease(model("a", 50)):
                pass
            assert nursery.alive == [1, 2]
            machine.available = 60 * MiB
            await until(lambda: nursery.alive == [1])
            await asyncio.sleep(0.03)
            assert nursery.alive == [1]  # it is lent
        await until(lambda: nursery.alive == [])
        watch.cancel()
        await asyncio.wait({watch})


@pytest.mark.parametrize("forever", [-1, -300.0, math.inf])
async def test_a_request_says_how_long_its_model_stays(
    nursery: Nursery, model: MakeModel, forever: float
) -> None:
    a = model("a", 1)
    async with fake_pool(nursery, keep_alive_s=0.01) as pool:
        async with pool.lease(a, keep_alive_s=60):
            assert pool.status()[0].keep_alive_left_s is None
        assert 59 < (pool.status()[0].keep_alive_left_s or 0) <= 60
        async with pool.lease(a):  # says nothing: as before
            pass
        assert 59 < (pool.status()[0].keep_alive_left_s or 0) <= 60
        async with pool.lease(a, keep_alive_s=forever):
            pass
        assert pool.status()[0].keep_alive_left_s is None
        await asyncio.sleep(0.03)
        assert nursery.alive == [1]
        async with pool.lease(a, keep_alive_s=0):
            assert nursery.alive == [1]
        await until(lambda: nursery.alive == [])
        assert pool.metrics().unloads_requested == 1
        async with pool.lease(a):  # a new runner begins with the setting
            pass
        await until(lambda: nursery.alive == [])
        assert pool.metrics().unloads_unused == 1


async def test_unloading_waits_for_requests(nursery: Nursery, model: MakeModel) -> None:
    a = model("a", 1)
    async with fake_pool(nursery) as pool:
        pool.unload(a.sha256)  # nothing to do
        async with pool.lease(a):
            pool.unload(a.sha256)
            await asyncio.sleep(0.01)
            assert nursery.alive == [1]
        await until(lambda: nursery.alive == [])


async def test_a_number_that_is_none_is_no_time(nursery: Nursery, model: MakeModel) -> None:
    async with fake_pool(nursery) as pool:
        with pytest.raises(ValueError, match="not a number"):
            await pool.lease(model("a", 1), keep_alive_s=math.nan).__aenter__()


async def test_a_pinned_model_is_loaded_and_stays(nursery: Nursery, model: MakeModel) -> None:
    a, b = model("a", 60), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB, keep_alive_s=0.01) as pool:
        pool.pin([a])
        await until(lambda: nursery.alive == [1])
        async with pool.lease(a, keep_alive_s=0):
            pass
        await asyncio.sleep(0.03)
        assert nursery.alive == [1]
        assert pool.status()[0].pinned
        with pytest.raises(NotEnoughMemoryError, match=r"40 MiB can be had: .*60 MiB stay with other models"):
            await pool.lease(b).__aenter__()
        assert (pool.room_for(), pool.room_for(replaces=a.sha256)) == (40 * MiB, 100 * MiB)
        pool.pin([])
        async with pool.lease(b):
            assert nursery.alive == [2]


async def test_a_pinned_model_that_does_not_fit_is_loaded_when_it_does(
    nursery: Nursery, model: MakeModel
) -> None:
    machine = FakeMachine(available=100 * MiB)
    async with fake_pool(nursery, machine=machine, memory_check_interval_s=0.01) as pool:
        watch = asyncio.create_task(pool.watch_memory())
        pool.pin([model("a", 90)])
        await until(lambda: pool.metrics().loads_refused == 1)
        await asyncio.sleep(0.03)
        assert pool.metrics().loads_refused == 1  # not tried in vain
        (status,) = pool.status()
        assert (status.state, status.pinned) == ("unloaded", True)
        assert "90 MiB" in (status.last_error or "")
        machine.available = 200 * MiB
        await until(lambda: nursery.alive == [1])
        watch.cancel()
        await asyncio.wait({watch})


async def test_a_trial_beside_the_old_version_unloads_nothing_when_both_fit(
    nursery: Nursery, model: MakeModel
) -> None:
    a, b = model("a", 40), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        async with pool.lease(a):
            candidate = await pool.trial(b, make_room=True, replaces=a.sha256)
            assert nursery.alive == [1, 2]
        await pool.discard(candidate)


@pytest.mark.parametrize("pinned", [False, True])
async def test_the_old_version_makes_room_for_a_trial_and_comes_back_when_it_fails(
    nursery: Nursery, model: MakeModel, pinned: bool
) -> None:
    a, b = model("a", 60), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        if pinned:
            pool.pin([a])
        async with pool.lease(a):
            trial = asyncio.create_task(pool.trial(b, make_room=True, replaces=a.sha256))
            await asyncio.sleep(0.01)
            assert nursery.alive == [1]  # its request may finish
        candidate = await trial
        assert nursery.alive == [2]
        waiting = asyncio.create_task(pool.lease(a).__aenter__())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await pool.discard(candidate)
        assert (await waiting).pid == 3
        assert nursery.alive == [3]
        assert pool.metrics().unloads_for_trial == 1


async def test_the_old_version_comes_back_without_a_request(nursery: Nursery, model: MakeModel) -> None:
    a, b = model("a", 60), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        async with pool.lease(a):
            pass
        nursery.failure = ModelLoadError("b@1 does not load")
        with pytest.raises(ModelLoadError):
            await pool.trial(b, make_room=True, replaces=a.sha256)
        nursery.failure = None
        async with pool.lease(a) as runner:
            assert runner.model.label == "a@1"
        async with pool.lease(a):
            candidate = asyncio.create_task(pool.trial(b, make_room=True, replaces=a.sha256))
            await asyncio.sleep(0.01)
            candidate.cancel()
            await asyncio.wait({candidate})
        await until(lambda: [s.state for s in pool.status()] == ["ready"])


async def test_a_request_that_waited_through_a_passed_trial_is_answered_by_its_own_version(
    nursery: Nursery, model: MakeModel
) -> None:
    a, b = model("a", 60), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        async with pool.lease(a):
            pass
        candidate = await pool.trial(b, make_room=True, replaces=a.sha256)
        waiting = asyncio.create_task(pool.lease(a).__aenter__())
        await asyncio.sleep(0.01)
        await pool.promote(candidate)
        await pool.retire(a.sha256)
        assert (await waiting).model.label == "a@1"


async def test_a_trial_takes_nobody_s_room_unless_it_is_told_to(nursery: Nursery, model: MakeModel) -> None:
    a, b = model("a", 60), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        async with pool.lease(a):
            pass
        with pytest.raises(NotEnoughMemoryError, match="40 MiB can be had"):
            await pool.trial(b, replaces=a.sha256)
        assert nursery.alive == [1]


async def test_a_trial_takes_idle_models_before_the_one_it_replaces(
    nursery: Nursery, model: MakeModel
) -> None:
    a, b, c = model("a", 40), model("b", 40), model("c", 50)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        for each in (b, a):
            async with pool.lease(each):
                pass
        candidate = await pool.trial(c, make_room=True, replaces=a.sha256)
        assert nursery.alive == [2, 3]
        await pool.discard(candidate)


async def test_leases_wait_for_the_room_that_a_trial_holds(nursery: Nursery, model: MakeModel) -> None:
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB, load_timeout_s=0.02) as pool:
        candidate = await pool.trial(model("a", 60))
        waiting = asyncio.create_task(pool.lease(model("b", 60)).__aenter__())
        await asyncio.sleep(0.06)
        assert not waiting.done()  # a trial has a deadline of its own
        await pool.discard(candidate)
        assert (await waiting).pid == 2


async def test_a_model_out_of_service_is_told_and_tried_again_when_its_time_is_over(
    nursery: Nursery, model: MakeModel
) -> None:
    a = model("a", 1)
    events: list[RuntimeEvent] = []
    async with fake_pool(nursery, max_crashes=2, crash_window_s=0.3, on_event=events.append) as pool:
        for _ in range(2):
            async with pool.lease(a):
                pass
            nursery.made[-1].crash()
            await asyncio.sleep(0)
        with pytest.raises(ModelOutOfServiceError):
            await pool.lease(a).__aenter__()
        (status,) = pool.status()
        assert status.state == "out_of_service"
        assert 0 < status.retry_after_s <= 0.3
        assert pool.metrics().out_of_service_models == 1
        await until(lambda: nursery.alive == [3])
        assert pool.metrics().out_of_service_models == 0
        assert [event.name for event in events] == [
            "runner_crashed",
            "runner_crashed",
            "model_out_of_service",
            "model_back_in_service",
        ]
        assert "it crashed" in events[2].message


async def test_a_file_that_never_loaded_is_not_tried_again_by_itself(
    nursery: Nursery, model: MakeModel
) -> None:
    nursery.failure = ModelLoadError("damaged")
    events: list[RuntimeEvent] = []
    async with fake_pool(nursery, max_crashes=1, crash_window_s=0.02, on_event=events.append) as pool:
        with pytest.raises(ModelLoadError):
            await pool.lease(model("a", 1)).__aenter__()
        await asyncio.sleep(0.05)
        assert nursery.starts == 1
        assert [event.name for event in events] == ["model_out_of_service"]


async def test_a_model_that_crashed_is_not_loaded_again_at_the_cost_of_another(
    nursery: Nursery, model: MakeModel
) -> None:
    a, b = model("a", 60), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool:
        async with pool.lease(a):
            other = asyncio.create_task(pool.lease(b).__aenter__())
            await asyncio.sleep(0.01)
            nursery.made[0].crash()
            assert (await other).pid == 2
        await asyncio.sleep(0.01)
        assert nursery.alive == [2]


async def test_a_closed_pool_ends_those_who_wait_for_room(nursery: Nursery, model: MakeModel) -> None:
    a, b = model("a", 60), model("b", 60)
    async with fake_pool(nursery, memory_budget_bytes=100 * MiB) as pool, pool.lease(a):
        waiting = [asyncio.create_task(pool.lease(b).__aenter__())]
        await until(lambda: [s.state for s in pool.status()] == ["ready", "queued"])
        await asyncio.sleep(0.01)
        waiting.append(asyncio.create_task(pool.lease(a).__aenter__()))
        await asyncio.sleep(0.01)
        await pool.aclose()
        for task in waiting:
            with pytest.raises(ModelUnavailableError, match="shut down"):
                await task


async def test_a_load_shows_how_far_it_is(nursery: Nursery, model: MakeModel) -> None:
    machine = FakeMachine(loaded=10 * MiB)
    nursery.go.clear()
    async with fake_pool(nursery, machine=machine, memory_budget_bytes=100 * MiB) as pool:
        loading = asyncio.create_task(pool.lease(model("a", 40)).__aenter__())
        await until(lambda: nursery.starts == 1)
        (status,) = pool.status()
        assert (status.state, status.load_fraction) == ("loading", 0.25)
        assert status.memory_bytes == 40 * MiB
        machine.loaded = 50 * MiB
        assert pool.status()[0].load_fraction == 1.0
        nursery.go.set()
        await loading
        assert pool.status()[0].load_fraction is None
