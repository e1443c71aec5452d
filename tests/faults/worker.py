"""One worker of the walk: takes points on standard input, says on standard output what is wrong at each.

It has the layer under it, and no threads: every life of the agent is a fork of it, with all modules loaded.
"""

import copy
import errno
import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from faults import judge, record
from faults.agent import Run
from faults.blobs import BlobServer
from faults.layer import Mode
from faults.lives import Life, lead
from faults.points import Point
from faults.stage import Stage
from faults.volume import POWER_CUTS, Volume, contents
from skerry_agent.registry import journal
from skerry_protocol.manifest import FileEntry

_FAULT_MODES: Final[dict[str, Mode]] = {"EIO": "fail_once", "ENOSPC": "fail_from", "EROFS": "fail_from"}


@dataclass
class Reference:
    """A run that nothing disturbed: the disk before it, and its operations."""

    before: Volume
    operations: list[record.Operation]
    root: Path


class Worker:
    """Goes to points. ``folder`` is on a memory disk: nothing here waits for a real one."""

    def __init__(self, folder: Path, base: Path, stage: Stage, server: BlobServer) -> None:
        self._folder = folder
        self._base = base
        self._stage = stage
        self._server = server
        self._reference: Reference | None = None

    def reference(self) -> Reference:
        """The undisturbed run, made once.

        Raises:
            RuntimeError: It went wrong, or something was written past the layer.
        """
        if self._reference is None:
            state, before = self._copy("reference")
            life, operations = self._lead(state, "reference-1")
            wrong = [*judge.judge_serving(life), *judge.judge_end(life), *judge.judge_outbox([life])]
            seen = copy.deepcopy(before)
            seen.tell(operations)
            seen.leave(self._folder / "seen", "killed")
            if contents(self._folder / "seen") != contents(state):
                wrong.append("the layer did not see all that was written")
            if wrong:
                raise RuntimeError("\n".join(wrong))
            self._reference = Reference(before, operations, state)
        return self._reference

    def go(self, point: Point) -> list[str]:
        """Go to a point and return what is wrong there."""
        try:
            if point.what in ("kill", "kill_halfway"):
                return self._kill(point)
            if point.what in _FAULT_MODES:
                return self._fault(point)
            return self._cut(point)
        except Exception:  # noqa: BLE001 - the walk goes on, and shows it
            return [traceback.format_exc()]
        finally:
            for rest in self._folder.glob(f"{point.name}.*"):
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink()

    def _kill(self, point: Point) -> list[str]:
        state, disk = self._copy(point.name)
        mode: Mode = "kill" if point.what == "kill" else "kill_halfway"
        first, operations = self._lead(state, f"{point.name}-1", mode=mode, at=point.at)
        if not first.killed:
            return ["it was not killed", *judge.judge_end(first)]
        disk.tell(operations)
        second, operations = self._lead(state, f"{point.name}-2")
        disk.tell(operations)
        took = [(fact["sha256"], fact["offset"], fact["length"]) for fact in first.of("took")]
        wrong = judge.judge_serving(first) + self._judge_recovery([first, second])
        wrong += judge.judge_fetching(took, self._server.requests(f"{point.name}-2"))
        return wrong + self._power_cut_later(point, disk, [first, second]) + _litter(state)

    def _cut(self, point: Point) -> list[str]:
        reference = self.reference()
        disk = copy.deepcopy(reference.before)
        disk.tell(reference.operations[: point.at])
        image = self._folder / f"{point.name}.image"
        rule = next(rule for rule in POWER_CUTS if rule == point.what)
        disk.leave(image, rule, seed=point.at)
        kept = list(self._kept(image))
        life, _ = self._lead(image, f"{point.name}-1")
        wrong = self._judge_recovery([life])
        return wrong + judge.judge_fetching(kept, self._server.requests(f"{point.name}-1")) + _litter(image)

    def _fault(self, point: Point) -> list[str]:
        state, disk = self._copy(point.name)
        number: int = getattr(errno, point.what)
        life, operations = self._lead(
            state, f"{point.name}-1", mode=_FAULT_MODES[point.what], at=point.at, failure=number
        )
        disk.tell(operations)
        wrong = self._judge_recovery([life]) + judge.judge_fault(life, point.what)
        return wrong + self._power_cut_later(point, disk, [life])

    def _power_cut_later(self, point: Point, disk: Volume, lives: Sequence[Life]) -> list[str]:
        """After all went well, power fails: what was settled must have been on the disk."""
        image = self._folder / f"{point.name}.later"
        disk.leave(image, "lost")
        life, _ = self._lead(image, f"{point.name}-3")
        wrong = self._judge_recovery([*lives, life])
        if self._server.requests(f"{point.name}-3"):
            wrong.append("fetched again, though it was committed")
        wrong += _litter(image)
        return [f"power cut after the end: {problem}" for problem in wrong]

    def _judge_recovery(self, lives: Sequence[Life]) -> list[str]:
        last = lives[-1]
        return judge.judge_serving(last) + judge.judge_end(last) + judge.judge_outbox(lives)

    def _kept(self, image: Path) -> Iterator[tuple[str, int, int]]:
        """What a journal vouches for, or the whole file."""
        for wanted in (self._stage.first, self._stage.second):
            entry = wanted.model.entry
            whole = image / "registry" / "files" / "sha256" / entry.sha256[:2] / entry.sha256
            if whole.exists():
                yield entry.sha256, 0, entry.length
            yield from _journaled(image / "registry" / "partial" / f"{entry.sha256}.journal", entry)

    def _copy(self, name: str) -> tuple[Path, Volume]:
        state = self._folder / f"{name}.state"
        shutil.copytree(self._base, state)
        return state, Volume(state)

    def _lead(
        self, state: Path, name: str, *, mode: Mode = "count", at: int = 0, failure: int = 0
    ) -> tuple[Life, list[record.Operation]]:
        written = self._folder / f"{name.rpartition('-')[0]}.{name.rpartition('-')[2]}"
        run = Run(
            state=str(state),
            url=f"{self._server.url}/{name}",
            record=str(written),
            mode=mode,
            at=at,
            failure=failure,
        )
        life = lead(run, self._stage)
        return life, list(record.read(written))


