"""Deltas at the controller: made from published files, signed, checked, served and taken away with them."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tuf.api.metadata import Metadata, TargetFile, Targets

from skerry_controller.artifacts.adding import add_artifact
from skerry_controller.artifacts.building import BuiltArtifact, build_model
from skerry_controller.clock import utc_now
from skerry_controller.deltas import BuiltDelta, Version, build_delta
from skerry_controller.deltas.publishing import publish_delta
from skerry_controller.errors import NotFoundError, PeerError
from skerry_controller.keyring import Keyring
from skerry_controller.mqtt.sources import PublishedBlobs
from skerry_controller.repository import RefusedPublicationError, add_target
from skerry_controller.serve.core import Core
from skerry_protocol.deltas import decode_delta_index, encode_delta_index, make_chunk
from skerry_protocol.manifest import FileEntry, decode_manifest
from skerry_protocol.names import ArtifactRef
from support.controller_data import open_keyring, opened_core
from support.publishing import CoreRemote, tiny_model
from support.tuning import tuned_file


class Site:
    """A controller with two versions of a model."""

    def __init__(self, core: Core, keyring: Keyring, folder: Path) -> None:
        self.core = core
        self.keyring = keyring
        self.folder = folder
        self.remote = CoreRemote(core)

    def entry(self, built: BuiltArtifact) -> FileEntry:
        return decode_manifest(built.content).variants[0].files[0]

    async def add(self, ref: str, file: Path) -> BuiltArtifact:
        built = build_model(ArtifactRef.parse(ref), file)
        await add_artifact(self.remote, built, file, self.keyring.signer("models"), clock=utc_now)
        return built

    async def publish(self, delta: BuiltDelta) -> None:
        await publish_delta(self.remote, delta, self.keyring.signer("models"), clock=utc_now)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened_core(tmp_path / "data") as (made, core):
        yield Site(core, open_keyring(made), tmp_path)


@pytest.fixture
async def delta(site: Site) -> BuiltDelta:
    file = tiny_model(site.folder)
    other = tuned_file(file, "tuned.gguf")
    one, two = await site.add("tiny@1", file), await site.add("tiny@2", other)
    built = build_delta(
        "tiny", Version(site.entry(two), other), Version(site.entry(one), file), site.folder / "pack"
    )
    assert built is not None
    return built


def signed(site: Site, delta: BuiltDelta, content: bytes) -> bytes:
    current = site.core.repository.role_metadata("models")
    signer = site.keyring.signer("models")
    return add_target(current, "models", delta.target_path, content, signer, now=utc_now())


async def test_every_piece_makes_its_chunk(site: Site, delta: BuiltDelta) -> None:
    index = decode_delta_index(delta.content, delta.target_path)
    new, old = (site.folder / "tuned.gguf").read_bytes(), (site.folder / "tiny-0.gguf").read_bytes()
    pack = delta.pack.read_bytes()
    assert {piece.coding for piece in index.pieces} >= {"patch"}
    for piece in index.pieces:
        body = pack[piece.offset : piece.offset + piece.length]
        base = old[piece.base_offset : piece.base_offset + piece.base_length]
        assert make_chunk(piece, body, base) == new[piece.chunk_offset :][: piece.chunk_length]
    assert delta.transfer_bytes < len(new) / 5


async def test_a_published_delta_is_listed_verified_and_served(site: Site, delta: BuiltDelta) -> None:
    await site.publish(delta)
    assert site.core.repository.target(delta.target_path) == delta.content
    (info,) = await site.core.artifacts.deltas(ArtifactRef("tiny", "2"))
    assert (info.bases, info.pack_length) == (("tiny@1",), delta.pack_length)
    assert await site.core.artifacts.deltas(ArtifactRef("tiny", "1")) == []
    assert {str(info.ref) for info in await site.core.artifacts.list_all()} == {"tiny@1", "tiny@2"}
    checks = await site.core.artifacts.verify(ArtifactRef("tiny", "2"))
    assert [(check.name, check.ok) for check in checks][-1] == ("delta from tiny@1", True)
    assert await PublishedBlobs(site.core.database).length(delta.pack_sha256) == delta.pack_length


async def test_the_same_delta_again_is_no_error(site: Site, delta: BuiltDelta) -> None:
    await site.publish(delta)
    versions = dict(site.core.repository.versions())
    await site.publish(delta)
    assert dict(site.core.repository.versions()) == versions


async def test_a_delta_goes_with_its_file_and_comes_back_with_it(site: Site, delta: BuiltDelta) -> None:
    await site.publish(delta)
    await site.core.artifacts.remove(ArtifactRef("tiny", "2"), actor="admin:test")
    assert await site.core.blobs.size(delta.pack_sha256) is None
    assert await PublishedBlobs(site.core.database).length(delta.pack_sha256) is None
    await site.add("tiny@2", site.folder / "tuned.gguf")
    assert await site.core.artifacts.deltas(ArtifactRef("tiny", "2")) == []
    await site.publish(delta)
    assert len(await site.core.artifacts.deltas(ArtifactRef("tiny", "2"))) == 1


async def test_a_delta_that_was_published_just_before_a_crash_is_recorded_at_the_next_start(
    site: Site, delta: BuiltDelta
) -> None:
    await site.remote.upload_blob(delta.pack_sha256, delta.pack)
    metadata = signed(site, delta, delta.content)
    site.core.repository.publish("models", metadata, {delta.target_path: delta.content}, now=utc_now())
    assert await site.core.artifacts.reconcile() == 1
    assert len(await site.core.artifacts.deltas(ArtifactRef("tiny", "2"))) == 1
    assert await site.core.artifacts.reconcile() == 0


async def test_without_its_pack_a_delta_is_refused(site: Site, delta: BuiltDelta) -> None:
    metadata = signed(site, delta, delta.content)
    with pytest.raises(NotFoundError, match="upload it first"):
        await site.core.artifacts.publish(
            "models", metadata, {delta.target_path: delta.content}, actor="admin:x"
        )


async def test_a_delta_for_a_file_that_is_not_published_is_refused(site: Site, delta: BuiltDelta) -> None:
    await site.core.artifacts.remove(ArtifactRef("tiny", "2"), actor="admin:test")
    with pytest.raises(NotFoundError, match="publish it first"):
        await site.publish(delta)


async def test_a_delta_about_other_chunks_is_refused(site: Site, delta: BuiltDelta) -> None:
    index = decode_delta_index(delta.content, delta.target_path)
    last = index.pieces[-1]
    shifted = msgspec.structs.replace(
        last, chunk_offset=last.chunk_offset + 1, chunk_length=last.chunk_length - 1
    )
    if shifted.coding == "patch":
        shifted = msgspec.structs.replace(shifted, base_length=shifted.chunk_length)
    content = encode_delta_index(msgspec.structs.replace(index, pieces=(shifted,)))
    await site.remote.upload_blob(delta.pack_sha256, delta.pack)
    with pytest.raises(PeerError, match="does not have"):
        await site.core.artifacts.publish(
            "models", signed(site, delta, content), {delta.target_path: content}, actor="admin:x"
        )


async def test_a_delta_does_not_change(site: Site, delta: BuiltDelta) -> None:
    await site.publish(delta)
    index = decode_delta_index(delta.content, delta.target_path)
    content = encode_delta_index(msgspec.structs.replace(index, pieces=index.pieces[:-1]))
    with pytest.raises(RefusedPublicationError, match="other bytes"):
        site.core.repository.publish(
            "models", signed_over(site, delta, content), {delta.target_path: content}, now=utc_now()
        )


def signed_over(site: Site, delta: BuiltDelta, content: bytes) -> bytes:
    """What a keyring could sign that does not care what is published."""

    metadata = Metadata[Targets].from_bytes(site.core.repository.role_metadata("models"))
    path = delta.target_path
    metadata.signed.targets[path] = TargetFile.from_data(path, content, ["sha256"])
    metadata.signed.version += 1
    metadata.sign(site.keyring.signer("models"))
    return metadata.to_bytes()
