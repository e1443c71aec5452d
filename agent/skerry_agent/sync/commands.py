"""Carries out the director's commands, each once, and answers with a signed reply."""

import asyncio
from collections.abc import Mapping

import structlog

from skerry_agent.errors import AgentError, UsageError
from skerry_agent.sync.errors import FrameTooLargeError, NotConnectedError
from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.ports import (
    CommandHandler,
    CommandOutcome,
    OpenDown,
    RecordQueue,
    TrustedClock,
    Uplink,
)
from skerry_agent.sync.refusals import Refusals, code_of
from skerry_protocol.commands import Command, CommandReply, decode_command, encode_reply
from skerry_protocol.envelope import seal
from skerry_protocol.errors import ProtocolError
from skerry_protocol.signing import Signer

log = structlog.get_logger(__name__)

EVENT = "command_refused"


class CommandReceiver:
    """Handles ``down/command``.

    A command's id is remembered, in a synced commit, before it is carried out: it is done once or not at
    all, whatever is sent again and wherever power fails.

    Args:
        device: The device's id.
        signer: The device's key, for replies.
        open_down: Opens the director's envelopes.
        clock: Trusted time.
        memory: Remembers ids until they expire (the outbox).
        uplink: Replies go out there.
        handlers: Command name -> what carries it out.
        refusals: Records what is refused.
        limits: Times.
    """

    def __init__(
        self,
        *,
        device: str,
        signer: Signer,
        open_down: OpenDown,
        clock: TrustedClock,
        memory: RecordQueue,
        uplink: Uplink,
        handlers: Mapping[str, CommandHandler],
        refusals: Refusals,
        limits: SyncLimits,
    ) -> None:
        self._device = device
        self._signer = signer
        self._open_down = open_down
        self._clock = clock
        self._memory = memory
        self._uplink = uplink
        self._handlers = dict(handlers)
        self._refusals = refusals
        self._limits = limits

    async def handle(self, data: bytes) -> None:
        """Carry out or refuse one message."""
        try:
            command = decode_command(self._open_down("command", data))
        except ProtocolError as error:
            await self._refusals.record(EVENT, code_of(error), str(error), data)
            return
        except UsageError as error:
            await self._refusals.record(EVENT, "nothing_trusted", str(error), data)
            return
        if not await self._is_acceptable(command, data):
            return
        outcome = await self._carry_out(command)
        await self._reply(command, outcome)

    async def _is_acceptable(self, command: Command, data: bytes) -> bool:
        if command.device != self._device:
            message = f"the command is for {command.device[:32]}, not for {self._device}"
            await self._refusals.record(EVENT, "wrong_device", message, data, command=command.id[:64])
            return False
        if command.expires_at < self._clock.now():
            message = f"{command.name[:32]!r} expired at {command.expires_at}"
            await self._refusals.record(EVENT, "expired", message, data, command=command.id[:64])
            return False
        if not await self._memory.remember_once(f"command:{command.id}", command.expires_at):
            message = f"{command.name[:32]!r} with this id was received before"
            await self._refusals.record(EVENT, "replayed", message, data, command=command.id[:64])
            return False
        return True

    async def _carry_out(self, command: Command) -> CommandOutcome:
        handler = self._handlers.get(command.name)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return CommandOutcome(
                ok=False, message=f"no command {command.name[:32]!r}; this agent knows {known}"
            )
        log.info("command_begins", command=command.name, id=command.id)
        try:
            async with asyncio.timeout(self._limits.command_timeout_s):
                return await handler(command.arguments)
        except AgentError as error:
            return CommandOutcome(ok=False, message=str(error))
        except TimeoutError:
            return CommandOutcome(ok=False, message=f"not done within {self._limits.command_timeout_s:g} s")
        except Exception:
            log.exception("command_failed", command=command.name)
            return CommandOutcome(ok=False, message="failed; the device's log says why")

    async def _reply(self, command: Command, outcome: CommandOutcome) -> None:
        reply = CommandReply(
            device=self._device,
            command=command.id,
            ok=outcome.ok,
            message=outcome.message,
            data=dict(outcome.data),
        )
        try:
            await self._uplink.publish("reply", seal("reply", encode_reply(reply), [self._signer]))
        except (NotConnectedError, FrameTooLargeError) as error:
            log.warning("reply_not_sent", command=command.name, error=str(error))
