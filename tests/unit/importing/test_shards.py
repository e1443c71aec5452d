import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest

from skerry_controller.errors import PeerError
from skerry_controller.workshop.importing.local import local_files
from skerry_controller.workshop.importing.shards import join_shards, shard_names
from skerry_controller.workshop.library.inspection import inspect_model
from skerry_controller.workshop.progress import StoppedError, StopSign, silent
from support.gguf_shards import split_gguf
from support.tiny_gguf import write_tiny_gguf


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("whole") / "tiny.gguf", quantization="Q8_0")


@pytest.fixture
def shards(whole: Path, tmp_path: Path) -> list[Path]:
    return split_gguf(whole, tmp_path, 3)


def test_parts_are_joined_to_the_model_that_was_split(
    whole: Path, shards: list[Path], tmp_path: Path
) -> None:
    joined = tmp_path / "joined.gguf"
    join_shards(shards, joined, silent, StopSign())
    assert inspect_model(joined) == inspect_model(whole)
    ours, theirs = gguf.GGUFReader(joined), gguf.GGUFReader(whole)
    assert [tensor.name for tensor in ours.tensors] == [tensor.name for tensor in theirs.tensors]
    for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert np.array_equal(mine.data, other.data)
    assert not [key for key in ours.fields if key.startswith("split.")]


def test_any_part_names_them_all(shards: list[Path], tmp_path: Path) -> None:
    assert local_files(shards[1]) == shards
    assert local_files(tmp_path) == shards
    assert shard_names("m-00002-of-00003.gguf") == [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert shard_names("m.gguf") is None


def test_a_missing_part_is_named(shards: list[Path]) -> None:
    shards[1].unlink()
    with pytest.raises(PeerError, match=r"tiny-00002-of-00003\.gguf is missing"):
        local_files(shards[0])


def test_a_truncated_part_is_refused(shards: list[Path], tmp_path: Path) -> None:
    content = shards[2].read_bytes()
    shards[2].write_bytes(content[: len(content) // 2])
    with pytest.raises(PeerError, match=r"tiny-00003-of-00003\.gguf.*truncated"):
        join_shards(shards, tmp_path / "joined.gguf", silent, StopSign())


def test_parts_in_the_wrong_places_are_refused(shards: list[Path], tmp_path: Path) -> None:
    shutil.copy(shards[1], shards[2])
    with pytest.raises(PeerError, match="do not belong together"):
        join_shards(shards, tmp_path / "joined.gguf", silent, StopSign())


def test_parts_of_another_model_are_refused(shards: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_tiny_gguf(tmp_path / "other.gguf", blocks=2)
    shutil.copy(split_gguf(other, tmp_path / "other", 3)[2], shards[2])
    with pytest.raises(PeerError, match="tensors"):
        join_shards(shards, tmp_path / "joined.gguf", silent, StopSign())


def test_joining_can_be_stopped(shards: list[Path], tmp_path: Path) -> None:
    stop = StopSign()
    stop.stop()
    with pytest.raises(StoppedError):
        join_shards(shards, tmp_path / "joined.gguf", silent, stop)
