"""``make bench-updates``: what an update costs, beside other ways to bring the same file, on real pairs.

Prints tables and writes ``bench-updates.json``. What others cost on a pair is kept in the cache and not
measured again unless ``--fresh`` is given. Exit code 0, also when a goal was missed, unless ``--enforce``
is given.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog
from rich.console import Console

from bench.runtime.rivals import script
from bench.updates import download_memory, ours, peers, report, write_speed
from bench.updates.cache import Cache
from bench.updates.cases import CASES, QUICK, Case, Pairs, changed_tensor_bytes
from bench.updates.device import UpdateFailedError
from bench.updates.download_memory import Growth
from bench.updates.goals import OURS, Judged, Row, judge, judge_memory, judge_speed
from bench.updates.peers import METHODS, Method, Pair

GiB: Final = 1 << 30
MODELS: Final = ("smollm2", "gemma3")
MEASURES: Final = ("pairs", "memory", "speed")


class Bench:
    """One run.

    Args:
        cache: Where pairs are kept.
        console: Where progress is shown.
        strong: Whether ``zstd --patch-from -19`` is measured where there is a goal against it.
    """

    def __init__(self, cache: Cache, console: Console, *, strong: bool) -> None:
        self.rows: list[Row] = []
        self.judged: list[Judged] = []
        self.others: dict[str, Any] = {}
        self.notes: list[str] = []
        self._cache = cache
        self._console = console
        self._strong = strong

    def measure(self, model: str, file: Path, case: Case) -> None:
        """One pair, by all methods."""
        began = time.monotonic()
        old, new = Pairs(model, file, self._cache).build(case)
        pair = Pair.of(old, new)
        costs: dict[str, dict[str, Any]] = {}
        for name, method in self._methods(case).items():
            try:
                costs[name] = self._method(pair, name, method)
            except peers.WrongResultError as error:
                self.notes.append(f"{model}, {case.name}, {name}: {error}")
        wire_bytes = {name: int(cost["wire_bytes"]) for name, cost in costs.items()}
        cpu_s = {name: float(cost["cpu_s"]) for name, cost in costs.items()}
        details: dict[str, int] = {}
        try:
            with tempfile.TemporaryDirectory(dir=old.parent) as folder:
                update = asyncio.run(ours.measure(case, pair, Path(folder), self._cache))
            wire_bytes[OURS], cpu_s[OURS] = update.cost.wire_bytes, update.cost.cpu_s
            details = {
                "chunks_fetched": update.chunks_fetched,
                "chunks": update.chunks,
                **asdict(update.traffic),
            }
        except UpdateFailedError as error:
            self.notes.append(f"{model}, {case.name}: {error}")
        changed = 0 if case.kind == "adapter" else changed_tensor_bytes(old, new)
        self.rows.append(
            Row(
                model, case.name, case.kind, case.file_type, case.share, new.stat().st_size, changed,
                wire_bytes, cpu_s, details,
            )
        )  # fmt: skip
        self._say(f"{model}, {case.name}: {time.monotonic() - began:.0f} s")

    def memory(self, file: Path, pairs: Sequence[Pair]) -> None:
        """The growth of a real agent: while it fetches a file whole, and while it patches."""
        with tempfile.TemporaryDirectory() as folder:
            grown = download_memory.measure(file, Path(folder))
        self.others["memory"] = []
        self._grown(grown, file)
        for pair in pairs:
            with tempfile.TemporaryDirectory() as folder:
                self._grown([download_memory.measure_patching(pair, Path(folder))], pair.new)

    def _grown(self, grown: Sequence[Growth], file: Path) -> None:
        self.others["memory"] += [{**asdict(one), "grown_mib": one.grown_mib} for one in grown]
        self.judged += [judge_memory(f"{one.way}, {file.name}", one.grown_mib) for one in grown]

    def speed(self, file: Path, folder: Path) -> None:
        """Hashing and writing."""
        speed = asyncio.run(write_speed.measure(file, folder))
        self.others["hash_and_write"] = {**asdict(speed), "share": speed.share}
        self.judged.append(judge_speed(speed.share))

    def finish(self) -> None:
        """Judge the pairs."""
        self.judged = [*judge(self.rows), *self.judged]

    def _methods(self, case: Case) -> Mapping[str, Method]:
        judged = case.share == "1 %" and case.file_type in ("Q4_0", "Q4_K_M")
        return {**METHODS, **(peers.STRONG if judged and self._strong else {})}

    def _method(self, pair: Pair, name: str, method: Method) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            self._say(f"   {name}")
            with tempfile.TemporaryDirectory(dir=pair.old.parent) as folder:
                return asdict(method(pair, Path(folder)))

        key = f"{name} {peers.versions()} {peers.sha256_of(pair.old)} {pair.new_sha256}"
        return self._cache.result(key, run)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)


def _end_at(_signal: int, _frame: object) -> None:
    """End as Ctrl-C does: everything that was started is stopped on the way out."""
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make bench-updates"
    )
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--quick", action="store_true", help="a smoke: one model, four pairs")
    parser.add_argument(
        "--only", action="append", choices=[case.name for case in CASES], help="this case; may be repeated"
    )
    parser.add_argument("--model", action="append", choices=MODELS, help="this model; may be repeated")
    parser.add_argument(
        "--measure", action="append", choices=MEASURES, help="only pairs, memory or speed; may be repeated"
    )
    parser.add_argument(
        "--no-strong", action="store_true", help="leave out zstd -19, which takes minutes for each pair"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="measure the other methods, and build deltas, anew"
    )
    parser.add_argument("--enforce", action="store_true", help="exit code 1 when a goal was missed")
    parser.add_argument("--output", type=Path, default=Path("bench-updates.json"))
    parser.add_argument(
        "--cache",
        type=Path,
        default=home / "skerry" / "bench-updates",
        help="where pairs are kept (%(default)s)",
    )
    parser.add_argument(
        "--cache-gib", type=float, default=6.0, help="how much of them is kept (%(default)g GiB)"
    )
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    options = _options()
    signal.signal(signal.SIGTERM, _end_at)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    missing = peers.missing_programs()
    if missing:
        sys.exit(f"bench-updates: install {', '.join(missing)} first: updates are compared with them")
    console = Console(width=None if sys.stdout.isatty() else 220)
    about = report.facts()
    cache = Cache(options.cache, int(options.cache_gib * GiB))
    if options.fresh:
        cache.forget_results()
    bench = Bench(cache, console, strong=not (options.no_strong or options.quick))
    measures = options.measure or MEASURES
    models = options.model or (MODELS[:1] if options.quick else MODELS)
    cases = [case for case in CASES if case.name in (options.only or (QUICK if options.quick else case.name))]
    fetcher = script("fetch_models")
    files = {name: fetcher.fetch(fetcher.MODELS[name]) for name in models}
    try:
        if "pairs" in measures:
            for name, file in files.items():
                for case in cases:
                    bench.measure(name, file, case)
        largest = cache.largest() or max(files.values(), key=lambda file: file.stat().st_size)
        if "memory" in measures:
            patched = Case("memory", "finetune", "Q4_K_M", "1 %")
            made = [Pair.of(*Pairs(name, file, cache).build(patched)) for name, file in files.items()]
            bench.memory(largest, made)
        if "speed" in measures:
            bench.speed(largest, options.cache)
    except KeyboardInterrupt:
        bench.notes.append("interrupted: what was measured until then")
    bench.finish()
    report.show(console, bench.rows, bench.judged, bench.notes)
    report.write(options.output, about, bench.rows, bench.judged, bench.others, bench.notes)
    return 1 if options.enforce and any(one.verdict != "met" for one in bench.judged) else 0


if __name__ == "__main__":
    sys.exit(main())
