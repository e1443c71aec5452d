"""The one way from commands to the controller: its operator API, over HTTP or in process."""

import asyncio
import contextlib
import ipaddress
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from skerry_controller.cli.profile import DEFAULT_URL, load_profile
from skerry_controller.cli.secret_input import TOKEN_VARIABLE
from skerry_controller.errors import ControllerError, UsageError, WorldError

T = TypeVar("T")

API = "/api/v1"
_CONNECT_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 60.0
_LONG_ANSWER_TIMEOUT_S = 900.0
_UPLOAD_PIECE_BYTES = 1024 * 1024
_CLIENT_ERROR = 400


class ApiError(ControllerError):
    """The controller said no; ``reason`` is its stable code."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ControllerClient:
    """Requests to the operator API. Paths are those below ``/api/v1``, such as ``/devices``."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, **parameters: str | float | bool | None) -> Any:
        """The JSON answer to a GET; parameters that are None are left out.

        Raises:
            ApiError: The controller refused.
            WorldError: It does not answer.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        return (await self._request("GET", path, params=given)).json()

    async def get_bytes(self, path: str, **parameters: int) -> bytes:
        """The body of the answer to a GET, as it is."""
        return (await self._request("GET", path, params=parameters)).content

    async def post(self, path: str, body: Mapping[str, Any] | None = None, *, long: bool = False) -> Any:
        """The JSON answer to a POST; ``long`` for what may take minutes."""
        timeout = _timeout(_LONG_ANSWER_TIMEOUT_S if long else _ANSWER_TIMEOUT_S)
        return _json(await self._request("POST", path, json=dict(body or {}), timeout=timeout))

    async def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to a PUT."""
        return _json(await self._request("PUT", path, json=dict(body)))

    async def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to a PATCH."""
        return _json(await self._request("PATCH", path, json=dict(body)))

    async def delete(self, path: str) -> Any:
        """The JSON answer to a DELETE, or None."""
        return _json(await self._request("DELETE", path))

    async def blob_size(self, sha256: str) -> int | None:
        """The length of a stored blob in bytes, or None."""
        try:
            answer = await self._request("HEAD", f"/blobs/{sha256}")
        except ApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return int(answer.headers["Content-Length"])

    async def read_blob(self, sha256: str, offset: int, length: int) -> bytes:
        """A range of a stored blob.

        Raises:
            WorldError: The blob is shorter than that.
        """
        parameters = {"offset": offset, "length": length}
        content = (await self._request("GET", f"/blobs/{sha256}", params=parameters)).content
        if len(content) != length:
            raise WorldError(
                f"the stored file {sha256} is {length - len(content)} bytes short: 'skerry artifact verify'"
            )
        return content

    async def post_bytes(self, path: str, content: bytes) -> Any:
        """The JSON answer to a POST of bytes as they are."""
        headers = {"Content-Type": "application/octet-stream"}
        return _json(await self._request("POST", path, content=content, headers=headers))

    async def upload_blob(
        self,
        sha256: str,
        file: Path,
        progress: Callable[[int], None] = lambda _: None,
        *,
        place: str = "/blobs",
    ) -> None:
        """Send a file; the controller checks its hash.

        Args:
            sha256: Of the file.
            file: What to send.
            progress: Called with the number of bytes sent so far.
            place: The path of the store that it is for.
        """
        try:
            length = (await asyncio.to_thread(file.stat)).st_size
            with file.open("rb") as stream:

                async def pieces() -> AsyncIterator[bytes]:
                    sent = 0
                    while piece := await asyncio.to_thread(stream.read, _UPLOAD_PIECE_BYTES):
                        yield piece
                        sent += len(piece)
                        progress(sent)

                await self._request(
                    "PUT",
                    f"{place}/{sha256}",
                    content=pieces(),
                    headers={"Content-Length": str(length), "Content-Type": "application/octet-stream"},
                    timeout=_timeout(_LONG_ANSWER_TIMEOUT_S),
                )
        except OSError as error:
            raise WorldError(f"cannot read {file}: {error.strerror}") from error

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, API + path, **options)
        except httpx.ConnectError as error:
            raise WorldError(
                f"no controller answers at {self._http.base_url}: start it with 'skerry serve', correct the "
                "address with 'skerry login --url', or work on its folder with --data"
            ) from error
        except httpx.TimeoutException as error:
            raise WorldError(
                f"the controller at {self._http.base_url} did not answer in time: try again"
            ) from error
        except httpx.HTTPError as error:
            raise WorldError(
                f"the connection to {self._http.base_url} broke off ({error}): try again"
            ) from error
        if answer.status_code >= _CLIENT_ERROR:
            raise _refusal(answer)
        return answer


@asynccontextmanager
async def connect(data: Path | None = None, *, url: str | None = None) -> AsyncIterator[ControllerClient]:
    """A client of the controller that the person means.

    Args:
        data: A data folder on which no controller runs; None means over HTTP, to ``SKERRY_URL`` with
            ``SKERRY_TOKEN``, or as ``skerry login`` saved it.
        url: The controller's, where the person gave it.

    Raises:
        UsageError: There is no token; or a controller runs on the data folder.
    """
    async with contextlib.AsyncExitStack() as stack:
        if data is not None:
            http = await stack.enter_async_context(_in_process(data))
        else:
            http = await stack.enter_async_context(over_http(*_address(url)))
        yield ControllerClient(http)


def work(
    data: Path | None, action: Callable[[ControllerClient], Awaitable[T]], *, url: str | None = None
) -> T:
    """Run one action of a command with a client, from start to end."""

    async def run() -> T:
        async with connect(data, url=url) as client:
            return await action(client)

    return asyncio.run(run())


def over_http(url: str, token: str) -> httpx.AsyncClient:
    """An HTTP client for the controller at ``url``.

    Raises:
        UsageError: That is no URL, or no token.
    """
    if not (token.isascii() and token.isprintable()):
        raise UsageError("the administrator's token was mistyped: copy it again, whole and alone")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is not a URL ({error}): write one such as {DEFAULT_URL}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is not a URL: write one such as {DEFAULT_URL}")
    return httpx.AsyncClient(
        base_url=url.rstrip("/"),
        headers={"Authorization": f"Bearer {token}"},
        timeout=_timeout(_ANSWER_TIMEOUT_S),
        trust_env=not _is_local(parts.hostname),  # no proxy leads to this machine's loopback
    )


@asynccontextmanager
async def _in_process(data: Path) -> AsyncIterator[httpx.AsyncClient]:
    from skerry_controller.clock import utc_now  # noqa: PLC0415 - the whole controller, only for --data
    from skerry_controller.data_folder import DataFolder  # noqa: PLC0415 - the same
    from skerry_controller.logs import configure_logs  # noqa: PLC0415 - the same
    from skerry_controller.serve.assembly import local_app  # noqa: PLC0415 - the same
    from skerry_controller.serve.core import open_core  # noqa: PLC0415 - the same
    from skerry_controller.settings import load_settings, settings_file  # noqa: PLC0415 - the same

    configure_logs("warning", "auto")
    flags = {"server": {"data_dir": data}}
    settings = load_settings(settings_file(data), flags=flags)
    async with open_core(DataFolder(data), settings, utc_now) as core:
        transport = httpx.ASGITransport(await local_app(core))
        async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as http:
            yield http


def _address(url: str | None) -> tuple[str, str]:
    profile = load_profile()
    url = url or os.environ.get("SKERRY_URL") or (profile.url if profile else DEFAULT_URL)
    token = os.environ.get(TOKEN_VARIABLE)
    if token is None and profile is not None and profile.url == url:
        token = profile.token
    if not token:
        raise UsageError(
            f"there is no token for {url}: run 'skerry login --url {url}', or set {TOKEN_VARIABLE}"
        )
    return url, token


def _is_local(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _timeout(answer_s: float) -> httpx.Timeout:
    return httpx.Timeout(answer_s, connect=_CONNECT_TIMEOUT_S)


def _json(answer: httpx.Response) -> Any:
    return answer.json() if answer.content else None


def _refusal(answer: httpx.Response) -> ApiError:
    try:
        body = answer.json()
        return ApiError(answer.status_code, str(body["code"]), str(body["message"]))
    except (ValueError, KeyError, TypeError):
        request = answer.request
        reason = f"the controller answered {answer.status_code} to {request.method} {request.url.path}"
        return ApiError(answer.status_code, "http", reason)
