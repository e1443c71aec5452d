import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry_controller.blobs import BlobNotFoundError, BlobRefusedError, FolderBlobStore, blob_pieces
from skerry_controller.errors import WorldError
from skerry_protocol.errors import NameSyntaxError

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LIMIT = 1024 * 1024


async def pieces(content: bytes = CONTENT, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.fixture
def store(tmp_path: Path) -> FolderBlobStore:
    return FolderBlobStore(tmp_path / "blobs")


def files(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_what_was_written_is_read_back_in_any_range(store: FolderBlobStore) -> None:
    assert await store.size(SHA256) is None
    assert await store.write(SHA256, pieces(), max_bytes=LIMIT) == len(CONTENT)
    assert await store.size(SHA256) == len(CONTENT)
    assert await store.read_range(SHA256, 0, len(CONTENT)) == CONTENT
    assert await store.read_range(SHA256, 100, 50) == CONTENT[100:150]
    assert await store.read_range(SHA256, len(CONTENT) - 3, 100) == CONTENT[-3:]
    assert await store.read_range(SHA256, len(CONTENT), 1) == b""
    assert await store.verify(SHA256)


async def test_a_blob_lies_under_its_hash_for_the_owner_alone(store: FolderBlobStore, tmp_path: Path) -> None:
    await store.write(SHA256, pieces(), max_bytes=LIMIT)
    (path,) = files(tmp_path)
    assert path == tmp_path / "blobs" / "sha256" / SHA256[:2] / SHA256
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_other_bytes_than_promised_are_refused_and_not_kept(
    store: FolderBlobStore, tmp_path: Path
) -> None:
    with pytest.raises(BlobRefusedError, match="SHA-256"):
        await store.write(SHA256, pieces(CONTENT[:-1]), max_bytes=LIMIT)
    assert await store.size(SHA256) is None
    assert files(tmp_path) == []


async def test_more_than_the_limit_is_refused_and_not_kept(store: FolderBlobStore, tmp_path: Path) -> None:
    with pytest.raises(BlobRefusedError, match="limit"):
        await store.write(SHA256, pieces(), max_bytes=len(CONTENT) - 1)
    assert files(tmp_path) == []


async def test_an_upload_that_is_cancelled_leaves_nothing(store: FolderBlobStore, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield CONTENT[:100]
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.write(SHA256, stuck(), max_bytes=LIMIT))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(tmp_path) == []


async def test_remains_of_a_killed_upload_are_discarded_at_the_start(
    store: FolderBlobStore, tmp_path: Path
) -> None:
    await store.write(SHA256, pieces(), max_bytes=LIMIT)
    (tmp_path / "blobs" / "partial" / "tmp123").write_bytes(b"half")
    await store.discard_partials()
    assert [path.name for path in files(tmp_path)] == [SHA256]


async def test_two_uploads_of_one_blob_at_once_both_succeed(store: FolderBlobStore, tmp_path: Path) -> None:
    await asyncio.gather(*(store.write(SHA256, pieces(), max_bytes=LIMIT) for _ in range(2)))
    assert [path.name for path in files(tmp_path)] == [SHA256]
    assert await store.verify(SHA256)


async def test_a_blob_that_was_altered_on_the_disk_is_noticed(store: FolderBlobStore, tmp_path: Path) -> None:
    await store.write(SHA256, pieces(), max_bytes=LIMIT)
    (path,) = files(tmp_path)
    path.write_bytes(b"x" + CONTENT[1:])
    assert not await store.verify(SHA256)


async def test_what_is_not_there_is_an_error_that_says_so(store: FolderBlobStore) -> None:
    with pytest.raises(BlobNotFoundError, match=SHA256):
        await store.read_range(SHA256, 0, 1)
    await store.remove(SHA256)


async def test_a_removed_blob_is_gone(store: FolderBlobStore) -> None:
    await store.write(SHA256, pieces(), max_bytes=LIMIT)
    await store.remove(SHA256)
    assert await store.size(SHA256) is None


@pytest.mark.parametrize("name", ["", "../../etc/passwd", SHA256.upper(), SHA256[:-1]])
async def test_only_a_hash_is_the_name_of_a_blob(store: FolderBlobStore, name: str) -> None:
    with pytest.raises(NameSyntaxError):
        await store.size(name)


async def test_a_disk_that_refuses_is_the_worlds_fault(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(WorldError, match="cannot create"):
        await FolderBlobStore(tmp_path / "blobs").write(SHA256, pieces(), max_bytes=LIMIT)


async def test_a_range_streams_in_pieces(store: FolderBlobStore) -> None:
    await store.write(SHA256, pieces(), max_bytes=LIMIT)
    got = [piece async for piece in blob_pieces(store, SHA256, 10, 5000)]
    assert b"".join(got) == CONTENT[10:5010]
