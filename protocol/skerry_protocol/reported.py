"""The reported state: what a device really runs, and where it stands. Signed by the device."""

from typing import Literal

from skerry_protocol.codec import Document, Part, decode, encode
from skerry_protocol.errors import MalformedError, NameSyntaxError
from skerry_protocol.generation import ZERO, GenerationMark
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.names import check_device
from skerry_protocol.numbers import MAX_REPORTED, Whole

_MAX_BOOT_ID_CHARACTERS = 64

SlotState = Literal[
    "idle",
    "resolving",
    "checking",
    "downloading",
    "verifying",
    "staged",
    "trial",
    "committed",
    "rolled_back",
    "refused",
]
TERMINAL_STATES: frozenset[SlotState] = frozenset({"idle", "committed", "rolled_back", "refused"})


class Reason(Part, frozen=True):
    """Why something was refused or rolled back: a stable code for programs, a message for people."""

    code: str
    message: str


class RunningAdapter(Part, frozen=True):
    """A LoRA adapter on what serves in a slot, as ``RunningVersion`` describes a model."""

    ref: str
    target_sha256: str | None
    file_sha256: str


class RunningVersion(Part, frozen=True):
    """What serves in a slot: the artifact, its target's hash (``None`` for local files), its file's hash."""

    ref: str
    target_sha256: str | None
    file_sha256: str
    signed: bool
    adapters: tuple[RunningAdapter, ...] = ()

    @property
    def text(self) -> str:
        """``smol@1``, or with adapters ``smol@1+german@1``."""
        return "+".join((self.ref, *(adapter.ref for adapter in self.adapters)))


class SlotReport(Part, frozen=True):
    """One slot.

    Attributes:
        state: Where the update of this slot stands.
        active: What serves now.
        target_path: The target that the state is about.
        target_sha256: Its hash.
        adapters: Hashes of the manifests of the adapters on it that the state is about, in their order.
        attempt: The attempt of the desired state that the state is about.
        bytes_done: Verified bytes of the download.
        bytes_total: Its length.
        bytes_fetched: Bytes that came over the network for it, but for the following.
        bytes_metadata: Bytes of signed metadata, manifests and delta indexes that came for it, as they were
            carried.
        bytes_per_s: How fast they come now.
        source: From where they come now, such as ``http`` or ``mqtt``.
        waits_until: When it is gone on with, Unix seconds by the device's trusted time; ``reason`` says
            what it waits for.
        reason: Why it was refused or rolled back; or, while it is under way, what it waits for.
        figures: Measured in the trial, such as ``tokens_per_s``.
    """

    state: SlotState
    active: RunningVersion | None = None
    target_path: str | None = None
    target_sha256: str | None = None
    attempt: Whole = 0
    bytes_done: Whole = 0
    bytes_total: Whole = 0
    bytes_fetched: Whole = 0
    reason: Reason | None = None
    figures: dict[str, float] = {}
    adapters: tuple[str, ...] = ()
    bytes_per_s: Whole = 0
    source: str | None = None
    waits_until: Whole | None = None
    bytes_metadata: Whole = 0


class ConfigReport(Part, frozen=True):
    """One config bundle: applied, or not and why."""

    target_path: str
    target_sha256: str
    applied: bool
    reason: Reason | None = None


class Inventory(Part, frozen=True):
    """Facts of the device; sizes in bytes."""

    hostname: str = ""
    arch: str = ""
    os: str = ""
    cpu_model: str = ""
    cpu_count: Whole = 0
    memory_bytes: Whole = 0
    disk_bytes: Whole = 0


class ReportedState(Document, frozen=True):
    """One device's report.

    Attributes:
        boot_id: Random, new at each start of the agent; 1 to 64 characters.
        counter: Rises with each report of a boot.
        reported_at: The device's trusted time, Unix seconds.
        desired: Generation and hash of the newest desired state that it accepted.
        slots: Channel, or ``local/NAME``, -> report.
        unsigned: Artifacts under ``local/`` that are active.
    """

    device: str
    boot_id: str
    counter: Whole
    reported_at: Whole
    agent_version: str
    desired: GenerationMark | None = None
    slots: dict[str, SlotReport] = {}
    configs: tuple[ConfigReport, ...] = ()
    inventory: Inventory = Inventory()
    metadata_versions: dict[str, Whole] = {}
    trust_epoch: Whole = 0
    unsigned: tuple[str, ...] = ()


class Status(Document, frozen=True):
    """Presence: retained, and the session's will. Not signed, so never more than a hint."""

    device: str
    online: bool
    boot_id: str = ""


def encode_reported(report: ReportedState) -> bytes:
    """The report as the JSON payload of a ``reported`` envelope."""
    return encode(report)


def decode_reported(payload: bytes) -> ReportedState:
    """Decode and check the payload of a ``reported`` envelope.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    report = decode(payload, ReportedState, limit_bytes=DEFAULT_LIMITS.max_control_bytes)
    try:
        check_device(report.device)
    except NameSyntaxError as error:
        raise MalformedError(f"reported state: {error}") from error
    if not 1 <= len(report.boot_id) <= _MAX_BOOT_ID_CHARACTERS:
        raise MalformedError(f"reported state: the boot id has 1 to {_MAX_BOOT_ID_CHARACTERS} characters")
    _check_reported_numbers(report)
    return report


def _check_reported_numbers(report: ReportedState) -> None:
    """Whoever answers counts on from these: an honest device never comes near the bound."""
    held = report.desired.generation if report.desired is not None else ZERO
    if max(held.epoch, held.number, *(slot.attempt for slot in report.slots.values())) > MAX_REPORTED:
        raise MalformedError(f"reported state: a generation or attempt is above {MAX_REPORTED}")


def encode_status(status: Status) -> bytes:
    """The status as JSON."""
    return encode(status)


def decode_status(data: bytes) -> Status:
    """Decode a status message.

    Raises:
        ProtocolError: It is malformed, too large or of a later version.
    """
    return decode(data, Status, limit_bytes=1024)
