"""What one device should run: a pure function of labels, channels, assignments and config bundles.

An assignment row says what a rollout gave a device. It holds while that rollout is active, and after it
while the channel stands at the same version. Otherwise it is stale (the rollout was aborted, or the device
was away from the channel), and the device follows the channel's current version in a further attempt. So
aborting a rollout, leaving a channel and joining one need no rewriting of rows.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from skerry_protocol.desired import DesiredSlot, TargetRef
from skerry_protocol.selectors import Selector


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel: who follows it, and its current version, with the adapters on it, if it has one."""

    name: str
    selector: Selector
    current: TargetRef | None
    adapters: tuple[TargetRef, ...] = ()


@dataclass(frozen=True, slots=True)
class AssignmentView:
    """What a rollout gave one device on one channel."""

    target: TargetRef
    attempt: int
    rollout: str | None
    adapters: tuple[TargetRef, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigView:
    """A config bundle for the devices that a selector matches."""

    selector: Selector
    target: TargetRef


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What the operator wants of the whole fleet.

    Attributes:
        channels: In any order.
        configs: In the order of application.
        active_rollouts: Ids of rollouts that run or are paused.
        label_keys: Labels by which a target's variants are told apart, by its path.
    """

    channels: Sequence[ChannelView]
    configs: Sequence[ConfigView]
    active_rollouts: Collection[str]
    label_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DesiredContent:
    """A desired state without generation, id and times."""

    slots: Mapping[str, DesiredSlot]
    configs: tuple[TargetRef, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those by which a variant of the slots' targets is chosen."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked of the device."""
        return not self.slots and not self.configs

    def sha256(self, epoch: int) -> str:
        """Tells whether a new generation is needed."""
        # Without labels as it was before there were any: nobody gets a new generation for nothing.
        labels = [dict(sorted(self.labels.items()))] if self.labels else []
        return hashlib.sha256(
            msgspec.json.encode([epoch, dict(sorted(self.slots.items())), self.configs, *labels])
        ).hexdigest()


def desired_content(
    labels: Mapping[str, str], plan: FleetPlan, assignments: Mapping[str, AssignmentView]
) -> DesiredContent:
    """What a device with these labels should run.

    Args:
        labels: The device's labels.
        plan: The fleet's plan.
        assignments: The device's assignments by channel.
    """
    slots = {
        channel.name: slot
        for channel in sorted(plan.channels, key=lambda channel: channel.name)
        if channel.selector.matches(labels)
        and (slot := slot_for(channel, assignments.get(channel.name), plan.active_rollouts)) is not None
    }
    matching = [config.target for config in plan.configs if config.selector.matches(labels)]
    # A bundle that two selectors give is applied once, at its last place: later ones win.
    configs = tuple(target for place, target in enumerate(matching) if target not in matching[place + 1 :])
    targets = [target.path for slot in slots.values() for target in (slot.target, *slot.adapters)]
    asked = frozenset[str]().union(*(plan.label_keys.get(path, frozenset()) for path in targets))
    return DesiredContent(slots, configs, {key: labels[key] for key in sorted(asked & labels.keys())})


def slot_for(
    channel: ChannelView, assignment: AssignmentView | None, active_rollouts: Collection[str]
) -> DesiredSlot | None:
    """What one device should run on a channel that it follows; ``None``: it is left alone."""
    current = (
        None if channel.current is None else DesiredSlot(target=channel.current, adapters=channel.adapters)
    )
    if assignment is None:
        return current
    stands = (assignment.target, assignment.adapters) == (channel.current, channel.adapters)
    if assignment.rollout in active_rollouts or stands:
        return DesiredSlot(
            target=assignment.target,
            adapters=assignment.adapters,
            attempt=assignment.attempt,
            rollout=assignment.rollout,
        )
    return None if current is None else msgspec.structs.replace(current, attempt=assignment.attempt + 1)
