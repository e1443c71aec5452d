"""Reports what the device really runs, signed, whenever that changes."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count

import msgspec
import structlog

from skerry_agent.sync.errors import FrameTooLargeError, NotConnectedError
from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.ports import CommandOutcome, ReportSources, TrustedClock, Uplink
from skerry_agent.sync.report_schedule import due_in_s
from skerry_protocol.envelope import seal
from skerry_protocol.reported import Reason, ReportedState, SlotReport, encode_reported
from skerry_protocol.signing import Signer

log = structlog.get_logger(__name__)

_SHORT_MESSAGE_CHARACTERS = 200


class Reporter:
    """Publishes reports; :meth:`changed` wakes it.

    Args:
        sources: Where the parts come from.
        device: The device's id.
        boot_id: Random, new at each start; the counter starts at 0 with it.
        signer: The device's key.
        clock: Trusted time.
        uplink: The session.
        limits: Times.
        monotonic: Seconds.
    """

    def __init__(
        self,
        sources: ReportSources,
        *,
        device: str,
        boot_id: str,
        signer: Signer,
        clock: TrustedClock,
        uplink: Uplink,
        limits: SyncLimits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = sources
        self._device = device
        self._boot_id = boot_id
        self._signer = signer
        self._clock = clock
        self._uplink = uplink
        self._limits = limits
        self._monotonic = monotonic
        self._counter = count()
        self._wake = asyncio.Event()
        self._published: ReportedState | None = None
        self._published_at = 0.0

    def session_started(self, frame_bytes: int) -> None:  # noqa: ARG002 - a listener's signature
        """Each session begins with a report: it also asks for what the device missed."""
        self._published = None
        self._wake.set()

    def session_ended(self) -> None:
        """Nothing to do."""

    def changed(self) -> None:
        """Something that reports tell has changed. Cheap; many calls become one report."""
        self._wake.set()

    async def report_now(self, _arguments: Mapping[str, str]) -> CommandOutcome:
        """The command ``report``: publish at once."""
        self._published = None
        self._wake.set()
        return CommandOutcome(ok=True)

    def seal_next(self) -> bytes:
        """The next report in its envelope, for another way than the session."""
        return self._seal(msgspec.structs.replace(self._report(), counter=next(self._counter)))

    async def run(self) -> None:
        """Publish when something changed and every ``heartbeat_s``; never returns."""
        while True:
            with suppress(NotConnectedError):
                await self._uplink.wait_connected(self._limits.reconnect_wait_s)
                await self._wait_and_publish()

    async def _wait_and_publish(self) -> None:
        self._wake.clear()
        report = self._report()
        pause_s = due_in_s(self._published, report, self._monotonic() - self._published_at, self._limits)
        if pause_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            return
        report = msgspec.structs.replace(report, counter=next(self._counter))
        self._published, self._published_at = report, self._monotonic()
        try:
            await self._publish(report)
        except NotConnectedError:
            self._published = None
            raise

    async def _publish(self, report: ReportedState) -> None:
        try:
            await self._uplink.publish("reported", self._seal(report))
        except FrameTooLargeError:
            short = msgspec.structs.replace(
                report, slots={name: _shortened(slot) for name, slot in report.slots.items()}
            )
            try:
                await self._uplink.publish("reported", self._seal(short))
            except FrameTooLargeError as error:
                log.warning("report_not_sent", error=str(error), slots=len(report.slots))

    def _seal(self, report: ReportedState) -> bytes:
        return seal("reported", encode_reported(report), [self._signer])

    def _report(self) -> ReportedState:
        sources = self._sources
        return ReportedState(
            device=self._device,
            boot_id=self._boot_id,
            counter=0,
            reported_at=int(self._clock.now()),
            agent_version=sources.agent_version,
            desired=sources.accepted(),
            slots=dict(sources.slots()),
            configs=tuple(sources.configs()),
            inventory=sources.inventory(),
            metadata_versions=dict(sources.metadata_versions()),
            trust_epoch=sources.trust_epoch(),
            unsigned=tuple(sources.unsigned()),
        )


def _shortened(slot: SlotReport) -> SlotReport:
    reason = slot.reason and Reason(
        code=slot.reason.code, message=slot.reason.message[:_SHORT_MESSAGE_CHARACTERS]
    )
    return msgspec.structs.replace(slot, figures={}, reason=reason)
