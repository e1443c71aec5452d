"""A real HTTP server for chunks, in a process of its own, that writes down what was asked."""

import os
import signal
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple, Self


class Request(NamedTuple):
    """Bytes ``first`` to ``last`` of a blob, asked by one run."""

    run: str
    sha256: str
    first: int
    last: int


class BlobServer:
    """Serves ``/RUN/SHA256`` by ranges, from a child process. Start it before there are threads."""

    def __init__(self, blobs: Mapping[str, bytes], log: Path) -> None:
        self._log = log
        server = _Server(blobs, log)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self._pid = os.fork()
        if not self._pid:
            server.serve_forever()
        server.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def requests(self, run: str) -> list[Request]:
        """What a run asked for."""
        found = []
        for line in self._log.read_text().splitlines() if self._log.exists() else ():
            name, sha256, first, last = line.split()
            if name == run:
                found.append(Request(name, sha256, int(first), int(last)))
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, blobs: Mapping[str, bytes], log: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs = blobs
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients are killed here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        _, run, sha256 = self.path.split("/")
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        os.write(self.server.log, f"{run} {sha256} {first} {last}\n".encode())
        blob = self.server.blobs[sha256]
        body = blob[int(first) : int(last) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(blob)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass
