"""The stories that are walked: each is a device, and what happens to it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from faults.carried import build_import
from faults.enrollment import enrollment
from faults.stage import Ending, Piece, Stage, Wanted
from skerry_controller.deltas import Version, build_delta
from skerry_protocol.config_bundle import ConfigBundle, Setting, encode_config_bundle
from skerry_protocol.deltas import DeltaIndex, decode_delta_index
from skerry_protocol.desired import TargetRef  # noqa: TC001 - also annotates a local
from skerry_protocol.gguf_header import read_gguf_header
from support.lora_gguf import write_lora_gguf
from support.tuf_repository import TufRepository
from support.tuning import tuned
from support.updates import CHANNEL, Published, desire, make_model, publish

OLD, NEW = "smol@1", "smol@2"
_KEPT_SHARE: Final = 0.4
"""So much of the second version's weights is as in the first."""


class _Fleet:
    """A repository, and what is wanted one after the other."""

    def __init__(self) -> None:
        self.repository = TufRepository()
        self._number = 0

    def wants(self, *parts: Published, settings: ConfigBundle | None = None, new: bool = True) -> Wanted:
        """The slot's version, and settings."""
        configs: tuple[TargetRef, ...] = ()
        if new:
            for part in parts:
                self.repository.put_target(part.target.path, part.manifest_bytes)
            self.repository.publish("models")
        if settings is not None:
            path = f"configs/{settings.name}/{settings.version}.json"
            configs = (self.repository.put_target(path, encode_config_bundle(settings)),)
            self.repository.publish("configs")
        self._number += 1
        desired, mark = desire(self._number, {CHANNEL: parts})
        desired = msgspec.structs.replace(desired, configs=configs)
        return Wanted(desired, mark, dict(self.repository.files), parts[-1].target)

    def stage(
        self, story: str, before: Sequence[Wanted], wanted: Wanted, files: Sequence[Published], **more: Any
    ) -> Stage:
        """A story in which the device commits the new version, unless ``more`` says otherwise."""
        stage = Stage(
            story=story,
            root=self.repository.initial_root,
            root_sha256=self.repository.initial_root_sha256,
            before=tuple(before),
            wanted=wanted,
            ending=Ending("committed", NEW),
            serving=(OLD, NEW),
            blobs={each.entry.sha256: each.data for each in files},
            entries=tuple(each.entry for each in files),
        )
        return replace(stage, **more)


def _settings(version: str, interval_s: float) -> ConfigBundle:
    values: dict[str, dict[str, Setting]] = {"telemetry": {"flush_interval_s": interval_s}}
    return ConfigBundle(name="edge", version=version, settings=values)


def _versions(folder: Path) -> tuple[Published, Published]:
    one = publish(make_model(folder, 0), OLD)
    return one, publish(_changed(one.data), NEW)


def _plain(story: str, folder: Path, **more: Any) -> Stage:
    fleet, (one, two) = _Fleet(), _versions(folder)
    return fleet.stage(story, [fleet.wants(one)], fleet.wants(two), (one, two), **more)


def _update(folder: Path) -> Stage:
    """A new version that soaks and stays, and a config bundle."""
    fleet, (one, two) = _Fleet(), _versions(folder)
    return fleet.stage(
        "update", [fleet.wants(one)], fleet.wants(two, settings=_settings("1", 30.0)), (one, two)
    )


def _worse(folder: Path) -> Stage:
    """It is slower with real requests, and goes back by itself."""
    return _plain("worse", folder, worse=True, ending=Ending("rolled_back", OLD, "soak_slow"))


def _by_hand(folder: Path) -> Stage:
    """A person at the device goes back while it soaks."""
    ending = Ending("rolled_back", OLD, "rolled_back_by_hand")
    return _plain("by-hand", folder, person="goes_back", ending=ending)


def _withdrawn(folder: Path) -> Stage:
    """While it soaks the controller wants the version before."""
    fleet, (one, two) = _Fleet(), _versions(folder)
    before, wanted = fleet.wants(one), fleet.wants(two)
    return fleet.stage(
        "withdrawn",
        [before],
        wanted,
        (one, two),
        person="wants_another",
        withdrawn=fleet.wants(one, new=False),
        ending=Ending("committed", OLD),
    )


