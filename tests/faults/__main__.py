"""``make faults``: walk all points, print a table, write ``faults-report.json``."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from faults.points import KINDS, Point
from faults.walk import Outcome, walk

_REPORT: Final = Path("faults-report.json")
_EVERY_S: Final = 15.0
_SHOWN: Final = 40


class Progress:
    """A line now and then, and one for each point where something is wrong."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._total = self._done = self._wrong = 0

    def begin(self, total: int) -> None:
        self._total = total
        print(f"faults: {total} points")  # noqa: T201

    def result(self, point: Point, wrong: Sequence[str]) -> None:
        self._done += 1
        self._wrong += bool(wrong)
        now = time.monotonic()
        if wrong:
            print(f"faults: {point.what} at {point.at}: {wrong[0].strip().splitlines()[-1]}")  # noqa: T201
        if now - self._told >= _EVERY_S:
            self._told = now
            left_s = (now - self._began) / self._done * (self._total - self._done)
            print(  # noqa: T201
                f"faults: {self._done} of {self._total}, {self._wrong} wrong, {left_s:.0f} s left", flush=True
            )


def _show(outcome: Outcome, seconds: float) -> None:
    wrong = Counter(point.what for point in outcome.wrong)
    print(f"\n{'':14}{'points':>8}{'wrong':>8}")  # noqa: T201
    for kind, count in outcome.counts.items():
        print(f"{kind:14}{count:8}{wrong[kind]:8}")  # noqa: T201
    total = sum(outcome.counts.values())
    print(f"{'all':14}{total:8}{len(outcome.wrong):8}   in {seconds:.0f} s")  # noqa: T201
    print(f"{len(outcome.operations)} operations on the disk in one update")  # noqa: T201
    for point, problems in sorted(outcome.wrong.items(), key=lambda item: item[0].at)[:_SHOWN]:
        print(f"\n{point.what} at {point.at} ({outcome.place(point)}):")  # noqa: T201
        for problem in problems:
            print(f"  {problem}")  # noqa: T201


def main() -> int:
    """Walk, and exit non-zero when something is wrong anywhere."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind of point; repeatable")
    parser.add_argument("--sample", type=int, default=0, help="only so many points, evenly spread")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side")
    arguments = parser.parse_args()
    began = time.monotonic()
    progress = Progress()
    outcome = walk(
        workers=arguments.workers,
        kinds=arguments.kind or KINDS,
        sample=arguments.sample,
        on_begin=progress.begin,
        on_result=progress.result,
    )
    seconds = time.monotonic() - began
    _show(outcome, seconds)
    report = {
        "seconds": round(seconds, 1),
        "operations": len(outcome.operations),
        "points": outcome.counts,
        "wrong": [
            {"what": point.what, "at": point.at, "operation": outcome.place(point), "problems": problems}
            for point, problems in sorted(outcome.wrong.items())
        ],
    }
    _REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {_REPORT}")  # noqa: T201
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
