"""HTTP servers inside the daemon's event loop, on sockets that we bind and so can explain."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from skerry_agent.daemon.connections import ConnectionLimits, bounded_protocol
from skerry_agent.errors import WorldError


class EmbeddedServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the daemon decides when to stop.

    Attributes:
        ready: Set once it accepts connections.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections."""
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket.

    Raises:
        WorldError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise WorldError(
                f"port {port} on {host} is taken: stop what uses it (ss -ltnp), or set api.port"
                " (SKERRY_AGENT_API__PORT) to another"
            ) from error
        raise WorldError(
            f"cannot listen on {host}:{port}: {error.strerror}; see api.host and api.port"
        ) from error
    listener.listen(128)
    return listener


def bind_unix(path: Path) -> socket.socket:
    """A listening unix socket that owner and group may use; the state folder's lock makes it ours.

    Raises:
        WorldError: It cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        os.chmod(path, 0o660)  # noqa: PTH101 - Path.chmod does the same; this names the socket's mode once
    except OSError as error:
        listener.close()
        raise WorldError(
            f"cannot make the socket {path}: {error}; a path of at most 107 bytes is needed"
        ) from error
    listener.listen(16)
    return listener


def make_server(
    app: ASGIApp, *, stop_timeout_s: float, connections: ConnectionLimits | None = None
) -> EmbeddedServer:
    """A server for one application; its access log is ours to write, not uvicorn's."""
    config = uvicorn.Config(
        app,
        http=bounded_protocol(connections or ConnectionLimits()),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, int(stop_timeout_s)),
    )
    return EmbeddedServer(config)
