"""Runner processes that crash, hang, lose their parent, or get a bad file."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from skerry_agent.runtime import (
    EmbedRequest,
    GenerateRequest,
    ModelFile,
    ModelLoadError,
    ModelPool,
    ModelUnavailableError,
    QueueFullError,
    Runner,
    RunnerCrashedError,
    RunnerOptions,
    RuntimeLimits,
    Sampling,
    TokenEvent,
    second_try,
)
from skerry_agent.runtime.wire import Ready, encode
from support.tiny_gguf import write_tiny_gguf

OpenRunner = Callable[..., AbstractAsyncContextManager[Runner]]
LONG = RunnerOptions(context_tokens=32768, threads=1)
REQUEST = GenerateRequest(prompt="Hi")


def _is_gone(pid: int) -> bool:
    """No such process, and no zombie either."""
    return not Path(f"/proc/{pid}").exists()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - /proc has no events
            await asyncio.sleep(0.01)


async def test_a_kill_under_requests_ends_all_of_them_at_once_and_leaves_no_zombie(
    open_runner: OpenRunner, long_tiny: ModelFile
) -> None:
    async with open_runner(long_tiny, options=LONG) as runner:
        running, waiting = runner.generate(REQUEST), runner.generate(REQUEST)
        async with aclosing(running), aclosing(waiting):
            await anext(running)
            second = asyncio.ensure_future(anext(waiting))
            await asyncio.sleep(0)
            os.kill(runner.pid, signal.SIGKILL)
            killed = time.monotonic()
            with pytest.raises(
                RunnerCrashedError, match=r"long@1 ended by signal SIGKILL.*try again"
            ) as caught:
                async for _ in running:
                    pass
            with pytest.raises(RunnerCrashedError):
                await second
            assert time.monotonic() - killed < 2
        assert caught.value.exit_code == -signal.SIGKILL
        assert await runner.exited == -signal.SIGKILL
        assert _is_gone(runner.pid)
        assert not runner.alive
        with pytest.raises(RunnerCrashedError):
            await anext(runner.generate(REQUEST))


async def test_after_a_kill_the_pool_serves_the_next_request(long_tiny: ModelFile) -> None:
    pool = ModelPool(check_header=lambda _: None, options=LONG)
    try:
        async with pool.lease(long_tiny) as runner, aclosing(runner.generate(REQUEST)) as events:
            await anext(events)
            os.kill(runner.pid, signal.SIGKILL)
            with pytest.raises(RunnerCrashedError):
                async for _ in events:
                    pass
        async with pool.lease(long_tiny) as again:
            assert again.pid != runner.pid
            done = [event async for event in again.generate(GenerateRequest(prompt="Hi", max_tokens=2))]
            assert done
        assert pool.status()[0].restarts == 1
        metrics = pool.metrics()
        assert (metrics.crashes, metrics.requests, metrics.requests_failed, metrics.loads) == (1, 2, 1, 2)
        assert metrics.mean_first_token_ms is not None
    finally:
        await pool.aclose()
    assert _is_gone(again.pid)


async def test_a_stopped_runner_ends_its_requests_and_is_gone(
    open_runner: OpenRunner, long_tiny: ModelFile
) -> None:
    async with open_runner(long_tiny, options=LONG) as runner:
        async with aclosing(runner.generate(REQUEST)) as events:
            await anext(events)
            await runner.stop()
            with pytest.raises(ModelUnavailableError, match="unloaded"):
                async for _ in events:
                    pass
        assert await runner.exited == 0
        assert not runner.crashed
        assert _is_gone(runner.pid)


async def test_a_runner_that_hangs_is_killed_and_its_requests_end(
    open_runner: OpenRunner, long_tiny: ModelFile
) -> None:
    limits = RuntimeLimits(ping_interval_s=0.2, ping_timeout_s=0.5)
    async with open_runner(long_tiny, options=LONG, limits=limits) as runner:
        async with aclosing(runner.generate(REQUEST)) as events:
            await anext(events)
            os.kill(runner.pid, signal.SIGSTOP)
            with pytest.raises(RunnerCrashedError, match=r"did not answer for 0\.5 s"):
                async for _ in events:
                    pass
        assert _is_gone(runner.pid)


async def test_a_runner_that_hangs_is_killed_when_it_is_stopped(
    open_runner: OpenRunner, tiny: ModelFile
) -> None:
    async with open_runner(tiny, limits=RuntimeLimits(stop_timeout_s=0.2)) as runner:
        os.kill(runner.pid, signal.SIGSTOP)
        await runner.stop()
        assert await runner.exited == -signal.SIGKILL
        assert _is_gone(runner.pid)


def test_the_runner_dies_with_a_parent_that_is_killed(tiny: ModelFile) -> None:
    code = f"""
        import asyncio
        from pathlib import Path
        from skerry_agent.runtime import ModelFile, Runner

        async def main():
            runner = await Runner.start(ModelFile(Path({str(tiny.path)!r}), "0" * 64, "tiny@1"))
            print("RUNNER", runner.pid, flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = next(int(line.split()[1]) for line in parent.stdout if line.startswith("RUNNER"))
        assert not _is_gone(pid)
        parent.kill()
    deadline = time.monotonic() + 5
    while not _is_dead(pid):
        assert time.monotonic() < deadline, "the runner outlived its parent"
        time.sleep(0.01)


def _is_dead(pid: int) -> bool:
    """Gone, or a zombie that whoever inherited it has not reaped: not our child any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_a_runner_whose_parent_is_another_process_does_not_start() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "skerry_agent.runtime.runner_main", "1", stdin=subprocess.DEVNULL
    )
    assert await process.wait() == 70


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[: len(raw) // 2], "does not load"),
        (lambda raw: raw[:10], "does not load"),
        (lambda _: b"", "does not load"),
        (lambda _: b"not a model at all" * 100, "does not load"),
    ],
    ids=["half", "ten-bytes", "empty", "other"],
)
async def test_a_damaged_file_is_a_clear_error_and_the_daemon_lives(
    tiny: ModelFile, tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damage(tiny.path.read_bytes()))
    with pytest.raises(ModelLoadError, match=message):
        await Runner.start(ModelFile(path, "0" * 64, "damaged@1"))


async def test_a_file_that_makes_llama_cpp_abort_is_a_clear_error(tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "abort.gguf", overrides={"llama.block_count": 4_000_000_000})
    with pytest.raises(ModelLoadError, match=r"abort@1 does not load: .*"):
        await Runner.start(ModelFile(path, "0" * 64, "abort@1"))


async def test_a_load_that_takes_too_long_is_ended(tiny: ModelFile) -> None:
    with pytest.raises(ModelLoadError, match=r"did not load within 0\.01 s"):
        await Runner.start(tiny, limits=RuntimeLimits(load_timeout_s=0.01))


async def test_a_load_that_is_cancelled_leaves_no_process(tiny: ModelFile) -> None:
    before = _children()
    start = asyncio.create_task(Runner.start(tiny))
    await _until(lambda: _children() != before)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert _children() == before


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def test_a_program_that_cannot_be_started_is_a_clear_error(tiny: ModelFile) -> None:
    with pytest.raises(ModelLoadError, match="cannot be started"):
        await Runner.start(tiny, command=["/nonexistent/python"])


@pytest.mark.parametrize(
    "output",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x03abc",
        encode(Ready("", "", 1, 1, 1, 1, 1, has_chat_template=False)) * 2,
    ],
    ids=["length", "garbage", "twice-ready"],
)
async def test_a_process_that_breaks_the_protocol_is_killed(tiny: ModelFile, output: bytes) -> None:
    code = f"import sys, time; sys.stdout.buffer.write({output!r}); sys.stdout.flush(); time.sleep(60)"
    try:
        runner = await Runner.start(tiny, command=[sys.executable, "-c", code])
    except ModelLoadError as error:
        assert "broke the protocol" in str(error)  # noqa: PT017 - one of two ways that it may be found
    else:
        assert await runner.exited == -signal.SIGKILL
        assert "broke the protocol" in str(runner.crash_error())


async def test_a_process_that_makes_no_progress_is_killed(tiny: ModelFile) -> None:
    ready = encode(Ready("", "", 1, 1, 1, 1, 1, has_chat_template=False))
    code = f"import sys; sys.stdout.buffer.write({ready!r}); sys.stdout.flush(); sys.stdin.buffer.read()"
    limits = RuntimeLimits(ping_interval_s=0, stall_timeout_s=0.2)
    runner = await Runner.start(tiny, limits=limits, command=[sys.executable, "-c", code])
    with pytest.raises(RunnerCrashedError, match="no progress"):
        await anext(runner.generate(REQUEST))
    assert _is_gone(runner.pid)


async def test_the_last_words_of_a_crashed_process_are_told(tiny: ModelFile) -> None:
    code = (
        "import os, sys; sys.stderr.write('first\\nGGML_ASSERT(x) failed\\n'); sys.stderr.flush(); os.abort()"
    )
    with pytest.raises(ModelLoadError, match=r"SIGABRT \(it last wrote: GGML_ASSERT\(x\) failed\)"):
        await Runner.start(tiny, command=[sys.executable, "-c", code])


async def test_no_descriptor_of_the_daemon_reaches_a_runner(open_runner: OpenRunner, tiny: ModelFile) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        async with open_runner(tiny) as first, open_runner(tiny) as second:
            pipe = _descriptors(os.getpid())[write]
            for runner in (first, second):
                assert pipe not in _descriptors(runner.pid).values()
    finally:
        os.close(read)
        os.close(write)


def _descriptors(pid: int) -> dict[int, str]:
    folder = Path(f"/proc/{pid}/fd")
    return {int(link.name): str(link.readlink()) for link in folder.iterdir() if link.is_symlink()}


async def test_requests_that_had_not_begun_are_answered_by_the_next_runner(long_tiny: ModelFile) -> None:
    options = RunnerOptions(context_tokens=32768, threads=1, slots=2)
    pool = ModelPool(check_header=lambda _: None, options=options)
    endless = GenerateRequest(prompt="Hi", sampling=Sampling(temperature=0))
    short = GenerateRequest(prompt="Hi", sampling=Sampling(temperature=0), max_tokens=5, deadline_s=60)

    async def ask(request: GenerateRequest) -> str:
        async with pool.lease(long_tiny) as runner:
            events = second_try.generate(runner, request, lambda: pool.lease(long_tiny, again=True))
            async with aclosing(events):
                return "".join([event.text async for event in events if isinstance(event, TokenEvent)])

    try:
        async with pool.lease(long_tiny) as first:
            running = [asyncio.create_task(ask(endless)) for _ in range(2)]
            await _until(lambda: first.in_flight == 2 and first.queue_depth == 0)
            waiting = [asyncio.create_task(ask(short)) for _ in range(3)]
            await _until(lambda: first.queue_depth == 3)
            os.kill(first.pid, signal.SIGKILL)
            lost = await asyncio.gather(*running, return_exceptions=True)
            assert [type(error) for error in lost] == [RunnerCrashedError] * 2
            answers = await asyncio.gather(*waiting)
            # It still holds the runner that is gone: new questions go to the other.
            events = second_try.generate(first, short, lambda: pool.lease(long_tiny, again=True))
            answers.append("".join([event.text async for event in events if isinstance(event, TokenEvent)]))
            vector = await second_try.embed(
                first, EmbedRequest(("Hi",)), lambda: pool.lease(long_tiny, again=True)
            )
        assert vector.dimensions > 0
        assert answers == [await ask(short)] * 4
        assert pool.metrics().requests_repeated == 5
        assert pool.metrics().crashes == 1
    finally:
        await pool.aclose()


async def test_a_request_is_repeated_once_and_only_within_its_deadline() -> None:
    lost = RunnerCrashedError("it ended")
    lost.started = False

    @dataclass
    class Dying:
        model = ModelFile(Path("x"), "0" * 64, "x@1")
        asked: list[GenerateRequest] = field(default_factory=list)

        async def generate(self, request: GenerateRequest) -> AsyncIterator[TokenEvent]:
            self.asked.append(request)
            await asyncio.sleep(0.01)
            for error in (lost,):
                raise error
            yield TokenEvent("never")

    first, second = Dying(), Dying()

    @asynccontextmanager
    async def lease_again() -> AsyncIterator[Runner]:
        yield cast("Runner", second)

    for deadline_s, tries in ((60, 1), (None, 2), (0.001, 2)):
        request = GenerateRequest(prompt="Hi", deadline_s=deadline_s)
        with pytest.raises((RunnerCrashedError, QueueFullError)):
            await anext(second_try.generate(cast("Runner", first), request, lease_again))
        assert len(second.asked) == tries
    assert second.asked[0].deadline_s is not None
    assert 59 < second.asked[0].deadline_s < 60
    lost.started = True
    with pytest.raises(RunnerCrashedError):
        await anext(second_try.generate(cast("Runner", first), request, lease_again))
    assert len(second.asked) == 2
