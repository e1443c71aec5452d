"""A broker, and the controller's side of it: for tests of what goes over MQTT."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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

    def __post_init__(self) -> None:
        self.house.clock.now = datetime.now(UTC)  # TLS goes by the real time
        self.side = FleetSide(self.house.parts(port=self.broker.port))

    @asynccontextmanager
    async def controller(self) -> AsyncIterator[FleetSide]:
        """The fleet's side, running and connected; a new one each time."""
        self.side = FleetSide(self.house.parts(port=self.broker.port))
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
