"""Publishing models as ``skerry artifact add`` does, on an opened core."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from skerry_controller.artifacts.building import BuiltArtifact, build_model
from skerry_controller.errors import NotFoundError
from skerry_controller.repository import StalePublicationError, TargetsRole
from skerry_controller.serve.core import Core
from skerry_protocol.names import ArtifactRef
from support.tiny_gguf import write_tiny_gguf

LIMIT = 1 << 30


def tiny_model(folder: Path, seed: int = 0) -> Path:
    """A small real model file."""
    path = folder / f"tiny-{seed}.gguf"
    write_tiny_gguf(path, seed=seed)
    return path


def built_model(folder: Path, ref: str = "tiny@1", seed: int = 0) -> tuple[BuiltArtifact, Path]:
    """A manifest for a small real model."""
    file = tiny_model(folder, seed)
    return build_model(ArtifactRef.parse(ref), file), file


class CoreRemote:
    """The controller as ``add_artifact`` sees it, without HTTP."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.uploads = 0

    async def find_artifact(self, ref: ArtifactRef) -> dict[str, Any] | None:
        try:
            info = await self._core.artifacts.find(ref)
        except NotFoundError:
            return None
        return {"target_sha256": info.target_sha256, "file_sha256": info.file_sha256}

    async def blob_size(self, sha256: str) -> int | None:
        return await self._core.blobs.size(sha256)

    async def upload_blob(self, sha256: str, file: Path) -> None:
        self.uploads += 1
        await self._core.blobs.write(sha256, _whole(file), max_bytes=LIMIT)

    async def role_metadata(self, role: TargetsRole) -> bytes:
        return self._core.repository.role_metadata(role)

    async def publish(
        self, role: TargetsRole, metadata: bytes, targets: dict[str, bytes]
    ) -> dict[str, Any] | None:
        try:
            done = await self._core.artifacts.publish(role, metadata, targets, actor="admin:test")
        except StalePublicationError:
            return None
        return {"version": done.version}


async def _whole(file: Path) -> AsyncIterator[bytes]:
    yield file.read_bytes()  # noqa: ASYNC240 - a small file


def sha256(content: bytes) -> str:
    """Lower-case hex."""
    return hashlib.sha256(content).hexdigest()
