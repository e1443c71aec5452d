"""Publishing an artifact from where the file and the keyring are: one service for all commands that do it."""

import asyncio
import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from securesystemslib.signer import Signer

from skerry_controller.artifacts.building import BuiltArtifact
from skerry_controller.clock import Clock
from skerry_controller.errors import ConflictError
from skerry_controller.repository import TargetsRole, add_target
from skerry_protocol.names import ArtifactRef, parse_target_path

_ATTEMPTS = 5
"""Somebody else may publish between our reading and our publishing: then we sign again."""


class Remote(Protocol):
    """The controller, as far as publishing needs it."""

    async def find_artifact(self, ref: ArtifactRef) -> dict[str, Any] | None:
        """What is published as ``ref``, or None."""

    async def blob_size(self, sha256: str) -> int | None:
        """Length of a stored blob in bytes, or None."""

    async def upload_blob(self, sha256: str, file: Path) -> None:
        """Send a file."""

    async def role_metadata(self, role: TargetsRole) -> bytes:
        """A role's current metadata."""

    async def publish(
        self, role: TargetsRole, metadata: bytes, targets: dict[str, bytes]
    ) -> dict[str, Any] | None:
        """Publish; None when somebody else published first."""


@dataclass(frozen=True, slots=True)
class Added:
    """What happened: ``published`` now, or ``unchanged`` since these very bytes were there."""

    outcome: Literal["published", "unchanged"]
    uploaded: bool


async def check_free(remote: Remote, built: BuiltArtifact) -> bool:
    """Whether the artifact is new; False when these very bytes are published under its name already.

    Raises:
        ConflictError: The name and version stand for other bytes.
    """
    existing = await remote.find_artifact(built.ref)
    if existing is None:
        return True
    if existing["target_sha256"] == hashlib.sha256(built.content).hexdigest():
        return False
    same_file = built.file_sha256 is not None and existing["file_sha256"] == built.file_sha256
    what = "the same file, but another licence, acceptance or description" if same_file else "other bytes"
    raise ConflictError(f"{built.ref} is published with {what}: choose a new version")


async def add_artifact(
    remote: Remote,
    built: BuiltArtifact,
    file: Path,
    signer: Signer,
    *,
    clock: Clock,
) -> Added:
    """Upload what is missing, sign, and publish. To be called again after any failure.

    Args:
        remote: The controller.
        built: What ``build_model`` or ``build_config`` made of the file.
        file: The file.
        signer: The key of the target's role.
        clock: Time.

    Raises:
        ConflictError: The name and version stand for other bytes, or others publish without end.
        PeerError: The controller's metadata are not what this key signed, or it refused ours.
    """
    if not await check_free(remote, built):
        return Added("unchanged", uploaded=False)
    uploaded = False
    own = [] if built.file_sha256 is None else [(built.file_sha256, file)]
    for sha256, path in dict([*((each.sha256, each.file) for each in built.further), *own]).items():
        if await remote.blob_size(sha256) is None:
            await remote.upload_blob(sha256, path)
            uploaded = True
    await publish_target(remote, _role(built), built.target_path, built.content, signer, clock=clock)
    return Added("published", uploaded=uploaded)


async def publish_target(
    remote: Remote, role: TargetsRole, path: str, content: bytes, signer: Signer, *, clock: Clock
) -> None:
    """Sign one more target of a role, and publish it.

    Raises:
        ConflictError: Others publish without end.
        UsageError: The target exists with other bytes.
        PeerError: The controller's metadata are not what this key signed, or it refused ours.
    """
    for _ in range(_ATTEMPTS):
        current = await remote.role_metadata(role)
        signed = await asyncio.to_thread(add_target, current, role, path, content, signer, now=clock())
        if await remote.publish(role, signed, {path: content}) is not None:
            return
    raise ConflictError(f"others published {_ATTEMPTS} times in between: try again")


def encode_publication(role: TargetsRole, metadata: bytes, targets: dict[str, bytes]) -> dict[str, Any]:
    """The body of ``POST /api/v1/repository/publish``."""
    return {
        "role": role,
        "metadata": base64.b64encode(metadata).decode("ascii"),
        "targets": {path: base64.b64encode(content).decode("ascii") for path, content in targets.items()},
    }


def _role(built: BuiltArtifact) -> TargetsRole:
    return "models" if parse_target_path(built.target_path)[0] == "models" else "configs"
