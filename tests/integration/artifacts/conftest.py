from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry_controller.keyring import Keyring
from skerry_controller.serve.core import Core
from skerry_controller.setup import NewController
from support.controller_data import open_keyring, opened_core


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[NewController, Core]]:
    async with opened_core(tmp_path) as opened:
        yield opened


@pytest.fixture
def core(opened: tuple[NewController, Core]) -> Core:
    return opened[1]


@pytest.fixture
def keyring(opened: tuple[NewController, Core]) -> Keyring:
    return open_keyring(opened[0])
