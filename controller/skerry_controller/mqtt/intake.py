"""Takes in one message after the other, and writes down why one was refused."""

from typing import Protocol

import structlog

from skerry_controller.errors import PeerError
from skerry_controller.fleet import DesiredPublisher, Refusals, Reports, UnknownDeviceError, refusal_code
from skerry_controller.mqtt.commands import CommandService
from skerry_controller.mqtt.lanes import Received
from skerry_protocol.errors import ProtocolError

log = structlog.get_logger(__name__)


class Batches(Protocol):
    """Takes record batches in."""

    async def accept(self, device: str, data: bytes) -> object:
        """Store and acknowledge one."""


class Answers(Protocol):
    """Answers requests."""

    async def answer(self, device: str, data: bytes) -> bytes:
        """The response frame."""


class Planner(Protocol):
    """Runs when something changed."""

    def wake(self) -> None:
        """Look soon."""


class Frames(Protocol):
    """Where response frames go."""

    async def answer(self, device: str, frame: bytes) -> bool:
        """Send one; whether that worked."""


class Intake:
    """Gives each message to the room that it is for."""

    def __init__(
        self,
        *,
        reports: Reports,
        publisher: DesiredPublisher,
        planner: Planner,
        batches: Batches,
        commands: CommandService,
        answers: Answers,
        frames: Frames,
        refusals: Refusals,
    ) -> None:
        self._reports = reports
        self._publisher = publisher
        self._planner = planner
        self._batches = batches
        self._commands = commands
        self._answers = answers
        self._frames = frames
        self._refusals = refusals

    async def take(self, received: Received) -> None:
        """Handle one message; only a cancellation leaves this."""
        with structlog.contextvars.bound_contextvars(device=received.device):
            try:
                await self._handle(received)
            except (ProtocolError, PeerError) as error:
                await self._refuse(received, error)
            except Exception as error:
                # One message that breaks something must not end the session of the whole fleet.
                log.exception("message_failed", leaf=received.leaf, error=str(error))

    async def forget_presence(self) -> None:
        """The broker is out of reach: nobody is known to be online."""
        await self._reports.forget_presence()

    async def _handle(self, received: Received) -> None:
        device, leaf, payload, retained = received
        if leaf == "status":
            await self._status(device, payload, retained=retained)
            return
        if retained:  # only presence may be kept by the broker; the rest would be a repetition
            return
        match leaf:
            case "reported":
                await self._report(device, payload)
            case "telemetry" | "events":
                await self._batches.accept(device, payload)
            case "reply":
                await self._commands.accept(device, payload)
            case "request":
                await self._frames.answer(device, await self._answers.answer(device, payload))
            case _:
                raise ValueError(f"nothing takes in {leaf}")

    async def _status(self, device: str, payload: bytes, *, retained: bool) -> None:
        if not payload:  # somebody cleared the retained message
            return
        online = await self._reports.note_presence(device, payload, retained=retained)
        if online and retained:
            # It was connected before this session: what it reported meanwhile is lost.
            await self._commands.ask_report(device)

    async def _report(self, device: str, payload: bytes) -> None:
        accepted = await self._reports.accept(device, payload)
        if accepted.is_news:
            self._planner.wake()
        await self._publisher.heal(device, accepted.report.desired)

    async def _refuse(self, received: Received, error: ProtocolError | PeerError) -> None:
        code = refusal_code(error)
        try:
            await self._refusals.record(received.device, received.leaf, code, str(error))
        except Exception as failure:
            log.exception("refusal_not_recorded", code=code, error=str(failure))
        if isinstance(error, UnknownDeviceError):
            log.info("unknown_device", device=received.device)
