"""A version with several files: published, listed, verified, served and taken away as one."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry_controller.artifacts.adding import add_artifact
from skerry_controller.artifacts.building import BuiltArtifact, build_model
from skerry_controller.artifacts.variants import VariantFile
from skerry_controller.clock import utc_now
from skerry_controller.deltas import Version, build_delta
from skerry_controller.deltas.publishing import publish_delta
from skerry_controller.errors import NotFoundError
from skerry_controller.keyring import Keyring
from skerry_controller.mqtt.sources import PublishedBlobs
from skerry_controller.serve.core import Core
from skerry_protocol.manifest import FileEntry, decode_manifest
from skerry_protocol.names import ArtifactRef
from support.controller_data import open_keyring, opened_core
from support.publishing import CoreRemote, tiny_model
from support.tiny_gguf import write_tiny_gguf
from support.tuning import tuned_file

REF = ArtifactRef("tiny", "1")


class Site:
    """A controller, and ``tiny@1`` with a variant for ARM."""

    def __init__(self, core: Core, keyring: Keyring, folder: Path) -> None:
        self.core = core
        self.remote = CoreRemote(core)
        self.signer = keyring.signer("models")
        self.small = write_tiny_gguf(folder / "small.gguf", quantization="Q8_0")
        self.large = tiny_model(folder)

    async def add(self, ref: ArtifactRef, small: Path, large: Path) -> BuiltArtifact:
        built = build_model(ref, large, before=[VariantFile("arch=aarch64", small)])
        await add_artifact(self.remote, built, large, self.signer, clock=utc_now)
        return built


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened_core(tmp_path / "data") as (made, core):
        yield Site(core, open_keyring(made), tmp_path)


def entries(built: BuiltArtifact) -> list[FileEntry]:
    return [variant.files[0] for variant in decode_manifest(built.content).variants]


async def test_all_files_are_uploaded_listed_verified_and_served(site: Site) -> None:
    built = await site.add(REF, site.small, site.large)
    assert site.remote.uploads == 2
    info = await site.core.artifacts.find(REF)
    assert [(file.selector, file.sha256) for file in info.files] == [
        ("arch=aarch64", entries(built)[0].sha256),
        ("", entries(built)[1].sha256),
    ]
    checks = await site.core.artifacts.verify(REF)
    assert [(check.name, check.ok) for check in checks][1:] == [
        ("file for arch=aarch64", True),
        ("file", True),
    ]
    blobs = PublishedBlobs(site.core.database)
    assert [await blobs.length(entry.sha256) for entry in entries(built)] == [
        e.length for e in entries(built)
    ]


async def test_a_version_whose_variant_was_not_uploaded_is_refused(site: Site) -> None:
    built = build_model(REF, site.large, before=[VariantFile("arch=aarch64", site.small)])
    with pytest.raises(NotFoundError, match=f"the file {built.further[0].sha256}"):
        await add_artifact(
            site.remote, dataclasses.replace(built, further=()), site.large, site.signer, clock=utc_now
        )


async def test_files_that_another_version_needs_stay_when_one_is_removed(site: Site, tmp_path: Path) -> None:
    built = await site.add(REF, site.small, site.large)
    other = tuned_file(site.large, "other.gguf")
    await site.add(ArtifactRef("tiny", "2"), site.small, other)
    await site.core.artifacts.remove(REF, actor="admin:test")
    sizes = [await site.core.blobs.size(entry.sha256) for entry in entries(built)]
    assert sizes == [entries(built)[0].length, None]


async def test_each_variant_has_deltas_of_its_own(site: Site, tmp_path: Path) -> None:
    one = await site.add(REF, site.small, site.large)
    small = tuned_file(site.small, "small-2.gguf")
    two = await site.add(ArtifactRef("tiny", "2"), small, tuned_file(site.large, "large-2.gguf"))
    new, base = Version(entries(two)[0], small), Version(entries(one)[0], site.small)
    delta = build_delta("tiny", new, base, tmp_path / "pack")
    assert delta is not None
    await publish_delta(site.remote, delta, site.signer, clock=utc_now)
    (info,) = await site.core.artifacts.deltas(ArtifactRef("tiny", "2"))
    assert (info.base_sha256, info.bases) == (entries(one)[0].sha256, ("tiny@1",))
