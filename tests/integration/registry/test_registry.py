import errno
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from skerry_agent.registry import (
    ModelInUseError,
    ModelNotFoundError,
    ModelRefusedError,
    NoSpaceError,
    Registry,
    SlotError,
)
from skerry_protocol.errors import NameSyntaxError
from support.registry import (
    LIMITS,
    FailingDisk,
    RecordedEvents,
    bytes_of,
    entry_of,
    put,
    random_bytes,
    signed,
)
from support.tiny_gguf import write_tiny_gguf

A, B, C = (random_bytes(10_500, seed) for seed in range(3))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    opened = await Registry.open(tmp_path / "registry", limits=LIMITS)
    yield opened
    await opened.close()


def content(path: Path) -> bytes:
    return path.read_bytes()


async def reopen(registry: Registry, tmp_path: Path, events: RecordedEvents | None = None) -> Registry:
    await registry.close()
    return await Registry.open(tmp_path / "registry", limits=LIMITS, events=events)


async def test_a_model_is_imported_listed_found_and_described(registry: Registry, tiny: Path) -> None:
    seen: list[tuple[int, int]] = []
    artifact = await registry.import_file(tiny, "mine@1", lambda done, total: seen.append((done, total)))
    assert artifact.ref == "local/mine@1"
    assert not artifact.signed
    assert artifact.path.read_bytes() == content(tiny)
    assert artifact.path.stat().st_mode & 0o777 == 0o444
    assert artifact.license == "apache-2.0"
    assert artifact.description["architecture"] == "llama"
    assert seen[-1] == (len(content(tiny)), len(content(tiny)))
    assert await registry.artifacts() == [artifact]
    assert await registry.find("mine") == artifact
    assert await registry.import_file(tiny, "local/mine@1") == artifact


async def test_a_name_that_is_taken_by_other_bytes_is_refused(
    registry: Registry, tiny: Path, tmp_path: Path
) -> None:
    await registry.import_file(tiny, "mine@1")
    other = write_tiny_gguf(tmp_path / "other.gguf", seed=1)
    with pytest.raises(ModelRefusedError, match="exists already with other bytes"):
        await registry.import_file(other, "mine@1")
    await registry.import_file(other, "mine@2")
    assert not list((tmp_path / "registry" / "partial").iterdir())


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF file"),
        (b"GGUF", "truncated|damaged"),
        (None, "truncated"),
    ],
)
async def test_a_bad_file_is_refused_and_leaves_nothing(
    registry: Registry, tiny: Path, tmp_path: Path, written: bytes | None, message: str
) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(content(tiny)[:-1000] if written is None else written)
    with pytest.raises(ModelRefusedError, match=message):
        await registry.import_file(bad, "mine@1")
    assert await registry.artifacts() == []
    assert not list((tmp_path / "registry" / "partial").iterdir())


async def test_paths_and_names_that_are_wrong_are_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ModelRefusedError, match="No such file"):
        await registry.import_file(tmp_path / "nowhere.gguf", "mine@1")
    with pytest.raises(ModelRefusedError, match="not a file"):
        await registry.import_file(tmp_path, "mine@1")
    with pytest.raises(NameSyntaxError, match="no version"):
        await registry.import_file(tmp_path / "nowhere.gguf", "mine")


async def test_slots_switch_and_go_back_and_survive_a_restart(registry: Registry, tmp_path: Path) -> None:
    await put(registry, A, "assistant@1")
    await put(registry, B, "assistant@2")
    await registry.activate("assistant/stable", "assistant@1")
    slot = await registry.activate("assistant/stable", "assistant@2")
    assert slot.previous is not None
    assert slot.previous.ref == "assistant@1"
    again = await registry.activate("assistant/stable", "assistant@2")
    assert again.previous == slot.previous
    registry = await reopen(registry, tmp_path)
    assert (await registry.find("assistant")).ref == "assistant@2"
    slot = await registry.rollback("assistant/stable", held_by="operator")
    assert slot.active is not None
    assert (slot.active.ref, slot.previous, slot.held) == ("assistant@1", None, "operator")
    with pytest.raises(SlotError, match="no previous version"):
        await registry.rollback("assistant/stable")
    with pytest.raises(SlotError, match="there is assistant/stable"):
        await registry.rollback("other/stable")
    await registry.close()


