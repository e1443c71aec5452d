import asyncio

import pytest

from skerry_controller.mqtt import sources
from skerry_controller.mqtt.sources import MetadataCache
from skerry_protocol.packing import pack, unpack


class Files:
    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.asked: list[str] = []

    def get(self, name: str) -> bytes | None:
        self.asked.append(name)
        return self.files.get(name)


async def test_versioned_files_are_read_once() -> None:
    files = Files(**{"timestamp.json": b"t1", "1.snapshot.json": b"s1"})
    cache = MetadataCache(files)
    for _ in range(3):
        assert await cache.get("timestamp.json") == b"t1"
        assert await cache.get("1.snapshot.json") == b"s1"
    assert files.asked.count("1.snapshot.json") == 1
    assert files.asked.count("timestamp.json") == 3


async def test_what_an_interrupted_publication_left_is_not_served_in_place_of_the_next() -> None:
    files = Files(**{"timestamp.json": b"t1", "2.snapshot.json": b"left over"})
    cache = MetadataCache(files)
    assert await cache.get("timestamp.json") == b"t1"
    assert await cache.get("2.snapshot.json") == b"left over"  # a device guessed the name
    files.files |= {"2.snapshot.json": b"the real one", "timestamp.json": b"t2"}
    assert await cache.get("timestamp.json") == b"t2"
    assert await cache.get("2.snapshot.json") == b"the real one"


async def test_many_devices_that_ask_for_the_same_are_answered_with_one_compression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed: list[bytes] = []

    def counting(content: bytes, base: bytes | None = None) -> bytes:
        packed.append(content)
        return pack(content, base)

    monkeypatch.setattr(sources, "pack", counting)
    new, old = b"new " * 100, b"old " * 100
    cache = MetadataCache(Files(**{"2.models.json": new, "1.models.json": old}))
    answers = await asyncio.gather(*(cache.packed("2.models.json", "1.models.json") for _ in range(50)))
    assert {unpack(answer or b"", max_bytes=400, base=old) for answer in answers} == {new}
    assert packed == [new]


async def test_a_file_is_packed_without_a_base_that_is_not_there() -> None:
    cache = MetadataCache(Files(**{"2.models.json": b"new " * 100}))
    answer = await cache.packed("2.models.json", "1.models.json")
    assert unpack(answer or b"", max_bytes=400) == b"new " * 100
    assert await cache.packed("3.models.json", "2.models.json") is None


async def test_what_an_interrupted_publication_left_is_not_packed_in_place_of_the_next() -> None:
    files = Files(**{"timestamp.json": b"t1", "2.snapshot.json": b"left over"})
    cache = MetadataCache(files)
    await cache.get("timestamp.json")
    await cache.packed("2.snapshot.json", None)
    files.files |= {"2.snapshot.json": b"the real one", "timestamp.json": b"t2"}
    await cache.get("timestamp.json")
    answer = await cache.packed("2.snapshot.json", None)
    assert unpack(answer or b"", max_bytes=400) == b"the real one"
