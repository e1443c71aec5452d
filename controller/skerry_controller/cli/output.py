"""What commands print: tables and lines for people, JSON for programs, bars for long work."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

MiB = 1024 * 1024
_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))  # noqa: T201 - what --json is for


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """A table; ``empty`` is said when there is no row."""
    if not rows:
        print_line(empty)
        return
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():  # for grep and awk: one line a row, however long
        _print_aligned([list(columns), *cells])
        return
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row_cells in cells:
        table.add_row(*row_cells)
    Console(highlight=False, markup=False).print(table)


def _print_aligned(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        if text:
            print_line(text)


def print_line(text: str) -> None:
    """One line on stdout."""
    print(text)  # noqa: T201 - this is the command line


def print_note(text: str) -> None:
    """One line on stderr: worth knowing, and not part of the result."""
    print(text, file=sys.stderr)  # noqa: T201 - this is the command line


def format_bytes(count: int | None) -> str | None:
    """``98.1 MiB``, or None as it is."""
    if count is None:
        return None
    return f"{count / MiB:.1f} MiB" if count >= MiB else f"{count / 1024:.1f} KiB"


def format_time(text: str | None) -> str | None:
    """A moment of the API as ``2026-11-03 12:00`` in local time."""
    if text is None:
        return None
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")


def format_age(text: str | None) -> str | None:
    """How long ago a moment of the API was, or ``in …`` when it lies ahead."""
    if text is None:
        return None
    seconds = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    span = format_span(abs(seconds))
    return f"{span} ago" if seconds >= 0 else f"in {span}"


def format_span(seconds: float) -> str:
    """``12s``, ``5m``, ``3h`` or ``2d``."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f}s"
    if seconds < _HOUR_S:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / _HOUR_S:.0f}h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f}d"


def format_labels(labels: dict[str, str]) -> str:
    """``site=lab, ring=canary``."""
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "-"


@contextmanager
def transfer_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar in bytes on a terminal, a plain line elsewhere; on stderr. Yields what to call."""
    console = Console(stderr=True)
    if not console.is_terminal:
        print_note(f"{description} ({format_bytes(total)})")
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)
