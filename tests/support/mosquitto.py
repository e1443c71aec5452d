"""A plain mosquitto of its own on loopback, for tests of the agent's session."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from skerry_protocol.trust_document import Address
from support.processes import free_ports

PROGRAM = "/usr/sbin/mosquitto"
HOST = "127.0.0.1"
_START_S = 10.0


class Mosquitto:
    """One broker on one port; it can be stopped and started again."""

    def __init__(self, folder: Path, *, max_packet_bytes: int = 0, anonymous: bool = True) -> None:
        self.port = free_ports(1)[0]
        self._config = folder / f"mosquitto-{self.port}.conf"
        limit = f"max_packet_size {max_packet_bytes}\n" if max_packet_bytes else ""
        self._config.write_text(
            f"listener {self.port} {HOST}\nallow_anonymous {str(anonymous).lower()}\npersistence false\n"
            f"log_dest none\nmax_queued_messages 0\n{limit}"
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> Address:
        return Address(host=HOST, port=self.port)

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM,
            "-c",
            str(self._config),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(_START_S):
            while True:
                assert self._process.returncode is None, "mosquitto ended at once"
                try:
                    _, writer = await asyncio.open_connection(HOST, self.port)
                except OSError:
                    await asyncio.sleep(0.01)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    async def stop(self, *, kill: bool = False) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
        await self._process.wait()
        self._process = None


@asynccontextmanager
async def running_mosquitto(
    folder: Path, *, max_packet_bytes: int = 0, anonymous: bool = True
) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(folder, max_packet_bytes=max_packet_bytes, anonymous=anonymous)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()
