"""A controller and a device with a stick between them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.air_gap import Hut, Office, open_office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with open_office(tmp_path / "office") as office:
        yield office


@pytest.fixture
async def hut(tmp_path: Path, office: Office) -> AsyncIterator[Hut]:
    async with AsyncExitStack() as stack:
        yield await Hut().open(stack, tmp_path / "hut", office)
