"""Saved prefixes: what is on the disk, within which bounds, and what is done with what is damaged."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skerry_agent.runtime.batcher import ShareScope
from skerry_agent.runtime.engine import EngineOptions
from skerry_agent.runtime.prefix_store import Head, PrefixStore, StoreLimits
from skerry_agent.runtime.requests import GenerateRequest
from skerry_agent.runtime.wire import Finished
from support.scripted_model import EngineBench, ScriptedModel

KB = 1000
WIDE = StoreLimits(max_bytes=100 * KB, max_daily_bytes=1000 * KB)


class _Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def _store(
    folder: Path, *, key: str = "model", limits: StoreLimits = WIDE, clock: _Clock | None = None
) -> PrefixStore:
    return PrefixStore(folder, key=key, limits=limits, wall_clock=clock or _Clock())


def _head(number: int) -> Head:
    return Head("", [number] * 10)


def _restored(store: PrefixStore) -> list[tuple[Head, bytes]]:
    found: list[tuple[Head, bytes]] = []

    def take(head: Head, state: memoryview) -> bool:
        found.append((head, bytes(state)))
        return True

    store.restore(take)
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.prefix"))


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "prefixes"
    assert _store(folder).save(_head(1), b"state")
    assert _store(folder).has(_head(1))
    assert _restored(_store(folder)) == [(_head(1), b"state")]
    assert _restored(_store(folder, key="another model")) == []


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "prefixes"
    _store(folder).save(_head(1), b"state")
    (file,) = _files(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:40],
        lambda _: b"",
        lambda raw: raw + b"x",
        lambda raw: raw[:60] + bytes([raw[60] ^ 1]) + raw[61:],
        lambda raw: b"OTHER" + raw[5:],
        lambda _: b"\0" * 500,
    ],
)
def test_what_is_damaged_is_not_handed_over_and_deleted(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    _store(tmp_path).save(_head(1), b"state" * 50)
    _store(tmp_path).save(_head(2), b"good")
    first = next(path for path in _files(tmp_path) if path.stat().st_size > 250)
    first.write_bytes(damage(first.read_bytes()))
    assert _restored(_store(tmp_path)) == [(_head(2), b"good")]
    assert len(_files(tmp_path)) == 1


def test_the_store_keeps_within_its_bytes_and_drops_the_longest_unused(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for number in range(4):
        assert store.save(_head(number), b"x" * 30 * KB)
        for path in _files(tmp_path):
            os.utime(path, (0, path.stat().st_mtime - 10))
        store.used(_head(0))
    assert sum(path.stat().st_size for path in _files(tmp_path)) <= WIDE.max_bytes
    assert store.has(_head(0))
    assert not store.has(_head(1))
    assert not store.save(_head(9), b"x" * 200 * KB)


def test_writes_of_a_day_are_bounded(tmp_path: Path) -> None:
    clock = _Clock()
    clock.now = 0.0  # the files' own times are later
    store = _store(tmp_path, limits=StoreLimits(max_bytes=40 * KB, max_daily_bytes=100 * KB), clock=clock)
    saved = [store.save(_head(number), b"x" * 30 * KB) for number in range(6)]
    assert saved == [True, True, True, False, False, False]
    clock.now = 4_000_000_000.0
    later = _store(tmp_path, limits=StoreLimits(max_bytes=40 * KB, max_daily_bytes=100 * KB), clock=clock)
    assert later.save(_head(9), b"x" * 30 * KB)


def test_after_a_restore_that_ended_the_process_nothing_is_tried_again(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.save(_head(1), b"deadly")

    class EndedError(BaseException):
        pass

    def end(_head: Head, _state: memoryview) -> bool:
        raise EndedError

    with pytest.raises(EndedError):
        store.restore(end)
    assert _restored(_store(tmp_path)) == []
    assert _files(tmp_path) == []
    _store(tmp_path).save(_head(1), b"fine")
    assert _restored(_store(tmp_path)) == [(_head(1), b"fine")]


PROMPT = "You are a very helpful assistant, and you never say anything that is not so. " * 2


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[..., EngineBench]]:
    made: list[EngineBench] = []

    def start(share: ShareScope = "all") -> EngineBench:
        model = ScriptedModel("ok", context=256, cells=1024, batch=64)
        options = EngineOptions(share_prefixes=share)
        made.append(EngineBench(model, options=options, store=_store(tmp_path)))
        return made[-1]

    yield start
    for bench in made:
        bench.close()


def _cached(bench: EngineBench, number: int, prompt: str, client: str = "") -> int:
    _, end = bench.run(GenerateRequest(prompt=prompt, client=client), number)
    assert isinstance(end, Finished)
    return end.usage.cached_tokens


def _saved(bench: EngineBench, folder: Path) -> list[Path]:
    """Files once the engine has rested: its writer is a thread of its own."""
    for thread in bench.writers():
        thread.join(5)
    return _files(folder)


def test_a_prefix_that_repeats_is_there_after_a_restart(
    engine: Callable[..., EngineBench], tmp_path: Path
) -> None:
    first = engine()
    for number in range(3):
        _cached(first, number, f"{PROMPT}{number}")
    assert _saved(first, tmp_path) == []
    for number in range(3, 5):
        _cached(first, number, f"{PROMPT}{number}")
    assert len(_saved(first, tmp_path)) == 1
    first.close()
    assert _cached(engine(), 1, f"{PROMPT}9") == len(PROMPT)


def test_prefixes_of_clients_stay_theirs_on_the_disk(
    engine: Callable[..., EngineBench], tmp_path: Path
) -> None:
    first = engine("client")
    for number in range(5):
        _cached(first, number, f"{PROMPT}{number}", "one")
    assert len(_saved(first, tmp_path)) == 1
    first.close()
    second = engine("client")
    assert _cached(second, 1, f"{PROMPT}9", "two") == 0
    assert _cached(second, 2, f"{PROMPT}9", "one") == len(PROMPT)
    second.close()
    assert _cached(engine("all"), 1, f"{PROMPT}9", "one") == 0


def test_a_cache_full_of_prefixes_can_still_save_one(
    engine: Callable[..., EngineBench], tmp_path: Path
) -> None:
    first = engine()
    for number in range(30):
        _cached(first, number, f"{chr(97 + number)} lonely prompt")
    for number in range(30, 36):
        _cached(first, number, f"{PROMPT}{number}")
    assert len(_saved(first, tmp_path)) == 1


def test_nothing_is_saved_or_restored_without_sharing(
    engine: Callable[..., EngineBench], tmp_path: Path
) -> None:
    first = engine("off")
    for number in range(6):
        _cached(first, number, f"{PROMPT}{number}")
    assert _saved(first, tmp_path) == []
