"""One round over all sources of chunks: this device first, then the network."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.registry import NoSpaceError, PartialDownload, StorageError
from skerry_agent.updates.network import Network, NetworkClosedError, SourcesError
from skerry_agent.updates.ports import ChunkSource

log = structlog.get_logger(__name__)

OnChunk = Callable[[int], Awaitable[None]]
"""Called after every chunk that arrived, with the bytes that came over a network since the last call."""


@dataclass(slots=True)
class Round:
    """What a round over the sources brought.

    Attributes:
        right_chunks: Chunks that were verified.
        failure: Why the network did not bring the rest.
        opens_in_s: The network may be used again after so many seconds.
    """

    right_chunks: int = 0
    failure: SourcesError | None = None
    opens_in_s: float = 0.0


class Downloader:
    """Fills partial downloads.

    Args:
        nearby: Chunks that cost the network nothing, or less: files on this device; in this order.
        network: Whole chunks.
    """

    def __init__(self, nearby: Sequence[ChunkSource], network: Network) -> None:
        self._nearby = tuple(nearby)
        self._network = network

    async def run_round(self, partial: PartialDownload, on_chunk: OnChunk) -> Round:
        """Ask each source once for what is still missing.

        Raises:
            NoSpaceError, StorageError: The disk did not take the chunks.
        """
        result = Round()
        told = _Told(self._network, on_chunk)
        try:
            for source in self._nearby:
                if partial.missing():
                    await self._take(source, partial, told, result)
            if partial.missing():
                await self._fetch(partial, told, result)
        finally:
            await told()
        await partial.flush()
        return result

    async def _take(
        self, source: ChunkSource, partial: PartialDownload, told: "_Told", result: Round
    ) -> None:
        """Whatever is wrong with it, the next source has the chunks as well."""
        try:
            async with aclosing(source.fetch(partial.sha256, partial.missing())) as arriving:
                async for chunk, data in arriving:
                    await partial.write(chunk, data)
                    result.right_chunks += 1
                    await told()
        except (NoSpaceError, StorageError):
            raise
        except AgentError as error:
            log.info("source_failed", source=source.name, file=partial.sha256, error=str(error))

    async def _fetch(self, partial: PartialDownload, told: "_Told", result: Round) -> None:
        arriving = self._network.read(partial.sha256, partial.missing(), partial.take)
        try:
            async with aclosing(arriving):
                async for _ in arriving:
                    result.right_chunks += 1
                    await told()
        except NetworkClosedError as error:
            result.opens_in_s = error.opens_in_s
        except SourcesError as error:
            result.failure = error


class _Told:
    """Tells what the network brought since it was last told."""

    def __init__(self, network: Network, on_chunk: OnChunk) -> None:
        self._traffic = network.traffic
        self._on_chunk = on_chunk
        self._before = self._traffic.total_bytes

    async def __call__(self) -> None:
        now = self._traffic.total_bytes
        fetched, self._before = now - self._before, now
        await self._on_chunk(fetched)
