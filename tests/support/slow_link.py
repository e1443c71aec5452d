"""A TCP link of a given rate between two loopback ports: what a device in the field has."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SLICE_BYTES = 1024


@dataclass
class LinkFigures:
    """What went over the link."""

    bytes_up: int = 0
    bytes_down: int = 0


class _Rate:
    """A token bucket of one slice: bytes leave no faster than the rate."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + count / self._bytes_per_s
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)


class SlowLink:
    """Forwards connections at a limited rate; cut it with :meth:`cut`, and it refuses new ones."""

    def __init__(self, listen_port: int, target_port: int, bits_per_s: float) -> None:
        self.figures = LinkFigures()
        self._listen_port = listen_port
        self._target_port = target_port
        self._bytes_per_s = bits_per_s / 8
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, name="slow-link", daemon=True)

    @contextmanager
    def running(self) -> Iterator["SlowLink"]:
        """Forward while the block runs."""
        self._thread.start()
        self._ready.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._end)
            self._thread.join(10)

    def cut(self) -> None:
        """End all connections, and refuse new ones until :meth:`mend`."""
        self._open = False
        self._loop.call_soon_threadsafe(self._close_all)

    def mend(self) -> None:
        """Take connections again."""
        self._open = True

    def _end(self) -> None:
        if self._stop is not None:
            self._stop.set()

    def _close_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        # Small receive buffers: what waits in the kernel would make the link look faster than it is.
        server = await asyncio.start_server(self._forward, "127.0.0.1", self._listen_port, limit=4096)
        self._ready.set()
        async with server:
            await self._stop.wait()
            self._close_all()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port, limit=4096)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, far_writer, up=True))
                tasks.create_task(self._pump(far_reader, writer, up=False))
        except* OSError:
            pass
        finally:
            for one in (writer, far_writer):
                self._writers.discard(one)
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        rate = _Rate(self._bytes_per_s)
        while block := await reader.read(SLICE_BYTES):
            await rate.take(len(block))
            writer.write(block)
            await writer.drain()
            if up:
                self.figures.bytes_up += len(block)
            else:
                self.figures.bytes_down += len(block)
        raise ConnectionResetError
