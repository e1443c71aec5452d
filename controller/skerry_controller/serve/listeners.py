"""Two HTTP servers in one event loop, on sockets that were bound before anything else started."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from skerry_controller.errors import UsageError, WorldError
from skerry_controller.serve.connections import ConnectionLimits, bounded_protocol

_BACKLOG = 512
_KEEP_ALIVE_S = 30


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A TCP socket that listens nowhere yet, but holds its port.

    Args:
        host: Address.
        port: Port; 0 takes a free one.
        setting: The section of the settings, for the message.

    Raises:
        WorldError: The port is taken or forbidden; names it and the setting.
        UsageError: The address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise _binding_error(error, host, port, setting) from error
    return bound


def _binding_error(error: OSError, host: str, port: int, setting: str) -> UsageError | WorldError:
    change = f"set {setting}.port (SKERRY_{setting.upper()}__PORT) to another"
    if error.errno == errno.EADDRINUSE:
        return WorldError(f"port {port} on {host} is taken: stop the program that listens there, or {change}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return WorldError(f"port {port} may not be used by this user: {change} above 1023")
    return UsageError(f"cannot listen on {host}: {error.strerror or error}; correct {setting}.host")


class Listener(uvicorn.Server):
    """One HTTP server that leaves the process's signals alone and says when it is ready."""

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        *,
        stop_timeout_s: float,
        tls: ssl.SSLContext | None = None,
        connections: ConnectionLimits | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=bounded_protocol(connections or ConnectionLimits()),
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(stop_timeout_s)),
        )
        config.load()
        config.ssl = tls
        super().__init__(config)
        self._bound = bound
        self.ready = asyncio.Event()

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._bound.getsockname()[1]
        return port

    async def run_until_stopped(self) -> None:
        """Serve until :meth:`stop`, then finish running requests; on cancellation end at once."""
        try:
            await self.serve(sockets=[self._bound])
        except asyncio.CancelledError:
            self.force_exit = True
            if self.started:
                await self.shutdown(sockets=[self._bound])
            raise
        finally:
            self._bound.close()

    def stop(self) -> None:
        """Take no new connections, and end when the running requests are done."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and then say so."""
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process's owner."""
        yield
