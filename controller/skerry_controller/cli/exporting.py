"""``skerry artifact export``: a bundle from the controller onto a stick."""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skerry_controller.bundles.writing import BundleFolder, NewFile
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
    kept = ("artifacts", "devices", "expires_at", "chunk_bytes", "notes")
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
                length = sum(chunk[0] for chunk in read["chunks"])
                content = await client.read_blob(read["file_sha256"], read["offset"], length)
                await asyncio.to_thread(_add_checked, file, read, content)
                done += length
                progress(done)


def _add_checked(file: NewFile, read: dict[str, Any], content: bytes) -> None:
    """A wrong byte is found here, and not at the end of a long way."""
    position = 0
    for length, sha256 in read["chunks"]:
        if hashlib.sha256(content[position : position + length]).hexdigest() != sha256:
            raise WorldError(
                f"the stored file {read['file_sha256']} is damaged: 'skerry artifact verify' tells more"
            )
        position += length
    file.add(content)
