"""Requests to whatever serves models, and what goes wrong with them in a person's words."""

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self
from urllib.parse import urlsplit

import requests

from skerry_controller.errors import PeerError, WorldError
from skerry_controller.version import VERSION
from skerry_controller.workshop.importing.limits import ImportLimits
from skerry_controller.workshop.importing.offer import Headers

OK = 200
PARTIAL = 206
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
RANGE_REFUSED = 416
_ERROR_CODE = re.compile(r"<Code>(\w+)</Code>")  # as S3 says it
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class RefusedError(PeerError):
    """The server answered, and said no."""

    def __init__(self, message: str, status: int, headers: Headers, body: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def passing(self) -> bool:
        """Whether asking again may help."""
        return self.status in _AGAIN


class Web:
    """A session of requests; closed with the block.

    Args:
        limits: How patient it is.
    """

    def __init__(self, limits: ImportLimits) -> None:
        self._limits = limits
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"skerry/{VERSION}"
        # Compressed on the way, bytes could not be counted, nor resumed.
        self._session.headers["Accept-Encoding"] = "identity"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    @contextmanager
    def get(self, url: str, headers: Headers | None = None) -> Iterator[requests.Response]:
        """The answer to a GET, its body still to be read. Redirects are followed, without our credentials.

        Raises:
            RefusedError: The answer is an error.
            WorldError: There is no answer, or it broke off.
        """
        host = urlsplit(url).hostname or ""
        self._session.trust_env = not is_loopback(host)  # no proxy leads to this machine's loopback
        timeout = (self._limits.connect_timeout_s, self._limits.read_timeout_s)
        try:
            with self._session.get(url, headers=dict(headers or {}), stream=True, timeout=timeout) as answer:
                if answer.status_code not in (OK, PARTIAL):
                    raise self._refusal(answer)
                yield answer
        except requests.exceptions.SSLError as error:
            raise WorldError(f"no secure connection to {host}: {_reason(error)}") from error
        except requests.Timeout as error:
            raise WorldError(f"{host} does not answer: check the address and the network") from error
        except requests.ConnectionError as error:
            raise WorldError(f"no connection to {host}: {_reason(error)}") from error
        except requests.RequestException as error:
            raise WorldError(f"the answer of {host} broke off: {_reason(error)}") from error

    def document(self, url: str, headers: Headers | None = None) -> tuple[bytes, Headers]:
        """A small body as a whole, with its headers.

        Raises:
            PeerError: It is larger than a document may be.
        """
        with self.get(url, headers) as answer:
            return self._bounded(answer), dict(answer.headers)

    def _bounded(self, answer: requests.Response) -> bytes:
        content, most = b"", self._limits.max_document_bytes
        for piece in answer.iter_content(64 * 1024):
            content += piece
            if len(content) > most:
                raise PeerError(f"{answer.url} answered more than {most} bytes where a document was expected")
        return content

    def _refusal(self, answer: requests.Response) -> RefusedError:
        body = next(answer.iter_content(2048), b"").decode(errors="replace")
        shown = urlsplit(answer.url)
        code = _ERROR_CODE.search(body)
        said = f" ({code[1]})" if code else ""
        message = f"{shown.hostname} answered {answer.status_code} {answer.reason}{said} to {shown.path}"
        return RefusedError(message, answer.status_code, dict(answer.headers), body)


def is_loopback(host: str) -> bool:
    """Whether that is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: Exception) -> str:
    """The innermost words: what the system said, without the layers around it."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    cause = getattr(inner, "reason", None)
    while isinstance(cause, BaseException):
        inner, cause = cause, getattr(cause, "reason", None)
    deepest = inner.__cause__ or inner.__context__
    words = str(deepest or inner) or type(inner).__name__
    return words.rpartition(": ")[2] if "object at 0x" in words else words
