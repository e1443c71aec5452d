"""The workshop's whole line on real models: import, quantize, bench, eval, compare, advise, publish.

PYTHONPATH=tests python -m bench.models            all of it; writes docs/model-figures.md and its charts
PYTHONPATH=tests python -m bench.models --quick    one model, one quantization, few points; writes no page

Into docs/ it writes only when every step worked; ``--output`` takes what there is.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.models.line import Failed, Line, Story
from bench.models.report import write_report

ROOT = Path(__file__).resolve().parents[3]
STORIES = (
    Story("smollm2", "SmolLM2-135M", "smollm2", ("Q8_0", "Q5_1", "Q4_K_M", "Q4_0")),
    Story("gemma3", "Gemma 3 270M", "gemma3", ("Q8_0", "Q5_K_M", "Q5_1", "Q4_0")),
)
"""Both parents are 4-bit already, so the larger ones are made for their format, and the figures say so."""


def main() -> int:
    """Run the line; the exit code tells whether every step worked."""
    parser = argparse.ArgumentParser(prog="bench.models")
    parser.add_argument("--quick", action="store_true", help="a smoke: one model, one quantization")
    names = [story.name for story in STORIES]
    parser.add_argument("--model", action="append", choices=names, help="this model; may be repeated")
    parser.add_argument("--output", type=Path, default=None, help="where to write; else docs/")
    parser.add_argument("--keep", type=Path, default=None, help="work in this folder and leave it")
    options = parser.parse_args()
    output = options.output or (None if options.quick else ROOT / "docs")
    folder = options.keep or Path(tempfile.mkdtemp(prefix="skerry-bench-models-"))
    began = time.monotonic()
    try:
        line = Line(folder, quick=options.quick)
        wanted = options.model or names[: 1 if options.quick else None]
        stories = [story for story in STORIES if story.name in wanted]
        results = [line.run(story) for story in stories]
        if output is not None and (options.output is not None or not line.failures):
            write_report(output, results, seconds=time.monotonic() - began)
    except Failed as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 1
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{time.monotonic() - began:.0f} s; steps that failed: {len(line.failures)}")  # noqa: T201 - a command
    for failure in line.failures:
        print(failure, file=sys.stderr)  # noqa: T201 - a command
    return 1 if line.failures else 0


if __name__ == "__main__":
    sys.exit(main())
