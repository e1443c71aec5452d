"""Adapters at the controller: published for a base, refused on another, given to channels and rollouts."""

from pathlib import Path

import pytest

from skerry_controller.artifacts.adding import add_artifact
from skerry_controller.artifacts.building import BuiltArtifact, build_adapter
from skerry_controller.clock import utc_now
from skerry_controller.errors import ConflictError, NotFoundError, PeerError, UsageError
from skerry_controller.fleet.channels import Channels
from skerry_controller.fleet.desired import desired_content
from skerry_controller.fleet.plan_loading import load_plan
from skerry_controller.keyring import Keyring
from skerry_controller.serve.core import Core
from skerry_protocol.manifest import decode_manifest
from skerry_protocol.names import ArtifactRef
from support.lora_gguf import write_lora_gguf
from support.publishing import CoreRemote, built_model
from support.tiny_gguf import write_tiny_gguf


@pytest.fixture
def channels(core: Core) -> Channels:
    return Channels(core.database, utc_now)


async def add(core: Core, keyring: Keyring, built: BuiltArtifact, file: Path) -> None:
    await add_artifact(CoreRemote(core), built, file, keyring.signer("models"), clock=utc_now)


def adapter(
    folder: Path, base: Path, base_sha256: str | None, ref: str = "german@1"
) -> tuple[BuiltArtifact, Path]:
    file = write_lora_gguf(folder / f"{ref}.gguf", base)
    assert base_sha256 is not None
    return build_adapter(ArtifactRef.parse(ref), file, base_sha256), file


async def test_an_adapter_is_published_for_the_file_of_its_base(
    core: Core, keyring: Keyring, tmp_path: Path
) -> None:
    model, model_file = built_model(tmp_path)
    await add(core, keyring, model, model_file)
    built, file = adapter(tmp_path, model_file, model.file_sha256)
    await add(core, keyring, built, file)

    info = await core.artifacts.find(built.ref)
    assert (info.kind, info.license) == ("adapter", "Apache-2.0")
    assert info.description["base_sha256"] == model.file_sha256
    assert info.description["rank"] == 4
    manifest = decode_manifest(await core.artifacts.content(built.ref))
    assert (manifest.kind, manifest.base) == ("adapter", model.file_sha256)
    with pytest.raises(ConflictError, match="base of german@1"):
        await core.artifacts.remove(model.ref, actor="admin:test")


async def test_an_adapter_that_does_not_fit_is_refused_by_the_controller(
    core: Core, keyring: Keyring, tmp_path: Path
) -> None:
    model, model_file = built_model(tmp_path)
    await add(core, keyring, model, model_file)
    wide = write_tiny_gguf(tmp_path / "wide.gguf", embedding=128)
    with pytest.raises(PeerError, match="made for another model"):
        await add(core, keyring, *adapter(tmp_path, wide, model.file_sha256))
    with pytest.raises(NotFoundError, match="is not published"):
        await add(core, keyring, *adapter(tmp_path, model_file, "0" * 64, "lost@1"))
    with pytest.raises(PeerError, match="not an adapter"):
        build_adapter(ArtifactRef.parse("x@1"), model_file, "0" * 64)
    assert [str(info.ref) for info in await core.artifacts.list_all()] == ["tiny@1"]


async def test_a_channel_gives_its_devices_a_model_with_adapters(
    core: Core, keyring: Keyring, channels: Channels, tmp_path: Path
) -> None:
    model, model_file = built_model(tmp_path)
    other, other_file = built_model(tmp_path, "other@1", seed=1)
    await add(core, keyring, model, model_file)
    await add(core, keyring, other, other_file)
    german, file = adapter(tmp_path, model_file, model.file_sha256)
    await add(core, keyring, german, file)

    with pytest.raises(UsageError, match="was not made for"):
        await channels.set("a/b", selector="", artifact="other@1", adapters=["german@1"], actor="admin:test")
    with pytest.raises(UsageError, match="is a model, not a adapter"):
        await channels.set("a/b", selector="", artifact="tiny@1", adapters=["other@1"], actor="admin:test")
    with pytest.raises(UsageError, match="--artifact"):
        await channels.set("a/b", selector="", artifact=None, adapters=["german@1"], actor="admin:test")
    summary = await channels.set(
        "a/b", selector="", artifact="tiny@1", adapters=["german@1"], actor="admin:test"
    )
    assert (summary.current, summary.adapters) == ("tiny@1", ["german@1"])
    async with core.database.session() as session:
        content = desired_content({}, await load_plan(session), {})
    slot = content.slots["a/b"]
    assert slot.target.path == model.target_path
    assert [target.path for target in slot.adapters] == [german.target_path]
    with pytest.raises(ConflictError, match="channel a/b"):
        await core.artifacts.remove(german.ref, actor="admin:test")
    with pytest.raises(ConflictError, match="moves it"):
        await channels.set("a/b", selector=None, artifact="tiny@1", actor="admin:test")
