from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry_controller.director import Director
from skerry_controller.fleet import DesiredPublisher, DeviceKeys, Reports, TrustState
from support.fleet_side import House, Sent, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def publisher(house: House, sent: Sent) -> DesiredPublisher:
    return DesiredPublisher(
        house.database,
        Director(house.director_key, house.clock),
        sent,
        lambda: TrustState(house.epoch, {"targets": 1, "models": 7, "configs": 2, "snapshot": 9}),
        house.clock,
    )


@pytest.fixture
def reports(house: House) -> Reports:
    return Reports(house.database, DeviceKeys(house.database), house.clock)
