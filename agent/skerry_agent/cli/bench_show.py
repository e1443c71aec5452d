"""Results of ``skerry-agent bench``, as a table and as JSON."""

import json
import os
import platform
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from skerry_agent import __version__
from skerry_agent.cli.benching import Measured

MiB = 1024 * 1024


def show_bench(entry: dict[str, Any], results: Sequence[Measured]) -> None:
    """A table like llama-bench's."""
    meta = entry["meta"]
    table = Table("model", "quantization", "size", "params", "test", "t/s", box=None, pad_edge=False)
    for result in results:
        table.add_row(
            entry["artifact"],
            str(meta.get("quantization", "-")),
            f"{meta.get('weights_bytes', 0) / MiB:.1f} MiB",
            f"{meta.get('parameters', 0) / 1e6:.1f} M",
            result.test,
            f"{result.median:.2f} ± {result.spread:.2f}",
        )
    Console().print(table)


def bench_json(entry: dict[str, Any], results: Sequence[Measured]) -> str:
    """The same for programs, with every round."""
    document = {
        "model": entry["artifact"],
        "sha256": entry["sha256"],
        "skerry": __version__,
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "tests": [
            {
                "test": result.test,
                "tokens": result.tokens,
                "tokens_per_s": round(result.median, 3),
                "rounds": [round(rate, 3) for rate in result.rates],
            }
            for result in results
        ],
    }
    return json.dumps(document, indent=2)
