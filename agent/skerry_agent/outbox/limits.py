"""Bounds of the outbox."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much the outbox keeps, and how long samples may wait in memory.

    Attributes:
        max_bytes: Of all records that wait for an acknowledgement, as encoded.
        max_rows: How many of them.
        flush_interval_s: Samples are committed at least this often: at most so much is lost at a power cut.
        max_buffered: Records that wait in memory while the disk refuses them; more are dropped and counted.
        keep_events: Events and audit records kept for ``skerry-agent events``, acknowledged or not.
        max_remembered: Keys that are remembered once; of more, those that end last are forgotten first.
        max_fields: Fields of one event.
        max_field_characters: Of one text in an event; longer ones are cut.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_rows: int = 200_000
    flush_interval_s: float = 60.0
    max_buffered: int = 512
    keep_events: int = 2000
    max_remembered: int = 10_000
    max_fields: int = 32
    max_field_characters: int = 1000

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_rows, self.max_buffered, self.max_remembered) < 1:
            raise ValueError("the outbox must hold something: its bounds are 1 or more")
        if self.flush_interval_s <= 0:
            raise ValueError("flush_interval_s must be above 0")
