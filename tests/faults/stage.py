"""What is the same for every run: two versions of a model, and a signed repository that lists them."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from skerry_protocol.config_bundle import ConfigBundle, Setting, encode_config_bundle
from skerry_protocol.desired import DesiredState
from skerry_protocol.generation import GenerationMark
from skerry_protocol.gguf_header import read_gguf_header
from support.tuf_repository import TufRepository
from support.updates import CHANNEL, Published, desire, make_model, publish

SETTINGS: Final[dict[str, dict[str, Setting]]] = {"telemetry": {"flush_interval_s": 30.0}}
"""What the second desired state sets."""
_KEPT_SHARE: Final = 0.4
"""So much of the second version's weights is as in the first."""


@dataclass(frozen=True)
class Wanted:
    """What the controller wants, and the files of its repository at that time."""

    desired: DesiredState
    mark: GenerationMark
    files: Mapping[str, bytes]
    model: Published


@dataclass(frozen=True)
class Stage:
    """Everything outside of the device. The device follows ``first`` before a run, ``second`` in it."""

    first: Wanted
    second: Wanted
    root: bytes
    root_sha256: str

    @classmethod
    def build(cls, folder: Path) -> Self:
        """Make models and repository."""
        one = publish(make_model(folder, 0), "smol@1")
        two = publish(_changed(one.data), "smol@2")
        repository = TufRepository()
        repository.put_target(one.target.path, one.manifest_bytes)
        repository.publish("models")
        first = Wanted(*desire(1, {CHANNEL: one}), dict(repository.files), one)
        repository.put_target(two.target.path, two.manifest_bytes)
        bundle = ConfigBundle(name="edge", version="1", settings=SETTINGS)
        config = repository.put_target("configs/edge/1.json", encode_config_bundle(bundle))
        repository.publish("models", "configs")
        desired, mark = desire(2, {CHANNEL: two})
        second = Wanted(
            msgspec.structs.replace(desired, configs=(config,)), mark, dict(repository.files), two
        )
        return cls(first, second, repository.initial_root, repository.initial_root_sha256)

    @property
    def blobs(self) -> dict[str, bytes]:
        """Model files by digest."""
        return {wanted.model.entry.sha256: wanted.model.data for wanted in (self.first, self.second)}

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


def _changed(data: bytes) -> bytes:
    """The model with the signs of later weights turned: another model that loads as well."""
    header = read_gguf_header(data)
    start = header.data_offset + int((len(data) - header.data_offset) * _KEPT_SHARE)
    changed = bytearray(data)
    for position in range(start | 1, len(data), 2):
        changed[position] ^= 0x80
    return bytes(changed)
