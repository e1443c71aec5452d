"""What the reader gets: a table on the terminal, and ``bench-updates.json``."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.runtime.report import STYLES, machine
from bench.updates import peers
from bench.updates.goals import OURS, Judged, Row, size

SIMULATION = (
    "simulated fine-tune: the real model as F16, every matrix changed by a random one of rank 16 with "
    "0.2 % or 1 % of its Frobenius norm, parent and child quantized by llama_model_quantize; "
    "b: matrices of one block changed densely by 10 % of their norm"
)
COUNTED = (
    "skerry: MQTT packets of signed metadata, manifests, deltas and chunks in both directions, without "
    "TLS and TCP, desired state and reports; blocks and content-defined chunks: with their list of hashes, "
    "without requests; others: the file"
)


def facts() -> dict[str, Any]:
    """The machine, the versions, and how the figures came about."""
    return {**machine(), "methods": peers.versions(), "simulation": SIMULATION, "counted": COUNTED}


def show(console: Console, rows: Sequence[Row], judged: Sequence[Judged], notes: Sequence[str]) -> None:
    """Print bytes, CPU seconds, goals and notes."""
    methods = [OURS, *dict.fromkeys(method for row in rows for method in row.wire_bytes if method != OURS)]
    wire = Table("model", "case", "new file", *methods, box=None, title="bytes on the wire")
    cpu = Table("model", "case", *methods, box=None, title="CPU seconds of the device")
    for row in rows:
        wire.add_row(row.model, row.case, size(row.new_bytes), *(_share(row, method) for method in methods))
        cells = (f"{row.cpu_s[method]:.2f}" if method in row.cpu_s else "" for method in methods)
        cpu.add_row(row.model, row.case, *cells)
    goals = Table("goal for", "measured", "goal", "verdict", box=None)
    for one in judged:
        style = STYLES[one.verdict]
        goals.add_row(one.title, one.measured, one.goal, f"[{style}]{one.verdict}[/{style}]")
    for table in (wire, cpu, goals):
        if table.row_count:
            console.print(table)
            console.print()
    for note in notes:
        console.print(f"note: {note}", markup=False, highlight=False)


def write(
    path: Path,
    about: dict[str, Any],
    rows: Sequence[Row],
    judged: Sequence[Judged],
    others: dict[str, Any],
    notes: Sequence[str],
) -> None:
    """Write all of it as JSON."""
    report = {
        **about,
        "cases": [dataclasses.asdict(row) for row in rows],
        "goals": [dataclasses.asdict(one) for one in judged],
        **others,
        "notes": list(notes),
    }
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _share(row: Row, method: str) -> str:
    found = row.wire_bytes.get(method)
    if found is None:
        return ""
    share = found / row.new_bytes
    return f"{size(found)} ({share:.1%})" if share >= 0.001 else size(found)
