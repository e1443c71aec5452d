"""A TCP link of a given bit rate and latency: a proxy on loopback that holds back what it forwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from skerry_protocol.trust_document import Address

_SLICE_BYTES = 1024
_QUEUE_BYTES = 64 * 1024
"""What the link's own queue holds, as a cheap router's does; beyond it, TCP waits."""


class ShapedLink:
    """Forwards to ``target``; count of bytes and settings can be changed while it runs."""

    def __init__(self, target: Address, *, bytes_per_s: float, latency_s: float = 0.0) -> None:
        self._target = target
        self.bytes_per_s = bytes_per_s
        self.latency_s = latency_s
        self.down_bytes = 0
        self.up_bytes = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> Address:
        assert self._server is not None
        return Address(host="127.0.0.1", port=self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_SLICE_BYTES * 4)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break every connection now."""
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            their_reader, their_writer = await asyncio.open_connection(self._target.host, self._target.port)
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, their_writer, "up"))
                group.create_task(self._forward(their_reader, writer, "down"))
        except* (OSError, EOFError):
            pass
        except* asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            for one in (writer, their_writer):
                one.close()
                with suppress(OSError):
                    await one.wait_closed()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=_QUEUE_BYTES // _SLICE_BYTES)
        loop = asyncio.get_running_loop()

        async def deliver() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                writer.write(data)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        free_at = loop.time()
        try:
            while data := await reader.read(_SLICE_BYTES):
                free_at = max(free_at, loop.time()) + len(data) / self.bytes_per_s
                await asyncio.sleep(max(0.0, free_at - loop.time()))
                if direction == "up":
                    self.up_bytes += len(data)
                else:
                    self.down_bytes += len(data)
                await queue.put((loop.time() + self.latency_s, data))
            raise EOFError
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)


@asynccontextmanager
async def shaped_link(
    target: Address, *, bytes_per_s: float, latency_s: float = 0.0
) -> AsyncIterator[ShapedLink]:
    link = ShapedLink(target, bytes_per_s=bytes_per_s, latency_s=latency_s)
    await link.start()
    try:
        yield link
    finally:
        await link.stop()
