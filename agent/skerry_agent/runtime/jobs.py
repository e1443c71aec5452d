"""The requests that one runner has: who may enter, and to whom its messages go. No I/O."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable

from skerry_agent.runtime.errors import InvalidRequestError, QueueFullError
from skerry_agent.runtime.meter import Meter
from skerry_agent.runtime.model import RuntimeLimits
from skerry_agent.runtime.request_check import validate_embed_request, validate_request
from skerry_agent.runtime.requests import EmbedRequest, GenerateRequest
from skerry_agent.runtime.wire import (
    Embed,
    Failed,
    Outcome,
    Progress,
    Submit,
    Token,
    ToRunner,
    WireError,
    encode,
)


class Job:
    """One request; it keeps its place until the runner's last message about it.

    Attributes:
        number: Its number on the wire.
        client: Who asks.
        frame: The message that submits it.
        messages: What the runner says, one message a token at most; None says that the runner is gone.
        started: The runner has begun it.
        displaced: It had to leave the queue to somebody else; the runner has still to be told.
    """

    __slots__ = ("abandoned", "client", "displaced", "frame", "messages", "number", "started")

    def __init__(self, number: int, client: str, frame: bytes) -> None:
        self.number = number
        self.client = client
        self.frame = frame
        self.messages: asyncio.Queue[Token | Outcome | None] = asyncio.Queue()
        self.started = False
        self.abandoned = False
        self.displaced = False


class Jobs:
    """The table of one runner's requests.

    Args:
        label: The model's, for messages.
        slots: Requests that the runner runs at the same time.
        limits: ``max_queue`` and ``max_prompt_bytes`` are used.
        meter: Where to count.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, label: str, *, slots: int, limits: RuntimeLimits, meter: Meter, clock: Callable[[], float]
    ) -> None:
        self._label = label
        self._slots = slots
        self._limits = limits
        self._meter = meter
        self._clock = clock
        self._numbers = itertools.count(1)
        self._table: dict[int, Job] = {}
        self._moved = clock()

    def __len__(self) -> int:
        return len(self._table)

    @property
    def waiting(self) -> int:
        """Requests that the runner has not begun."""
        return sum(not job.started for job in self._table.values())

    def admit(self, request: GenerateRequest) -> tuple[Job, Job | None]:
        """Take a generation in.

        Returns:
            It, and a request that had to leave the queue for it: the youngest of the client that has most.

        Raises:
            InvalidRequestError: It cannot be run.
            QueueFullError: ``max_queue`` requests wait already, none of them of a client that has many more.
        """
        try:
            validate_request(request, max_prompt_bytes=self._limits.max_prompt_bytes)
        except InvalidRequestError:
            self._meter.refused += 1
            raise
        return self.enter(request.client, lambda number: Submit(number, request))

    def admit_embed(self, request: EmbedRequest) -> tuple[Job, Job | None]:
        """Take a request for vectors in; as ``admit``."""
        try:
            validate_embed_request(request, max_prompt_bytes=self._limits.max_prompt_bytes)
        except InvalidRequestError:
            self._meter.refused += 1
            raise
        return self.enter(request.client, lambda number: Embed(number, request))

    def enter(self, client: str, make: Callable[[int], ToRunner]) -> tuple[Job, Job | None]:
        """Take any message in that ends with one answer; as ``admit``."""
        try:
            number = next(self._numbers)
            try:
                job = Job(number, client, encode(make(number)))
            except WireError as error:
                raise InvalidRequestError(f"the request is too large: {error}") from error
            displaced = self._make_place(client)
        except (InvalidRequestError, QueueFullError):
            self._meter.refused += 1
            raise
        if not self._table:
            self._moved = self._clock()
        self._meter.requests += 1
        self._table[number] = job
        return job, displaced

    def _make_place(self, client: str) -> Job | None:
        waiting = sum(not job.displaced for job in self._table.values()) - self._slots
        if waiting < self._limits.max_queue:
            return None
        in_line = [job for job in self._table.values() if not job.started and not job.abandoned]
        shares = Counter(job.client for job in in_line)
        most = max(shares, key=lambda name: shares[name], default=client)
        if shares[most] <= shares[client] + 1:
            raise QueueFullError(
                f"{self._label} is busy and {waiting} requests wait already; try again later",
                retry_after_s=self._meter.retry_after_s,
            )
        job = next(job for job in reversed(in_line) if job.client == most)
        job.displaced = job.abandoned = True
        message = "it left its place in the queue to a client with fewer requests"
        job.messages.put_nowait(Failed(job.number, "expired", message))
        return job

    def take(self, message: Progress | Token | Outcome) -> None:
        """Pass a message on to whom it is for.

        Raises:
            WireError: There is no such request.
        """
        self._moved = self._clock()
        job = self._table.get(message.job)
        if job is None:
            raise WireError("it answered a request that it does not have")
        job.started = True
        if not isinstance(message, Progress | Token):
            del self._table[message.job]
        if not job.abandoned and not isinstance(message, Progress):
            job.messages.put_nowait(message)

    def abandon(self, job: Job) -> bool:
        """Nobody waits for it any more; returns whether the runner has to be told.

        Its place is free when the runner confirms.
        """
        job.abandoned = True
        return job.number in self._table

    def end(self) -> int:
        """The runner is gone: tell all who wait; return how many those were."""
        table, self._table = self._table, {}
        for job in table.values():
            job.messages.put_nowait(None)
        return len(table)

    @property
    def stalled_s(self) -> float:
        """How long no request has moved on, in seconds; 0 when there is none."""
        return self._clock() - self._moved if self._table else 0.0
