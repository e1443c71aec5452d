"""The walk: every point, or a sample of them, on some workers side by side."""

import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from faults.layer import environment
from faults.points import Choice, Point, Step, plan
from faults.stories import STORIES, built

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - folders below it are our own
OnResult = Callable[[Point, Sequence[str]], object]


@dataclass
class Outcome:
    """What a walk found.

    Attributes:
        steps: What the undisturbed run of each story does to the disk.
        counts: Story and kind of point -> how many were walked.
        wrong: What is wrong, by point.
    """

    steps: dict[str, list[Step]] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: dict[Point, list[str]] = field(default_factory=dict)

    def place(self, point: Point) -> str:
        """The operation at which a point lies, and what is under way then."""
        steps = self.steps[point.story]
        return " ".join(reversed(steps[point.at - 1])) if point.at <= len(steps) else "the end"


class _Worker:
    """A worker process. Belongs to one thread."""

    def __init__(self, folder: Path, number: int, stories: Sequence[str]) -> None:
        own = folder / f"worker-{number}"
        own.mkdir()
        command = [sys.executable, "-m", "faults.worker", str(own), str(folder / "scenes"), *stories]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True
        )

    def hear(self) -> Mapping[str, Any]:
        """Its next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a worker ended; what it wrote stands above")
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def ask(self, question: object) -> Mapping[str, Any]:
        """Ask it, and wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self.hear()

    def close(self) -> None:
        """End it, and what it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


@contextmanager
def _workers(count: int, stories: Sequence[str]) -> Iterator[list[_Worker]]:
    where = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="skerry-faults-", dir=where) as name:
        folder = Path(name).resolve()
        with built(stories, folder / "scenes"):
            workers: list[_Worker] = []
            try:
                workers.append(_Worker(folder, 0, stories))
                for story in stories:
                    made = workers[0].ask({"make": story})
                    if made["wrong"]:
                        raise RuntimeError(f"the device of {story} could not be made: {made['wrong']}")
                workers += [_Worker(folder, number, stories) for number in range(1, count)]
                yield workers
            finally:
                for worker in workers:
                    worker.close()


def walk(
    choice: Choice,
    *,
    workers: int,
    stories: Sequence[str] = STORIES,
    on_begin: Callable[[int], object] = lambda _: None,
    on_result: OnResult = lambda _, __: None,
) -> Outcome:
    """Go to points of stories.

    Args:
        choice: Which points.
        workers: Processes side by side.
        stories: Which stories, of :data:`faults.stories.STORIES`.
        on_begin: Told how many there are.
        on_result: Told of each point, from several threads, one at a time.

    Raises:
        RuntimeError: Already an undisturbed run goes wrong.
    """
    with _workers(workers, stories) as running:
        outcome = Outcome()
        for story in stories:
            outcome.steps[story] = [Step(*step) for step in running[0].ask({"reference": story})["steps"]]
        points = plan(outcome.steps, choice)
        on_begin(len(points))
        waiting = iter(points)
        lock = threading.Lock()
        failures: list[BaseException] = []

        def work(worker: _Worker) -> None:
            try:
                while True:
                    with lock:
                        point = next(waiting, None)
                    if point is None or failures:
                        return
                    wrong = worker.ask(asdict(point))["wrong"]
                    with lock:
                        outcome.counts[point.story, point.what] += 1
                        if wrong:
                            outcome.wrong[point] = wrong
                        on_result(point, wrong)
            except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return outcome
