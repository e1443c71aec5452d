"""``skerry-agent import BUNDLE``: reads the stick for the daemon, step by step, and shows how far it is."""

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from skerry_agent.admin import AdminClient
from skerry_agent.cli.stick import Stick
from skerry_agent.errors import AgentError, UsageError, WorldError
from skerry_protocol.errors import ProtocolError

EXIT_REFUSED = 1
EXIT_WAITING = 3
_MAX_BEGINNINGS = 4
"""The fleet's settings may make the daemon open its rooms anew in the middle."""
_AWAY_S = 60.0
AWAY_POLL_S = 1.0
_MiB = 1024 * 1024

Show = Callable[[dict[str, Any]], None]


def import_bundle(
    connect: Callable[[], AdminClient], folder: Path, wait_s: float | None, show: Show
) -> dict[str, Any]:
    """Import a bundle; returns what the daemon says in the end.

    Args:
        connect: Finds the daemon.
        folder: The bundle.
        wait_s: How long to wait for the end of the update; None leaves it to the daemon.
        show: Called with the progress.

    Raises:
        UsageError: That is no bundle, or no daemon takes it.
        WorldError: The daemon went away and did not come back.
    """
    stick = Stick(folder)
    try:
        for beginning in range(1, _MAX_BEGINNINGS + 1):
            client = connect()
            import_id = str(client.call("bundle_begin", wait_s=wait_s)["id"])
            try:
                return _follow(client, import_id, stick, show)
            except KeyboardInterrupt:
                client.call("bundle_cancel", import_id=import_id)
                raise
            except (WorldError, UsageError):
                # It went away, or is a new one: either does not know the import.
                if beginning == _MAX_BEGINNINGS:
                    raise
                _wait_for_daemon(connect)
        raise WorldError("the daemon went away again and again: see its log")
    finally:
        stick.close()


def _follow(client: AdminClient, import_id: str, stick: Stick, show: Show) -> dict[str, Any]:
    status, body = "", b""
    while True:
        step = client.bundle_turn(import_id, status, body)
        if step["do"] == "end":
            return step
        status, body = _do(step, stick, show)


def _do(step: dict[str, Any], stick: Stick, show: Show) -> tuple[str, bytes]:
    """Do one step; what cannot be done is the answer, not the end."""
    try:
        match step["do"]:
            case "read":
                data = stick.read(step["name"], step["offset"], step["length"])
                return ("missing", b"") if data is None else ("ok", data)
            case "write":
                content = base64.b64decode(step["data"])
                stick.write(step["name"], content, first=step["first"], last=step["last"])
            case _:
                show(step)
    except (AgentError, ProtocolError, ValueError) as error:
        return "failed", str(error).encode()
    return "ok", b""


def _wait_for_daemon(connect: Callable[[], AdminClient]) -> None:
    """Wait until the daemon answers again, and its fleet's side with it.

    Raises:
        UsageError: It does not come back.
    """
    end = time.monotonic() + _AWAY_S
    while True:
        time.sleep(AWAY_POLL_S)
        try:
            if connect().call("status")["device"] is not None:
                return
        except AgentError as error:
            if time.monotonic() > end:
                raise UsageError(f"the daemon did not come back: {error}") from error
        if time.monotonic() > end:
            raise UsageError("the daemon came back without its fleet: see its log")


class ProgressLines:
    """Shows the wanted slots on stderr: one changing line on a terminal, a line for each state elsewhere."""

    def __init__(self, *, hidden: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._hidden = hidden
        self._last = ""

    def show(self, progress: dict[str, Any]) -> None:
        """Show where things are."""
        text = "; ".join(
            _slot_text(channel, progress["slots"].get(channel)) for channel in progress.get("wanted", ())
        )
        if self._hidden or not text:
            return
        if self._console.is_terminal:
            self._console.print(f"\r\x1b[K{text}", end="", soft_wrap=True)
        elif (state := text.partition(" %")[0].rstrip("0123456789 ")) != self._last:
            self._last = state
            self._console.print(text, soft_wrap=True)

    def done(self) -> None:
        """End the line."""
        if self._console.is_terminal and not self._hidden:
            self._console.print()


def _slot_text(channel: str, slot: dict[str, Any] | None) -> str:
    if slot is None:
        return f"{channel}: begins"
    if slot["state"] == "downloading" and slot["bytes_total"]:
        return f"{channel}: downloading {100 * slot['bytes_done'] // slot['bytes_total']} %"
    return f"{channel}: {slot['state']}"


def show_bundle_import(result: dict[str, Any]) -> None:
    """The end of an import, for a person."""
    console = Console(highlight=False)
    for channel, slot in result.get("slots", {}).items():
        if slot["target"] is not None:
            console.print(f"{channel}: {slot['state']}, {slot['active'] or 'nothing'} serves", soft_wrap=True)
    if result.get("chunk_bytes"):
        console.print(f"{result['chunk_bytes'] / _MiB:.2f} MiB came from the stick")
    if result["outcome"] == "nothing":
        console.print(result["message"], soft_wrap=True)
    written = result.get("written")
    if written:
        console.print(f"written back: {written['records']} records; 'skerry telemetry import' takes them in")
    elif result.get("not_written"):
        console.print(f"nothing was written back: {result['not_written']}", soft_wrap=True)


def end_of_import(result: dict[str, Any]) -> None:
    """The exit code that an import's outcome asks for, and its reason as one line.

    Raises:
        WorldError: It failed, was refused or rolled back.
        typer.Exit: It goes on by itself later.
    """
    outcome = result["outcome"]
    if outcome in ("failed", "refused", "rolled_back"):
        what = (
            "the bundle cannot be used"
            if outcome == "failed"
            else f"the update was {outcome.replace('_', ' ')}"
        )
        raise WorldError(f"{what}: {result['message']} ({result['code']})")
    if outcome == "waiting":
        typer.echo(f"accepted, and not at its end yet: {result['message']}", err=True)
        raise typer.Exit(EXIT_WAITING)
