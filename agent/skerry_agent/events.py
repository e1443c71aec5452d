"""What rooms report as it happens: events for the operator, audit records for the file."""

from typing import Protocol

from skerry_protocol.records import Value


class EventSink(Protocol):
    """Takes events. The outbox is the real one: what it accepted survives a power cut."""

    async def emit(self, name: str, /, *, audit: bool = False, **data: Value) -> None:
        """Record an event.

        Args:
            name: A stable snake_case name, such as ``desired_refused``.
            audit: Also an audit record: who changed what on this device. Kept longest.
            **data: Flat fields; never prompts, answers, keys or tokens.
        """