async def test_local_models_serve_in_their_own_slot_only(registry: Registry, tiny: Path) -> None:
    await registry.import_file(tiny, "mine@1")
    await put(registry, A, "assistant@1")
    with pytest.raises(SlotError, match="local/NAME"):
        await registry.activate("assistant/stable", "local/mine@1")
    with pytest.raises(SlotError):
        await registry.activate("local/mine", "assistant@1")
    slot = await registry.activate_local("mine@1")
    assert slot.name == "local/mine"
    with pytest.raises(ModelNotFoundError, match=r"local/mine@7 is not installed.*assistant@1"):
        await registry.activate_local("mine@7")


async def test_what_serves_or_served_before_cannot_be_removed(registry: Registry) -> None:
    for ref, data in (("assistant@1", A), ("assistant@2", B), ("assistant@3", C)):
        await put(registry, data, ref)
        await registry.activate("assistant/stable", ref)
    for ref in ("assistant@3", "assistant@2"):
        with pytest.raises(ModelInUseError):
            await registry.remove(ref)
    gone = await registry.find("assistant@1")
    await registry.remove("assistant@1")
    assert not gone.path.exists()
    with pytest.raises(ModelNotFoundError):
        await registry.remove("assistant@1")


async def test_a_budget_evicts_old_versions_and_then_says_what_is_missing(tmp_path: Path) -> None:
    limits = replace(LIMITS, disk_budget_bytes=35_000)
    registry = await Registry.open(tmp_path / "registry", limits=limits)
    for number, data in enumerate((A, B, C), start=1):
        await put(registry, data, f"assistant@{number}")
    await registry.activate("assistant/stable", "assistant@2")
    await registry.activate("assistant/stable", "assistant@3")
    await put(registry, random_bytes(10_500, 9), "assistant@4")
    assert sorted(a.ref for a in await registry.artifacts()) == ["assistant@2", "assistant@3", "assistant@4"]
    await registry.activate("other/stable", "assistant@4")
    big = entry_of(random_bytes(30_000, 10))
    with pytest.raises(NoSpaceError, match="are missing") as caught:
        await registry.open_partial(big.sha256, big.length, big.chunks)
    assert caught.value.missing_bytes > 20_000
    assert await registry.room_bytes() == 30_000 - caught.value.missing_bytes
    await registry.close()


async def test_a_full_disk_is_a_clear_error(tmp_path: Path, tiny: Path) -> None:
    disk = FailingDisk()
    registry = await Registry.open(tmp_path / "registry", limits=LIMITS, disk=disk)
    disk.free = 5000
    with pytest.raises(NoSpaceError) as caught:
        await registry.import_file(tiny, "mine@1")
    assert caught.value.missing_bytes == len(content(tiny)) - 5000
    disk.free = None
    entry = entry_of(A)
    disk.fail["preallocate"] = errno.ENOSPC
    with pytest.raises(NoSpaceError, match="free some space"):
        await registry.open_partial(entry.sha256, entry.length, entry.chunks)
    disk.fail = {}
    partial = await registry.open_partial(entry.sha256, entry.length, entry.chunks)
    disk.fail["write_at"] = errno.ENOSPC
    with pytest.raises(NoSpaceError):
        await partial.write(entry.chunks[0], bytes_of(A, entry.chunks[0]))
    disk.fail = {}
    await partial.write(entry.chunks[0], bytes_of(A, entry.chunks[0]))
    await registry.close()


