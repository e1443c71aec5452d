"""Telling systemd what the daemon does: sd_notify(3) over ``$NOTIFY_SOCKET``.

Written out here: it is one datagram, and the packages that wrap it bring more than that.
"""

import asyncio
import os
import socket
from collections.abc import Mapping


class ServiceNotifier:
    """Sends readiness, status and watchdog messages; without systemd it does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog_s = int(environment.get("WATCHDOG_USEC", "0")) / 1e6

    def send(self, message: str) -> None:
        """Send one message such as ``READY=1``; a lost one is no failure of ours."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.sendto(message.encode(), address)
            except OSError:
                return

    async def watchdog(self) -> None:
        """Tell systemd at half its interval that the event loop still turns."""
        while self._watchdog_s:
            self.send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)
