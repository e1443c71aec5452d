"""``skerry artifact export``: a bundle from the controller onto a stick."""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skerry_controller.bundles.packing import MAX_READ_BYTES
from skerry_controller.bundles.writing import BundleFolder
from skerry_controller.cli.client import ControllerClient, work
from skerry_controller.cli.output import transfer_bar
from skerry_controller.errors import WorldError
from skerry_protocol.bundle import pack_name


def export_bundle(request: dict[str, Any], output: Path, data: Path | None) -> dict[str, Any]:
    """Write a bundle with the controller that the person means, and say what is in it.

    Args:
        request: The body of ``POST /bundles``.
        output: The folder to make.
        data: A data folder on which no controller runs, or None.

    Raises:
        ControllerError: Nothing was written.
    """
    return work(data, lambda client: write_bundle(client, request, output))


async def write_bundle(client: ControllerClient, request: dict[str, Any], output: Path) -> dict[str, Any]:
    """Write a bundle, and say what is in it.

    Raises:
        ControllerError: Nothing was written.
    """
    # First the folder: nothing is issued for a place that cannot be written.
    with BundleFolder(output) as folder:
        made: dict[str, Any] = await client.post("/bundles", request, long=True)
        files = {name: base64.b64decode(text) for name, text in made["files"].items()}
        length = sum(map(len, files.values())) + made["chunk_bytes"]
        await asyncio.to_thread(folder.check_room, length)
        for name, content in files.items():
            await asyncio.to_thread(folder.write, name, content)
        with transfer_bar(f"writing {output.name}", made["chunk_bytes"]) as progress:
            await _write_packs(client, folder, made["packs"], progress)
        await asyncio.to_thread(folder.finish)
    kept = ("artifacts", "devices", "expires_at", "chunk_bytes", "deltas", "notes")
    return {"path": str(output), "bytes": length, **{key: made[key] for key in kept}}


async def _write_packs(
    client: ControllerClient,
    folder: BundleFolder,
    packs: list[list[dict[str, Any]]],
    progress: Callable[[int], None],
) -> None:
    done = 0
    for number, reads in enumerate(packs, start=1):
        with folder.new_file(pack_name(number)) as file:
            for read in reads:
                check = _ChunkCheck(read)
                length = sum(chunk[0] for chunk in read["chunks"])
                for start in range(0, length, MAX_READ_BYTES):
                    piece = min(MAX_READ_BYTES, length - start)
                    content = await client.read_blob(read["file_sha256"], read["offset"] + start, piece)
                    await asyncio.to_thread(check.add, content)
                    await asyncio.to_thread(file.add, content)
                    done += piece
                    progress(done)


class _ChunkCheck:
    """Finds a wrong byte here, and not at the end of a long way."""

    def __init__(self, read: dict[str, Any]) -> None:
        self._file = read["file_sha256"]
        self._chunks = iter(read["chunks"])
        self._left, self._sha256 = next(self._chunks)
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            WorldError: A chunk that ends in them is not what it should be.
        """
        while piece:
            part, piece = piece[: self._left], piece[self._left :]
            self._digest.update(part)
            self._left -= len(part)
            if not self._left:
                if self._digest.hexdigest() != self._sha256:
                    raise WorldError(
                        f"the stored file {self._file} is damaged: 'skerry artifact verify' tells more"
                    )
                self._left, self._sha256 = next(self._chunks, (0, ""))
                self._digest = hashlib.sha256()
