"""``skerry rollout watch``: a live table on a terminal, a line for each change elsewhere."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from skerry_controller.cli.client import connect
from skerry_controller.cli.output import format_bytes, print_line
from skerry_controller.errors import WorldError

_EXIT_CODES = {"succeeded": 0, "failed": 1, "aborted": 1, "paused": 3}
_STANDINGS = ("committed", "pending", "failed", "unassigned", "moved on")
_MAX_LIVE_ROWS = 30
_PATIENCE_S = 20.0


async def watch_rollout(rollout: str, *, interval_s: float, as_json: bool) -> int:
    """Look again and again until the rollout ends or is paused; returns the exit code.

    Raises:
        ControllerError: The controller is out of reach, or has no such rollout.
    """
    live = sys.stdout.isatty() and not as_json
    async with connect() as client:
        if live:
            with Live(console=Console(), auto_refresh=False) as display:
                return await _until_end(
                    client, rollout, interval_s, lambda seen: display.update(_page(seen), refresh=True)
                )
        printer = _JsonLines() if as_json else _Lines()
        return await _until_end(client, rollout, interval_s, printer)


async def _until_end(
    client: Any, rollout: str, interval_s: float, show: Callable[[dict[str, Any]], None]
) -> int:
    last_seen: float | None = None
    while True:
        try:
            seen = await client.get(f"/rollouts/{rollout}")
        except WorldError:
            if last_seen is None or time.monotonic() - last_seen > _PATIENCE_S:
                raise
            await asyncio.sleep(interval_s)  # a controller that starts again goes on with the rollout
            continue
        last_seen = time.monotonic()
        show(seen)
        code = _EXIT_CODES.get(seen["state"])
        if code is not None:
            return code
        await asyncio.sleep(interval_s)


class _JsonLines:
    """One JSON document a line, when something changed."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, rollout: dict[str, Any]) -> None:
        text = json.dumps(rollout, ensure_ascii=False)
        if text != self._last:
            self._last = text
            print_line(text)
            sys.stdout.flush()


class _Lines:
    """A line for each device that moved, and for the rollout itself."""

    def __init__(self) -> None:
        self._devices: dict[str, tuple[object, ...]] = {}
        self._headline = ""

    def __call__(self, rollout: dict[str, Any]) -> None:
        for device, *rest in device_rows(rollout):
            standing, state, _, progress, reason = rest
            now = (standing, state, reason)
            if self._devices.get(str(device)) != now:
                self._devices[str(device)] = now
                words = [str(word) for word in (standing, state, progress, reason) if word]
                print_line(f"{device}  {'  '.join(words)}")
        line = headline(rollout)
        if line != self._headline:
            self._headline = line
            print_line(line)
        sys.stdout.flush()


def version_text(rollout: dict[str, Any], model: str = "to", adapters: str = "adapters") -> str:
    """``smol@1 + german@1``."""
    return " + ".join((rollout[model] or "nothing", *rollout.get(adapters, ())))


def headline(rollout: dict[str, Any]) -> str:
    """One line about the whole rollout."""
    text = (
        f"rollout {rollout['id']}  {rollout['channel']} → {version_text(rollout)}  {rollout['state']}  "
        f"wave {rollout['wave']} of {len(rollout['waves'])}  {counts_text(rollout)}"
    )
    if rollout["state"] == "running":
        if rollout["soak_until"] and rollout["soak_s"]:
            return f"{text}  (soaking)"
        return text if rollout["window_open"] else f"{text}  (waits for its window)"
    return f"{text}: {rollout['reason']}" if rollout["reason"] else text


def counts_text(rollout: dict[str, Any]) -> str:
    """``2 committed, 1 pending`` of so many devices."""
    counts = rollout["counts"]
    parts = [f"{counts[name]} {name}" for name in _STANDINGS if counts.get(name)]
    return ", ".join(parts) or "no devices"


def device_rows(rollout: dict[str, Any]) -> list[tuple[object, ...]]:
    """Device, standing, state, attempt, progress, reason."""
    return [
        (
            each["device"],
            each["standing"],
            each["state"],
            each["attempt"],
            _progress(each),
            f"{each['reason']} ({each['reason_code']})" if each["reason"] else None,
        )
        for each in rollout["devices"]
    ]


def _progress(device: dict[str, Any]) -> str | None:
    if not device["bytes_total"]:
        return None
    share = 100 * device["bytes_done"] // device["bytes_total"]
    return f"{share}% of {format_bytes(device['bytes_total'])}"


def _page(rollout: dict[str, Any]) -> Group:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("DEVICE", "STANDING", "STATE", "ATTEMPT", "PROGRESS", "REASON"):
        table.add_column(column, overflow="fold")
    rows = device_rows(rollout)
    for row in rows[:_MAX_LIVE_ROWS]:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    parts: list[Any] = [Text(headline(rollout), style="bold"), table]
    if len(rows) > _MAX_LIVE_ROWS:
        parts.append(Text(f"and {len(rows) - _MAX_LIVE_ROWS} more"))
    return Group(*parts)
