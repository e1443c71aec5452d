"""Reads spans with several requests under way, and hands out what came, in the order in which it came."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Protocol

from skerry_agent.sync.spans import Span, SpanCursor
from skerry_protocol.requests import ResponseFrame

Ask = Callable[[Span], Awaitable[ResponseFrame]]
_Result = tuple[int, ResponseFrame] | Exception | None


class Pace(Protocol):
    """How fast bytes may be asked for."""

    def read_bytes(self, most: int) -> int:
        """How many bytes to ask for at once, at most ``most``."""

    async def turn(self, count: int) -> None:
        """Wait until ``count`` bytes may be asked for."""


class Unpaced:
    """As fast as flow control lets."""

    def read_bytes(self, most: int) -> int:
        """All of it."""
        return most

    async def turn(self, count: int) -> None:
        """At once."""


async def read_in_parallel(
    ask: Ask,
    spans: Iterable[tuple[int, int]],
    *,
    workers: int,
    piece_bytes: Callable[[], int],
    pace: Pace,
) -> AsyncGenerator[tuple[int, ResponseFrame], None]:
    """Ask for all pieces of the spans.

    Args:
        ask: Asks for one piece; its answer may be shorter, the rest is asked for again.
        spans: (offset, length).
        workers: How many questions are under way at most, and how many answers wait for the reader.
        piece_bytes: How large the next piece should be.
        pace: Holds questions back.

    Raises:
        Exception: What ``ask`` raised first; the others are cancelled.
    """
    cursor = SpanCursor(spans)
    results: asyncio.Queue[_Result] = asyncio.Queue(maxsize=workers)

    async def work() -> None:
        try:
            while (span := cursor.take(pace.read_bytes(piece_bytes()))) is not None:
                await pace.turn(span.length)
                frame = await ask(span)
                got = len(frame.body)
                cursor.give_back(Span(span.offset + got, span.length - got))
                await results.put((span.offset, frame))
        except Exception as error:  # noqa: BLE001 - raised again where the results are read
            await results.put(error)
        else:
            await results.put(None)

    tasks = [asyncio.create_task(work(), name=f"read-{number}") for number in range(workers)]
    running = workers
    try:
        while running:
            result = await results.get()
            if isinstance(result, Exception):
                raise result
            if result is None:
                running -= 1
            else:
                yield result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
