"""How far an update is, and what it waits for, in words. Pure, but for the device's time zone."""

from datetime import datetime, timedelta, tzinfo
from typing import Any

MiB = 1024 * 1024


def progress(update: dict[str, Any]) -> str:
    """``downloading 40 % at 1.5 MiB/s from mqtt``; ``-`` without an update."""
    if not update:
        return "-"
    if update["state"] != "downloading" or not update["bytes_total"]:
        return str(update["state"])
    done = f"downloading {100 * update['bytes_done'] / update['bytes_total']:.0f} %"
    if not update["source"]:
        return done
    return f"{done} at {update['bytes_per_s'] / MiB:.3g} MiB/s from {update['source']}"


def waiting(update: dict[str, Any], now: datetime | None = None, timezone: tzinfo | None = None) -> str:
    """Why, and until when; empty when there is nothing to say.

    Args:
        update: A slot's report.
        now: The time; None is now.
        timezone: Of the text; None is the device's.
    """
    message = str((update.get("reason") or {}).get("message", ""))
    until = update.get("waits_until")
    if until is None:
        return message
    at = datetime.fromtimestamp(until).astimezone(timezone)
    now = (now or datetime.now().astimezone()).astimezone(timezone)
    form = "%H:%M:%S" if abs(at - now) < timedelta(hours=12) else "%Y-%m-%d %H:%M"
    return f"{message} (until {at.strftime(form)})" if message else f"until {at.strftime(form)}"
