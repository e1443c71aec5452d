"""Judges desired states: only a newer one, signed by the director for this device, is followed."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

import structlog

from skerry_agent.errors import AgentError, UsageError
from skerry_agent.sync.ports import DesiredFollower, OpenDown, TrustedClock
from skerry_agent.sync.refresher import MetadataRefresher
from skerry_agent.sync.refusals import Refusals, code_of
from skerry_protocol.desired import DesiredState, decode_desired
from skerry_protocol.errors import ProtocolError, SignatureError
from skerry_protocol.generation import Generation, GenerationMark, compare

log = structlog.get_logger(__name__)

EVENT = "desired_refused"
EPOCH_AHEAD = "epoch_ahead"


class Refusal(NamedTuple):
    """Why something is not followed."""

    code: str
    message: str


def judge(
    desired: DesiredState,
    mark: GenerationMark,
    held: GenerationMark | None,
    device: str,
    now: float,
    trust_epoch: int,
) -> Literal["follow", "same"] | Refusal:
    """What to do with a desired state whose signature is good.

    Args:
        desired: The state.
        mark: Its generation and the SHA-256 of its exact payload.
        held: What the device accepted last.
        device: The device's own id.
        now: Trusted time, Unix seconds.
        trust_epoch: The trust document's epoch.
    """
    if desired.device != device:
        return Refusal("wrong_device", f"the desired state is for {desired.device}, not for {device}")
    verdict = compare(held, mark)
    offered, accepted = mark.generation, held.generation if held else None
    if verdict == "same":
        return "same"
    if verdict == "older":
        return Refusal("older_generation", f"generation {offered} is older than the accepted {accepted}")
    if verdict == "conflict":
        return Refusal("generation_conflict", f"generation {offered} was accepted before with other contents")
    if desired.expires_at < max(now, desired.issued_at):
        return Refusal("expired", f"generation {offered} expired at {desired.expires_at}; it is {int(now)}")
    return _wrong_epoch(offered, trust_epoch) or "follow"


def _wrong_epoch(offered: Generation, trust_epoch: int) -> Refusal | None:
    """Only offline keys raise the epoch.

    Were any followed that a director names, a stolen one could put a device beyond all that its fleet will
    ever say.
    """
    if offered.epoch > trust_epoch:
        return Refusal(EPOCH_AHEAD, f"generation {offered} is of an epoch after {trust_epoch}, the fleet's")
    if offered.epoch < trust_epoch:
        return Refusal(
            "older_generation", f"generation {offered} is of an epoch before {trust_epoch}, the fleet's"
        )
    return None


class Taken(NamedTuple):
    """What became of a desired state.

    Attributes:
        verdict: ``follow``: it was accepted. ``same``: it was accepted before.
        desired: The state, unless it could not be read.
        mark: Its generation and hash.
    """

    verdict: Literal["follow", "same"] | Refusal
    desired: DesiredState | None = None
    mark: GenerationMark | None = None


Prepare = Callable[[DesiredState], Awaitable[None]]
"""Does what has to be done before a state is followed; raises ``AgentError`` when it cannot be."""


class DesiredHandler:
    """Handles ``down/desired``, and what comes by another way than MQTT. One at a time.

    Args:
        device: The device's id.
        open_down: Opens the director's envelopes.
        clock: Trusted time; a followed state's issue time raises its floor.
        engine: Follows.
        trust_epoch: The trust document's epoch now.
        refresher: Refreshes the metadata when a signature fails or an epoch is ahead: the trust document may
            have changed.
        refusals: Records what is refused.
        accepted: Called when a state was accepted: a report is due.
    """

    def __init__(
        self,
        *,
        device: str,
        open_down: OpenDown,
        clock: TrustedClock,
        engine: DesiredFollower,
        trust_epoch: Callable[[], int],
        refresher: MetadataRefresher,
        refusals: Refusals,
        accepted: Callable[[], None],
    ) -> None:
        self._device = device
        self._open_down = open_down
        self._clock = clock
        self._engine = engine
        self._trust_epoch = trust_epoch
        self._refresher = refresher
        self._refusals = refusals
        self._accepted = accepted
        self._one_at_a_time = asyncio.Lock()

    async def handle(self, data: bytes) -> None:
        """Follow, ignore or refuse one message."""
        await self.take(data)

    async def take(self, data: bytes, *, prepare: Prepare | None = None, may_refresh: bool = True) -> Taken:
        """Follow, ignore or refuse one envelope.

        Args:
            data: The envelope.
            prepare: Called with a state that is good, before it is followed.
            may_refresh: Ask the controller for newer metadata where that could change the verdict.

        Raises:
            AgentError: From ``prepare``; the state was not followed.
        """
        async with self._one_at_a_time:
            return await self._take(data, prepare, may_refresh=may_refresh)

    async def _take(self, data: bytes, prepare: Prepare | None, *, may_refresh: bool) -> Taken:
        try:
            payload = await self._open(data, may_refresh=may_refresh)
            desired = decode_desired(payload)
        except (ProtocolError, UsageError) as error:
            code = code_of(error) if isinstance(error, ProtocolError) else "nothing_trusted"
            await self._refusals.record(EVENT, code, str(error), data)
            return Taken(Refusal(code, str(error)))
        mark = GenerationMark(generation=desired.generation, sha256=hashlib.sha256(payload).hexdigest())
        held = self._engine.accepted
        verdict = await self._judge(desired, mark, held, may_refresh=may_refresh)
        if isinstance(verdict, Refusal):
            await self._refuse(verdict, data, mark, held)
            return Taken(verdict, desired, mark)
        if prepare is not None:
            await prepare(desired)
        if verdict == "follow":
            self._clock.raise_floor(desired.issued_at, "desired state")
            try:
                await self._engine.follow(desired, mark)
            except AgentError as error:
                # Not accepted, so the next copy is tried again.
                refusal = Refusal("not_stored", str(error))
                await self._refuse(refusal, data, mark, held)
                return Taken(refusal, desired, mark)
            log.info("desired_accepted", generation=str(mark.generation))
            self._accepted()
        return Taken(verdict, desired, mark)

    async def _judge(
        self, desired: DesiredState, mark: GenerationMark, held: GenerationMark | None, *, may_refresh: bool
    ) -> Literal["follow", "same"] | Refusal:
        verdict = judge(desired, mark, held, self._device, self._clock.now(), self._trust_epoch())
        if may_refresh and isinstance(verdict, Refusal) and verdict.code == EPOCH_AHEAD:
            await self._refresher.refresh("an epoch that is not known yet")
            verdict = judge(desired, mark, held, self._device, self._clock.now(), self._trust_epoch())
        return verdict

    async def _open(self, data: bytes, *, may_refresh: bool) -> bytes:
        try:
            return self._open_down("desired", data)
        except SignatureError:
            if not may_refresh or not await self._refresher.refresh(
                "a signature that no known director made"
            ):
                raise
            return self._open_down("desired", data)

    async def _refuse(
        self, refusal: Refusal, data: bytes, mark: GenerationMark, held: GenerationMark | None
    ) -> None:
        await self._refusals.record(
            EVENT,
            refusal.code,
            refusal.message,
            data,
            generation=str(mark.generation),
            accepted=str(held.generation) if held else None,
        )