async def test_a_missing_file_breaks_an_artifact_until_it_is_back(registry: Registry, tmp_path: Path) -> None:
    await put(registry, A, "assistant@1")
    await put(registry, B, "assistant@2")
    await registry.activate("assistant/stable", "assistant@1")
    await registry.activate("assistant/stable", "assistant@2")
    path = (await registry.find("assistant@2")).path
    path.chmod(0o600)
    path.write_bytes(B[:-1])
    events = RecordedEvents()
    registry = await reopen(registry, tmp_path, events)
    assert events.of("model_broken")[0]["ref"] == "assistant@2"
    assert (await registry.find("assistant")).ref == "assistant@1"
    with pytest.raises(ModelNotFoundError, match="missing or damaged"):
        await registry.activate("other/stable", "assistant@2")
    await put(registry, B, "assistant@2")
    assert (await registry.find("assistant")).ref == "assistant@2"
    await registry.close()


async def test_files_that_nobody_knows_are_removed_at_start(registry: Registry, tmp_path: Path) -> None:
    artifact = await put(registry, A, "assistant@1")
    orphan = tmp_path / "registry/files/sha256/ee" / ("ee" * 32)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x")
    part = tmp_path / "registry/partial" / ("dd" * 32 + ".part")
    part.write_bytes(b"x")
    rest = tmp_path / "registry/partial/import-1.tmp"
    rest.write_bytes(b"x")
    registry = await reopen(registry, tmp_path)
    assert [p.exists() for p in (orphan, part, rest, artifact.path)] == [False, False, False, True]
    await registry.close()


async def test_two_manifests_of_one_name_can_be_told_apart(registry: Registry) -> None:
    await put(registry, A, "assistant@1")
    await put(registry, B, "assistant@1")
    twin = signed("assistant@1", entry_of(B), target_sha256="f" * 64)
    await registry.install(twin)
    slot = await registry.activate("assistant/stable", "assistant@1", target_sha256="f" * 64)
    assert slot.active is not None
    assert slot.active.file_sha256 == entry_of(B).sha256


async def test_installing_needs_the_file(registry: Registry) -> None:
    with pytest.raises(RuntimeError, match="not in the registry"):
        await registry.install(signed("assistant@1", entry_of(A)))


async def test_chunks_of_installed_and_imported_files_are_located(registry: Registry, tiny: Path) -> None:
    artifact = await put(registry, A, "assistant@1")
    await registry.import_file(tiny, "mine@1")
    hashes = [chunk.sha256 for chunk in entry_of(A).chunks]
    found = await registry.locate_chunks([*hashes, "0" * 64])
    assert set(found) == set(hashes)
    place = found[hashes[3]][0]
    assert place.path == artifact.path
    assert artifact.path.read_bytes()[place.offset : place.offset + place.length] == A[3000:4000]
    await registry.remove("assistant@1")
    assert await registry.locate_chunks(hashes) == {}


async def test_listeners_hear_of_changes(registry: Registry) -> None:
    heard: list[int] = []
    registry.subscribe(lambda: heard.append(len(registry.artifacts_now)))
    await put(registry, A, "assistant@1")
    await registry.activate("assistant/stable", "assistant@1")
    assert heard == [1, 1]
    assert registry.slots_now["assistant/stable"].active is not None
    usage = await registry.usage()
    assert (usage.used, usage.budget) == (len(A), 0)


async def test_a_version_on_its_way_to_a_slot_is_not_evicted(tmp_path: Path) -> None:
    limits = replace(LIMITS, disk_budget_bytes=25_000)
    registry = await Registry.open(tmp_path / "registry", limits=limits)
    await put(registry, A, "assistant@1")
    await registry.pin(entry_of(A).sha256, len(A))
    big = entry_of(random_bytes(20_000, 10))
    with pytest.raises(NoSpaceError):
        await registry.open_partial(big.sha256, big.length, big.chunks)
    await registry.release(entry_of(A).sha256)
    await registry.open_partial(big.sha256, big.length, big.chunks)
    await registry.close()
