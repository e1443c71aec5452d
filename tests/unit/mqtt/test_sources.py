from skerry_controller.mqtt.sources import MetadataCache


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
