"""Our side of a pair: published by the controller's own code, fetched by the agent's."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from bench.updates.cache import Cache
from bench.updates.cases import Case
from bench.updates.device import DeviceUnderTest, Update
from bench.updates.peers import Pair
from bench.updates.site import Site
from skerry_controller.artifacts.building import build_model
from skerry_controller.deltas import BuiltDelta, Version, build_delta
from skerry_protocol.acceptance import Acceptance, SoakTerms
from skerry_protocol.desired import TargetRef
from skerry_protocol.manifest import FileEntry, decode_manifest
from skerry_protocol.names import ArtifactRef

NAME = "bench"


class Published(NamedTuple):
    """A version at the site."""

    target: TargetRef
    entry: FileEntry
    file: Path


class NotMeasuredError(RuntimeError):
    """The agent does not do this yet."""


async def measure(case: Case, pair: Pair, folder: Path, cache: Cache) -> Update:
    """Bring a device from the old file to the new one, and check what it has then.

    Deltas, which take the publisher minutes, come from the cache when they were built before.

    Raises:
        NotMeasuredError: There is nothing to measure.
    """
    if case.kind == "adapter":
        raise NotMeasuredError("adapters are not updated by this bench yet")
    site = Site()
    try:
        old, new = publish(site, "1", pair.old), publish(site, "2", pair.new)
        await asyncio.to_thread(offer_delta, site, old, new, cache)
        device = await DeviceUnderTest.open(site, folder)
        try:
            await device.update(old.target, old.entry)
            update = await device.update(new.target, new.entry)
            await device.check(f"{NAME}@2", pair.new_sha256)
        finally:
            await device.close()
    finally:
        site.close()
    return update


def publish(site: Site, version: str, file: Path) -> Published:
    """Describe a model as ``skerry artifact add`` does, and sign it."""
    acceptance = Acceptance(soak=SoakTerms(duration_s=0))  # nobody asks this device anything
    built = build_model(ArtifactRef(NAME, version), file, acceptance=acceptance)
    entry = decode_manifest(built.content).variants[0].files[0]
    site.add_blob(entry.sha256, file)
    return Published(site.offer(built.target_path, built.content), entry, file)


def offer_delta(site: Site, old: Published, new: Published, cache: Cache) -> None:
    """Publish what ``skerry artifact delta`` would, if there is anything to save."""
    name = f"delta-{old.entry.sha256[:16]}-{new.entry.sha256[:16]}"
    built: list[BuiltDelta] = []

    def make(pack: Path) -> None:
        delta = build_delta(NAME, Version(new.entry, new.file), Version(old.entry, old.file), pack)
        pack.touch()
        built.extend([delta] if delta is not None else [])

    pack = cache.file(f"{name}.pack", make)
    found = cache.result(name, lambda: _described(built))
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
