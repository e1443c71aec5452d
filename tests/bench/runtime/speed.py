"""Decoding: one stream, eight streams with the engine's own share of a step, and beside a busy neighbour."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.runtime.http_stream import Answer
from bench.runtime.peers import SLOTS
from bench.runtime.prompts import story_prompt
from bench.runtime.scale import Turn
from bench.runtime.skerry import Skerry
from support.processes import Service

STATS_SETTLE_S = 1.5
"""The runner tells its counters once a second."""
PATIENCE_S = 30.0
"""An answer beside the neighbour is broken off after so long: a peer that crawls is measured by its crawl."""


def one_stream(turn: Turn) -> None:
    """A single answer: tokens a second after the first."""
    answer = asyncio.run(turn.peer.ask(story_prompt("one", turn.number), turn.scale.decode_tokens))
    turn.add("one_stream", answer.decode_rate)
    _note_length(turn, [answer])


def eight_streams(turn: Turn) -> None:
    """Eight answers at once: all their tokens, from the first request to the last answer's end."""
    before = turn.peer.engine_counters() if isinstance(turn.peer, Skerry) else None
    answers = asyncio.run(_at_once(turn))
    took = max(a.ended_at for a in answers) - min(a.sent_at for a in answers)
    turn.add("eight_streams", sum(answer.tokens for answer in answers) / took)
    _note_length(turn, answers)
    if before is None or not isinstance(turn.peer, Skerry):
        return
    time.sleep(STATS_SETTLE_S)
    after = turn.peer.engine_counters()
    if after is not None and after.steps > before.steps:
        turn.add("step_overhead", (after.rest_s - before.rest_s) / (after.steps - before.steps) * 1e6)


def neighbour(turn: Turn) -> None:
    """A single answer while another process wants a core for itself all the time."""
    with busy_process(turn.folder):
        asyncio.run(
            turn.peer.ask(
                story_prompt("settle", turn.number), turn.scale.settle_tokens, abandon_after_s=PATIENCE_S
            )
        )
        prompt = story_prompt("neighbour", turn.number)
        answer = asyncio.run(turn.peer.ask(prompt, turn.scale.decode_tokens, abandon_after_s=PATIENCE_S))
    turn.add("neighbour", answer.decode_rate)
    if answer.abandoned:
        turn.note(f"beside the neighbour {answer.tokens} tokens came in {PATIENCE_S:g} s: their rate counts")


@contextlib.contextmanager
def busy_process(folder: Path) -> Iterator[None]:
    """A process that computes for as long as the context lasts; it is bound to no core."""
    code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
    service = Service("neighbour", [sys.executable, "-c", code], folder / "neighbour.log", {})
    service.start()
    try:
        yield
    finally:
        service.kill()


async def _at_once(turn: Turn) -> list[Answer]:
    prompts = [story_prompt("eight", turn.number, stream) for stream in range(SLOTS)]
    return await asyncio.gather(*(turn.peer.ask(p, turn.scale.decode_tokens) for p in prompts))


def _note_length(turn: Turn, answers: list[Answer]) -> None:
    short = min(answer.tokens for answer in answers)
    if short < turn.scale.decode_tokens:
        turn.note(f"an answer ended by itself, after {short} of {turn.scale.decode_tokens} tokens")
