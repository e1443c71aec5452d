"""What the demo found: a step a row, written as JSON whatever happens."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


class StepFailedError(Exception):
    """A step did not show what it has to show; the message says what was found instead."""


@dataclass
class Step:
    """One step of the story: what it measured, and whether it was verified."""

    name: str
    ok: bool = False
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def require(self, holds: object, message: str) -> None:
        """Verify something.

        Raises:
            StepFailedError: It does not hold.
        """
        if not holds:
            raise StepFailedError(message)


class Report:
    """Collects the steps and writes them after each one."""

    def __init__(self, path: Path, console: Console) -> None:
        self._path = path
        self._console = console
        self._started = datetime.now(UTC)
        self.steps: list[Step] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Run one step; it counts as verified only when the block ends without an error."""
        step = Step(name)
        self.steps.append(step)
        self._console.rule(f"[bold]{len(self.steps)}. {name}", align="left")
        start = time.monotonic()
        try:
            yield step
            step.ok = True
        except BaseException as error:
            step.error = f"{type(error).__name__}: {error}"
            raise
        finally:
            step.seconds = round(time.monotonic() - start, 2)
            self.write()

    @property
    def ok(self) -> bool:
        """Whether all steps that were begun were verified."""
        return bool(self.steps) and all(step.ok for step in self.steps)

    def write(self) -> None:
        """Write the report."""
        document = {
            "started_at": self._started.isoformat(timespec="seconds"),
            "ok": self.ok,
            "steps": [vars(step) for step in self.steps],
        }
        self._path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    def summary(self) -> None:
        """Print a short table."""
        table = Table("", "step", "seconds", "figures", box=None, pad_edge=False)
        for step in self.steps:
            figures = ", ".join(f"{k} {v}" for k, v in step.figures.items() if not isinstance(v, list | dict))
            table.add_row("✓" if step.ok else "✗", step.name, f"{step.seconds:.1f}", step.error or figures)
        self._console.print(table)
        self._console.print(f"report: {self._path}")
