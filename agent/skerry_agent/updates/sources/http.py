"""Chunks over HTTP range requests on the raw file, at addresses that a capability gives.

``requests`` blocks, so every wait for the network is in a worker thread; one chunk at a time is in memory.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from skerry_agent.errors import AgentError
from skerry_agent.updates.ports import P, Piece, SourceError
from skerry_agent.updates.sources.spans import Stretch, stretches
from skerry_protocol.manifest import Chunk
from skerry_protocol.requests import Capability

if TYPE_CHECKING:
    import requests

log = structlog.get_logger(__name__)

MiB = 1024 * 1024
_OK = 200
_PARTIAL = 206
_REFUSED = frozenset({401, 403, 410})
"""The capability may have expired: worth one new one."""
_SKIP_BYTES = 256 * 1024


class CapabilityProvider(Protocol):
    """Hands out short-lived addresses (``skerry_agent.sync.Requester``)."""

    async def capability(self, sha256: str) -> Capability:
        """Addresses of a blob.

        Raises:
            AgentError: The controller cannot be asked, or has none.
        """


OpenSession = Callable[[str | None], "requests.Session"]
"""Makes a session that believes only the given authority (PEM; None: the system's) and checks dates by
trusted time. May block."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Times in seconds, sizes in bytes.

    Attributes:
        connect_timeout_s: To reach the server: short, because MQTT stands behind it.
        read_timeout_s: Between two pieces of a body.
        max_range_bytes: Longest range of one request.
        rest_initial_s: After a failed attempt the source is not asked for so long; it doubles.
        rest_max_s: Longest such time.
    """

    connect_timeout_s: float = 5.0
    read_timeout_s: float = 15.0
    max_range_bytes: int = 64 * MiB
    rest_initial_s: float = 15.0
    rest_max_s: float = 600.0


class HttpSource:
    """The faster path where the controller's listener, or a CDN, can be reached.

    Args:
        capabilities: Where addresses come from.
        open_session: Makes sessions.
        limits: Times and bounds.
        monotonic: For the rest after a failure.
    """

    name = "http"

    def __init__(
        self,
        capabilities: CapabilityProvider,
        open_session: OpenSession,
        *,
        limits: HttpLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capabilities = capabilities
        self._open_session = open_session
        self._limits = limits or HttpLimits()
        self._monotonic = monotonic
        self._failures = 0
        self._rests_until = 0.0

    def fetch(self, file_sha256: str, chunks: Sequence[Chunk]) -> AsyncGenerator[tuple[Chunk, bytes], None]:
        """Yield chunks of a file; see :meth:`read`."""
        return self.read(file_sha256, chunks)

    async def read(self, blob_sha256: str, pieces: Sequence[P]) -> AsyncGenerator[tuple[P, bytes], None]:
        """Yield pieces of a blob, from the first address that works.

        Raises:
            SourceError: No address works, or the source rests after a failure. Other ``AgentError``s come
                from the provider of capabilities.
        """
        rest_s = self._rests_until - self._monotonic()
        if rest_s > 0:
            raise SourceError(f"was not reachable; asked again in {rest_s:.0f} s")
        missing = dict.fromkeys(pieces)
        problem = "the controller gave no address"
        for _ in range(2):
            capability = await self._capabilities.capability(blob_sha256)
            expired = False
            for url in capability.urls:
                try:
                    reading = self._read_from(url, capability.authority_pem, list(missing))
                    async with aclosing(reading):
                        async for piece, data in reading:
                            missing.pop(piece, None)
                            self._failures = 0
                            yield piece, data
                except _ExpiredError as error:
                    problem, expired = str(error), True
                except SourceError as error:
                    problem = str(error)
                    log.info("http_source_failed", error=problem)
                if not missing:
                    return
            if not expired:
                break
        self._rest()
        raise SourceError(problem)

    def _rest(self) -> None:
        pause_s = min(self._limits.rest_max_s, self._limits.rest_initial_s * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._rests_until = self._monotonic() + pause_s

    async def _read_from(
        self, url: str, authority_pem: str | None, pieces: Sequence[P]
    ) -> AsyncGenerator[tuple[P, bytes], None]:
        reader = await asyncio.to_thread(_Reader, self._open_session, authority_pem, url, self._limits)
        try:
            for stretch in stretches(pieces, self._limits.max_range_bytes):
                if await asyncio.to_thread(reader.request, stretch):
                    wanted: Sequence[P] = stretch.pieces
                else:
                    # The server ignores ranges: all that is wanted comes by in the one answer.
                    wanted = sorted(pieces, key=lambda piece: piece.offset)
                for piece in wanted:
                    yield piece, await asyncio.to_thread(reader.read, piece)
                if wanted is not stretch.pieces:
                    return
        finally:
            # Not in a thread: when this was cancelled, a thread may still wait for the network.
            reader.close()


class _ExpiredError(SourceError):
    """The server does not accept the capability (any more)."""


class _Reader:
    """One address: requests and their bodies. Blocks."""

    def __init__(
        self, open_session: OpenSession, authority_pem: str | None, url: str, limits: HttpLimits
    ) -> None:
        self._url = url
        self._limits = limits
        self._closed = False
        self._response: requests.Response | None = None
        self._position = 0
        with _network_errors(url):
            self._session = open_session(authority_pem)

    def request(self, stretch: Stretch[P]) -> bool:
        """Ask for a range; False when the whole file comes instead."""
        self._drop()
        last = stretch.offset + stretch.length - 1
        with _network_errors(self._url):
            self._response = response = self._session.get(
                self._url,
                headers={"Range": f"bytes={stretch.offset}-{last}", "Accept-Encoding": "identity"},
                stream=True,
                timeout=(self._limits.connect_timeout_s, self._limits.read_timeout_s),
                allow_redirects=False,
            )
        if self._closed:
            # Nobody waits for it any more.
            self._drop()
            raise SourceError("the connection was closed")
        if response.status_code in _REFUSED:
            raise _ExpiredError(f"the server answered {response.status_code}")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise SourceError("the server sends the file in another encoding")
        if response.status_code == _OK:
            self._position = 0
            return False
        if response.status_code != _PARTIAL:
            raise SourceError(f"the server answered {response.status_code}")
        content_range = response.headers.get("Content-Range", "")
        if not content_range.startswith(f"bytes {stretch.offset}-{last}/"):
            raise SourceError(f"asked for bytes {stretch.offset}-{last}, got {content_range[:64]!r}")
        self._position = stretch.offset
        return True

    def read(self, piece: Piece) -> bytes:
        """The bytes of a piece that is ahead in the current answer."""
        while self._position < piece.offset:
            self._take(min(_SKIP_BYTES, piece.offset - self._position))
        return self._take(piece.length)

    def _take(self, length: int) -> bytes:
        if self._response is None:
            raise SourceError("the connection was closed")
        data = bytearray()
        while len(data) < length:
            with _network_errors(self._url):
                part = self._response.raw.read(length - len(data))
            if not part:
                raise SourceError(f"the answer ended {length - len(data)} bytes early")
            data += part
        self._position += length
        return bytes(data)

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def close(self) -> None:
        """End connection and session at once, also while another thread reads."""
        self._closed = True
        if self._response is not None:
            with suppress(OSError, ValueError, RuntimeError):
                # Wakes that thread: closing would wait for it. urllib3 refuses when the answer is at its end.
                self._response.raw.shutdown()
        self._drop()
        self._session.close()


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    # Imported where it is first needed: together they take some megabytes.
    import requests  # noqa: PLC0415
    import urllib3  # noqa: PLC0415

    host = url.split("?", 1)[0]
    try:
        yield
    except AgentError as error:
        raise SourceError(f"{host}: {error}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise SourceError(f"{host}: {_short(error)}") from error


def _short(error: Exception) -> str:
    """The last cause, without the addresses (and capabilities) that requests puts into its messages."""
    cause: BaseException = error
    while (next_cause := cause.__cause__ or cause.__context__) is not None:
        cause = next_cause
    if isinstance(cause, TimeoutError):
        return "timed out"
    return getattr(cause, "strerror", None) or type(cause).__name__