def _delta(folder: Path) -> Stage:
    """A fine-tune comes as patches against the version that serves."""
    fleet, one = _Fleet(), publish(make_model(folder, 0), OLD)
    two = publish(tuned(one.data), NEW)
    before = fleet.wants(one)
    found = []
    for published in (one, two):
        file = folder / f"{published.entry.sha256}.gguf"
        file.write_bytes(published.data)
        found.append(Version(published.entry, file))
    delta = build_delta("smol", found[1], found[0], folder / "pack")
    if delta is None:
        raise RuntimeError("the fine-tune has no delta")
    fleet.repository.put_target(delta.target_path, delta.content)
    pack = delta.pack.read_bytes()
    stage = fleet.stage("delta", [before], fleet.wants(two), (one, two))
    pieces = tuple(_pieces(two, decode_delta_index(delta.content, delta.target_path)))
    return replace(stage, blobs={**stage.blobs, delta.pack_sha256: pack}, pieces=pieces)


def _pieces(new: Published, index: DeltaIndex) -> Iterator[Piece]:
    by_offset = {chunk.offset: chunk.sha256 for chunk in new.entry.chunks}
    for piece in index.pieces:
        yield Piece(by_offset[piece.chunk_offset], index.pack_sha256, piece.offset, piece.length)


def _adapter(folder: Path) -> Stage:
    """An adapter is put on the model that serves."""
    fleet, one = _Fleet(), publish(make_model(folder, 0), OLD)
    base = folder / "base.gguf"
    base.write_bytes(one.data)
    lora = write_lora_gguf(folder / "lora.gguf", base, seed=1).read_bytes()
    german = publish(lora, "german@1", base=one.entry.sha256)
    pair = f"{OLD}+german@1"
    return fleet.stage(
        "adapter",
        [fleet.wants(one)],
        fleet.wants(one, german),
        (one, german),
        ending=Ending("committed", pair),
        serving=(OLD, pair),
    )


def _garbage(folder: Path) -> Stage:
    """The disk has no room: of four older versions, those that serve nowhere have to go."""
    fleet, (one, two) = _Fleet(), _versions(folder)
    older = [publish(make_model(folder, seed), f"smol@0.{seed}") for seed in (1, 2, 3)]
    before = [fleet.wants(each) for each in (*older, one)]
    return fleet.stage(
        "garbage",
        before,
        fleet.wants(two),
        (*older, one, two),
        budget_bytes=len(one.data) * 9 // 2,
        gone=(older[0].entry.sha256,),
    )


def _unhealthy(folder: Path) -> Stage:
    """New settings are no good for the device, which goes back to those before."""
    fleet, (one, _) = _Fleet(), _versions(folder)
    before = fleet.wants(one, settings=_settings("1", 30.0))
    return fleet.stage(
        "unhealthy",
        [before],
        fleet.wants(one, settings=_settings("2", 20.0), new=False),
        (one,),
        healthy=False,
        ending=Ending("committed", OLD),
        serving=(OLD,),
    )


_STORIES: Final[Mapping[str, Callable[[Path], Stage]]] = {
    "update": _update,
    "worse": _worse,
    "by-hand": _by_hand,
    "withdrawn": _withdrawn,
    "delta": _delta,
    "adapter": _adapter,
    "garbage": _garbage,
    "unhealthy": _unhealthy,
    "import": build_import,
}
_ENROLLMENTS: Final = {"enroll": False, "enroll-again": True}
STORIES: Final = (*_STORIES, *_ENROLLMENTS)
"""In the order in which points that are alike are left out of the later ones."""


@contextmanager
def built(names: Sequence[str], folder: Path) -> Iterator[None]:
    """Make stories, each saved in ``folder`` under its name; what they need runs meanwhile."""
    with ExitStack() as stack:
        for name in names:
            scratch = folder / f"{name}.making"
            scratch.mkdir(parents=True)
            if name in _ENROLLMENTS:
                stage = stack.enter_context(enrollment(scratch, name, again=_ENROLLMENTS[name]))
            else:
                stage = _STORIES[name](scratch)
            stage.save(folder / name)
        yield


def _changed(data: bytes) -> bytes:
    """The model with the signs of later weights turned: another model that loads as well."""
    header = read_gguf_header(data)
    start = header.data_offset + int((len(data) - header.data_offset) * _KEPT_SHARE)
    changed = bytearray(data)
    for position in range(start | 1, len(data), 2):
        changed[position] ^= 0x80
    return bytes(changed)
