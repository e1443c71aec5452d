"""What a device writes back into a bundle: its report and its records, signed as they would be over MQTT."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from skerry_agent.bundles.files import BundleFiles
from skerry_agent.outbox import PendingBatch
from skerry_agent.sync import seal_batch
from skerry_protocol import ranges
from skerry_protocol.bundle import BUNDLE_LIMITS, RECORDS, REPORTED, back_name, frame
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.ranges import Range
from skerry_protocol.signing import Signer

_WRITE_BYTES = 512 * 1024
"""Frames are gathered up to this before they go over the socket."""


class Records(Protocol):
    """The outbox (``outbox.Outbox``)."""

    async def flush(self) -> bool:
        """Commit what is buffered."""

    async def pending_batches(
        self,
        max_bytes: int,
        max_records: int = 500,
        *,
        max_batches: int = 1,
        in_flight: Mapping[str, Sequence[Range]] | None = None,
    ) -> list[PendingBatch]:
        """What is not acknowledged and not in flight."""


class Written(NamedTuple):
    """What was written back: records, and bytes of their file."""

    records: int
    bytes: int


class BackWriter:
    """Writes the report and all records that are not acknowledged. The outbox keeps them until they are.

    Args:
        device: The device's id.
        signer: Its key.
        outbox: The records.
        sealed_report: Makes the report, signed.
    """

    def __init__(
        self, device: str, signer: Signer, outbox: Records, sealed_report: Callable[[], bytes]
    ) -> None:
        self._device = device
        self._signer = signer
        self._outbox = outbox
        self._sealed_report = sealed_report

    async def write(self, files: BundleFiles) -> Written:
        """Replace what this device wrote before.

        Raises:
            StickError: The stick cannot be written.
            DatabaseError: The outbox cannot be read.
        """
        await files.write(back_name(self._device, REPORTED), self._sealed_report(), first=True, last=True)
        await self._outbox.flush()
        name = back_name(self._device, RECORDS)
        written: dict[str, list[Range]] = {}
        gathered, records, total, first = bytearray(), 0, 0, True
        while True:
            batch, data = await self._next(written)
            if batch is None:
                break
            written[batch.stream] = ranges.union(written.get(batch.stream, []), batch.covers)
            if data is None:
                continue  # one record that no frame can carry: the session gives it up, and counts it
            gathered += frame(data)
            records += len(batch.records)
            if len(gathered) >= _WRITE_BYTES:
                await files.write(name, bytes(gathered), first=first, last=False)
                total += len(gathered)
                gathered, first = bytearray(), False
        await files.write(name, bytes(gathered), first=first, last=True)
        return Written(records, total + len(gathered))

    async def _next(self, written: Mapping[str, Sequence[Range]]) -> tuple[PendingBatch | None, bytes | None]:
        batches = await self._outbox.pending_batches(
            DEFAULT_LIMITS.max_batch_bytes // 2, DEFAULT_LIMITS.max_records // 2, in_flight=written
        )
        if not batches:
            return None, None
        return await asyncio.to_thread(
            seal_batch, batches[0], self._device, self._signer, BUNDLE_LIMITS.max_frame_bytes
        )
