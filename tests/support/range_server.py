"""A small HTTP server that answers range requests, well or badly."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RangeServer(ThreadingHTTPServer):
    """Serves one blob at every path.

    Attributes:
        behaviour: ``good``, ``ignores_range``, ``short``, ``stalls``, ``wrong_range``, ``encoded``,
            ``redirect``, or a status code as text.
        stalled: Set when half a body was sent; the rest waits for ``released``.
        requests: The ``Range`` headers that came.
        refuse: So many further requests are answered with 403.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, blob: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blob = blob
        self.behaviour = "good"
        self.requests: list[str] = []
        self.stalled = threading.Event()
        self.released = threading.Event()
        self.refuse = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave early are part of the tests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/blobs/x?capability=secret"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RangeServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.requests.append(wanted)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        body = self.server.blob[int(first) : int(last) + 1]
        behaviour = self.server.behaviour
        if self.server.refuse:
            self.server.refuse -= 1
            behaviour = "403"
        headers = {"Content-Range": f"bytes {first}-{last}/{len(self.server.blob)}"}
        status = 206
        if behaviour == "ignores_range":
            status, headers, body = 200, {}, self.server.blob
        elif behaviour == "wrong_range":
            headers = {"Content-Range": f"bytes 0-{len(body) - 1}/{len(self.server.blob)}"}
        elif behaviour == "encoded":
            headers["Content-Encoding"] = "gzip"
        elif behaviour == "redirect":
            status, headers = 302, {"Location": self.server.url}
        elif behaviour.isdigit():
            status, headers, body = int(behaviour), {}, b"no"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if behaviour in ("short", "stalls") else body)
        if behaviour == "stalls":
            self.wfile.flush()
            self.server.stalled.set()
            self.server.released.wait(30)
        if behaviour in ("short", "stalls"):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def range_server(blob: bytes) -> Iterator[RangeServer]:
    """Serve ``blob`` on a free port of the loopback."""
    with RangeServer(blob) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="range server")
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
