"""How the command line reaches the device: the daemon's socket when it runs, the state folder when not."""

import asyncio
import http.client
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from skerry_agent.admin.app import BUNDLE_OPERATION, IMPORT_OPERATION
from skerry_agent.admin.at_rest import AtRest
from skerry_agent.errors import UsageError, WorldError
from skerry_agent.state import StateFolder

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


class AdminClient(Protocol):
    """Calls operations of the administration service."""

    def call(self, operation: str, **arguments: object) -> dict[str, Any]:
        """Run one operation.

        Raises:
            UsageError: It was refused; the message says why.
            WorldError: The daemon went away.
        """

    def import_file(
        self, path: Path, name: str, progress: Progress, *, base: str | None = None
    ) -> dict[str, Any]:
        """Import a model file, or with a base an adapter."""

    def bundle_turn(self, import_id: str, status: str, body: bytes) -> dict[str, Any]:
        """Answer the last step of a bundle's import (``""`` before the first), and get the next.

        Raises:
            UsageError: The import is over.
            WorldError: The daemon went away.
        """


def connect(state: StateFolder) -> AdminClient:
    """The daemon if one runs on this state folder, else the folder itself."""
    client = _SocketClient(state.socket)
    return client if client.reachable() else _AtRestClient(state)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _SocketClient:
    def __init__(self, path: Path, timeout_s: float = 600.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def reachable(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(2.0)
                probe.connect(str(self._path))
        except PermissionError as error:
            raise UsageError(
                f"no permission to use {self._path}: run this as root, or as a member of the socket's group"
            ) from error
        except OSError:
            return False
        return True

    def call(self, operation: str, **arguments: object) -> dict[str, Any]:
        return self._post(f"/v1/{operation}", msgspec.json.encode(arguments), {})

    def import_file(
        self, path: Path, name: str, progress: Progress, *, base: str | None = None
    ) -> dict[str, Any]:
        size = path.stat().st_size
        with path.open("rb") as file:
            body = _Watched(file, lambda done: progress(done, size))
            about = {"name": name} if base is None else {"name": name, "base": base}
            target = f"/v1/{IMPORT_OPERATION}?{urlencode(about)}"
            return self._post(target, body, {"Content-Length": str(size)})

    def bundle_turn(self, import_id: str, status: str, body: bytes) -> dict[str, Any]:
        target = f"/v1/{BUNDLE_OPERATION}?id={quote(import_id, safe='')}&status={status}"
        return self._post(target, body, {"Content-Length": str(len(body))})

    def _post(self, target: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        connection = _UnixConnection(self._path, self._timeout_s)
        try:
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            answer: dict[str, Any] = msgspec.json.decode(response.read(), type=dict[str, Any])
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            raise WorldError(f"the daemon did not answer on {self._path}: {error}; see its log") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise UsageError(str(answer.get("error", f"the daemon answered with {response.status}")))
        return answer


class _Watched:
    """A file whose reader is watched."""

    def __init__(self, file: IO[bytes], report: Callable[[int], None]) -> None:
        self._file = file
        self._report = report

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._report(self._file.tell())
        return block


class _AtRestClient:
    def __init__(self, state: StateFolder) -> None:
        self._state = state

    def call(self, operation: str, **arguments: object) -> dict[str, Any]:
        async def run() -> dict[str, Any]:
            async with AtRest(self._state) as service:
                method = getattr(service, operation)
                result: dict[str, Any] = await method(**arguments)
                return result

        return asyncio.run(run())

    def import_file(
        self, path: Path, name: str, progress: Progress, *, base: str | None = None
    ) -> dict[str, Any]:
        progress(0, os.stat(path).st_size)  # noqa: PTH116 - raises the plain OSError that the caller shows
        result = self.call(IMPORT_OPERATION, path=path, name=name, base=base)
        progress(int(result["bytes"]), int(result["bytes"]))
        return result

    def bundle_turn(self, import_id: str, status: str, body: bytes) -> dict[str, Any]:
        del import_id, status, body  # it never began
        raise UsageError("no agent runs here: start it ('skerry-agent run'), then import the bundle")
