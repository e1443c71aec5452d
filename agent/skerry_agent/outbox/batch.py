"""A batch that waits to be sent: records of one stream, in order, and what is gone of it."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Self

from skerry_protocol import ranges
from skerry_protocol.ranges import Range
from skerry_protocol.records import Record, RecordBatch

StreamClass = Literal["samples", "events"]
InFlight = Mapping[str, Sequence[Range]]
"""Stream id -> sorted, disjoint ranges that were sent and are not acknowledged yet."""

LEAVES: dict[StreamClass, Literal["telemetry", "events"]] = {"samples": "telemetry", "events": "events"}


class PendingBatch(NamedTuple):
    """Records of one stream that the controller has not acknowledged."""

    stream: str
    stream_class: StreamClass
    records: tuple[Record, ...]
    gone: tuple[Range, ...] = ()

    @property
    def leaf(self) -> Literal["telemetry", "events"]:
        """The topic that it is published on."""
        return LEAVES[self.stream_class]

    @property
    def covers(self) -> list[Range]:
        """The sequence numbers that this batch speaks of."""
        return ranges.union(ranges.from_numbers(record.sequence for record in self.records), self.gone)

    def to_batch(self, device: str) -> RecordBatch:
        """The batch as it crosses the wire."""
        return RecordBatch(device=device, stream=self.stream, records=self.records, gone=self.gone)

    def halved(self) -> Self:
        """The first half, for a batch that came out too large; a single entry stays."""
        if len(self.records) > 1:
            return self._replace(records=self.records[: len(self.records) // 2])
        if len(self.gone) > 1:
            return self._replace(gone=self.gone[: len(self.gone) // 2])
        return self._replace(gone=()) if self.records else self
