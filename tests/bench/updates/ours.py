"""Our side of a pair: published by the controller's own code, fetched by the agent's."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from bench.updates.cache import Cache
from bench.updates.cases import Case
from bench.updates.device import DeviceUnderTest, Update
from bench.updates.peers import Pair
from bench.updates.site import Site
from skerry_controller.artifacts.building import BuiltArtifact, build_adapter, build_model
from skerry_controller.deltas import BuiltDelta, Version, build_delta
from skerry_protocol.acceptance import Acceptance, SoakTerms
from skerry_protocol.desired import TargetRef
from skerry_protocol.manifest import FileEntry, decode_manifest
from skerry_protocol.names import ArtifactRef

NAME, ADAPTER_NAME = "bench", "bench-adapter"


class Published(NamedTuple):
    """A version at the site."""

    version: str
    target: TargetRef
    entry: FileEntry
    file: Path


async def measure(case: Case, pair: Pair, folder: Path, cache: Cache) -> Update:
    """Bring a device from the old file to the new one, and check what it has then.

    Deltas, which take the publisher minutes, come from the cache when they were built before.
    """
    site = Site()
    try:
        old = publish(site, "1", pair.old)
        if case.kind == "adapter":
            new = publish_adapter(site, pair.new, old.entry.sha256)
            name, base, desired = ADAPTER_NAME, None, [old.target, new.target]
        else:
            new = publish(site, "2", pair.new)
            name, base, desired = NAME, old, [new.target]
        await asyncio.to_thread(offer_delta, site, name, base, new, cache)
        device = await DeviceUnderTest.open(site, folder)
        try:
            await device.update(old.target, old.entry)
            update = await device.update(desired[0], new.entry, *desired[1:])
            await device.check(f"{name}@{new.version}", pair.new_sha256)
        finally:
            await device.close()
    finally:
        site.close()
    return update


def publish(site: Site, version: str, file: Path) -> Published:
    """Describe a model as ``skerry artifact add`` does, and sign it."""
    acceptance = Acceptance(soak=SoakTerms(duration_s=0))  # nobody asks this device anything
    return _offered(site, build_model(ArtifactRef(NAME, version), file, acceptance=acceptance), file)


def publish_adapter(site: Site, file: Path, base_sha256: str) -> Published:
    """The same with an adapter."""
    acceptance = Acceptance(soak=SoakTerms(duration_s=0))
    ref = ArtifactRef(ADAPTER_NAME, "1")
    return _offered(site, build_adapter(ref, file, base_sha256, acceptance=acceptance), file)


def _offered(site: Site, built: BuiltArtifact, file: Path) -> Published:
    entry = decode_manifest(built.content).variants[0].files[0]
    site.add_blob(entry.sha256, file)
    return Published(built.ref.version, site.offer(built.target_path, built.content), entry, file)


def offer_delta(site: Site, name: str, old: Published | None, new: Published, cache: Cache) -> None:
    """Publish what ``skerry artifact delta`` would, if there is anything to save."""
    base = "whole" if old is None else old.entry.sha256[:16]
    built: list[BuiltDelta] = []

    def make(pack: Path) -> None:
        version = None if old is None else Version(old.entry, old.file)
        delta = build_delta(name, Version(new.entry, new.file), version, pack)
        pack.touch()
        built.extend([delta] if delta is not None else [])

    stem = f"delta-{base}-{new.entry.sha256[:16]}"
    pack = cache.file(f"{stem}.pack", make)
    found = cache.result(stem, lambda: _described(built))
    if found["target_path"] is not None:
        site.add_blob(found["pack_sha256"], pack)
        site.offer(found["target_path"], found["content"].encode())


def _described(built: list[BuiltDelta]) -> dict[str, str | None]:
    if not built:
        return {"target_path": None}
    (delta,) = built
    return {
        "target_path": delta.target_path,
        "pack_sha256": delta.pack_sha256,
        "content": delta.content.decode(),
    }
