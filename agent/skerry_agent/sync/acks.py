"""Takes acknowledgements: only the director's let the outbox forget records."""

from collections.abc import Callable, Mapping, Sequence

from skerry_agent.errors import UsageError
from skerry_agent.sync.ports import OpenDown, RecordQueue, TrustedClock
from skerry_agent.sync.refusals import Refusals, code_of
from skerry_protocol.errors import ProtocolError
from skerry_protocol.ranges import Range
from skerry_protocol.records import decode_acknowledgement

EVENT = "ack_refused"


class AckHandler:
    """Handles ``down/ack``.

    Args:
        device: The device's id.
        open_down: Opens the director's envelopes.
        clock: Trusted time.
        outbox: Forgets what was stored.
        acknowledged: Told afterwards (the pump).
        refusals: Records what is refused.
    """

    def __init__(
        self,
        *,
        device: str,
        open_down: OpenDown,
        clock: TrustedClock,
        outbox: RecordQueue,
        acknowledged: Callable[[Mapping[str, Sequence[Range]]], None],
        refusals: Refusals,
    ) -> None:
        self._device = device
        self._open_down = open_down
        self._clock = clock
        self._outbox = outbox
        self._acknowledged = acknowledged
        self._refusals = refusals

    async def handle(self, data: bytes) -> None:
        """Apply or refuse one message."""
        await self.take(data)

    async def take(self, data: bytes) -> int:
        """Apply or refuse one envelope; returns how many records it let go."""
        try:
            ack = decode_acknowledgement(self._open_down("ack", data))
        except ProtocolError as error:
            await self._refusals.record(EVENT, code_of(error), str(error), data)
            return 0
        except UsageError as error:
            await self._refusals.record(EVENT, "nothing_trusted", str(error), data)
            return 0
        if ack.device != self._device:
            message = f"the acknowledgement is for {ack.device[:32]}, not for {self._device}"
            await self._refusals.record(EVENT, "wrong_device", message, data)
            return 0
        if ack.expires_at < self._clock.now():
            # Records that it names are sent again and acknowledged anew.
            message = f"the acknowledgement expired at {ack.expires_at}"
            await self._refusals.record(EVENT, "expired", message, data)
            return 0
        gone = await self._outbox.acknowledge(ack.streams)
        self._acknowledged(ack.streams)
        return gone
