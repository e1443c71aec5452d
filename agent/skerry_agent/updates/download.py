"""One round over all sources of chunks: this device first, then the network; wrong and failing ones last."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.events import EventSink
from skerry_agent.registry import NoSpaceError, PartialDownload, StorageError, WrongBytesError
from skerry_agent.updates.limits import UpdateLimits
from skerry_agent.updates.ports import ChunkSource, SourceError

log = structlog.get_logger(__name__)

OnChunk = Callable[[int], Awaitable[None]]
"""Called after every chunk that arrived, with the bytes that came over a network for it."""


@dataclass(slots=True)
class Round:
    """What a round over the sources brought.

    Attributes:
        right_chunks: Chunks that were verified.
        wrong: Names of sources that brought wrong bytes.
        problems: What kept other sources from going on, by name.
    """

    right_chunks: int = 0
    wrong: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """The round's problems in one line."""
        parts = [f"{name}: wrong bytes" for name in self.wrong]
        parts += [f"{name}: {problem}" for name, problem in self.problems.items()]
        return "; ".join(parts) or "no source has the missing chunks"


class Downloader:
    """Fills partial downloads from the sources, and remembers which of them to ask last.

    Args:
        local: Chunks that are on this device already.
        sources: Over a network, in order of preference.
        events: Told of wrong bytes.
        limits: Times and bounds.
    """

    def __init__(
        self, local: ChunkSource, sources: Sequence[ChunkSource], events: EventSink, limits: UpdateLimits
    ) -> None:
        self._local = local
        self._sources = tuple(sources)
        self._events = events
        self._limits = limits
        # 2: brought wrong bytes last time, 1: failed last time.
        self._demerits: dict[str, int] = {}

    async def run_round(self, partial: PartialDownload, on_chunk: OnChunk) -> Round:
        """Ask each source once for what is still missing.

        Raises:
            NoSpaceError, StorageError: The disk did not take the chunks.
        """
        result = Round()
        ordered = sorted(self._sources, key=lambda source: self._demerits.get(source.name, 0))
        for source in (self._local, *ordered):
            if not partial.missing():
                break
            await self._take(source, partial, on_chunk, result)
        await partial.flush()
        return result

    async def _take(
        self, source: ChunkSource, partial: PartialDownload, on_chunk: OnChunk, result: Round
    ) -> None:
        self._demerits[source.name] = 0
        try:
            await self._drain(source, partial, on_chunk, result)
        except WrongBytesError as error:
            self._demerits[source.name] = 2
            result.wrong.append(source.name)
            log.warning("chunk_rejected", source=source.name, file=partial.sha256)
            await self._events.emit(
                "chunk_rejected",
                code="chunk_mismatch",
                message=f"{source.name}: {error}",
                source=source.name,
                file_sha256=partial.sha256,
            )
        except (NoSpaceError, StorageError):
            raise
        except AgentError as error:
            self._demerits[source.name] = 1
            result.problems[source.name] = str(error)
            log.info("source_failed", source=source.name, file=partial.sha256, error=str(error))

    async def _drain(
        self, source: ChunkSource, partial: PartialDownload, on_chunk: OnChunk, result: Round
    ) -> None:
        async with aclosing(source.fetch(partial.sha256, partial.missing())) as arriving:
            while True:
                try:
                    async with asyncio.timeout(self._limits.chunk_timeout_s):
                        chunk, data = await anext(arriving)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise SourceError(
                        f"brought no chunk within {self._limits.chunk_timeout_s:g} s"
                    ) from error
                try:
                    await partial.write(chunk, data)
                    result.right_chunks += 1
                finally:
                    await on_chunk(0 if source is self._local else len(data))
