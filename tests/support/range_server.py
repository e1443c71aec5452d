"""A small HTTP server that answers range requests, well or badly."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRIP_S = 0.02
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class RangeServer(ThreadingHTTPServer):
    """Serves one blob at every path.

    Attributes:
        behaviour: One of

            ========================  ====================================================================
            ``good``                  what was asked for
            a status code             only that, with ``retry_after`` as header where it is set
            ``redirect``              to itself
            ``ignores_range``         200 and the whole blob
            ``200_for_206``           what was asked for, as if it were the whole blob
            ``wrong_range``           a Content-Range for other bytes
            ``encoded``               says that it is compressed
            ``wrong_bytes``           one bit is another one
            ``short``                 half of the body, then the end
            ``short_length``          half of the body, and a Content-Length that says so
            ``long_length``           more than was asked for
            ``endless``               more and more, without a Content-Length
            ``resets``                half of the body, then a reset
            ``closes``                no answer at all
            ``stalls``                half of the body, then nothing until ``released``
            ``drips``                 a byte every ``DRIP_S`` seconds
            ========================  ====================================================================

        choose: Says the behaviour of the next request, from its number; ``behaviour`` when it is None.
        stalled: Set when half a body was sent; the rest waits for ``released``.
        requests: The ``Range`` headers that came.
        body_bytes: How many bytes of bodies were sent.
        refuse: So many further requests are answered with 403.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, blob: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blob = blob
        self.behaviour = "good"
        self.choose: Callable[[int], str] | None = None
        self.retry_after = ""
        self.requests: list[str] = []
        self.body_bytes = 0
        self.stalled = threading.Event()
        self.released = threading.Event()
        self.refuse = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave early are part of the tests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/blobs/x?capability=secret"

    def next_behaviour(self, wanted: str) -> str:
        self.requests.append(wanted)
        if self.refuse:
            self.refuse -= 1
            return "403"
        return self.behaviour if self.choose is None else self.choose(len(self.requests))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RangeServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        behaviour = self.server.next_behaviour(wanted)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        body = self.server.blob[int(first) : int(last) + 1]
        if behaviour == "closes":
            self._reset()
            return
        if behaviour.isdigit() or behaviour == "redirect":
            self._refuse(behaviour)
            return
        total = len(self.server.blob)
        headers = {"Content-Range": f"bytes {first}-{last}/{total}"}
        status = 206
        if behaviour in ("ignores_range", "200_for_206"):
            status, headers = 200, {}
            body = self.server.blob if behaviour == "ignores_range" else body
        elif behaviour == "wrong_range":
            headers = {"Content-Range": f"bytes 0-{len(body) - 1}/{total}"}
        elif behaviour == "encoded":
            headers["Content-Encoding"] = "gzip"
        elif behaviour == "wrong_bytes":
            body = bytes([body[0] ^ 1]) + body[1:]
        elif behaviour == "long_length":
            body += bytes(100_000)
        elif behaviour == "short_length":
            body = body[: len(body) // 2]
        if behaviour != "endless":
            headers["Content-Length"] = str(len(body))
        self._head(status, headers)
        self._send_body(behaviour, body)

    def _refuse(self, behaviour: str) -> None:
        headers = {"Content-Length": "2"}
        if behaviour == "redirect":
            headers["Location"] = self.server.url
        if self.server.retry_after:
            headers["Retry-After"] = self.server.retry_after
        self._head(302 if behaviour == "redirect" else int(behaviour), headers)
        self.wfile.write(b"no")

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_body(self, behaviour: str, body: bytes) -> None:
        if behaviour in ("short", "stalls", "resets"):
            self.close_connection = True
            self._write(body[: len(body) // 2])
            if behaviour == "resets":
                self._reset()
            elif behaviour == "stalls":
                self.server.stalled.set()
                self.server.released.wait(30)
        elif behaviour == "drips":
            for at in range(len(body)):
                self._write(body[at : at + 1])
                if self.server.released.wait(DRIP_S):
                    break
            self.close_connection = True
        elif behaviour == "endless":
            self.close_connection = True
            self._write(body)
            while not self.server.released.is_set():
                self._write(bytes(65_536))
        else:
            self._write(body)

    def _write(self, data: bytes) -> None:
        self.server.body_bytes += len(data)
        self.wfile.write(data)
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        with suppress(OSError):
            self.connection.close()

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
