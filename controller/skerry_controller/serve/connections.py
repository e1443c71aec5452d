"""HTTP connections within bounds: strangers who say little, slowly or nothing must not hold them all."""

import asyncio
import contextlib
import resource
from dataclasses import dataclass

from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one listener.

    Attributes:
        max_connections: More are closed at once.
        request_deadline_s: Within this time after its beginning, a connection has sent the head of its first
            request, and of each further one after its first byte; otherwise it is closed.
    """

    max_connections: int = 512
    request_deadline_s: float = 15.0


def allow_many_files(wanted: int = 16_384) -> int:
    """Raise this process's own limit of open files, as far as the system lets it; returns the limit.

    Connections whose TLS handshake is not done count nowhere else; with the usual 1,024 they would soon leave
    none for the database.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def bounded_protocol(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """The HTTP protocol of uvicorn with these bounds, which its own settings do not know."""

    class BoundedProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
            if len(self.connections) >= limits.max_connections:
                self.transport = transport
                transport.abort()
                return
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._calm()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._calm()  # a whole head came; bodies and answers have bounds of their own
            elif self._deadline is None:
                self._deadline = self.loop.call_later(limits.request_deadline_s, self.transport.abort)

        def _calm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return BoundedProtocol
