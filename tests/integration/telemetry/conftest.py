from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry_controller.director import Director
from skerry_controller.fleet import DeviceKeys
from skerry_controller.telemetry import Telemetry, TelemetryIngest
from support.fleet_side import House, Sent, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def ingest(house: House, sent: Sent) -> TelemetryIngest:
    director = Director(house.director_key, house.clock)
    return TelemetryIngest(house.database, DeviceKeys(house.database), director, sent, house.clock)


@pytest.fixture
def telemetry(house: House, ingest: TelemetryIngest) -> Telemetry:
    return Telemetry(house.database, ingest)
