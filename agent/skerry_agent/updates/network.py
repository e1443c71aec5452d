"""All ways over a network as one: the sources in the order in which they deserve to be asked."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.updates.ports import P, RangeSource, SourceError

log = structlog.get_logger(__name__)


class Network:
    """Reads pieces of blobs, from one source after the other until all came.

    Args:
        sources: In order of preference.
        piece_timeout_s: A source that brings no whole piece for so long is left for the next one.
    """

    def __init__(self, sources: Sequence[RangeSource], *, piece_timeout_s: float) -> None:
        self._sources = tuple(sources)
        self._piece_timeout_s = piece_timeout_s
        # 2: brought wrong bytes last time, 1: failed last time.
        self._demerits: dict[str, int] = {}

    async def read(
        self, blob_sha256: str, pieces: Sequence[P], is_right: Callable[[P, bytes], bool]
    ) -> AsyncGenerator[tuple[P, bytes], None]:
        """Yield pieces of the blob with this SHA-256, each whole and right, in any order.

        A source that fails, or brings a piece that is not right, is asked last from then on.

        Args:
            blob_sha256: Of the whole blob, lower-case hex.
            pieces: What is wanted: anything hashable with ``offset`` and ``length`` (``Chunk``, or a span).
            is_right: Whether bytes are those of a piece, most often by a signed hash; runs in a thread.

        Raises:
            SourceError: No source has the rest, or each failed; says what each one's problem was.
        """
        missing = dict.fromkeys(pieces)
        problems: dict[str, str] = {}
        for source in sorted(self._sources, key=lambda source: self._demerits.get(source.name, 0)):
            if not missing:
                return
            self._demerits[source.name] = 0
            try:
                async with aclosing(source.read(blob_sha256, list(missing))) as arriving:
                    while (found := await self._next(arriving)) is not None:
                        if not await asyncio.to_thread(is_right, *found):
                            self._demerits[source.name] = 2
                            problems[source.name] = "wrong bytes"
                            break
                        missing.pop(found[0], None)
                        yield found
            except AgentError as error:
                self._demerits[source.name] = 1
                problems[source.name] = str(error)
                log.info("source_failed", source=source.name, blob=blob_sha256, error=str(error))
        if missing:
            raise SourceError("; ".join(f"{name}: {problem}" for name, problem in problems.items()))

    async def _next(self, arriving: AsyncGenerator[tuple[P, bytes], None]) -> tuple[P, bytes] | None:
        try:
            async with asyncio.timeout(self._piece_timeout_s):
                return await anext(arriving, None)
        except TimeoutError as error:
            raise SourceError(f"brought nothing within {self._piece_timeout_s:g} s") from error
