"""One address that is read by HTTP range requests. Blocks: for worker threads."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

from skerry_agent.errors import AgentError
from skerry_agent.updates.ports import Piece, SourceError
from skerry_agent.updates.traffic import Traffic

if TYPE_CHECKING:
    import requests

MiB = 1024 * 1024
_OK = 200
_PARTIAL = 206
_EXPIRED = frozenset({401, 403, 410})
"""The capability may have expired: worth one new one."""
_BUSY = frozenset({429, 503})
_SERVER_ERRORS = range(500, 600)
_BLOCK_BYTES = 256 * 1024

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
        max_attempts: At one address, one after the other, that bring less than ``progress_bytes`` each.
        progress_bytes: An attempt that brought so much was worth it: the next one counts as the first.
        retry_initial_s: First pause between attempts (full jitter, doubling).
        retry_max_s: Longest such pause.
        rest_initial_s: After a failure the source is not asked for so long (full jitter, doubling).
        rest_max_s: Longest such time.
        retry_after_max_s: A server may ask for at most so long a pause (``Retry-After``).
        max_waste_bytes: A server that ignores ranges is read through when no more than this, or than what is
            wanted, has to be skipped.
    """

    connect_timeout_s: float = 5.0
    read_timeout_s: float = 15.0
    max_range_bytes: int = 64 * MiB
    max_attempts: int = 4
    progress_bytes: int = 64 * 1024
    retry_initial_s: float = 0.25
    retry_max_s: float = 4.0
    rest_initial_s: float = 15.0
    rest_max_s: float = 600.0
    retry_after_max_s: float = 3600.0
    max_waste_bytes: int = 1 * MiB


class BrokenOffError(SourceError):
    """The connection or its answer broke off, or the server failed: worth another attempt at this address."""


class ExpiredError(SourceError):
    """The server does not accept the capability (any more)."""


class HttpReader:
    """Requests to one address, and their bodies.

    What came of a piece before an answer broke off is kept for the next one.

    Args:
        open_session: Makes the session.
        authority_pem: Whom it believes.
        url: The address.
        source: Name under which bytes are counted.
        traffic: Counts them, and says how fast they may be read.
        limits: Times and bounds.

    Attributes:
        useful_bytes: What came of pieces; what was read over on the way to them does not count.
        answered: Whether the server ever answered.
    """

    def __init__(
        self,
        open_session: OpenSession,
        authority_pem: str | None,
        url: str,
        *,
        source: str,
        traffic: Traffic,
        limits: HttpLimits,
    ) -> None:
        self._url = url
        self._source = source
        self._traffic = traffic
        self._limits = limits
        self._closed = threading.Event()
        self._response: requests.Response | None = None
        self._position = 0
        self._begun_at = -1
        self._begun = bytearray()
        self.useful_bytes = 0
        self.answered = False
        with _network_errors(url):
            self._session = open_session(authority_pem)

    def begun_bytes(self, piece: Piece) -> int:
        """How much of a piece came already."""
        return len(self._begun) if self._begun_at == piece.offset else 0

    def request(self, offset: int, length: int) -> Literal["range", "whole"]:
        """Ask for a range; ``whole`` when the server ignores that and sends everything.

        Raises:
            BrokenOffError: Worth another attempt.
            ExpiredError: Worth another capability.
            SourceError: This address is of no use.
        """
        self._drop()
        last = offset + length - 1
        with _network_errors(self._url):
            self._response = response = self._session.get(
                self._url,
                headers={"Range": f"bytes={offset}-{last}", "Accept-Encoding": "identity"},
                stream=True,
                timeout=(self._limits.connect_timeout_s, self._limits.read_timeout_s),
                allow_redirects=False,
            )
        if self._closed.is_set():
            # Nobody waits for it any more.
            self._drop()
            raise SourceError("the connection was closed")
        self.answered = True
        self._check_status(response)
        if response.status_code == _OK:
            self._position = 0
            return "whole"
        content_range = response.headers.get("Content-Range", "")
        if not content_range.startswith(f"bytes {offset}-{last}/"):
            raise SourceError(f"asked for bytes {offset}-{last}, got {content_range[:64]!r}")
        self._position = offset
        return "range"

    def _check_status(self, response: "requests.Response") -> None:
        status = response.status_code
        if status in _EXPIRED:
            raise ExpiredError(f"the server answered {status}")
        if status in _BUSY:
            pause_s = _retry_after(response.headers, self._limits.retry_after_max_s)
            if pause_s is not None:
                raise SourceError(f"the server answered {status}", retry_after_s=pause_s)
        if status in _SERVER_ERRORS:
            raise BrokenOffError(f"the server answered {status}")
        if status not in (_OK, _PARTIAL):
            raise SourceError(f"the server answered {status}")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise SourceError("the server sends the file in another encoding")

    def read(self, piece: Piece) -> bytes:
        """The bytes of a piece, what is left of it being ahead in the current answer.

        Raises:
            BrokenOffError: The answer broke off; what came is kept.
        """
        if self._begun_at != piece.offset:
            self._begun_at, self._begun = piece.offset, bytearray()
        while self._position < piece.offset + len(self._begun):
            self._receive(piece.offset + len(self._begun) - self._position)
        while len(self._begun) < piece.length:
            part = self._receive(piece.length - len(self._begun))
            self._begun += part
            self.useful_bytes += len(part)
        data = bytes(self._begun)
        self._begun_at, self._begun = -1, bytearray()
        return data

    def _receive(self, most: int) -> bytes:
        """Some bytes of the body, as many as came, and no faster than allowed."""
        count = self._traffic.read_bytes(min(most, _BLOCK_BYTES))
        if self._closed.wait(wait_s) if (wait_s := self._traffic.reserve(count)) else self._closed.is_set():
            raise SourceError("the connection was closed")
        if self._response is None:
            raise SourceError("the connection was closed")
        with _network_errors(self._url):
            part: bytes = self._response.raw.read1(count)
        self._traffic.give_back(count - len(part))
        if not part:
            raise BrokenOffError(f"the answer ended {most} bytes early")
        self._traffic.received(self._source, len(part))
        self._position += len(part)
        return part

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def close(self) -> None:
        """End connection and session at once, also while another thread reads."""
        self._closed.set()
        if self._response is not None:
            with suppress(OSError, ValueError, RuntimeError):
                # Wakes that thread: closing would wait for it. urllib3 refuses when the answer is at its end.
                self._response.raw.shutdown()
        self._drop()
        self._session.close()


def _retry_after(headers: Mapping[str, str], most_s: float) -> float | None:
    """Seconds of a ``Retry-After`` header (RFC 9110, 10.2.3); None when it says nothing.

    A date counts from the server's own: the device's clock may be wrong.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), most_s)
    try:
        until = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers["Date"])
        return min(max(0.0, (until - now).total_seconds()), most_s)
    except (ValueError, TypeError, KeyError):
        return None


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
        raise BrokenOffError(f"{host}: {_short(error)}") from error


def _short(error: Exception) -> str:
    """The last cause, without the addresses (and capabilities) that requests puts into its messages."""
    cause: BaseException = error
    while (next_cause := cause.__cause__ or cause.__context__) is not None:
        cause = next_cause
    if isinstance(cause, TimeoutError):
        return "timed out"
    return getattr(cause, "strerror", None) or type(cause).__name__
