"""The desired state: what one device should run, signed by the director."""

import msgspec

from skerry_protocol.codec import Document, Part, decode, encode
from skerry_protocol.errors import MalformedError, NameSyntaxError
from skerry_protocol.generation import Generation
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import Channel, check_device, check_sha256, parse_target_path
from skerry_protocol.numbers import Whole
from skerry_protocol.selectors import check_label


class TargetRef(Part, frozen=True):
    """One signed target by path, hash and length in bytes: the director chooses, TUF confirms."""

    path: str
    sha256: str
    length: Whole


class DesiredSlot(Part, frozen=True):
    """What one channel should run.

    Attributes:
        target: The model's manifest.
        adapters: Manifests of LoRA adapters on it, each once, in the order in which they are named.
        attempt: Raised by the operator to have a version tried again that was rolled back.
        rollout: The rollout that this belongs to, for people.
    """

    target: TargetRef
    adapters: tuple[TargetRef, ...] = ()
    attempt: Whole = 1
    rollout: str | None = None


class DesiredState(Document, frozen=True):
    """One device's desired state.

    Attributes:
        id: Random id of this document.
        issued_at: Unix seconds.
        expires_at: Unix seconds; after that it is not newly followed. What runs goes on running.
        minimum_versions: TUF role -> version in which the named targets are visible; until the
            device sees it, it tries again instead of refusing.
        slots: Channel -> what it should run. A channel that is absent is left alone.
        configs: Config bundles in the order of application; later ones win.
        labels: The device's labels that variants of these targets ask for; left out when none does.
    """

    device: str
    id: str
    generation: Generation
    issued_at: Whole
    expires_at: Whole
    minimum_versions: dict[str, Whole] = {}
    slots: dict[str, DesiredSlot] = {}
    configs: tuple[TargetRef, ...] = ()
    labels: dict[str, str] | msgspec.UnsetType = msgspec.UNSET

    @property
    def own_labels(self) -> dict[str, str]:
        """The labels, none where they are left out."""
        return {} if isinstance(self.labels, msgspec.UnsetType) else self.labels


def encode_desired(state: DesiredState) -> bytes:
    """The state as the JSON payload of a ``desired`` envelope."""
    return encode(state)


def decode_desired(payload: bytes) -> DesiredState:
    """Decode and check the payload of a ``desired`` envelope.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    state = decode(payload, DesiredState, limit_bytes=DEFAULT_LIMITS.max_control_bytes)
    try:
        check_device(state.device)
        for channel, slot in state.slots.items():
            Channel.parse(channel)
            for target in (slot.target, *slot.adapters):
                _check_target(target, "models")
            _check_adapters(channel, slot)
        for target in state.configs:
            _check_target(target, "configs")
        for key, value in state.own_labels.items():
            check_label(key, value)
    except NameSyntaxError as error:
        raise MalformedError(f"desired state: {error}") from error
    if len(state.slots) > DEFAULT_LIMITS.max_slots:
        raise MalformedError(f"desired state: {len(state.slots)} slots, {DEFAULT_LIMITS.max_slots} allowed")
    return state


def _check_adapters(channel: str, slot: DesiredSlot) -> None:
    if len(slot.adapters) > DEFAULT_LIMITS.max_adapters:
        allowed = f"{DEFAULT_LIMITS.max_adapters} allowed"
        raise MalformedError(f"desired state: {channel} has {len(slot.adapters)} adapters, {allowed}")
    if len({slot.target.path, *(adapter.path for adapter in slot.adapters)}) != len(slot.adapters) + 1:
        raise MalformedError(f"desired state: {channel} names an artifact twice")


def _check_target(target: TargetRef, role: str) -> None:
    check_sha256(target.sha256)
    if parse_target_path(target.path)[0] != role:
        raise MalformedError(f"desired state: {target.path} is not among {role}")
