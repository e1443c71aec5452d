"""A version that is a small change of another costs what changed, and the whole where that cannot be had."""

import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from skerry_agent.updates.sources import patches
from skerry_controller.deltas import BuiltDelta, Version, build_delta
from skerry_protocol.deltas import decode_delta_index, encode_delta_index
from skerry_protocol.desired import TargetRef
from support.tuning import tuned
from support.updates import CHANNEL, Published, World, publish


@pytest.fixture
def two(one: Published) -> Published:
    return publish(tuned(one.data), "smol@2")


@pytest.fixture
def delta(one: Published, two: Published, tmp_path: Path) -> BuiltDelta:
    return make_delta(one, two, tmp_path)


def make_delta(base: Published | None, new: Published, folder: Path) -> BuiltDelta:
    def version(published: Published) -> Version:
        path = folder / f"{published.entry.sha256}.gguf"
        path.write_bytes(published.data)
        return Version(published.entry, path)

    built = build_delta("smol", version(new), version(base) if base else None, folder / f"pack-{bool(base)}")
    assert built is not None
    return built


def offer(world: World, delta: BuiltDelta, content: bytes | None = None) -> None:
    content = delta.content if content is None else content
    ref = TargetRef(path=delta.target_path, sha256=hashlib.sha256(content).hexdigest(), length=len(content))
    world.targets.held[ref.path] = content
    world.targets.delta_refs.append(ref)
    for source in world.sources:
        source.blobs[delta.pack_sha256] = delta.pack.read_bytes()


def unique_bytes(published: Published) -> int:
    return sum({chunk.sha256: chunk.length for chunk in published.entry.chunks}.values())


async def install(world: World, published: Published, number: int) -> int:
    """Bring a version to the device; returns the bytes that came over the network for it."""
    before = world.traffic.total_bytes
    world.publish(published)
    await world.follow(number, {CHANNEL: published})
    path = published.target.path
    await world.until_true(lambda report: report.state == "committed" and report.target_path == path)
    installed = await world.registry.find(str(published.manifest.ref))
    assert installed.path.read_bytes() == published.data
    return world.traffic.total_bytes - before


async def test_with_the_base_only_the_pack_is_fetched(
    world: World, one: Published, two: Published, delta: BuiltDelta
) -> None:
    await world.start()
    offer(world, delta)
    await install(world, one, 1)
    fetched = await install(world, two, 2)
    assert fetched == delta.pack_length + delta.whole_bytes
    assert fetched < len(two.data) / 8


async def test_without_the_base_whole_chunks_are_fetched(
    world: World, one: Published, two: Published, delta: BuiltDelta
) -> None:
    await world.start()
    offer(world, delta)
    assert await install(world, two, 1) == unique_bytes(two)
    assert not any(blob == delta.pack_sha256 for blob, _ in world.sources[0].served)


async def test_a_delta_without_base_is_for_every_device(world: World, tmp_path: Path, one: Published) -> None:
    await world.start()
    sparse = publish(one.data[:-60_000] + bytes(60_000), "smol@1")
    delta = make_delta(None, sparse, tmp_path)
    offer(world, delta)
    assert (
        await install(world, sparse, 1) == delta.pack_length + delta.whole_bytes < len(sparse.data) - 50_000
    )


async def test_of_several_deltas_the_smallest_pieces_are_taken(
    world: World, one: Published, two: Published, delta: BuiltDelta, tmp_path: Path
) -> None:
    await world.start()
    offer(world, make_delta(None, two, tmp_path))
    offer(world, delta)
    await install(world, one, 1)
    assert await install(world, two, 2) == delta.pack_length + delta.whole_bytes


async def test_a_damaged_pack_is_rejected_and_whole_chunks_are_fetched(
    world: World, one: Published, two: Published, delta: BuiltDelta
) -> None:
    await world.start()
    offer(world, delta)
    await install(world, one, 1)
    pack = bytearray(delta.pack.read_bytes())
    pack[len(pack) // 2] ^= 1
    world.sources[0].blobs[delta.pack_sha256] = bytes(pack)
    fetched = await install(world, two, 2)
    assert delta.pack_length < fetched < len(two.data) + delta.pack_length
    (rejected,) = world.events.of("chunk_rejected")
    assert rejected["file_sha256"] == delta.pack_sha256


async def test_a_base_that_decayed_costs_only_the_chunks_that_need_it(
    world: World, one: Published, two: Published, delta: BuiltDelta
) -> None:
    await world.start()
    offer(world, delta)
    await install(world, one, 1)
    path = (await world.registry.find("smol@1")).path
    path.chmod(0o600)
    decayed = bytearray(one.data)
    decayed[len(decayed) // 2] ^= 255
    path.write_bytes(decayed)
    fetched = await install(world, two, 2)
    assert delta.pack_length < fetched < len(two.data) / 2
    assert world.events.of("chunk_rejected") == []


@pytest.mark.parametrize("wrong", ["no json", "base too short", "not the signed bytes"])
async def test_a_wrong_index_is_left_alone(
    world: World, one: Published, two: Published, delta: BuiltDelta, wrong: str
) -> None:
    await world.start()
    index = decode_delta_index(delta.content, delta.target_path)
    content = b"{}" if wrong == "no json" else delta.content
    if wrong == "base too short":
        content = encode_delta_index(msgspec.structs.replace(index, base_length=index.base_length + 1))
    offer(world, delta, content)
    if wrong == "not the signed bytes":
        world.targets.held.pop(delta.target_path)
    await install(world, one, 1)
    assert await install(world, two, 2) == delta.made_bytes + delta.whole_bytes


async def test_a_missing_pack_costs_nothing_but_the_patches(
    world: World, one: Published, two: Published, delta: BuiltDelta
) -> None:
    await world.start()
    offer(world, replace(delta, pack_sha256="0" * 64))
    await install(world, one, 1)
    assert await install(world, two, 2) == delta.made_bytes + delta.whole_bytes


async def test_chunks_are_made_in_one_thread_which_then_ends(
    world: World, one: Published, two: Published, delta: BuiltDelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread keeps the memory that it used once: in several, patching would take twice as much."""
    threads = []

    def make(offer: patches._Offer, data: bytes) -> bytes | None:
        threads.append(threading.current_thread())
        return made(offer, data)

    made = patches._make
    monkeypatch.setattr(patches, "_make", make)
    await world.start()
    offer(world, delta)
    await install(world, one, 1)
    await install(world, two, 2)
    (thread,) = set(threads)
    thread.join(timeout=10)
    assert not thread.is_alive()