def _journaled(path: Path, entry: FileEntry) -> Iterator[tuple[str, int, int]]:
    if not path.exists():
        return
    plan = journal.plan_digest(entry.sha256, entry.chunks)
    content = journal.parse(path.read_bytes(), entry.sha256, entry.length, plan, len(entry.chunks))
    for index in content.indices:
        yield entry.sha256, entry.chunks[index].offset, entry.chunks[index].length


def _litter(state: Path) -> list[str]:
    """Temporary files, and unfinished downloads of what is finished."""
    left = [path for path in state.rglob("*") if path.name.endswith(".tmp") or path.parent.name == "partial"]
    return [f"left behind: {path.relative_to(state)}" for path in left]


def main() -> None:
    """Serve points until standard input ends."""
    folder, base, stage_file = (Path(argument) for argument in sys.argv[1:4])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    stage = Stage.load(stage_file)
    with BlobServer(stage.blobs, folder / "requests.log") as server:
        worker = Worker(folder, base, stage, server)

        def answer(**data: Any) -> None:
            answers.write(json.dumps(data) + "\n")
            answers.flush()

        if not base.exists():
            base.mkdir()
            life = lead(Run(state=str(base), url=f"{server.url}/install", bootstrap=True), stage)
            answer(wrong=[] if life.end and life.end["state"] == "committed" else life.facts)
        for line in sys.stdin:
            asked = json.loads(line)
            if asked == "reference":
                reference = worker.reference()
                told = [operation.told(reference.root) for operation in reference.operations]
                answer(operations=told)
            else:
                point = Point(**asked)
                answer(**asdict(point), wrong=worker.go(point))


if __name__ == "__main__":
    main()
