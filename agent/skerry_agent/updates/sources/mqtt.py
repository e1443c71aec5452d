"""Bytes of blobs over MQTT, by request and response frames."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Protocol

from skerry_agent.updates.ports import P, SourceError
from skerry_agent.updates.sources.spans import Assembler, batches, stretches
from skerry_agent.updates.traffic import Traffic

MiB = 1024 * 1024


class Pace(Protocol):
    """How fast bytes may be asked for (``Traffic``)."""

    def read_bytes(self, most: int) -> int:
        """How many bytes to ask for at once, at most ``most``."""

    async def turn(self, count: int) -> None:
        """Wait until ``count`` bytes may be asked for."""


class RangeReader(Protocol):
    """Reads bytes of blobs (``skerry_agent.sync.Requester``)."""

    def read_ranges(
        self, sha256: str, spans: Sequence[tuple[int, int]], pace: Pace
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (offset, bytes) that together are the spans (offset, length), in any order, cut anywhere.

        Raises:
            AgentError: Not connected, not found, or no answer.
        """


class MqttSource:
    """The path that is always there when the broker is.

    Args:
        reader: Asks and keeps a window of requests under way.
        traffic: Counts bytes, and says how fast they may come.
        batch_bytes: How much is asked for at once; bounds what waits in memory for the rest of its piece.
    """

    name = "mqtt"

    def __init__(
        self, reader: RangeReader, *, traffic: Traffic | None = None, batch_bytes: int = 4 * MiB
    ) -> None:
        self._reader = reader
        self._traffic = traffic or Traffic()
        self._batch_bytes = batch_bytes

    async def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        """Yield pieces of a blob.

        Raises:
            SourceError: The answers are not what was asked for. Other ``AgentError``s come from the reader.
        """
        for batch in batches(pieces, self._batch_bytes):
            missing = set(batch)
            assembler = Assembler(batch)
            spans = [(s.offset, s.length) for s in stretches(batch, self._batch_bytes)]
            async with AsyncExitStack() as stack:
                frames = self._reader.read_ranges(blob_sha256, spans, self._traffic)
                if isinstance(frames, AsyncGenerator):
                    frames = await stack.enter_async_context(aclosing(frames))
                async for offset, data in frames:
                    self._traffic.received(self.name, len(data))
                    try:
                        completed = list(assembler.add(offset, data))
                    except ValueError as error:
                        raise SourceError(f"the controller sent something else: {error}") from error
                    for piece, whole in completed:
                        missing.discard(piece)
                        yield piece, whole
            if missing:
                raise SourceError(f"{len(missing)} chunks were answered in part only")
