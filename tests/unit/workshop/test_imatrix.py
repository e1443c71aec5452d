"""Importance matrices: both formats read, anything else refused before llama.cpp sees a number of it."""

import math
import struct
from array import array
from pathlib import Path

import gguf
import numpy as np
import pytest

from skerry_controller.errors import PeerError, UsageError
from skerry_controller.workshop.quantizing.imatrix import check_fit, read_imatrix
from skerry_protocol.gguf_header import read_gguf_header
from support.tiny_gguf import write_tiny_gguf


def write_gguf(path: Path, sums: dict[str, list[float]], counts: dict[str, list[float]]) -> Path:
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.kv_data[0].clear()
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", ["text"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in sums.items():
        writer.add_tensor(f"{name}.in_sum2", np.array(values, dtype=np.float32))
    for name, values in counts.items():
        writer.add_tensor(f"{name}.counts", np.array(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def dat(name: str, calls: int, values: list[float], *, entries: int = 1) -> bytes:
    text = name.encode()
    head = struct.pack("<ii", entries, len(text)) + text + struct.pack("<ii", calls, len(values))
    return head + struct.pack(f"<{len(values)}f", *values)


def test_sums_are_divided_by_their_counts_for_each_expert(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "i.gguf", {"w": [2.0, 4.0, 9.0, 9.0]}, {"w": [2.0, 0.0]})
    assert read_imatrix(path).entries == {"w": array("f", [1.0, 2.0, 1.0, 1.0])}


def test_the_older_format_is_read_with_what_may_stand_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "i.dat"
    path.write_bytes(dat("w", 2, [2.0, 4.0]) + struct.pack("<ii", 7, 4) + b"text")
    assert read_imatrix(path).entries == {"w": array("f", [1.0, 2.0])}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"hello world, this is a text", "cut short|can stand"),
        (dat("w", 1, [1.0, 2.0])[:-2], "cut short"),
        (dat("w", 1, [1.0], entries=2), "cut short"),
        (struct.pack("<i", 0), "where 1 to 65536 can stand"),
        (dat("w", 1, [math.nan]), "no mean of squares"),
        (dat("w", 1, [-1.0]), "no mean of squares"),
        (dat("w", 0, [math.inf]), "no mean of squares"),
        (b"GGUF" + bytes(20), "version 0"),
    ],
)
def test_what_is_no_importance_matrix_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "i.dat"
    path.write_bytes(content)
    with pytest.raises(PeerError, match=f"i.dat is no importance matrix: .*({words})|{words}"):
        read_imatrix(path)


@pytest.mark.parametrize(
    ("sums", "counts", "words"),
    [
        ({"w": [1.0]}, {}, "w has sums and no counts"),
        ({"w": [1.0, 2.0, 3.0]}, {"w": [1.0, 1.0]}, "w has 3 sums for 2 counts"),
    ],
)
def test_sums_without_fitting_counts_are_refused(
    tmp_path: Path, sums: dict[str, list[float]], counts: dict[str, list[float]], words: str
) -> None:
    with pytest.raises(PeerError, match=words):
        read_imatrix(write_gguf(tmp_path / "i.gguf", sums, counts))


def test_a_model_is_no_importance_matrix(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="is it a model"):
        read_imatrix(write_tiny_gguf(tmp_path / "m.gguf"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        read_imatrix(tmp_path / "i.gguf")


@pytest.mark.parametrize(
    ("entries", "outcome"),
    [
        ({"blk.0.attn_q.weight": [1.0] * 64, "other": [1.0]}, (1, 30)),
        ({"token_embd.weight": [1.0] * 3}, (1, 30)),
        ({"blk.0.attn_q.weight": [1.0] * 63}, "attn_q.weight has 64 columns, and 63 there"),
        ({"other": [1.0]}, "names none of the 30 matrices"),
    ],
)
def test_it_has_to_be_of_that_very_model(
    tmp_path: Path, entries: dict[str, list[float]], outcome: tuple[int, int] | str
) -> None:
    header = read_gguf_header(write_tiny_gguf(tmp_path / "m.gguf").read_bytes())
    path = write_gguf(tmp_path / "i.gguf", entries, {name: [1.0] for name in entries})
    imatrix = read_imatrix(path)
    if isinstance(outcome, tuple):
        assert check_fit(imatrix, header, path) == outcome
    else:
        with pytest.raises(PeerError, match=outcome):
            check_fit(imatrix, header, path)
