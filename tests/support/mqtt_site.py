"""A broker, and the controller's side of it: for tests of what goes over MQTT."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from skerry_controller.mqtt import FleetSide
from support.broker import BrokerHouse
from support.fleet_side import House, open_house


@dataclass
class Site:
    """A broker, and the controller's side of it."""

    broker: BrokerHouse
    house: House
    side: FleetSide = field(init=False)
    max_waiting_bytes: int | None = None

    def __post_init__(self) -> None:
        self.house.clock.now = datetime.now(UTC)  # TLS goes by the real time
        self.side = self._side()

    def _side(self) -> FleetSide:
        parts = self.house.parts(port=self.broker.port)
        if self.max_waiting_bytes is not None:
            parts = replace(parts, mqtt=replace(parts.mqtt, max_waiting_bytes=self.max_waiting_bytes))
        return FleetSide(parts)

    @asynccontextmanager
    async def controller(self) -> AsyncIterator[FleetSide]:
        """The fleet's side, running and connected; a new one each time."""
        self.side = self._side()
        task = asyncio.create_task(self.side.run(), name="fleet-side")
        try:
            async with asyncio.timeout(15):
                await self.side.mqtt.connected.wait()
            yield self.side
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def open_site(folder: Path) -> AsyncIterator[Site]:
    """A site with a running broker."""
    broker = BrokerHouse(folder / "b")
    async with open_house(folder, authorities=broker.authorities) as house, broker.broker.running():
        yield Site(broker, house)


async def eventually(condition: Callable[[], Awaitable[object]], timeout_s: float = 10.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in a database
            await asyncio.sleep(0.02)
