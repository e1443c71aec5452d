"""The command and the daemon, step by step; and commands that go away."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from skerry_agent.bundles import Answer, Exchange, ImportLimits, ImportSessions
from skerry_agent.bundles.files import BundleFiles, StickError
from skerry_agent.errors import UsageError

LIMITS = ImportLimits(answer_timeout_s=0.3, abandoned_s=0.1)
Work = Callable[[BundleFiles], Awaitable[dict[str, Any]]]


class ScriptedImport:
    """Does with the files what a test says."""

    def __init__(self, files: BundleFiles, work: Work) -> None:
        self._files = files
        self._work = work

    async def run(self, wait_s: float) -> dict[str, Any]:
        return {**await self._work(self._files), "wait_s": wait_s}


@pytest.fixture
async def make_sessions() -> AsyncIterator[Callable[[Work], ImportSessions]]:
    tasks: list[asyncio.Task[None]] = []

    def make(work: Work) -> ImportSessions:
        sessions = ImportSessions(lambda files: ScriptedImport(files, work), LIMITS)  # type: ignore[arg-type, return-value]  # the part of it that counts
        tasks.append(asyncio.create_task(sessions.run()))
        return sessions

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_daemon_asks_the_command_does_and_the_result_ends_it(
    make_sessions: Callable[[Work], ImportSessions],
) -> None:
    async def work(files: BundleFiles) -> dict[str, Any]:
        assert await files.read("bundle.json", 0, 3) == b"abc"
        assert await files.read("chunks.json", 5, 3) is None
        await files.write("back/x", b"def", first=True, last=True)
        await files.tell({"slots": {}})
        return {"outcome": "committed"}

    sessions = make_sessions(work)
    number = sessions.begin(7.0)
    step = await sessions.turn(number, None)
    assert step == {"do": "read", "name": "bundle.json", "offset": 0, "length": 3}
    step = await sessions.turn(number, Answer("ok", b"abc"))
    assert step["name"] == "chunks.json"
    step = await sessions.turn(number, Answer("missing"))
    assert (step["do"], base64.b64decode(step["data"]), step["last"]) == ("write", b"def", True)
    assert (await sessions.turn(number, Answer("ok")))["do"] == "tell"
    assert await sessions.turn(number, Answer("ok")) == {"do": "end", "outcome": "committed", "wait_s": 7.0}


async def read_one(files: BundleFiles) -> dict[str, Any]:
    await files.read("bundle.json", 0, 3)
    return {"outcome": "committed"}


async def test_what_the_stick_says_reaches_the_person(
    make_sessions: Callable[[Work], ImportSessions],
) -> None:
    sessions = make_sessions(read_one)
    number = sessions.begin()
    await sessions.turn(number, None)
    end = await sessions.turn(number, Answer("failed", b"cannot read bundle.json: Input/output error"))
    assert (end["outcome"], end["message"]) == ("failed", "cannot read bundle.json: Input/output error")


async def test_more_bytes_than_asked_for_are_refused(make_sessions: Callable[[Work], ImportSessions]) -> None:
    sessions = make_sessions(read_one)
    number = sessions.begin()
    await sessions.turn(number, None)
    assert (await sessions.turn(number, Answer("ok", b"abcd")))["outcome"] == "failed"


async def test_one_import_at_a_time_until_its_command_is_gone(
    make_sessions: Callable[[Work], ImportSessions],
) -> None:
    sessions = make_sessions(read_one)
    first = sessions.begin()
    await sessions.turn(first, None)
    with pytest.raises(UsageError, match="another bundle"):
        sessions.begin()
    await asyncio.sleep(LIMITS.abandoned_s * 1.5)
    second = sessions.begin()
    assert (await sessions.turn(second, None))["do"] == "read"
    with pytest.raises(UsageError, match="over"):
        await sessions.turn(first, Answer("ok", b"abc"))
    assert (await sessions.turn(second, Answer("ok", b"abc")))["outcome"] == "committed"


async def test_a_cancelled_import_gives_way_at_once(make_sessions: Callable[[Work], ImportSessions]) -> None:
    sessions = make_sessions(read_one)
    first = sessions.begin()
    await sessions.turn(first, None)
    sessions.cancel(first)
    second = sessions.begin()
    assert (await sessions.turn(second, None))["do"] == "read"


async def test_a_failure_that_nobody_foresaw_ends_the_import_and_not_the_agent(
    make_sessions: Callable[[Work], ImportSessions],
) -> None:
    async def work(files: BundleFiles) -> dict[str, Any]:
        raise RuntimeError("a bug")

    sessions = make_sessions(work)
    end = await sessions.turn(sessions.begin(), None)
    assert (end["outcome"], end["code"]) == ("failed", "internal")
    assert (await sessions.turn(sessions.begin(), None))["code"] == "internal"


async def test_a_command_that_is_silent_breaks_what_waits_for_it() -> None:
    exchange = Exchange(LIMITS)
    with pytest.raises(StickError, match="does not answer"):
        await exchange.read("bundle.json", 0, 1)
    with pytest.raises(StickError, match="broken off"):
        await exchange.read("bundle.json", 0, 1)


async def test_readers_take_turns() -> None:
    exchange = Exchange(LIMITS)
    reading = [asyncio.create_task(exchange.read("bundle.json", place, 1)) for place in range(3)]
    answer = None
    for _ in range(3):
        step = await exchange.turn(answer)
        answer = Answer("ok", str(step["offset"]).encode())
    exchange.end({})
    await exchange.turn(answer)
    assert await asyncio.gather(*reading) == [b"0", b"1", b"2"]
