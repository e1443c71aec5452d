"""What ``make bench-updates`` calls met and missed, and how it counts and keeps."""

from pathlib import Path

import pytest

from bench.updates.cache import Cache
from bench.updates.cases import Kind
from bench.updates.goals import OURS, Row, judge, judge_memory, judge_speed
from bench.updates.peers import METHODS, Pair
from bench.updates.site import packet_bytes

MiB = 1 << 20


def row(kind: Kind, ours: int | None, *, share: str = "", fetched: int = 0, **others: int) -> Row:
    wire = {"whole file": 100 * MiB, **{name.replace("_", " "): size for name, size in others.items()}}
    if ours is not None:
        wire[OURS] = ours
    return Row("m", kind, kind, "Q4_0", share, 100 * MiB, 10 * MiB, wire, {}, {"chunks_fetched": fetched})


@pytest.mark.parametrize(
    ("case", "verdicts"),
    [
        (row("template", 128 * 1024), ["met", "met"]),
        (row("template", 128 * 1024 + 1), ["missed", "met"]),
        (row("block", 10 * MiB + 100_000), ["met", "met"]),
        (row("block", 10 * MiB + 110_000), ["missed", "met"]),
        (row("same", 2000), ["met", "met"]),
        (row("same", 2000, fetched=1), ["missed", "met"]),
        (row("requantized", 100 * MiB), ["met"]),
        (row("requantized", 100 * MiB + 1), ["missed"]),
        (row("adapter", 100 * MiB + 1), ["missed"]),
        (row("adapter", None), ["not measured"]),
        (row("finetune", 100 * MiB + 1, share="0.2 %"), ["missed"]),
        (row("finetune", 10 * MiB, share="1 %", xdelta3=20 * MiB), ["met", "met"]),
        (row("finetune", 10 * MiB, share="1 %", xdelta3=19 * MiB), ["met", "missed"]),
        (row("finetune", 10 * MiB, share="1 %"), ["met", "not measured"]),
    ],
)
def test_each_case_has_its_goal(case: Row, verdicts: list[str]) -> None:
    assert [one.verdict for one in judge([case])] == verdicts


def test_every_level_of_zstd_is_judged() -> None:
    case = row("finetune", 10 * MiB, share="1 %", xdelta3=30 * MiB)
    wire = {**case.wire_bytes, "zstd --patch-from": 60 * MiB, "zstd --patch-from -19": 30 * MiB}
    judged = judge([Row("m", "c", "finetune", "Q4_K_M", "1 %", 100 * MiB, 0, wire, {})])
    assert [one.verdict for one in judged] == ["met", "met", "met", "missed"]


def test_memory_and_speed_have_bounds() -> None:
    assert [judge_memory("m", mib).verdict for mib in (32.0, 32.1)] == ["met", "missed"]
    assert [judge_speed(share).verdict for share in (0.7, 0.69)] == ["met", "missed"]


def test_the_simple_methods_rebuild_and_count(tmp_path: Path) -> None:
    block = 4 * MiB
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"a" * block + b"b" * block)
    new.write_bytes(b"c" * block + b"b" * block + b"d" * 10)
    pair = Pair.of(old, new)
    folder = tmp_path / "work"
    folder.mkdir()
    assert METHODS["whole file"](pair, folder).wire_bytes == 2 * block + 10
    assert METHODS["4 MiB blocks"](pair, folder).wire_bytes == block + 10 + 3 * 32
    assert (folder / "rebuilt").read_bytes() == new.read_bytes()


def test_the_cache_keeps_the_latest_files_within_its_bound(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", max_bytes=25)
    made: list[str] = []

    def make(path: Path) -> None:
        made.append(path.name)
        path.write_bytes(bytes(10))

    for name in ("a.gguf", "b.gguf", "a.gguf", "c.gguf"):
        assert cache.file(name, make).stat().st_size == 10
    assert made == ["a.tmp", "b.tmp", "c.tmp"]
    assert len(list((tmp_path / "cache").glob("*.gguf"))) == 2
    assert cache.result("k", lambda: {"cpu_s": 1})["cpu_s"] == 1
    assert cache.result("k", lambda: {"cpu_s": 2})["cpu_s"] == 1
    cache.forget_results()
    assert cache.result("k", lambda: {"cpu_s": 2})["cpu_s"] == 2


def test_packets_are_counted_with_their_headers() -> None:
    topic = len("skerry/v1/d-aaaaaaaaaaaaaaaa/up/request")
    assert packet_bytes("request", b"") == 1 + 1 + 2 + topic + 1
    assert packet_bytes("request", bytes(100)) == 1 + 2 + 2 + topic + 1 + 100
    assert packet_bytes("request", bytes(100_000)) == 1 + 3 + 2 + topic + 1 + 100_000
