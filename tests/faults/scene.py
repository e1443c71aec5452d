"""A story ready to be led: the device before it, the undisturbed run, and lives from there on."""

import copy
import errno
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from faults import judge, record
from faults.blobs import BlobServer
from faults.layer import Mode
from faults.lives import Life, lead
from faults.points import Step
from faults.rooms import Run
from faults.stage import Stage
from faults.volume import POWER_CUTS, Volume, contents
from skerry_agent.registry import journal
from skerry_protocol.manifest import FileEntry


class Fault(NamedTuple):
    """How the disk fails."""

    mode: Mode
    name: str

    @property
    def number(self) -> int:
        """The errno."""
        return int(getattr(errno, self.name))


FAULTS: Final[dict[str, Fault]] = {
    "EIO": Fault("fail_once", "EIO"),
    "ENOSPC": Fault("fail_from", "ENOSPC"),
    "EROFS": Fault("fail_from", "EROFS"),
    "crowded": Fault("fail_until_freed", "ENOSPC"),
}


KILLS: Final[dict[str, Mode]] = {"kill": "kill", "kill_halfway": "kill_halfway"}


@dataclass
class Reference:
    """A run that nothing disturbed: the disk before it, its operations, and what was under way at each."""

    before: Volume
    operations: list[record.Operation]
    steps: list[Step]
    life: Life


class Scene:
    """One story.

    Args:
        folder: Of the worker.
        base: The device as it was made, once for all workers.
        stage: What stands around it.
        server: Has the chunks.
    """

    def __init__(self, folder: Path, base: Path, stage: Stage, server: BlobServer) -> None:
        self.stage = stage
        self._folder = folder
        self._base = base
        self._server = server
        self._reference: Reference | None = None

    def make(self) -> list[str]:
        """Make the device; returns what went wrong."""
        (self._base / "state").mkdir(parents=True)
        enrolling = self.stage.enrolling
        rounds = int(enrolling.again) if enrolling is not None else len(self.stage.before)
        wrong: list[str] = []
        for number in range(rounds):
            if enrolling is None:
                _put_in(self.stage.before[number].stick, self._base / "stick")
            url = f"{self._server.url}/{self.stage.story}-{number}"
            life = lead(Run(root=str(self._base), url=url, making=number), self.stage)
            if life.end is None or (enrolling is None and life.end["state"] != "committed"):
                wrong.append(str(life.facts))
        if enrolling is None:
            _put_in(self.stage.needed.stick, self._base / "stick")
        return wrong

    def reference(self) -> Reference:
        """The undisturbed run, made once.

        Raises:
            RuntimeError: It went wrong, or something was written past the layer.
        """
        if self._reference is None:
            name = f"{self.stage.story}-reference"
            root, before = self.copy(name)
            life, operations = self.lead(root, f"{name}.1")
            wrong = judge.judge_recovery(self.stage, [life]) + litter(self.stage, root)
            seen = copy.deepcopy(before)
            seen.tell(operations)
            image = self._folder / f"{name}.seen"
            seen.leave(image, "killed")
            if contents(image) != contents(root):
                wrong.append("the layer did not see all that was written")
            if wrong:
                raise RuntimeError(f"{self.stage.story}: " + "\n".join(wrong))
            self._reference = Reference(before, operations, _labelled(life, operations, root), life)
        return self._reference

    @property
    def steps(self) -> list[Step]:
        """What the undisturbed run does to the disk, in words."""
        return self.reference().steps

    def copy(self, name: str) -> tuple[Path, Volume]:
        """The device as it was before the story, and its disk."""
        root = self._folder / f"{name}.root"
        shutil.copytree(self._base, root)
        return root, Volume(root)

    def cut(self, name: str, rule: str, at: int) -> Path:
        """What a power cut after an operation of the undisturbed run leaves."""
        reference = self.reference()
        disk = copy.deepcopy(reference.before)
        disk.tell(reference.operations[:at])
        image = self._folder / f"{name}.image"
        disk.leave(image, next(each for each in POWER_CUTS if each == rule), seed=at)
        return image

    def acknowledged(self, at: int) -> Life:
        """What the controller had of the undisturbed run when an operation of it was done."""
        facts = self.reference().life.of("acknowledged")
        return Life(killed=True, facts=[fact for fact in facts if fact["after"] <= at])

    def lead(
        self, root: Path, name: str, *, mode: Mode = "count", at: int = 0, failure: int = 0
    ) -> tuple[Life, list[record.Operation]]:
        """A life on a disk, and what it did to it. It asks for chunks under ``name``."""
        written = self._folder / f"{name}.record"
        run = Run(
            root=str(root),
            url=f"{self._server.url}/{name}",
            record=str(written),
            mode=mode,
            at=at,
            failure=failure,
        )
        life = lead(run, self.stage)
        return life, list(record.read(written)) if written.exists() else []


def journaled(stage: Stage, root: Path) -> Iterator[tuple[str, int, int]]:
    """What a journal on a disk vouches for, or the whole file; and what these chunks were made of."""
    if stage.enrolling is not None:
        return
    pieces = {piece.chunk_sha256: piece for piece in stage.pieces}
    for entry in stage.entries:
        for index in _held(root / "state" / "registry", entry):
            chunk = entry.chunks[index]
            yield entry.sha256, chunk.offset, chunk.length
            piece = pieces.get(chunk.sha256)
            if piece is not None:
                yield piece.blob_sha256, piece.offset, piece.length


def _held(registry: Path, entry: FileEntry) -> Iterator[int]:
    if (registry / "files" / "sha256" / entry.sha256[:2] / entry.sha256).exists():
        yield from range(len(entry.chunks))
    path = registry / "partial" / f"{entry.sha256}.journal"
    if path.exists():
        plan = journal.plan_digest(entry.sha256, entry.chunks)
        yield from journal.parse(
            path.read_bytes(), entry.sha256, entry.length, plan, len(entry.chunks)
        ).indices


def litter(stage: Stage, root: Path) -> list[str]:
    """Temporary files, unfinished downloads of what is finished, and what should have made room."""
    left = [
        path
        for path in root.rglob("*")
        if path.name.endswith((".tmp", ".old", ".part")) or path.parent.name == "partial"
    ]
    left += [path for digest in stage.gone for path in root.glob(f"state/registry/files/sha256/*/{digest}")]
    return [f"left behind: {path.relative_to(root)}" for path in left]


def _put_in(stick: Mapping[str, bytes], where: Path) -> None:
    shutil.rmtree(where, ignore_errors=True)
    for name, content in stick.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)


def _labelled(life: Life, operations: list[record.Operation], root: Path) -> list[Step]:
    labels = {fact["after"]: str(fact["state"]) for fact in life.of("step")}
    label, steps = "start", []
    for number, operation in enumerate(operations):
        label = labels.get(number, label)
        steps.append(Step(label, operation.told(root)))
    return steps
