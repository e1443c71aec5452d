from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry_controller.workshop.library import Library
from support.tiny_gguf import write_tiny_gguf


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library") as library:
        yield library


@pytest.fixture(scope="session")
def model_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf").read_bytes()


@pytest.fixture(scope="session")
def shard_bytes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    from support.gguf_shards import split_gguf  # noqa: PLC0415 - gguf is heavy

    folder = tmp_path_factory.mktemp("shards")
    whole = write_tiny_gguf(folder / "tiny-F16.gguf")
    return {path.name: path.read_bytes() for path in split_gguf(whole, folder, 3)}
