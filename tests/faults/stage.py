"""What is the same for every run of a story: what is wanted of the device, and all that stands around it."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

from skerry_protocol.desired import DesiredState, TargetRef
from skerry_protocol.generation import GenerationMark
from skerry_protocol.manifest import FileEntry
from support.tuf_repository import START

DEVICE: Final = "d-" + "a" * 16
Person = Literal["goes_back", "wants_another"]
"""What somebody does while a version takes requests on trial: rolls it back at the device, or lets the
controller want the version before."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a device.

    Attributes:
        desired: The controller's word; ``None`` where a stick brings it.
        mark: Its generation.
        files: The files of the repository at that time.
        target: The manifest of the slot's model, or of the adapter on it.
        stick: Files of the bundle that brings it, by name; none where a network does.
    """

    desired: DesiredState | None
    mark: GenerationMark | None
    files: Mapping[str, bytes]
    target: TargetRef
    stick: Mapping[str, bytes] = field(default_factory=dict)


class Ending(NamedTuple):
    """How a story ends: state and code of the slot, and what serves then."""

    state: Literal["committed", "rolled_back"]
    serves: str
    code: str | None = None


class Piece(NamedTuple):
    """What a chunk is made of: bytes of a blob."""

    chunk_sha256: str
    blob_sha256: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Enrolling:
    """A story of its own: a device becomes one of the fleet.

    Attributes:
        token: What the operator gave.
        url: The controller.
        again: It is one already, and takes a new identity.
    """

    token: str
    url: str
    again: bool


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Everything outside of the device.

    Attributes:
        story: Its name.
        before: What the device follows, in turn, before a run.
        wanted: What it follows in the run.
        ending: How that ends.
        serving: What may serve in the slot meanwhile.
        root: The fleet's initial root; ``root_sha256`` is its hash.
        blobs: What the server has, by digest.
        entries: The model files that are journaled.
        pieces: What chunks may be made of.
        person: What somebody does in the soak; ``withdrawn`` is what is wanted then.
        worse: The new version is slower with real requests.
        budget_bytes: What the registry may hold; 0 for no bound.
        gone: Digests of files that have to make room.
        healthy: Whether the device is well with the fleet's settings.
        now: Trusted time, Unix seconds.
        device: Its id; ``device_key`` its key (PEM), where a stick comes.
        enrolling: The story is that of an enrollment, and nothing else counts but ``root`` and ``now``.
    """

    story: str
    root: bytes
    root_sha256: str
    before: tuple[Wanted, ...] = ()
    wanted: Wanted | None = None
    ending: Ending = field(default_factory=lambda: Ending("committed", ""))
    serving: tuple[str, ...] = ()
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    entries: tuple[FileEntry, ...] = ()
    pieces: tuple[Piece, ...] = ()
    person: Person | None = None
    withdrawn: Wanted | None = None
    worse: bool = False
    budget_bytes: int = 0
    gone: tuple[str, ...] = ()
    healthy: bool = True
    now: float = START.timestamp()
    device: str = DEVICE
    device_key: str = ""
    enrolling: Enrolling | None = None

    @property
    def needed(self) -> Wanted:
        """What is followed in the run."""
        if self.wanted is None:
            raise TypeError(f"nothing is wanted in the story {self.story}")
        return self.wanted

    @property
    def reported(self) -> TargetRef:
        """The manifest that the slot's last event is about: that of its model."""
        about = self.withdrawn if self.withdrawn is not None else self.needed
        slots = {} if about.desired is None else about.desired.slots
        return next((slot.target for slot in slots.values()), about.target)

    def save(self, path: Path) -> None:
        """Write it for other processes of this walk."""
        path.write_bytes(pickle.dumps(self))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it again."""
        loaded = pickle.loads(path.read_bytes())  # noqa: S301 - this walk wrote it
        if not isinstance(loaded, cls):
            raise TypeError(f"{path} holds no stage")
        return loaded
