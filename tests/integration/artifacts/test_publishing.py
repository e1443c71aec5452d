import asyncio
import os
from pathlib import Path
from typing import Any, Literal

import pytest

from skerry_controller.artifacts.adding import add_artifact
from skerry_controller.artifacts.building import BuiltArtifact, build_config, build_model
from skerry_controller.clock import utc_now
from skerry_controller.database import AssignmentRow, ChannelRow, DeviceRow
from skerry_controller.errors import ConflictError, NotFoundError, PeerError, UsageError
from skerry_controller.keyring import Keyring
from skerry_controller.repository import TargetsRole, add_target
from skerry_controller.serve.core import Core
from skerry_protocol.names import ArtifactRef
from support.controller_data import open_keyring, opened_core
from support.publishing import CoreRemote, built_model


@pytest.fixture
def remote(core: Core) -> CoreRemote:
    return CoreRemote(core)


async def add(remote: CoreRemote, keyring: Keyring, built: BuiltArtifact, file: Path) -> str:
    role: Literal["configs", "models"] = "configs" if built.kind == "config" else "models"
    added = await add_artifact(remote, built, file, keyring.signer(role), clock=utc_now)
    return added.outcome


async def test_a_published_model_is_listed_found_and_verified(
    core: Core, remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    built, file = built_model(tmp_path)
    assert await add(remote, keyring, built, file) == "published"
    (info,) = await core.artifacts.list_all()
    assert (str(info.ref), info.kind, info.license) == ("tiny@1", "model", "Apache-2.0")
    assert await core.artifacts.content(built.ref) == built.content
    assert core.repository.target(built.target_path) == built.content
    assert all(check.ok for check in await core.artifacts.verify(built.ref))


async def test_the_same_again_changes_nothing(
    core: Core, remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    built, file = built_model(tmp_path)
    await add(remote, keyring, built, file)
    before = dict(core.repository.versions())
    assert await add(remote, keyring, built, file) == "unchanged"
    assert (dict(core.repository.versions()), remote.uploads) == (before, 1)


async def test_the_same_name_with_other_bytes_is_refused(
    remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    await add(remote, keyring, *built_model(tmp_path))
    with pytest.raises(ConflictError, match="other bytes"):
        await add(remote, keyring, *built_model(tmp_path, seed=1))
    file = tmp_path / "tiny-0.gguf"
    other_licence = build_model(ArtifactRef("tiny", "1"), file, license_id="MIT")
    with pytest.raises(ConflictError, match="another licence"):
        await add(remote, keyring, other_licence, file)


async def test_two_operators_publishing_at_once_both_succeed(
    core: Core, remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    one, two = built_model(tmp_path, "one@1"), built_model(tmp_path, "two@1", seed=1)
    keyring.signer("models")
    await asyncio.gather(add(remote, keyring, *one), add(remote, keyring, *two))
    assert {str(info.ref) for info in await core.artifacts.list_all()} == {"one@1", "two@1"}


async def test_a_manifest_whose_file_was_not_uploaded_is_not_published(
    core: Core, keyring: Keyring, tmp_path: Path
) -> None:
    built, _ = built_model(tmp_path)
    signed = sign(core, keyring, built)
    with pytest.raises(NotFoundError, match="upload it first"):
        await core.artifacts.publish("models", signed, {built.target_path: built.content}, actor="admin:x")
    assert core.repository.versions()["models"] == 1


async def test_a_manifest_signed_by_another_keyring_is_refused(
    core: Core, remote: CoreRemote, tmp_path: Path
) -> None:
    async with opened_core(tmp_path / "other") as (made, other):
        stranger = open_keyring(made)
        built, file = built_model(tmp_path)
        with pytest.raises(PeerError, match="did not sign"):
            await add(remote, stranger, built, file)
        signed = sign(other, stranger, built)
    with pytest.raises(PeerError, match="not signed by the fleet's models key"):
        await core.artifacts.publish("models", signed, {built.target_path: built.content}, actor="admin:x")
    assert await core.artifacts.list_all() == []


async def test_a_target_under_anothers_name_is_refused(
    core: Core, remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    built, file = built_model(tmp_path)
    await remote.upload_blob(built.file_sha256 or "", file)
    path = "models/other/1.json"
    current = core.repository.role_metadata("models")
    signed = add_target(current, "models", path, built.content, keyring.signer("models"), now=utc_now())
    with pytest.raises(PeerError, match="belongs at"):
        await core.artifacts.publish("models", signed, {path: built.content}, actor="admin:x")


async def test_a_model_and_a_bundle_cannot_share_name_and_version(
    remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    await add(remote, keyring, *built_model(tmp_path))
    file = tmp_path / "c.toml"
    file.write_text("[log]\nlevel = 'debug'\n")
    with pytest.raises(ConflictError, match=r"other bytes|is a model already"):
        await add(remote, keyring, build_config(ArtifactRef("tiny", "1"), file), file)
    assert await add(remote, keyring, build_config(ArtifactRef("cfg", "1"), file), file) == "published"


async def test_what_was_published_just_before_a_crash_is_recorded_at_the_next_start(
    core: Core, keyring: Keyring, tmp_path: Path
) -> None:
    built, _ = built_model(tmp_path)
    core.repository.publish(
        "models", sign(core, keyring, built), {built.target_path: built.content}, now=utc_now()
    )
    assert await core.artifacts.list_all() == []
    assert await core.artifacts.reconcile() == 1
    assert [str(info.ref) for info in await core.artifacts.list_all()] == ["tiny@1"]
    assert await core.artifacts.reconcile() == 0


async def test_a_damaged_file_is_found_by_verification(
    core: Core, remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    built, file = built_model(tmp_path)
    await add(remote, keyring, built, file)
    (stored,) = (path for path in core.data.blobs.rglob("*") if path.name == built.file_sha256)
    with stored.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\0" if file.read_bytes()[-1] else b"\1")
    results = {check.name: check.ok for check in await core.artifacts.verify(built.ref)}
    assert results == {"target": True, "file": False}


async def test_an_unused_artifact_can_be_removed_and_added_again(
    core: Core, remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    built, file = built_model(tmp_path)
    await add(remote, keyring, built, file)
    await core.artifacts.remove(built.ref, actor="admin:test")
    assert await core.artifacts.list_all() == []
    assert await core.blobs.size(built.file_sha256 or "") is None
    with pytest.raises(NotFoundError):
        await core.artifacts.find(built.ref)
    with pytest.raises(UsageError, match="published already with other bytes"):
        await add(remote, keyring, *built_model(tmp_path, seed=1))
    assert await add(remote, keyring, built, file) == "published"
    assert all(check.ok for check in await core.artifacts.verify(built.ref))


async def test_a_file_that_two_artifacts_share_outlives_one_of_them(
    core: Core, remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    one, file = built_model(tmp_path, "one@1")
    two, _ = built_model(tmp_path, "two@1")
    await add(remote, keyring, one, file)
    await add(remote, keyring, two, file)
    await core.artifacts.remove(one.ref, actor="admin:test")
    assert await core.blobs.size(two.file_sha256 or "") is not None


async def test_what_is_used_cannot_be_removed(
    core: Core, remote: CoreRemote, keyring: Keyring, tmp_path: Path
) -> None:
    built, file = built_model(tmp_path)
    await add(remote, keyring, built, file)
    now = utc_now()
    rows: list[Any] = [
        ChannelRow(
            name="assistant/stable", selector="", current_target_path=built.target_path, created_at=now
        ),
        DeviceRow(
            id="d-aaaaaaaaaaaaaaaa",
            enrolled_at=now,
            public_key_pem="",
            certificate_pem="",
            labels={},
            inventory={},
        ),
    ]
    async with core.database.transaction() as session:
        session.add_all(rows)
    with pytest.raises(ConflictError, match="channel assistant/stable"):
        await core.artifacts.remove(built.ref, actor="admin:test")
    async with core.database.transaction() as session:
        channel = await session.get_one(ChannelRow, "assistant/stable")
        channel.current_target_path = None
        session.add(
            AssignmentRow(
                device_id="d-aaaaaaaaaaaaaaaa",
                channel="assistant/stable",
                target_path=built.target_path,
                assigned_at=now,
            )
        )
    with pytest.raises(ConflictError, match="device d-aaaaaaaaaaaaaaaa"):
        await core.artifacts.remove(built.ref, actor="admin:test")


def sign(core: Core, keyring: Keyring, built: BuiltArtifact, role: TargetsRole = "models") -> bytes:
    current = core.repository.role_metadata(role)
    return add_target(
        current, role, built.target_path, built.content, keyring.signer("models"), now=utc_now()
    )
