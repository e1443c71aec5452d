"""Whether the broker's binary is there, its port free, and its listener up."""

import asyncio
import errno
import os
import shutil
import socket
from pathlib import Path

from skerry_controller.broker.settings import BrokerSettings
from skerry_controller.errors import UsageError, WorldError

_SBIN_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
_PROBE_INTERVAL_S = 0.02


def find_binary(configured: Path | None) -> Path:
    """The mosquitto program; Debian keeps it in a folder that is not in everybody's ``PATH``.

    Raises:
        WorldError: It is not installed.
    """
    if configured is not None:
        if os.access(configured, os.X_OK) and configured.is_file():
            return configured.resolve()
        raise WorldError(f"{configured} is not a program: correct broker.binary")
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN_FOLDERS])
    found = shutil.which("mosquitto", path=search)
    if found is None:
        raise WorldError(
            "mosquitto is not installed: run 'sudo apt install mosquitto', or use an external broker"
        )
    return Path(found).resolve()


def check_port_is_free(settings: BrokerSettings) -> None:
    """Try to listen where the broker will.

    Raises:
        WorldError: Another program listens there.
        UsageError: The address is not this machine's.
    """
    if is_listening(settings):
        raise WorldError(
            f"port {settings.port} is taken: stop the program that listens there "
            "(a system-wide mosquitto?), or set broker.port (SKERRY_BROKER__PORT) to another"
        )


async def wait_until_listening(settings: BrokerSettings) -> None:
    """Return as soon as the broker listens; the caller sets the deadline."""
    while not is_listening(settings):  # noqa: ASYNC110 - no event tells when another process listens
        await asyncio.sleep(_PROBE_INTERVAL_S)


def is_listening(settings: BrokerSettings) -> bool:
    """Whether some program listens on the broker's port.

    Asked by trying to bind: a connection without a TLS handshake would leave an error in the
    broker's log at each start. With SO_REUSEADDR only a listening socket is in the way (socket(7)).

    Raises:
        UsageError: The address is not this machine's.
    """
    if settings.bind_address is None:
        # A machine without IPv6 refuses the second, which says nothing about the port.
        addresses = [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]  # noqa: S104 - nothing is accepted
    else:
        family = socket.AF_INET6 if ":" in settings.bind_address else socket.AF_INET
        addresses = [(family, settings.bind_address)]
    for family, address in addresses:
        try:
            _try_to_bind(family, address, settings.port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            if settings.bind_address is not None and error.errno == errno.EADDRNOTAVAIL:
                raise UsageError(
                    f"{address} is not an address of this machine: correct broker.bind_address"
                ) from error
    return False


def _try_to_bind(family: socket.AddressFamily, address: str, port: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((address, port))
