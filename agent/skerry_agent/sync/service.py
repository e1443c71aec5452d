"""Everything between the device and its controller, as one long-lived service."""

import asyncio
import secrets
from collections.abc import Callable, Mapping

from skerry_agent.outbox import Outbox
from skerry_agent.sync.acks import AckHandler
from skerry_agent.sync.commands import CommandReceiver
from skerry_agent.sync.desired import DesiredHandler, Prepare, Taken
from skerry_agent.sync.inbox import Inbox
from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.ports import (
    CertificateHolder,
    CommandHandler,
    CommandOutcome,
    Connector,
    DesiredFollower,
    OpenDown,
    Refresh,
    ReportSources,
    SimilarFile,
    TrustedClock,
)
from skerry_agent.sync.pump import Pump
from skerry_agent.sync.refresher import MetadataRefresher
from skerry_agent.sync.refusals import Refusals
from skerry_agent.sync.renewal import Renewal
from skerry_agent.sync.reporter import Reporter
from skerry_agent.sync.requester import Requester
from skerry_agent.sync.session import MqttSession
from skerry_protocol.signing import Signer


async def _ping(_arguments: Mapping[str, str]) -> CommandOutcome:
    return CommandOutcome(ok=True, message="pong")


class _WhenConnected:
    """A session listener for somebody who needs no more than to know of the beginning."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify

    def session_started(self, frame_bytes: int) -> None:
        """Pass it on."""
        del frame_bytes
        self._notify()

    def session_ended(self) -> None:
        """Of no interest here."""


class SyncService:
    """The device's side of the protocol. Make it on the loop, then :meth:`run` it.

    Args:
        connector: Where the broker is, and as whom to connect.
        signer: The device's key.
        clock: Trusted time.
        open_down: Opens the director's envelopes (``TrustStore.open_down``).
        refresh: Refreshes the TUF metadata from a source (``TrustStore.refresh``).
        engine: Follows desired states.
        outbox: Records to send; also takes the events of this room.
        report: Where the parts of reports come from.
        certificate: For renewal; None never renews.
        commands: Name -> handler; ``ping`` and ``report`` are there already.
        on_connected: Called on the loop when a session begins: what waits for the network need not any more.
        similar: Files of the repository that are held, to read others against (``TrustStore.similar``).
        limits: Times and bounds.

    Attributes:
        requester: Asks the controller; usable at once, it waits for a session by itself.
        boot_id: Of this start, in status and reports.
    """

    def __init__(
        self,
        *,
        connector: Connector,
        signer: Signer,
        clock: TrustedClock,
        open_down: OpenDown,
        refresh: Refresh,
        engine: DesiredFollower,
        outbox: Outbox,
        report: ReportSources,
        certificate: CertificateHolder | None = None,
        commands: Mapping[str, CommandHandler] | None = None,
        on_connected: Callable[[], None] | None = None,
        similar: SimilarFile | None = None,
        limits: SyncLimits | None = None,
    ) -> None:
        limits = limits or SyncLimits()
        device = connector.device
        self.boot_id = secrets.token_hex(16)
        self._session = session = MqttSession(connector, self.boot_id, limits)
        self.requester = Requester(
            session,
            device=device,
            signer=signer,
            open_down=open_down,
            clock=clock,
            limits=limits,
            similar=similar,
        )
        self._reporter = Reporter(
            report,
            device=device,
            boot_id=self.boot_id,
            signer=signer,
            clock=clock,
            uplink=session,
            limits=limits,
        )
        self._refresher = MetadataRefresher(
            refresh, self.requester, session, limits, done=self._reporter.changed
        )
        self._pump = Pump(outbox, session, device=device, signer=signer, limits=limits)
        refusals = Refusals(outbox, limits.max_refusals_per_minute)
        self._desired = DesiredHandler(
            device=device,
            open_down=open_down,
            clock=clock,
            engine=engine,
            trust_epoch=report.trust_epoch,
            refresher=self._refresher,
            refusals=refusals,
            accepted=self._reporter.changed,
        )
        self._acks = AckHandler(
            device=device,
            open_down=open_down,
            clock=clock,
            outbox=outbox,
            acknowledged=self._pump.acknowledged,
            refusals=refusals,
        )
        receiver = CommandReceiver(
            device=device,
            signer=signer,
            open_down=open_down,
            clock=clock,
            memory=outbox,
            uplink=session,
            handlers={"ping": _ping, "report": self._report, **(commands or {})},
            refusals=refusals,
            limits=limits,
        )
        handlers = {"desired": self._desired.handle, "ack": self._acks.handle, "command": receiver.handle}
        self._inboxes = {
            name: Inbox(
                name, handle, max_messages=limits.max_inbox_messages, max_bytes=limits.max_inbox_bytes
            )
            for name, handle in handlers.items()
        }
        session.route(
            {
                "desired": self._inboxes["desired"].put,
                "ack": self._inboxes["ack"].put,
                "command": self._inboxes["command"].put,
                "response": self.requester.on_response,
            }
        )
        for listener in (self.requester, refusals, self._pump, self._reporter, self._refresher):
            session.listen(listener)
        if on_connected is not None:
            session.listen(_WhenConnected(on_connected))
        self._renewal = (
            Renewal(certificate, self.requester, outbox, clock, limits) if certificate is not None else None
        )

    @property
    def connected(self) -> bool:
        """Whether there is a session with the broker now."""
        return self._session.connected

    async def wait_connected(self, timeout_s: float) -> None:
        """Wait for a session.

        Raises:
            NotConnectedError: There was none in time.
        """
        await self._session.wait_connected(timeout_s)

    async def _report(self, arguments: Mapping[str, str]) -> CommandOutcome:
        """A controller asks for reports when it (re)connects: it missed what was sent while it was away."""
        self._pump.send_again()
        return await self._reporter.report_now(arguments)

    async def take_desired(self, data: bytes, prepare: Prepare) -> Taken:
        """Take a desired state that came by another way: the same checks, the same generations.

        Args:
            data: The director's envelope.
            prepare: Called with a state that is good, before it is followed.

        Raises:
            AgentError: From ``prepare``; the state was not followed.
        """
        return await self._desired.take(data, prepare=prepare, may_refresh=False)

    async def take_acknowledgement(self, data: bytes) -> int:
        """Take an acknowledgement that came by another way; returns how many records it let go."""
        return await self._acks.take(data)

    def sealed_report(self) -> bytes:
        """A report for another way than MQTT, signed; it counts among those of this boot."""
        return self._reporter.seal_next()

    def report_changed(self) -> None:
        """Something that reports tell has changed (a callback for the update engine and others)."""
        self._reporter.changed()

    async def refresh_metadata(self, reason: str) -> bool:
        """Refresh the TUF metadata soon; False when that failed or was done just before."""
        return await self._refresher.refresh(reason)

    async def run(self) -> None:
        """Keep in touch with the controller; ends only by cancellation, with a goodbye to the broker."""
        async with asyncio.TaskGroup() as tasks:
            for name, inbox in self._inboxes.items():
                tasks.create_task(inbox.run(), name=f"sync-{name}")
            tasks.create_task(self._pump.run(), name="sync-outbox-pump")
            tasks.create_task(self._reporter.run(), name="sync-reporter")
            tasks.create_task(self._refresher.run(), name="sync-metadata")
            if self._renewal is not None:
                tasks.create_task(self._renewal.run(), name="sync-renewal")
            tasks.create_task(self._session.run(), name="sync-session")
