"""A client goes away: how long its slot stays taken."""

import asyncio
import time
from collections.abc import Callable

from bench.runtime.http_stream import Answer, PeerError
from bench.runtime.peers import SLOTS
from bench.runtime.prompts import prefix_text, question, story_prompt
from bench.runtime.scale import Turn
from bench.runtime.skerry import Skerry

POLL_S = 0.004
IN_FLIGHT = "skerry_runtime_in_flight"
LONG_TOKENS = 1000
LONG_PROMPT_WORDS = 1500
DEADLINE_S = 10.0
READING_S = 0.15
"""So long after it was sent, the long prompt is still being read."""


def disconnect(turn: Turn) -> None:
    """Clients go away in the middle of an answer, alone and beside seven others, and of reading a prompt."""
    peer = turn.peer
    if not isinstance(peer, Skerry):
        return
    times_s = {
        "answering, alone": asyncio.run(_leave_answer(peer, turn.number, beside=0)),
        "answering, beside others": asyncio.run(_leave_answer(peer, turn.number, beside=SLOTS - 1)),
        "reading": asyncio.run(_leave_reading(peer, turn.number)),
    }
    for name, seconds in times_s.items():
        turn.add(f"disconnect: {name}", seconds * 1e3)
    turn.add("disconnect", max(times_s.values()) * 1e3)


async def _leave_answer(peer: Skerry, number: int, *, beside: int) -> float:
    others = [
        asyncio.create_task(peer.ask(story_prompt("beside", number, n), LONG_TOKENS)) for n in range(beside)
    ]
    try:
        await _in_flight(peer, lambda count: count == beside)
        await peer.ask(story_prompt("leaves", number, beside), LONG_TOKENS, abandon_after=8)
        left = time.perf_counter()
        await _in_flight(peer, lambda count: count <= beside)
        return time.perf_counter() - left
    finally:
        await _end(others)
        await _in_flight(peer, lambda count: count == 0)


async def _leave_reading(peer: Skerry, number: int) -> float:
    prompt = question(prefix_text(LONG_PROMPT_WORDS, "reading", peer.case.name, number), number)
    reading = asyncio.create_task(peer.ask(prompt, 1))
    try:
        await _in_flight(peer, lambda count: count == 1)
        await asyncio.sleep(READING_S)
        if reading.done():
            raise PeerError(f"{peer.name} read {LONG_PROMPT_WORDS} words within {READING_S:g} s")
    finally:
        left = time.perf_counter()
        await _end([reading])
    await _in_flight(peer, lambda count: count == 0)
    return time.perf_counter() - left


async def _end(tasks: list["asyncio.Task[Answer]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _in_flight(peer: Skerry, wanted: Callable[[float], bool]) -> None:
    """Wait until so many requests hold a place, by the agent's own count.

    It counts a request until the runner has said that it is over.
    """
    end = time.perf_counter() + DEADLINE_S
    while not wanted((await asyncio.to_thread(peer.figures)).get(IN_FLIGHT, 0.0)):
        if time.perf_counter() > end:
            raise PeerError(f"{peer.name}: requests in flight stay as they are for {DEADLINE_S:g} s")
        await asyncio.sleep(POLL_S)
