"""Many clients with good, bad and broken-off requests, while the runner is killed again and again."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import msgspec
import psutil

from bench.runtime.http_stream import Answer, PeerError, ask
from bench.runtime.prompts import rng_of
from bench.runtime.scale import Turn
from bench.runtime.skerry import Skerry
from bench.runtime.soak_requests import (
    PROBLEMS,
    Outcome,
    Request,
    RequestMaker,
    marked_fields,
    markers,
)

CLIENTS = 16
MARKERS = 24
REQUEST_DEADLINE_S = 60.0
SOAK_DEADLINE_S = 600.0
KILL_SHADOW_S = 3.0
"""So long after a kill an error is put down to it."""
SAME_LOAD_REQUESTS = 48
"""Requests before memory is taken, at the beginning and at the end."""
SHOWN_PROBLEMS = 20
ANSWERED_KINDS = ("plain", "stop", "schema")
ANSWERED: tuple[Outcome, ...] = ("right", "rounded otherwise")
LEAST_ANSWERED = 0.5
UNSUPPORTED = "unsupported_parameter"


@dataclass
class Record:
    """What came of the soak's requests.

    Attributes:
        counts: By kind of request and outcome.
        problems: The first of them, in words.
        kills: When the runner was killed, by ``time.perf_counter``.
        slowest_s: The longest request.
    """

    counts: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, request: Request, outcome: Outcome, took_s: float, what: str) -> None:
        """Count one request."""
        self.counts[request.kind, outcome] += 1
        self.slowest_s = max(self.slowest_s, took_s)
        if outcome in PROBLEMS and len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(f"{request.kind}: {outcome}: {what}")

    def killed_during(self, answer: Answer) -> bool:
        """Whether a kill explains an error of this answer."""
        return any(answer.sent_at - KILL_SHADOW_S < kill < answer.ended_at for kill in self.kills)

    @property
    def problem_count(self) -> int:
        """How many requests went wrong."""
        return sum(count for (_, outcome), count in self.counts.items() if outcome in PROBLEMS)

    @property
    def total(self) -> int:
        """How many requests there were."""
        return self.counts.total()


def soak(turn: Turn) -> None:
    """Run the soak; it is long enough in time and in requests, whichever comes last."""
    if isinstance(turn.peer, Skerry):
        asyncio.run(_soak(turn, turn.peer))


async def _soak(turn: Turn, peer: Skerry) -> None:
    maker = RequestMaker(peer.model, await _solo_answers(peer))
    before = await _memory_after_load(peer, maker)
    record = Record()
    began = time.perf_counter()
    end = began + turn.scale.soak_s
    async with asyncio.timeout(SOAK_DEADLINE_S + turn.scale.soak_s):
        killer = asyncio.create_task(_kill_runners(peer, turn.scale.kill_every_s, record))
        try:
            async with asyncio.TaskGroup() as group:
                for client in range(CLIENTS):
                    group.create_task(_client(turn, maker, record, client, end))
        finally:
            killer.cancel()
            await asyncio.gather(killer, return_exceptions=True)
    took = time.perf_counter() - began
    after = await _memory_after_load(peer, maker)
    turn.add("soak_problems", record.problem_count)
    turn.add("soak_memory", (after - before) / before * 100)
    turn.figures.details[f"soak, {peer.case.name}"] = {
        "requests": record.total, "seconds": round(took, 1), "kills": len(record.kills),
        "slowest_s": round(record.slowest_s, 2), "memory_before": before, "memory_after": after,
        "outcomes": {f"{kind}: {outcome}": n for (kind, outcome), n in sorted(record.counts.items())},
        "problems": record.problems,
    }  # fmt: skip
    good = [n for (kind, _), n in record.counts.items() if kind in ANSWERED_KINDS]
    answered = sum(n for (_, outcome), n in record.counts.items() if outcome in ANSWERED)
    if answered < sum(good) * LEAST_ANSWERED:
        turn.note(f"the soak says little: {answered} of {sum(good)} good requests were answered")
    if any(outcome == "unsupported" for _, outcome in record.counts):
        turn.note("the soak's schemas were refused as not supported")
    if refused := sum(n for (_, outcome), n in record.counts.items() if outcome == "refused"):
        turn.note(f"{refused} of the soak's requests were refused for now (queue full, or out of service)")


async def _client(turn: Turn, maker: RequestMaker, record: Record, client: int, end: float) -> None:
    rng = rng_of("soak", turn.peer.case.name, turn.number, client)
    while time.perf_counter() < end or record.total < turn.scale.soak_requests:
        await _send(turn.peer.port, maker.any(rng), record)
        if time.perf_counter() < end:
            await asyncio.sleep(rng.uniform(0.0, 0.4))


async def _send(port: int, request: Request, record: Record) -> None:
    began = time.perf_counter()
    try:
        answer = await ask(
            port, request.path, request.body,
            deadline_s=REQUEST_DEADLINE_S, abandon_after_s=request.abandon_after_s,
        )  # fmt: skip
        outcome = outcome_of(request, answer, record)
        what = f"status {answer.status}, {answer.finish}, error {answer.error}, text {answer.text[:120]!r}"
    except TimeoutError:
        outcome, what = "hung", f"no end within {REQUEST_DEADLINE_S:g} s"
    except PeerError as error:
        outcome, what = "unexpected", str(error)
    record.add(request, outcome, time.perf_counter() - began, what)


def outcome_of(request: Request, answer: Answer, record: Record) -> Outcome:
    """What an answer is worth."""
    if answer.abandoned:
        return "abandoned"
    if answer.status in request.rejected_with:
        return "rejected" if answer.error or not answer.status else "unexpected"
    if answer.error:
        return _outcome_of_error(answer, record)
    if answer.status != 200:
        return "unexpected"
    return request.judge(answer) if answer.complete else "torn"


def _outcome_of_error(answer: Answer, record: Record) -> Outcome:
    if answer.status == 400 and UNSUPPORTED in str(answer.error):
        return "unsupported"
    if answer.status not in (200, 429) and answer.status < 500:
        return "unexpected"
    if record.killed_during(answer):
        return "cut by a kill"
    return "refused" if answer.status in (429, 503) else "unexpected"


async def _kill_runners(peer: Skerry, every_s: float, record: Record) -> None:
    while True:
        await asyncio.sleep(every_s)
        runner = peer.runner()
        if runner is None:
            continue
        try:
            runner.kill()
        except psutil.NoSuchProcess:
            continue
        record.kills.append(time.perf_counter())


async def _solo_answers(peer: Skerry) -> dict[str, str]:
    """What each marker's prompt is answered with, alone; markers that are not repeated are left out."""
    solo: dict[str, str] = {}
    for marker in markers(MARKERS):
        body = msgspec.json.encode(marked_fields(peer.model, marker, stream=True))
        answer = await ask(peer.port, "/v1/completions", body)
        if answer.status != 200 or answer.error:
            raise PeerError(f"{peer.name} answered {answer.status}: {answer.error}")
        if answer.text.count(marker) > 1:
            solo[marker] = answer.text
    if len(solo) < MARKERS / 2:
        raise PeerError(f"the model repeats {len(solo)} of {MARKERS} markers only")
    return solo


async def _memory_after_load(peer: Skerry, maker: RequestMaker) -> int:
    """Private memory after a fixed load without kills, so that a fresh runner is compared with a used one."""
    record = Record()
    rng = rng_of("load", peer.case.name)
    requests = [maker.any(rng) for _ in range(SAME_LOAD_REQUESTS)]
    for n in range(0, len(requests), CLIENTS):
        await asyncio.gather(*(_send(peer.port, request, record) for request in requests[n : n + CLIENTS]))
    await asyncio.sleep(1.0)
    return peer.private_bytes()
