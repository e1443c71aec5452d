"""The walk: every point, or a sample of them, on some workers side by side."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from faults.layer import environment
from faults.points import KINDS, Point, plan
from faults.stage import Stage

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - folders below it are our own
OnResult = Callable[[Point, Sequence[str]], object]


@dataclass
class Outcome:
    """What a walk found.

    Attributes:
        operations: What the undisturbed run does to the disk, in words.
        counts: Kind of point -> how many were walked.
        wrong: What is wrong, by point.
    """

    operations: list[str]
    counts: dict[str, int] = field(default_factory=dict)
    wrong: dict[Point, list[str]] = field(default_factory=dict)

    def place(self, point: Point) -> str:
        """The operation at which a point lies."""
        return self.operations[point.at - 1] if point.at <= len(self.operations) else "the end"


class _Worker:
    """A worker process. Belongs to one thread."""

    def __init__(self, folder: Path, number: int) -> None:
        own = folder / f"worker-{number}"
        own.mkdir()
        paths = (str(path) for path in (own, folder / "device", folder / "stage"))
        command = [sys.executable, "-m", "faults.worker", *paths]
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
def _workers(count: int) -> Iterator[list[_Worker]]:
    where = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="skerry-faults-", dir=where) as name:
        folder = Path(name).resolve()
        Stage.build(folder).save(folder / "stage")
        workers = [_Worker(folder, 0)]
        try:
            installed = workers[0].hear()
            if installed["wrong"]:
                raise RuntimeError(f"the device could not be made: {installed['wrong']}")
            workers += [_Worker(folder, number) for number in range(1, count)]
            yield workers
        finally:
            for worker in workers:
                worker.close()


def walk(
    *,
    workers: int,
    kinds: Sequence[str] = KINDS,
    sample: int = 0,
    on_begin: Callable[[int], object] = lambda _: None,
    on_result: OnResult = lambda _, __: None,
) -> Outcome:
    """Go to all points of the kinds.

    Args:
        workers: Processes side by side.
        kinds: Kinds of points, see :data:`faults.points.KINDS`.
        sample: Only so many of them, evenly spread; 0 for all.
        on_begin: Told how many there are.
        on_result: Told of each point, from several threads, one at a time.

    Raises:
        RuntimeError: Already the undisturbed run goes wrong.
    """
    with _workers(workers) as running:
        operations = running[0].ask("reference")["operations"]
        points = plan(operations, kinds, sample)
        outcome = Outcome(operations)
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
                        outcome.counts[point.what] = outcome.counts.get(point.what, 0) + 1
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
