"""One worker of the walk: takes points on standard input, says on standard output what is wrong at each.

It has the layer under it, and no threads: every life of the agent is a fork of it, with all modules loaded.
"""

import json
import os
import random
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from faults import judge
from faults.blobs import BlobServer
from faults.lives import Life
from faults.points import Point, Step
from faults.scene import FAULTS, KILLS, Scene, journaled, litter
from faults.stage import Stage
from faults.volume import POWER_CUTS, Volume

_FAR: Final = 300


class Worker:
    """Goes to points. ``folder`` is on a memory disk: nothing here waits for a real one."""

    def __init__(self, folder: Path, scenes: Path, server: BlobServer) -> None:
        self._folder = folder
        self._made = scenes
        self._server = server
        self._scenes: dict[str, Scene] = {}

    def scene(self, story: str) -> Scene:
        """A story's scene."""
        if story not in self._scenes:
            base = self._made / f"{story}.device"
            self._scenes[story] = Scene(self._folder, base, Stage.load(self._made / story), self._server)
        return self._scenes[story]

    def go(self, point: Point) -> list[str]:
        """Go to a point and return what is wrong there."""
        scene = self.scene(point.story)
        try:
            if point.what in KILLS:
                return self._kill(scene, point)
            if point.what == "kill_again":
                return self._kill_again(scene, point)
            if point.what == "cut_again":
                return self._cut_again(scene, point)
            if point.what in FAULTS:
                return self._fault(scene, point)
            return self._cut(scene, point)
        except Exception:  # noqa: BLE001 - the walk goes on, and shows it
            return [traceback.format_exc()]
        finally:
            for rest in self._folder.glob(f"{point.name}.*"):
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink()

    def _kill(self, scene: Scene, point: Point) -> list[str]:
        root, disk = scene.copy(point.name)
        first, operations = scene.lead(root, f"{point.name}.1", mode=KILLS[point.what], at=point.at)
        if not first.killed:
            return ["it was not killed", *judge.judge_recovery(scene.stage, [first])]
        disk.tell(operations)
        second, operations = scene.lead(root, f"{point.name}.2")
        disk.tell(operations)
        wrong = judge.judge_serving(scene.stage, first)
        wrong += judge.judge_recovery(scene.stage, [first, second])
        wrong += judge.judge_fetching(_took(first), self._server.requests(f"{point.name}.2"))
        return wrong + self._power_cut_later(scene, point, disk, [first, second]) + litter(scene.stage, root)

    def _kill_again(self, scene: Scene, point: Point) -> list[str]:
        """Killed, and killed again while it takes up what the first kill left."""
        root, disk = scene.copy(point.name)
        lives: list[Life] = []
        for number, at in enumerate((point.at, _later(point)), start=1):
            life, operations = scene.lead(root, f"{point.name}.{number}", mode="kill", at=at)
            disk.tell(operations)
            lives.append(life)
        last, operations = scene.lead(root, f"{point.name}.3")
        disk.tell(operations)
        wrong = [problem for life in lives for problem in judge.judge_serving(scene.stage, life)]
        wrong += judge.judge_recovery(scene.stage, [*lives, last])
        took = [chunk for life in lives for chunk in _took(life)]
        wrong += judge.judge_fetching(took, self._server.requests(f"{point.name}.3"))
        return wrong + self._power_cut_later(scene, point, disk, [*lives, last]) + litter(scene.stage, root)

    def _cut(self, scene: Scene, point: Point) -> list[str]:
        image = scene.cut(point.name, point.what, point.at)
        kept = list(journaled(scene.stage, image))
        life, _ = scene.lead(image, f"{point.name}.1")
        wrong = judge.judge_recovery(scene.stage, [scene.acknowledged(point.at), life])
        wrong += judge.judge_fetching(kept, self._server.requests(f"{point.name}.1"))
        return wrong + litter(scene.stage, image)

    def _cut_again(self, scene: Scene, point: Point) -> list[str]:
        """Power fails, and fails again while what the first cut left is taken up; by two of the rules."""
        lot = random.Random(point.name)  # noqa: S311 - repeatable
        image = scene.cut(point.name, lot.choice(POWER_CUTS), point.at)
        disk = Volume(image)
        first, operations = scene.lead(image, f"{point.name}.1", mode="kill", at=_later(point))
        disk.tell(operations)
        second = self._folder / f"{point.name}.second"
        disk.leave(second, lot.choice(POWER_CUTS), seed=point.at)
        kept = list(journaled(scene.stage, second))
        last, _ = scene.lead(second, f"{point.name}.2")
        if first.end is None:
            # What it took and did not sync may be gone, and its records with it; not what was acknowledged.
            first = Life(killed=True, facts=first.of("acknowledged"))
        wrong = judge.judge_recovery(scene.stage, [scene.acknowledged(point.at), first, last])
        wrong += judge.judge_fetching(kept, self._server.requests(f"{point.name}.2"))
        return wrong + litter(scene.stage, second)

    def _fault(self, scene: Scene, point: Point) -> list[str]:
        root, disk = scene.copy(point.name)
        fault = FAULTS[point.what]
        life, operations = scene.lead(
            root, f"{point.name}.1", mode=fault.mode, at=point.at, failure=fault.number
        )
        disk.tell(operations)
        wrong = judge.judge_recovery(scene.stage, [life]) + judge.judge_fault(life, fault.name)
        return wrong + self._power_cut_later(scene, point, disk, [life])

    def _power_cut_later(self, scene: Scene, point: Point, disk: Volume, lives: Sequence[Life]) -> list[str]:
        """After all went well, power fails: what was settled must have been on the disk."""
        image = self._folder / f"{point.name}.later"
        disk.leave(image, "lost")
        life, _ = scene.lead(image, f"{point.name}.9")
        wrong = judge.judge_recovery(scene.stage, [*lives, life])
        if self._server.requests(f"{point.name}.9"):
            wrong.append("fetched again, though it was at its end")
        wrong += litter(scene.stage, image)
        return [f"power cut after the end: {problem}" for problem in wrong]


def _later(point: Point) -> int:
    """An operation of the second life: early ones more often, where it takes up what it finds."""
    lot = random.Random(point.name)  # noqa: S311 - repeatable
    return int(_FAR ** lot.random())


def _took(life: Life) -> list[tuple[str, int, int]]:
    return [(fact["sha256"], fact["offset"], fact["length"]) for fact in life.of("took")]


def _lines() -> Iterator[Any]:
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    """Serve points until standard input ends."""
    folder, scenes = (Path(argument) for argument in sys.argv[1:3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    blobs: dict[str, bytes] = {}
    for story in sys.argv[3:]:
        blobs |= Stage.load(scenes / story).blobs
    with BlobServer(blobs, folder / "requests.log") as server:
        worker = Worker(folder, scenes, server)
        for asked in _lines():
            if "make" in asked:
                answer: dict[str, Any] = {"wrong": worker.scene(asked["make"]).make()}
            elif "reference" in asked:
                steps: list[Step] = worker.scene(asked["reference"]).steps
                answer = {"steps": steps}
            else:
                point = Point(**asked)
                answer = {**asdict(point), "wrong": worker.go(point)}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
