"""``make faults``: walk all points, print a table, write ``faults-report.json``."""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import structlog

from faults.points import KINDS, Choice, Point
from faults.steps import STEPS, walk_steps
from faults.stories import STORIES
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
            print(f"faults: {point.story}: {point.what} at {point.at}: {wrong[0].strip().splitlines()[-1]}")  # noqa: T201
        if now - self._told >= _EVERY_S:
            self._told = now
            left_s = (now - self._began) / self._done * (self._total - self._done)
            print(  # noqa: T201
                f"faults: {self._done} of {self._total}, {self._wrong} wrong, {left_s:.0f} s left", flush=True
            )


def _show(outcome: Outcome, seconds: float) -> None:
    wrong = Counter((point.story, point.what) for point in outcome.wrong)
    kinds = [kind for kind in KINDS if any(kind == walked for _, walked in outcome.counts)]
    print(f"\n{'':14}{'operations':>11}" + "".join(f"{kind:>13}" for kind in kinds))  # noqa: T201
    for story, steps in outcome.steps.items():
        cells = (_cell(outcome.counts[story, kind], wrong[story, kind]) for kind in kinds)
        print(f"{story:14}{len(steps):11}" + "".join(f"{cell:>13}" for cell in cells))  # noqa: T201
    print(f"{outcome.counts.total()} points, {len(outcome.wrong)} wrong, in {seconds:.0f} s")  # noqa: T201
    for point, problems in sorted(outcome.wrong.items())[:_SHOWN]:
        print(f"\n{point.story}: {point.what} at {point.at} ({outcome.place(point)}):")  # noqa: T201
        for problem in problems:
            print(f"  {problem}")  # noqa: T201


def _cell(walked: int, wrong: int) -> str:
    return f"{walked} ({wrong} wrong)" if wrong else str(walked)


def _walk_steps(names: Sequence[str]) -> dict[str, list[str]]:
    """Let a whole agent die at each named step of an update; returns what is wrong, by step."""
    chosen = [step for step in STEPS if not names or step.name in names]
    print(f"faults: {len(chosen)} named steps, with whole processes", flush=True)  # noqa: T201
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="skerry-steps-") as folder:
        try:
            for name, wrong in walk_steps(Path(folder), chosen):
                found[name] = wrong
                print(f"faults: {name:16} {'; '.join(wrong) or 'ok'}", flush=True)  # noqa: T201
        except (AssertionError, OSError) as error:
            found["the rest"] = [str(error)]
            print(f"faults: the rest was not walked: {error}", flush=True)  # noqa: T201
    return {name: wrong for name, wrong in found.items() if wrong}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--story", action="append", choices=STORIES, help="only this story; repeatable")
    parser.add_argument("--no-steps", action="store_true", help="leave out the named steps")
    parser.add_argument("--only-steps", action="store_true", help="nothing but the named steps")
    parser.add_argument("--step", action="append", help="only this named step; repeatable")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind of point; repeatable")
    parser.add_argument("--sample", type=int, default=0, help="only so many points, evenly spread")
    parser.add_argument("--alike", action="store_true", help="also points that are like others")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side")
    return parser.parse_args()


def _walk_operations(arguments: argparse.Namespace) -> Outcome:
    progress = Progress()
    return walk(
        Choice(arguments.kind or KINDS, arguments.sample, arguments.alike),
        workers=arguments.workers,
        stories=arguments.story or STORIES,
        on_begin=progress.begin,
        on_result=progress.result,
    )


def main() -> int:
    """Walk, and exit non-zero when something is wrong anywhere."""
    arguments = _arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    began = time.monotonic()
    outcome = Outcome()
    if not arguments.only_steps:
        outcome = _walk_operations(arguments)
        _show(outcome, time.monotonic() - began)
    # Whoever names stories or kinds, or wants a sample, asks for a part of the walk.
    part = arguments.story or arguments.kind or arguments.sample or arguments.no_steps
    wrong_steps = {} if part and not arguments.only_steps else _walk_steps(arguments.step or ())
    seconds = time.monotonic() - began
    report = {
        "seconds": round(seconds, 1),
        "operations": {story: len(steps) for story, steps in outcome.steps.items()},
        "points": {f"{story} {kind}": count for (story, kind), count in sorted(outcome.counts.items())},
        "wrong": [
            {**asdict(point), "operation": outcome.place(point), "problems": problems}
            for point, problems in sorted(outcome.wrong.items())
        ],
        "wrong_steps": wrong_steps,
    }
    wrong = len(outcome.wrong) + len(wrong_steps)
    print(f"all of it: {wrong or 'nothing'} wrong, in {seconds:.0f} s")  # noqa: T201
    _REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {_REPORT}")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
