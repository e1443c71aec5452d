from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.updates import Published, World, make_model, publish


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("models")
    return [make_model(folder, seed) for seed in range(3)]


@pytest.fixture
def one(models: list[bytes]) -> Published:
    return publish(models[0], "smol@1")


@pytest.fixture
def two(models: list[bytes]) -> Published:
    return publish(models[1], "smol@2")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.close()
