"""systemd's notifications: ``sd_notify(3)`` in a few lines, without its library."""

import asyncio
import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd, if it asked for it.

    Args:
        state: Such as ``READY=1``.
        environment: Where ``NOTIFY_SOCKET`` stands.

    Returns:
        Whether it was told.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    # A leading @ means the abstract namespace, which the kernel writes as a zero byte.
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), target)
    except OSError as error:
        log.warning("notify_failed", reason=error.strerror)
        return False
    return True


def watchdog_interval_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants to hear from us, halved as it recommends; None when it does not."""
    period = environment.get("WATCHDOG_USEC", "")
    owner = environment.get("WATCHDOG_PID", str(os.getpid()))
    if not period.isdigit() or not int(period) or owner != str(os.getpid()):
        return None
    return int(period) / 1_000_000 / 2


async def keep_watchdog_calm(interval_s: float) -> None:
    """Tell systemd that the event loop turns; runs until it is cancelled."""
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_s)
