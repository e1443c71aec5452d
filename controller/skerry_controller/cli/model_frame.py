"""What the commands of ``skerry model`` share: the library that is meant, progress, Ctrl-C."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from skerry_controller.cli.app import INTERRUPTED_EXIT
from skerry_controller.cli.options import AsJson

if TYPE_CHECKING:
    from skerry_controller.workshop.library import Library
    from skerry_controller.workshop.progress import Progress, StopSign

__all__ = ["AsJson", "Controller", "Data", "Model", "Work", "library_folder", "long_work", "opened_library"]

LIBRARY_VARIABLE = "SKERRY_LIBRARY"
_LINE_EVERY_S = 10.0
_BYTES_FROM = 1024 * 1024

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The library's folder, or a controller's data folder; else $SKERRY_LIBRARY, else "
        "~/.local/share/skerry/library.",
    ),
]
Controller = Annotated[
    str | None,
    typer.Option(
        "--controller",
        metavar="URL",
        help="Work on the library of the controller there, with SKERRY_TOKEN or the token of 'skerry login'.",
    ),
]
Model = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="A model of the library; a name alone is its newest.")
]


def library_folder(data: Path | None) -> Path:
    """The folder that a person means with or without ``--data``."""
    if data is not None:
        return data / "library" if (data / "controller.db").exists() else data
    named = os.environ.get(LIBRARY_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "skerry" / "library"


@contextmanager
def opened_library(data: Path | None, *, read_only: bool = False) -> Iterator["Library"]:
    """The library that a person means, open while the block runs.

    Args:
        data: What ``--data`` gave.
        read_only: For what only looks: works while another process changes the library.

    Raises:
        LibraryBusyError: Another process changes it.
        WorldError: The disk refused.
    """
    from skerry_controller.workshop.library import Library  # noqa: PLC0415 - heavy, and only here

    library = Library.open(library_folder(data).absolute(), read_only=read_only)
    try:
        yield library
    finally:
        library.close()


class Work(NamedTuple):
    """What long work is given."""

    progress: "Progress"
    stop: "StopSign"


@contextmanager
def long_work() -> Iterator[Work]:
    """Show progress on stderr, and ask the work to stop at Ctrl-C; a second Ctrl-C does not wait.

    Work that was stopped ends the command with exit code 130.
    """
    from skerry_controller.cli.output import print_note  # noqa: PLC0415 - heavy, and only here
    from skerry_controller.workshop.progress import StoppedError, StopSign  # noqa: PLC0415 - the same

    stop = StopSign()

    def interrupted(*_: object) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.stop()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        with _shown_progress() as progress:
            yield Work(progress, stop)
    except StoppedError as error:
        print_note(f"skerry: {error}")
        raise SystemExit(INTERRUPTED_EXIT) from None
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _shown_progress() -> Iterator["Progress"]:
    from rich.console import Console  # noqa: PLC0415 - heavy, and only here
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - the same

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[shown]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: float, total: float | None = None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, shown="")
            bars.update(tasks[what], completed=done, total=total, shown=_amount(done, total))

        yield show


class _Lines:
    """A line when something else is done, and now and then while it lasts."""

    def __init__(self) -> None:
        self._what = ""
        self._said_at = 0.0

    def __call__(self, what: str, done: float, total: float | None = None) -> None:
        from skerry_controller.cli.output import print_note  # noqa: PLC0415 - heavy, and only here

        now = time.monotonic()
        if what == self._what and now - self._said_at < _LINE_EVERY_S:
            return
        self._what, self._said_at = what, now
        print_note(f"{what}: {_amount(done, total)}")


def _amount(done: float, total: float | None) -> str:
    """``3 of 210``; what counts to a million and more is bytes."""
    from skerry_controller.cli.output import format_bytes  # noqa: PLC0415 - heavy, and only here

    if max(done, total or 0) < _BYTES_FROM:
        return f"{done:.0f}" if total is None else f"{done:.0f} of {total:.0f}"
    shown = format_bytes(int(done))
    return f"{shown}" if total is None else f"{shown} of {format_bytes(int(total))}"
