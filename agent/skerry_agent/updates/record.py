"""What is stored of one slot's update, and what a desired state means for it. Pure."""

import hashlib

import msgspec

from skerry_agent.registry import Pair
from skerry_agent.updates.soak import Soak
from skerry_agent.updates.table import Event, State, is_terminal, next_state
from skerry_protocol.desired import DesiredSlot, TargetRef
from skerry_protocol.reported import Reason

WRONG_BYTES = "chunk_mismatch"
PASSING_CODES = frozenset({"no_space", "no_memory", WRONG_BYTES})
"""Refusals that end by themselves: when there is room again, or when sources were repaired."""


STUCK_CODES = frozenset({"no_way_back", "crash_loop"})
"""A version failed, and the one before could not take over: that it serves does not make it proven."""


class SlotRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One slot's update.

    Attributes:
        target: The manifest that the state is about.
        adapters: Those of the adapters on it.
        attempt: The desired state's attempt that it is about.
        generation: The generation in which this began, as text.
        starts: How often the agent started and found this state.
        trials: How often a trial of this attempt began.
        stores: How many state changes this attempt has taken.
        stopped: The agent was asked to end while this was the state.
        soak: The time on trial with requests: from when the checks passed, where a version served before.
        going_back: A person's rollback was stored, but the slot may not be switched yet.
        bytes_done: Verified bytes; ``bytes_fetched`` came over a network, wrong ones included,
            and ``bytes_metadata`` beside them.
        need_bytes: When it was refused for want of room or memory: so much must there be.
        reason: Why it was refused or rolled back; or, while it is under way, what it waits for.
        figures: Measured in the trial.
        untold: The state from which it came to its end, until the event of that end was stored.
        because: Why it goes back; ``reason`` may be what that waits for.
    """

    slot: str
    state: State = "idle"
    target: TargetRef | None = None
    adapters: tuple[TargetRef, ...] = ()
    attempt: int = 0
    generation: str = ""
    starts: int = 0
    trials: int = 0
    stores: int = 0
    stopped: bool = False
    soak: Soak | None = None
    going_back: bool = False
    bytes_done: int = 0
    bytes_total: int = 0
    bytes_fetched: int = 0
    bytes_metadata: int = 0
    need_bytes: int = 0
    reason: Reason | None = None
    figures: dict[str, float] = {}
    untold: State | None = None
    because: Reason | None = None

    def after(self, event: Event) -> "SlotRecord":
        """The record in the state that follows an event; what the old state waited for is over."""
        state = next_state(self.state, event)
        same = state == self.state
        return msgspec.structs.replace(
            self,
            state=state,
            starts=self.starts if same else 0,
            stores=self.stores + 1,
            reason=None,
            because=self.because if same else None,
            stopped=False,
        )

    def is_about(self, wanted: DesiredSlot) -> bool:
        """Whether this record is about what is wanted."""
        same = self.target == wanted.target and self.adapters == wanted.adapters
        return same and self.attempt == wanted.attempt

    def is_served_by(self, pair: Pair | None) -> bool:
        """Whether this very version serves."""
        return self.target is not None and serves(pair, self.target, self.adapters)

    @property
    def verdict_key(self) -> tuple[str, str, str]:
        """Under what its verdict is remembered: slot, path, hash."""
        if self.target is None:
            raise RuntimeError(f"the update of {self.slot} has no target")
        return verdict_key(self.slot, self.target, self.adapters)

    @property
    def in_flight(self) -> bool:
        """Whether there is something to do."""
        return not is_terminal(self.state)

    @property
    def may_pass(self) -> bool:
        """Whether it was refused for something that may pass."""
        return self.state == "refused" and self.reason is not None and self.reason.code in PASSING_CODES

    def refused_for(self, code: str) -> bool:
        """Whether it was refused for this reason."""
        return self.state == "refused" and self.reason is not None and self.reason.code == code

    @property
    def interruptible(self) -> bool:
        """Whether it may be left for something newer. The switch of a slot, and its way back, may not."""
        return self.state not in ("switching", "going_back")


def serves(pair: Pair | None, target: TargetRef, adapters: tuple[TargetRef, ...]) -> bool:
    """Whether a pair is what these manifests say."""
    if pair is None:
        return False
    hashes = [part.target_sha256 for part in pair.parts]
    return hashes == [part.sha256 for part in (target, *adapters)]


def verdict_key(slot: str, target: TargetRef, adapters: tuple[TargetRef, ...]) -> tuple[str, str, str]:
    """Slot, path and hash of a version; with adapters the hash is that of all hashes."""
    if not adapters:
        return slot, target.path, target.sha256
    hashes = " ".join(part.sha256 for part in (target, *adapters))
    return slot, target.path, hashlib.sha256(hashes.encode()).hexdigest()


def fresh(slot: str, wanted: DesiredSlot, generation: str, old: SlotRecord | None) -> SlotRecord:
    """The record with which something wanted begins, in the old one's state."""
    state = old.state if old is not None else "idle"
    return SlotRecord(
        slot=slot,
        state=state,
        target=wanted.target,
        adapters=wanted.adapters,
        attempt=wanted.attempt,
        generation=generation,
    )


def judge(
    record: SlotRecord,
    wanted: DesiredSlot | None,
    generation: str,
    active: Pair | None,
    verdict: Reason | None,
) -> Event | None:
    """What a desired state means for a slot; None when it is being followed already, or settled.

    Args:
        record: Where the slot stands.
        wanted: What is desired; None leaves the slot alone.
        generation: The desired state's generation.
        active: What serves.
        verdict: Why this target was rolled back before, in this attempt or a later one.
    """
    if record.in_flight:
        same = wanted is not None and record.is_about(wanted)
        return None if same or not record.interruptible else "superseded"
    if wanted is None:
        return None
    settled = record.is_about(wanted)
    if active is not None and serves(active, wanted.target, wanted.adapters) and not active.broken:
        stuck = record.state == "refused" and record.reason is not None and record.reason.code in STUCK_CODES
        return None if settled and (record.state == "committed" or stuck) else "satisfied"
    if verdict is not None:
        return None if settled and record.state == "rolled_back" else "held"
    if settled and record.state == "refused" and record.generation == generation:
        return None
    return "wanted"
