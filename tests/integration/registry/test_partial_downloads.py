import errno
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry_agent.registry import (
    DamagedDownloadError,
    InconsistentManifestError,
    NoSpaceError,
    PartialDownload,
    Registry,
    RegistryLimits,
    StorageError,
    WrongBytesError,
)
from skerry_agent.updates.sources.local import LocalSource
from skerry_protocol.manifest import Chunk, FileEntry
from support.registry import LIMITS, FailingDisk, bytes_of, entry_of, random_bytes, signed

DATA = random_bytes(64_000, 5)
ENTRY = entry_of(DATA, 4096)
LAZY = RegistryLimits(min_free_bytes=0, journal_sync_bytes=1 << 40, journal_sync_s=3600.0)
"""Nothing is journaled before the end."""


@pytest.fixture
async def abandoned() -> AsyncIterator[list[Registry]]:
    """Registries that a test walked away from as a crash does; closed at the end."""
    left: list[Registry] = []
    yield left
    for registry in left:
        await registry.close()


async def begin(registry: Registry) -> PartialDownload:
    return await registry.open_partial(ENTRY.sha256, ENTRY.length, ENTRY.chunks)


async def fill(partial: PartialDownload, chunks: list[Chunk]) -> None:
    for chunk in chunks:
        await partial.write(chunk, bytes_of(DATA, chunk))


async def fill_and_finish(partial: PartialDownload) -> Path:
    await fill(partial, partial.missing())
    return await partial.finish()


