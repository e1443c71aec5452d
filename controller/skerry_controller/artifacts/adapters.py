"""Whether an adapter fits the model that it names as its base, from both files' headers."""

import asyncio

from skerry_controller.artifacts.usage import find_with_file
from skerry_controller.blobs import BlobStore
from skerry_controller.database import ArtifactRow, Database
from skerry_controller.errors import NotFoundError, PeerError
from skerry_protocol.adapter_check import check_adapter_fits, check_adapter_header
from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_header import GgufHeader, GgufLimits, read_gguf_header

FIRST_READ_BYTES = 1024 * 1024
"""Enough for an adapter's header; a large vocabulary takes some more rounds, four times as much each."""


async def check_adapter(row: ArtifactRow, database: Database, blobs: BlobStore) -> None:
    """Refuse an adapter that its base cannot carry; models and bundles pass.

    Raises:
        NotFoundError: No published model has the file that it was made for.
        PeerError: Its header is unusable, or does not fit the base.
    """
    if row.kind != "adapter":
        return
    base_sha256 = str(row.description["base_sha256"])
    async with database.session() as session:
        base = await find_with_file(session, base_sha256, kind="model")
    if base is None:
        raise NotFoundError(
            f"the base of {row.name}@{row.version}, the model file {base_sha256}, is not published:"
            " add it first"
        )
    try:
        base_header = await _header(blobs, base_sha256)
        for file in row.files:
            header = await _header(blobs, file.sha256)
            check_adapter_header(header)
            check_adapter_fits(header, base_header)
    except ModelFileError as error:
        raise PeerError(f"{row.name}@{row.version} on {base.name}@{base.version}: {error}") from error


async def _header(blobs: BlobStore, sha256: str) -> GgufHeader:
    size = await blobs.size(sha256)
    if size is None:
        raise NotFoundError(f"the file {sha256} is not here: upload it first")
    most = min(size, GgufLimits().max_header_bytes)
    data = b""
    while True:
        data += await blobs.read_range(sha256, len(data), max(FIRST_READ_BYTES, 3 * len(data)))
        try:
            return await asyncio.to_thread(read_gguf_header, data, file_length=size)
        except ModelFileError:
            if len(data) >= most:
                raise
