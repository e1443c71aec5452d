"""The pool with runners that are only bookkeeping."""

import asyncio
from pathlib import Path

import pytest

from skerry_agent.runtime import (
    ModelLoadError,
    ModelOutOfServiceError,
    ModelUnavailableError,
)
from skerry_protocol.errors import ModelFileError
from support.fake_runners import A, B, Nursery, fake_pool, until


@pytest.fixture
async def nursery() -> Nursery:
    return Nursery()


async def test_a_model_is_loaded_once_for_all_leases(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool:
        async with pool.lease(A) as first, pool.lease(A) as second:
            assert first is second
        async with pool.lease(A) as third:
            assert third is first
        assert nursery.starts == 1


async def test_leases_that_come_during_a_load_share_it(nursery: Nursery) -> None:
    nursery.go.clear()
    async with fake_pool(nursery) as pool:

        async def use() -> int:
            async with pool.lease(A) as runner:
                return runner.pid

        uses = [asyncio.create_task(use()) for _ in range(3)]
        await until(lambda: nursery.starts == 1)
        assert [s.state for s in pool.status()] == ["loading"]
        nursery.go.set()
        assert await asyncio.gather(*uses) == [1, 1, 1]


async def test_a_caller_that_gives_up_does_not_stop_the_load(nursery: Nursery) -> None:
    nursery.go.clear()
    async with fake_pool(nursery) as pool:
        use = asyncio.create_task(pool.lease(A).__aenter__())
        await until(lambda: nursery.starts == 1)
        use.cancel()
        with pytest.raises(asyncio.CancelledError):
            await use
        nursery.go.set()
        async with pool.lease(A):
            assert nursery.starts == 1


async def test_a_refused_header_keeps_the_file_from_llama_cpp(nursery: Nursery) -> None:
    def check(path: Path) -> None:
        raise ModelFileError(f"{path.name} is truncated")

    async with fake_pool(nursery, check=check) as pool:
        with pytest.raises(ModelLoadError, match=r"a@1 is refused: a\.gguf is truncated"):
            async with pool.lease(A):
                pass
        with pytest.raises(ModelLoadError, match="refused"):
            await pool.trial(A)
        assert nursery.starts == 0


async def test_a_missing_file_is_a_clear_error(nursery: Nursery) -> None:
    async with fake_pool(nursery, check=Path.read_bytes) as pool:
        with pytest.raises(ModelLoadError, match="a@1 cannot be read"):
            async with pool.lease(A):
                pass


async def test_after_a_crash_the_runner_is_warm_again_without_a_request(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool:
        async with pool.lease(A):
            nursery.made[0].crash()
        await until(lambda: nursery.alive == [2])
        (status,) = pool.status()
        assert (status.state, status.restarts, status.last_error) == ("ready", 1, "it crashed")
        assert pool.metrics().crashes == 1


async def test_a_lease_after_a_crash_gets_a_live_runner(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool:
        async with pool.lease(A):
            pass
        nursery.made[0].crash()
        async with pool.lease(A) as runner:
            assert runner.pid == 2


async def test_too_many_crashes_take_the_model_out_of_service(nursery: Nursery) -> None:
    async with fake_pool(nursery, max_crashes=3) as pool:
        for pid in (1, 2, 3):
            async with pool.lease(A) as runner:
                assert runner.pid == pid
            nursery.made[-1].crash()
            await asyncio.sleep(0)
        with pytest.raises(ModelOutOfServiceError, match=r"a@1 is out of service.*it crashed") as caught:
            async with pool.lease(A):
                pass
        assert caught.value.retry_after_s > 200
        assert [s.state for s in pool.status()] == ["out_of_service"]
        assert nursery.starts == 3


async def test_failed_loads_count_as_well(nursery: Nursery) -> None:
    nursery.failure = ModelLoadError("a@1 does not load: damaged")
    async with fake_pool(nursery, max_crashes=2) as pool:
        for _ in range(2):
            with pytest.raises(ModelLoadError):
                await pool.lease(A).__aenter__()
            assert pool.status()[0].state in {"crashed", "out_of_service"}
        with pytest.raises(ModelOutOfServiceError, match="damaged"):
            await pool.lease(A).__aenter__()
        assert nursery.starts == 2


async def test_the_longest_unused_model_makes_room_for_another(nursery: Nursery) -> None:
    async with fake_pool(nursery, max_loaded=1) as pool:
        async with pool.lease(A):
            pass
        async with pool.lease(B):
            assert nursery.alive == [2]
        assert [s.label for s in pool.status()] == ["b@1"]


async def test_a_model_waits_for_a_busy_one_to_end(nursery: Nursery) -> None:
    async with fake_pool(nursery, max_loaded=1) as pool:
        async with pool.lease(A):
            other = asyncio.create_task(pool.lease(B).__aenter__())
            await asyncio.sleep(0.01)
            assert nursery.alive == [1]
        assert (await other).pid == 2
        assert nursery.alive == [2]


async def test_waiting_for_room_has_a_deadline(nursery: Nursery) -> None:
    async with fake_pool(nursery, max_loaded=1, load_timeout_s=0.02) as pool, pool.lease(A):
        with pytest.raises(ModelUnavailableError, match="other models were busy"):
            await pool.lease(B).__aenter__()


async def test_two_models_stay_when_there_is_room(nursery: Nursery) -> None:
    async with fake_pool(nursery, max_loaded=2) as pool, pool.lease(A), pool.lease(B):
        assert nursery.alive == [1, 2]


async def test_an_unused_model_is_unloaded_and_loaded_again(nursery: Nursery) -> None:
    async with fake_pool(nursery, keep_alive_s=0.01) as pool:
        async with pool.lease(A):
            await asyncio.sleep(0.03)
            assert nursery.alive == [1]
        await until(lambda: nursery.alive == [])
        await until(lambda: pool.status() == [])
        async with pool.lease(A) as runner:
            assert runner.pid == 2
            assert pool.status()[0].restarts == 0


async def test_a_candidate_is_beside_the_serving_runner_and_takes_over_without_a_load(
    nursery: Nursery,
) -> None:
    async with fake_pool(nursery) as pool:
        async with pool.lease(A):
            pass
        candidate = await pool.trial(B)
        assert [(s.label, s.role) for s in pool.status()] == [("a@1", "serving"), ("b@1", "candidate")]
        await pool.promote(candidate)
        async with pool.lease(B) as runner:
            assert runner is candidate
        await pool.retire(A.sha256)
        assert nursery.alive == [2]
        assert [(s.label, s.role) for s in pool.status()] == [("b@1", "serving")]


async def test_a_promoted_candidate_replaces_a_runner_of_the_same_file(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool:
        async with pool.lease(A) as old:
            candidate = await pool.trial(A)
            await pool.promote(candidate)
            async with pool.lease(A) as new:
                assert new is candidate
            assert old.alive
        await until(lambda: nursery.alive == [2])


async def test_promoting_during_a_load_of_the_same_file_serves_the_candidate(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool:
        candidate = await pool.trial(A)
        nursery.go.clear()
        waiting = asyncio.create_task(pool.lease(A).__aenter__())
        await until(lambda: nursery.starts == 2)
        await pool.promote(candidate)
        assert await waiting is candidate
        assert nursery.alive == [1]


async def test_a_dead_candidate_is_not_promoted(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool:
        candidate = await pool.trial(A)
        nursery.made[0].crash()
        with pytest.raises(ModelUnavailableError, match="a@1 cannot be activated"):
            await pool.promote(candidate)
        assert pool.status() == []


async def test_a_candidate_can_be_discarded_once(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool:
        candidate = await pool.trial(A)
        await pool.discard(candidate)
        assert nursery.alive == []
        with pytest.raises(ValueError, match="no candidate"):
            await pool.discard(candidate)


async def test_a_trial_that_is_cancelled_leaves_no_runner(nursery: Nursery) -> None:
    nursery.go.clear()
    async with fake_pool(nursery) as pool:
        trial = asyncio.create_task(pool.trial(A))
        await until(lambda: nursery.starts == 1)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        nursery.go.set()
        await asyncio.sleep(0.01)
        assert pool.status() == []


async def test_retiring_waits_for_leases(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool:
        async with pool.lease(A) as runner:
            retiring = asyncio.create_task(pool.retire(A.sha256))
            await asyncio.sleep(0.01)
            assert runner.alive
            assert [s.role for s in pool.status()] == ["draining"]
        await retiring
        assert nursery.alive == []


async def test_a_lease_during_retirement_gets_a_new_runner(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool, pool.lease(A):
        retiring = asyncio.create_task(pool.retire(A.sha256))
        await asyncio.sleep(0)
        async with pool.lease(A) as new:
            assert new.pid == 2
        retiring.cancel()
        await asyncio.gather(retiring, return_exceptions=True)


async def test_draining_has_a_deadline(nursery: Nursery) -> None:
    async with fake_pool(nursery, drain_timeout_s=0.02) as pool, pool.lease(A) as runner:
        await pool.retire(A.sha256)
        assert not runner.alive


async def test_retiring_what_is_not_loaded_is_fine(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool:
        await pool.retire(A.sha256)


async def test_a_crash_of_a_retired_runner_starts_none(nursery: Nursery) -> None:
    async with fake_pool(nursery) as pool, pool.lease(A):
        retiring = asyncio.create_task(pool.retire(A.sha256))
        await asyncio.sleep(0)
        nursery.made[0].crash()
        await asyncio.sleep(0.01)
        assert nursery.starts == 1
        retiring.cancel()
        await asyncio.gather(retiring, return_exceptions=True)


async def test_a_closed_pool_refuses_and_ends_what_waits(nursery: Nursery) -> None:
    nursery.go.clear()
    async with fake_pool(nursery) as pool:
        waiting = asyncio.create_task(pool.lease(A).__aenter__())
        trying = asyncio.create_task(pool.trial(B))
        await until(lambda: nursery.starts == 2)
        await pool.aclose()
        for task in (waiting, trying):
            with pytest.raises(ModelUnavailableError, match="shut down"):
                await task
        with pytest.raises(ModelUnavailableError, match="shut down"):
            await pool.lease(A).__aenter__()