async def test_a_download_in_any_order_becomes_the_file(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    assert (tmp_path / "partial" / f"{ENTRY.sha256}.part").stat().st_size == ENTRY.length
    await fill(partial, partial.missing()[::-1])
    assert partial.bytes_done == ENTRY.length
    seen: list[int] = []
    path = await partial.finish(lambda done, total: seen.append(done))
    assert path.read_bytes() == DATA
    assert seen[-1] == ENTRY.length
    assert not list((tmp_path / "partial").iterdir())
    await registry.close()


@pytest.mark.parametrize("limits", [LIMITS, LAZY], ids=["journaled", "found again by hash"])
async def test_after_a_crash_no_verified_chunk_is_missing(
    tmp_path: Path, limits: RegistryLimits, abandoned: list[Registry]
) -> None:
    crashed = await Registry.open(tmp_path, limits=limits)
    abandoned.append(crashed)
    await fill(await begin(crashed), list(ENTRY.chunks[3:9]))
    registry = await Registry.open(tmp_path, limits=limits)
    partial = await begin(registry)
    assert partial.missing() == [*ENTRY.chunks[:3], *ENTRY.chunks[9:]]
    assert (await fill_and_finish(partial)).read_bytes() == DATA
    await registry.close()


async def test_a_torn_journal_costs_a_hash_not_a_transfer(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    await fill(partial, list(ENTRY.chunks[:5]))
    await partial.close()
    journal = tmp_path / "partial" / f"{ENTRY.sha256}.journal"
    journal.write_bytes(journal.read_bytes()[:-4] + b"\0" * 64)
    partial = await begin(registry)
    assert partial.missing() == list(ENTRY.chunks[5:])
    await registry.close()


async def test_a_chunk_is_journaled_only_after_its_bytes_were_synced(tmp_path: Path) -> None:
    disk = FailingDisk()
    registry = await Registry.open(tmp_path, limits=LIMITS, disk=disk)
    partial = await begin(registry)
    disk.calls.clear()
    await fill(partial, [ENTRY.chunks[0]])
    assert disk.calls == ["write_at", "sync", "append", "sync"]
    await registry.close()


async def test_syncs_are_batched(tmp_path: Path) -> None:
    disk = FailingDisk()
    limits = RegistryLimits(min_free_bytes=0, journal_sync_bytes=16 * 1024, journal_sync_s=3600.0)
    registry = await Registry.open(tmp_path, limits=limits, disk=disk)
    partial = await begin(registry)
    disk.calls.clear()
    await fill(partial, list(ENTRY.chunks[:12]))
    assert disk.calls.count("sync") == 6
    await registry.close()


async def test_wrong_bytes_are_not_written(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    with pytest.raises(WrongBytesError):
        await partial.write(ENTRY.chunks[0], bytes_of(DATA, ENTRY.chunks[1]))
    with pytest.raises(WrongBytesError):
        await partial.write(ENTRY.chunks[0], b"short")
    with pytest.raises(ValueError, match="not part"):
        await partial.write(Chunk(1, 2, "0" * 64), b"12")
    assert partial.bytes_done == 0
    with pytest.raises(RuntimeError, match="missing"):
        await partial.finish()
    with pytest.raises(RuntimeError, match="open already"):
        await begin(registry)
    await registry.close()


async def test_bytes_that_decay_before_the_end_are_fetched_again(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    await fill(partial, partial.missing())
    part = tmp_path / "partial" / f"{ENTRY.sha256}.part"
    with part.open("r+b") as file:
        file.seek(5000)
        file.write(b"decay")
    with pytest.raises(DamagedDownloadError, match="1 chunks"):
        await partial.finish()
    assert partial.missing() == [ENTRY.chunks[1]]
    await partial.close()
    partial = await begin(registry)
    assert partial.missing() == [ENTRY.chunks[1]]
    assert (await fill_and_finish(partial)).read_bytes() == DATA
    await registry.close()


async def test_a_manifest_whose_chunks_are_not_its_file_is_found_out(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await registry.open_partial("9" * 64, ENTRY.length, ENTRY.chunks)
    await fill(partial, partial.missing())
    with pytest.raises(InconsistentManifestError):
        await partial.finish()
    await registry.close()


async def test_other_chunks_of_the_same_file_use_what_is_there(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    await fill(partial, list(ENTRY.chunks[:8]))
    await partial.close()
    other = entry_of(DATA, 8192)
    partial = await registry.open_partial(other.sha256, other.length, other.chunks)
    assert partial.missing() == list(other.chunks[4:])
    await registry.close()


async def test_a_file_finished_before_a_crash_waits_for_its_installation(
    tmp_path: Path, abandoned: list[Registry]
) -> None:
    crashed = await Registry.open(tmp_path, limits=LIMITS)
    abandoned.append(crashed)
    partial = await begin(crashed)
    await fill(partial, partial.missing())
    path = await partial.finish()
    registry = await Registry.open(tmp_path, limits=LIMITS)
    assert await registry.stored(ENTRY.sha256, ENTRY.length) == path
    await registry.install(signed("assistant@1", ENTRY))
    await registry.close()


async def test_an_unwanted_download_gives_way_when_room_is_needed(tmp_path: Path) -> None:
    limits = RegistryLimits(min_free_bytes=0, disk_budget_bytes=100_000)
    registry = await Registry.open(tmp_path, limits=limits)
    partial = await begin(registry)
    await fill(partial, list(ENTRY.chunks[:3]))
    await partial.close()
    other = entry_of(random_bytes(64_000, 6))
    with pytest.raises(NoSpaceError):
        await registry.open_partial(other.sha256, other.length, other.chunks)
    await registry.release(ENTRY.sha256)
    await registry.open_partial(other.sha256, other.length, other.chunks)
    assert not (tmp_path / "partial" / f"{ENTRY.sha256}.part").exists()
    await registry.close()


@pytest.mark.parametrize("operation", ["sync", "append", "replace_synced"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_a_failing_disk_stops_the_download_and_it_goes_on_later(
    tmp_path: Path, operation: str, code: int
) -> None:
    disk = FailingDisk()
    registry = await Registry.open(tmp_path, limits=LIMITS, disk=disk)
    partial = await begin(registry)
    disk.fail[operation] = code
    with pytest.raises((NoSpaceError, StorageError)):
        await fill_and_finish(partial)
    disk.fail = {}
    await partial.close()
    partial = await begin(registry)
    assert (await fill_and_finish(partial)).read_bytes() == DATA
    await registry.close()


async def test_room_that_was_reserved_in_part_is_given_back(tmp_path: Path) -> None:
    class FullDisk(FailingDisk):
        def preallocate(self, descriptor: int, length: int) -> None:
            super().preallocate(descriptor, length // 2)
            raise OSError(errno.ENOSPC, "No space left on device")

    registry = await Registry.open(tmp_path, limits=LIMITS, disk=FullDisk())
    with pytest.raises(NoSpaceError):
        await begin(registry)
    assert (await registry.usage()).used == 0
    await registry.close()


async def test_a_download_that_was_whole_when_power_failed_can_be_opened_again(tmp_path: Path) -> None:
    disk = FailingDisk()
    registry = await Registry.open(tmp_path, limits=LIMITS, disk=disk)
    partial = await begin(registry)
    await fill(partial, partial.missing())
    disk.fail["replace_synced"] = errno.EIO  # as if power failed just before the file got its name
    with pytest.raises(StorageError):
        await partial.finish()
    await partial.close()
    disk.fail.clear()
    again = await begin(registry)
    part = tmp_path / "partial" / f"{ENTRY.sha256}.part"
    assert part.stat().st_mode & 0o200, "only root could open a read-only file for writing"
    assert (await fill_and_finish(again)).read_bytes() == DATA
    await registry.close()


async def test_a_left_over_journal_does_not_vouch_for_a_new_file(
    tmp_path: Path, abandoned: list[Registry]
) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    await fill(partial, partial.missing())
    journal = tmp_path / "partial" / f"{ENTRY.sha256}.journal"
    left = journal.read_bytes()
    (await partial.finish()).unlink()
    journal.write_bytes(left)  # power failed after the file got its name
    crashed = await begin(registry)
    assert crashed.missing() == list(ENTRY.chunks)
    await fill(crashed, list(ENTRY.chunks[:2]))
    abandoned.append(registry)
    reopened = await Registry.open(tmp_path, limits=LIMITS)
    assert (await begin(reopened)).missing() == list(ENTRY.chunks[2:])
    await reopened.close()


OTHER = random_bytes(10_000, 6) + DATA[4096 : 4096 * 9]
OTHER_ENTRY = FileEntry(
    sha256=hashlib.sha256(OTHER).hexdigest(),
    length=len(OTHER),
    chunks=(
        Chunk(0, 10_000, hashlib.sha256(OTHER[:10_000]).hexdigest()),
        *(Chunk(10_000 + 4096 * n, c.length, c.sha256) for n, c in enumerate(ENTRY.chunks[1:9])),
    ),
)


async def missing_after_local(registry: Registry, entry: FileEntry) -> int:
    """What a download lacks after the device gave what it has."""
    partial = await registry.open_partial(entry.sha256, entry.length, entry.chunks)
    async for chunk, data in LocalSource(registry).fetch(entry.sha256, partial.missing()):
        await partial.write(chunk, data)
    missing = len(partial.missing())
    await partial.close()
    return missing


async def test_an_interrupted_download_supplies_another(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    await fill(partial, [*ENTRY.chunks[:3], ENTRY.chunks[6]])
    assert await missing_after_local(registry, OTHER_ENTRY) == 9 - 3  # while it is under way
    await registry.collect_garbage()
    await partial.close()
    await registry.release(ENTRY.sha256)
    await registry.close()

    registry = await Registry.open(tmp_path, limits=LIMITS)
    hashes = [chunk.sha256 for chunk in ENTRY.chunks]
    assert len(await registry.locate_chunks(hashes)) == 4
    again = await begin(registry)
    await fill(again, list(ENTRY.chunks[7:9]))
    await again.close()
    assert await missing_after_local(registry, OTHER_ENTRY) == 9 - 5
    await registry.close()


async def test_a_download_that_was_cut_anew_supplies_what_it_has(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    await fill(partial, list(ENTRY.chunks[:4]))
    await partial.close()
    finer = entry_of(DATA, 2048)
    partial = await registry.open_partial(finer.sha256, finer.length, finer.chunks)
    assert partial.bytes_done == 4 * 4096
    await partial.close()
    assert len(await registry.locate_chunks([c.sha256 for c in finer.chunks])) == 8
    assert await registry.locate_chunks([c.sha256 for c in ENTRY.chunks]) == {}
    await registry.close()


async def test_a_dropped_download_supplies_nothing(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    await fill(partial, list(ENTRY.chunks[:4]))
    await partial.close()
    await registry.release(ENTRY.sha256)
    await registry.collect_garbage(need_bytes=1)
    assert await registry.locate_chunks([c.sha256 for c in ENTRY.chunks]) == {}
    await registry.close()


async def test_equal_chunks_are_fetched_once(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    data = DATA[:4096] * 3 + DATA[4096:8192] + DATA[:4096]
    entry = entry_of(data, 4096)
    partial = await registry.open_partial(entry.sha256, entry.length, entry.chunks)
    assert partial.missing() == [entry.chunks[0], entry.chunks[3]]
    await partial.write(entry.chunks[0], data[:4096])
    await partial.close()
    partial = await registry.open_partial(entry.sha256, entry.length, entry.chunks)
    assert partial.missing() == [entry.chunks[3]]
    await partial.write(entry.chunks[3], bytes_of(data, entry.chunks[3]))
    assert (await partial.finish()).read_bytes() == data
    await registry.close()


async def test_what_a_failed_sync_was_to_keep_is_written_again(tmp_path: Path) -> None:
    """The kernel calls such bytes clean, and the next sync succeeds without them."""
    disk = FailingDisk()
    registry = await Registry.open(tmp_path, limits=LAZY, disk=disk)
    partial = await begin(registry)
    first, second = partial.missing()[:2]
    await fill(partial, [first])
    await partial.flush()
    await fill(partial, [second])
    disk.fail["sync"] = errno.EIO
    with pytest.raises(StorageError):
        await partial.flush()
    assert second in partial.missing()
    assert first not in partial.missing()
    del disk.fail["sync"]
    await partial.close()
    disk.calls.clear()
    again = await begin(registry)
    assert second not in again.missing()
    assert disk.calls.index("write_at") < disk.calls.index("sync")
    await registry.close()


async def test_a_journal_without_its_download_goes_at_the_start(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    partial = await begin(registry)
    await fill(partial, partial.missing())
    journal = tmp_path / "partial" / f"{ENTRY.sha256}.journal"
    text = journal.read_bytes()
    await partial.finish()
    await registry.close()
    journal.write_bytes(text)
    registry = await Registry.open(tmp_path, limits=LIMITS)
    assert not journal.exists()
    await registry.close()


async def test_a_download_that_a_power_cut_left_beside_its_file_goes(tmp_path: Path) -> None:
    registry = await Registry.open(tmp_path, limits=LIMITS)
    path = await fill_and_finish(await begin(registry))
    rest = tmp_path / "partial" / f"{ENTRY.sha256}.part"
    rest.write_bytes(path.read_bytes())
    await registry.install(signed("smol@1", ENTRY))
    assert not rest.exists()
    assert path.read_bytes() == DATA
    await registry.close()
