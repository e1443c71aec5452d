"""All ways over a network as one: the sources in the order in which they deserve to be asked."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.events import EventSink
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.ports import P, RangeSource, SourceError
from skerry_agent.updates.pulse import Pulse
from skerry_agent.updates.traffic import Traffic

log = structlog.get_logger(__name__)

_WRONG, _FAILED, _FINE = 2, 1, 0


class Network:
    """Reads pieces of blobs, from one source after the other until all came.

    Args:
        sources: In order of preference.
        traffic: Where they count what they read.
        events: Told of wrong bytes.
        limits: How slow a source may be.
        closed_s: How long until bytes may come over a network; 0 is now. Asked before every piece.
    """

    def __init__(
        self,
        sources: Sequence[RangeSource],
        traffic: Traffic,
        events: EventSink,
        limits: UpdateLimits,
        closed_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.traffic = traffic
        self._closed_s = closed_s
        self._sources = tuple(sources)
        self._events = events
        self._limits = limits
        self._demerits: dict[str, int] = {}

    @property
    def open(self) -> bool:
        """Always; whether now is the time for it, :meth:`read` tells."""
        return True

    async def read(
        self, blob_sha256: str, pieces: Sequence[P], is_right: Callable[[P, bytes], bool]
    ) -> AsyncGenerator[tuple[P, bytes], None]:
        """Yield pieces of the blob with this SHA-256, each whole and right, in any order.

        A source that fails, is slower than the limits say, or brings a piece that is not right, is left, and
        asked last from then on.

        Args:
            blob_sha256: Of the whole blob, lower-case hex.
            pieces: What is wanted: anything hashable with ``offset`` and ``length`` (``Chunk``, or a span).
            is_right: Whether bytes are those of a piece, most often by a signed hash. Runs in a thread, and
                may keep them at once; what it raises is raised here.

        Raises:
            SourcesError: No source has the rest, or each failed; says what each one's problem was.
            NetworkClosedError: The time in which bytes may come is over; what came is kept.
        """
        missing = dict.fromkeys(pieces)
        failure = SourcesError()
        for source in sorted(self._sources, key=lambda source: self._demerits.get(source.name, _FINE)):
            if not missing:
                return
            self._check_open()
            self._demerits[source.name] = _FINE
            async with aclosing(source.read(blob_sha256, list(missing))) as arriving:
                pulse = self._pulse()
                while (found := await self._next(source.name, arriving, pulse, failure)) is not None:
                    if not await asyncio.to_thread(is_right, *found):
                        failure.wrong.append(source.name)
                        await self._reject(source.name, blob_sha256, found[0])
                        break
                    missing.pop(found[0], None)
                    yield found
                    if missing:
                        self._check_open()
        if missing:
            raise failure

    def _check_open(self) -> None:
        closed_s = self._closed_s()
        if closed_s > 0:
            raise NetworkClosedError(closed_s)

    async def _next(
        self,
        name: str,
        arriving: AsyncGenerator[tuple[P, bytes], None],
        pulse: Pulse,
        failure: "SourcesError",
    ) -> tuple[P, bytes] | None:
        """The next piece of a source, or None when it has no more or cannot go on."""
        try:
            return await self._wait(name, arriving, pulse)
        except AgentError as error:
            self._demerits[name] = _FAILED
            failure.problems[name] = error
            log.info("source_failed", source=name, error=str(error))
            return None

    async def _wait(
        self, name: str, arriving: AsyncGenerator[tuple[P, bytes], None], pulse: Pulse
    ) -> tuple[P, bytes] | None:
        step = asyncio.create_task(_first(arriving), name=f"next piece from {name}")
        try:
            while True:
                began, before = time.monotonic(), self.traffic.bytes_of(name)
                await asyncio.wait({step}, timeout=pulse.due_s)
                beats = pulse.beats(time.monotonic() - began, self.traffic.bytes_of(name) - before)
                if step.done():
                    return step.result()
                if not beats:
                    raise SourceError(
                        f"brought less than {self._least_bytes_per_s:.0f} bytes a second"
                        f" for {self._limits.stall_s:g} s"
                    )
        finally:
            if not step.done():
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)

    @property
    def _least_bytes_per_s(self) -> float:
        limit = self.traffic.limit_bytes_per_s
        least = float(self._limits.min_source_bytes_per_s)
        # Whom we hold back ourselves is not to blame.
        return min(least, limit / 4) if limit else least

    def _pulse(self) -> Pulse:
        return Pulse(self._least_bytes_per_s, self._limits.stall_s)

    async def _reject(self, name: str, blob_sha256: str, piece: P) -> None:
        self._demerits[name] = _WRONG
        log.warning("chunk_rejected", source=name, file=blob_sha256, offset=piece.offset)
        await self._events.emit(
            "chunk_rejected",
            code="chunk_mismatch",
            message=f"{name}: {piece.length} bytes at {piece.offset} of {blob_sha256[:12]} are not those"
            " that were signed",
            source=name,
            file_sha256=blob_sha256,
        )


async def _first(arriving: AsyncGenerator[tuple[P, bytes], None]) -> tuple[P, bytes] | None:
    return await anext(arriving, None)


class NetworkClosedError(SourceError):
    """Nothing may come over a network now.

    Attributes:
        opens_in_s: From when on it may, in seconds.
    """

    def __init__(self, opens_in_s: float) -> None:
        super().__init__(f"nothing may be fetched within the next {opens_in_s:.0f} s")
        self.opens_in_s = opens_in_s


class SourcesError(SourceError):
    """No source could bring the rest.

    Attributes:
        wrong: Names of sources that brought wrong bytes.
        problems: What kept others from going on, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.problems: dict[str, AgentError] = {}

    def __str__(self) -> str:
        parts = [f"{name}: wrong bytes" for name in self.wrong]
        parts += [f"{name}: {problem}" for name, problem in self.problems.items()]
        return "; ".join(parts) or "no source has the missing chunks"

    @property
    def asked_again_in_s(self) -> float | None:
        """When the first source may be asked again, where all of them said when."""
        pauses = [getattr(problem, "retry_after_s", None) for problem in self.problems.values()]
        known = [pause for pause in pauses if pause is not None]
        return min(known) if known and len(known) == len(pauses) and not self.wrong else None
