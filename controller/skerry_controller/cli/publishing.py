"""The controller as :mod:`skerry_controller.artifacts.adding` sees it, over the operator API."""

from pathlib import Path
from typing import Any

from skerry_controller.artifacts.adding import encode_publication
from skerry_controller.cli.client import ApiError, ControllerClient
from skerry_controller.cli.output import transfer_bar
from skerry_controller.repository import TargetsRole
from skerry_protocol.names import ArtifactRef

_NOT_FOUND = 404


class ApiRemote:
    """A :class:`skerry_controller.artifacts.adding.Remote`."""

    def __init__(self, client: ControllerClient) -> None:
        self._client = client

    async def find_artifact(self, ref: ArtifactRef) -> dict[str, Any] | None:
        """What is published as ``ref``, or None."""
        try:
            found: dict[str, Any] = await self._client.get(f"/artifacts/{ref.name}/{ref.version}")
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return found

    async def blob_size(self, sha256: str) -> int | None:
        """Length of a stored blob in bytes, or None."""
        return await self._client.blob_size(sha256)

    async def upload_blob(self, sha256: str, file: Path) -> None:
        """Send a file."""
        with transfer_bar(f"uploading {file.name}", file.stat().st_size) as progress:  # noqa: ASYNC240 - it was just read
            await self._client.upload_blob(sha256, file, progress)

    async def role_metadata(self, role: TargetsRole) -> bytes:
        """A role's current metadata."""
        return await self._client.get_bytes(f"/repository/roles/{role}")

    async def publish(
        self, role: TargetsRole, metadata: bytes, targets: dict[str, bytes]
    ) -> dict[str, Any] | None:
        """Publish; None when somebody else published first."""
        body = encode_publication(role, metadata, targets)
        try:
            published: dict[str, Any] = await self._client.post("/repository/publish", body, long=True)
        except ApiError as error:
            if error.reason == "stale":
                return None
            raise
        return published
