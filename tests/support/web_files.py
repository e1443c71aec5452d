"""What the servers of models in tests share: files by path, ranges, and ways to fail."""

import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

PIECE_BYTES = 16 * 1024

S = TypeVar("S", bound="FileServer")


@dataclass
class Faults:
    """How the next bodies go wrong.

    Attributes:
        cut_after: Bytes after which the connection ends, for each of the next answers.
        statuses: Answered instead, one for each of the next requests for bytes.
        hold_after: Bytes after which the answer waits for ``released``.
        damage: One bit is another one.
    """

    cut_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    hold_after: int | None = None
    damage: bool = False
    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class FileServer(ThreadingHTTPServer):
    """Serves ``files`` by path.

    Attributes:
        files: Content by path.
        headers: Further headers by path.
        asked: Method, path and headers of each request.
        body_bytes: Bytes of bodies that were sent.
    """

    daemon_threads = True

    def __init__(self, handler: type["FileHandler"] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or FileHandler)
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.body_bytes = 0
        self.faults = Faults()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        """Its root, without a slash at the end."""
        return f"http://{self.address}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the tests."""


class FileHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with a file or a part of it."""

    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._note()
        self.answer()

    def do_HEAD(self) -> None:
        self._note()
        self.answer()

    def answer(self) -> None:
        """Answer a request; to be replaced."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path not in self.server.files:
            self.refuse(404)
            return
        self.send_file(self.server.files[path], self.server.headers.get(path, {}))

    def refuse(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """An error."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, content: bytes, headers: dict[str, str]) -> None:
        """The file or the range of it that was asked for, with the faults that are due."""
        faults = self.server.faults
        if faults.statuses and self.command == "GET":
            self.refuse(faults.statuses.pop(0))
            return
        start = self._start(len(content), headers)
        if start is None:
            self.refuse(416, {"Content-Range": f"bytes */{len(content)}"})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command != "HEAD":
            self._send(content[start:], faults)

    def _start(self, length: int, headers: dict[str, str]) -> int | None:
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if wanted is None or (condition is not None and condition != headers.get("ETag")):
            return 0
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        return start if start < length else None

    def _send(self, body: bytes, faults: Faults) -> None:
        if faults.damage:
            body = body[:-1] + bytes([body[-1] ^ 1])
        cut = faults.cut_after.pop(0) if faults.cut_after else None
        end = len(body) if cut is None else min(cut, len(body))
        with suppress(ConnectionError):
            for offset in range(0, end, PIECE_BYTES):
                piece = body[offset : min(offset + PIECE_BYTES, end)]
                self.wfile.write(piece)
                self.wfile.flush()
                self.server.body_bytes += len(piece)
                if faults.hold_after is not None and offset + PIECE_BYTES >= faults.hold_after:
                    faults.held.set()
                    faults.released.wait(30)
        if cut is not None:
            self.close_connection = True

    def _note(self) -> None:
        self.server.asked.append((self.command, self.path, dict(self.headers)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def serving(server: S) -> Iterator[S]:
    """Run a server while the block does."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="file server")
        thread.start()
        try:
            yield server
        finally:
            server.faults.released.set()
            server.shutdown()
            thread.join()
