import asyncio
from collections.abc import Mapping

import structlog

from skerry_controller.audit import note
from skerry_controller.clock import Clock
from skerry_controller.database import Database
from skerry_controller.director import Director
from skerry_controller.errors import WorldError
from skerry_controller.fleet import DeviceKeys, Outlet, WrongDeviceError
from skerry_protocol.commands import CommandReply, decode_reply

log = structlog.get_logger(__name__)

DEFAULT_TIMEOUT_S = 30.0
_REPORT_LIFE_S = 120


class NoReplyError(WorldError):
    """A device did not answer a command in time."""

    code = "no_reply"


class CommandService:
    """Sends signed commands and waits for the signed replies."""

    def __init__(
        self, database: Database, director: Director, keys: DeviceKeys, outlet: Outlet, clock: Clock
    ) -> None:
        self._database = database
        self._clock = clock
        self._director = director
        self._keys = keys
        self._outlet = outlet
        self._waiting: dict[tuple[str, str], asyncio.Future[CommandReply]] = {}

    async def send(
        self,
        device: str,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        actor: str = "system",
    ) -> CommandReply:
        """Send a command and wait for the reply; the command expires when the wait ends.

        Args:
            device: To whom.
            name: ``ping``, ``report`` or ``rollback``.
            arguments: By name.
            timeout_s: How long to wait, in seconds.
            actor: Who asks, for the audit log.

        Raises:
            NoReplyError: None came in time: the device is offline, or refuses this controller.
            WorldError: The broker is out of reach.
        """
        command, envelope = self._director.command(device, name, arguments or {}, life_s=int(timeout_s) + 1)
        async with self._database.transaction() as session:
            detail = {"command": name, "arguments": dict(arguments or {})}
            note(session, at=self._clock(), actor=actor, action="command_sent", subject=device, **detail)
        reply: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        self._waiting[device, command] = reply
        try:
            if not await self._outlet.send(device, "command", envelope):
                raise WorldError(
                    f"{name} was not sent to {device}: this controller has no connection to its broker now"
                )
            async with asyncio.timeout(timeout_s):
                return await reply
        except TimeoutError as error:
            raise NoReplyError(
                f"{device} did not reply to {name} within {timeout_s:g} s: "
                f"'skerry device show {device}' tells whether it is online"
            ) from error
        finally:
            del self._waiting[device, command]

    async def ask_report(self, device: str) -> None:
        """Have a device report, without waiting: its report is the answer."""
        _, envelope = self._director.command(device, "report", {}, life_s=_REPORT_LIFE_S)
        await self._outlet.send(device, "command", envelope)

    async def accept(self, device: str, data: bytes) -> None:
        """Take in a message of ``up/reply``.

        Raises:
            ProtocolError: It is malformed, too large, or not signed by the device.
            PeerError: The device is unknown or revoked, or the reply names another one.
        """
        reply = decode_reply(await self._keys.open(device, "reply", data))
        if reply.device != device:
            raise WrongDeviceError(f"a reply of {reply.device} came by the topic of {device}")
        waiting = self._waiting.get((device, reply.command))
        if waiting is None or waiting.done():
            log.debug("reply_unexpected", device=device, command=reply.command)
            return
        waiting.set_result(reply)
