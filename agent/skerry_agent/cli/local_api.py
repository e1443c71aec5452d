"""A thin client of the device's own HTTP API, for the commands that ask models."""

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from skerry_agent.errors import UsageError, WorldError

DEFAULT_URL = "http://127.0.0.1:8610"
TOKEN_VARIABLE = "SKERRY_AGENT_TOKEN"  # noqa: S105 - the name of the variable, not a secret
PROGRAM = "skerry-agent"


def find_api(url: str | None, state: Path) -> "LocalApi":
    """The local API: at ``url``, or where the daemon on this state folder listens.

    Raises:
        UsageError: No daemon runs there.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if url is not None:
        return LocalApi(url, token)
    if not state.exists():
        return LocalApi(DEFAULT_URL, token)
    from skerry_agent.admin import connect  # noqa: PLC0415 - heavy
    from skerry_agent.state import StateFolder  # noqa: PLC0415 - see above

    address = connect(StateFolder(state)).call("status").get("api")
    if not address:
        raise UsageError(f"no daemon runs on {state}: start it with skerry-agent run, or give --url")
    return LocalApi(str(address), token)


class LocalApi:
    """Sends JSON and reads JSON, whole or as server-sent events.

    Args:
        url: Such as ``http://127.0.0.1:8610``.
        token: A local API token; "" for none.
        timeout_s: Longest silence of the server, in seconds.
    """

    def __init__(self, url: str, token: str = "", timeout_s: float = 600.0) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"{url} is no address such as {DEFAULT_URL}")
        self._host, self._port = parts.hostname, parts.port or 80
        self._headers = {"Content-Type": "application/json", "User-Agent": PROGRAM}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s
        self.url = f"http://{parts.netloc}"

    def get(self, path: str) -> dict[str, Any]:
        """``GET``.

        Raises:
            UsageError: The server refused; the message is its own.
            WorldError: It does not answer.
        """
        return self._whole("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """``POST``; raises as ``get`` does."""
        return self._whole("POST", path, body)

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """``POST``, and the events of the answer; closing the iterator ends it. Raises as ``get`` does."""
        connection = self._send("POST", path, body)
        try:
            response = self._answer(connection)
            for line in response:
                if line.startswith(b"data: {"):
                    event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
                    if "error" in event:
                        raise WorldError(str(event["error"]["message"]))
                    yield event
        except (OSError, http.client.HTTPException) as error:
            raise WorldError(f"{self.url} ended the answer: {error}; see the daemon's log") from error
        finally:
            connection.close()

    def _whole(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        connection = self._send(method, path, body)
        try:
            answer: dict[str, Any] = json.loads(self._answer(connection).read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise WorldError(f"{self.url} did not answer: {error}; see the daemon's log") from error
        finally:
            connection.close()
        return answer

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, self._headers)
        except OSError as error:
            connection.close()
            raise WorldError(
                f"nobody answers at {self.url} ({error.strerror or error}):"
                " start skerry-agent run, or give --url"
            ) from error
        return connection

    def _answer(self, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        response = connection.getresponse()
        if response.status == http.client.OK:
            return response
        text = response.read().decode("utf-8", "replace")
        try:
            message = json.loads(text)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = f"{self.url} answered {response.status}: {text[:200]}"
        raise UsageError(message)
