"""What importing may take, and how patient it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportLimits:
    """See each."""

    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    """Without a byte for so long, a connection counts as broken."""
    attempts: int = 6
    """So often a file is asked for again without a byte in between."""
    first_pause_s: float = 1.0
    """Before the second attempt; doubled each time."""
    longest_pause_s: float = 30.0
    reserve_bytes: int = 64 * 1024 * 1024
    """Stays free on the disk."""
    piece_bytes: int = 64 * 1024
    """Written as soon as it is there: a kill costs less than this."""
    sync_every_bytes: int = 64 * 1024 * 1024
    """A power cut costs at most so much of a download."""
    max_document_bytes: int = 4 * 1024 * 1024
    """Of a registry's manifest or a source's answer about its files."""


DEFAULT_IMPORT_LIMITS = ImportLimits()
