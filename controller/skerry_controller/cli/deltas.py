"""``skerry artifact delta``: the work behind the options."""

import asyncio
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from securesystemslib.signer import Signer

from skerry_controller.blobs.store import MAX_READ_BYTES
from skerry_controller.cli.adding import OperatorKeys
from skerry_controller.cli.client import ControllerClient, work
from skerry_controller.cli.output import transfer_bar
from skerry_controller.cli.publishing import ApiRemote
from skerry_controller.clock import utc_now
from skerry_controller.deltas import BuiltDelta, Version, build_delta
from skerry_controller.deltas.publishing import publish_delta
from skerry_controller.errors import PeerError, UsageError, WorldError
from skerry_protocol.deltas import delta_path
from skerry_protocol.manifest import FileEntry, Manifest, Variant, decode_manifest
from skerry_protocol.names import ArtifactRef


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaRequest:
    """What a person asks for. A file that is not given is read from the controller."""

    ref: ArtifactRef
    base: ArtifactRef | None = None
    file: Path | None = None
    base_file: Path | None = None


def add_delta(request: DeltaRequest, keys: OperatorKeys, data: Path | None) -> dict[str, Any]:
    """Build, upload, sign and publish; returns what ``--json`` prints.

    Raises:
        ControllerError: Anything is wrong; nothing was published.
    """
    if request.base == request.ref:
        raise UsageError(f"{request.ref} needs no delta from itself: name an earlier version with --base")
    if request.base is None and request.base_file is not None:
        raise UsageError("--base-file is the file of --base: say which artifact that is")
    signer = keys.signer("models")

    async def publish(client: ControllerClient) -> dict[str, Any]:
        new = await _manifest(client, request.ref)
        base = None if request.base is None else await _manifest(client, request.base)
        pairs = _pairs(new, base)
        given = await _given(request.file, new)
        if base is not None:
            given |= await _given(request.base_file, base)
        results = [await _publish_one(client, request, pair, given, signer) for pair in pairs]
        return results[-1] if len(results) == 1 else {**results[-1], "variants": results}

    return work(data, publish)


async def _publish_one(
    client: ControllerClient, request: DeltaRequest, pair: "_Pair", given: Mapping[str, Path], signer: Signer
) -> dict[str, Any]:
    entry, base = pair
    path = delta_path(request.ref.name, entry.sha256, base.sha256 if base else None)
    found: dict[str, Any] = await client.get(f"/artifacts/{request.ref.name}/{request.ref.version}")
    existing = next((delta for delta in found["deltas"] if delta["target_path"] == path), None)
    if existing is not None and await client.blob_size(existing["pack_sha256"]) is not None:
        return _result(request, entry, "unchanged", path, existing["pack_length"], existing["pieces"])
    with tempfile.TemporaryDirectory(prefix="skerry-delta-") as name:
        folder = Path(name)
        new = await _version(client, entry, given, folder / "new")
        old = None if base is None else await _version(client, base, given, folder / "base")
        built = await asyncio.to_thread(_build, request.ref, new, old, folder / "pack")
        if built is None:
            return _result(request, entry, "useless", path, 0, 0)
        await publish_delta(ApiRemote(client), built, signer, clock=utc_now)
        return {
            **_result(request, entry, "published", path, built.pack_length, built.pieces),
            "transfer_bytes": built.transfer_bytes,
        }


class _Pair(NamedTuple):
    """The file of a variant, and the one that devices are expected to have."""

    entry: FileEntry
    base: FileEntry | None


def _pairs(new: Manifest, base: Manifest | None) -> list[_Pair]:
    """Each file of a version with its counterpart: of the same selector, else quantization, else the last."""
    pairs: dict[_Pair, None] = {}
    for variant in new.variants:
        old = None if base is None else _counterpart(new, variant, base).files[0]
        pairs.setdefault(_Pair(variant.files[0], old))
    changed = [pair for pair in pairs if pair.base is None or pair.base.sha256 != pair.entry.sha256]
    return changed or list(pairs)[:1]


def _counterpart(new: Manifest, variant: Variant, base: Manifest) -> Variant:
    kind = new.narrowed(variant).description.get("quantization")
    same = [each for each in base.variants if each.selector == variant.selector and each.selector]
    alike = [each for each in base.variants if base.narrowed(each).description.get("quantization") == kind]
    return next(iter([*same, *alike]), base.variants[-1])


async def _given(file: Path | None, version: Manifest) -> dict[str, Path]:
    """A file that is here, by its digest."""
    if file is None:
        return {}
    sha256 = await asyncio.to_thread(_hash, file)
    known = [entry.sha256 for variant in version.variants for entry in variant.files]
    if sha256 not in known:
        raise PeerError(
            f"{file} is not the published file {' or '.join(known)} of {version.ref}:"
            " leave the option out, or correct it"
        )
    return {sha256: file}


def describe(result: dict[str, Any]) -> str:
    """The result, a line for each variant."""
    if "variants" in result:
        return "\n".join(describe(each) for each in result["variants"])
    whose = f"from {result['base']}" if result["base"] else "without a base"
    if result["outcome"] == "useless":
        return f"a delta {whose} to {result['artifact']} would save nothing: none is published"
    if result["outcome"] == "unchanged":
        return f"the delta {whose} to {result['artifact']} is published already"
    share = 100 * result["transfer_bytes"] / result["file_length"]
    return (
        f"the delta {whose} to {result['artifact']} is signed and published: "
        f"{result['transfer_bytes']} bytes instead of {result['file_length']} ({share:.1f} %)"
    )


def _result(
    request: DeltaRequest, entry: FileEntry, outcome: str, path: str, pack_length: int, pieces: int
) -> dict[str, Any]:
    return {
        "artifact": str(request.ref),
        "base": None if request.base is None else str(request.base),
        "outcome": outcome,
        "target_path": path,
        "file_length": entry.length,
        "pack_length": pack_length,
        "pieces": pieces,
        "transfer_bytes": None,
    }


async def _manifest(client: ControllerClient, ref: ArtifactRef) -> Manifest:
    if ref.local:
        raise UsageError(f"{ref} is a device's own: name what is published")
    content = await client.get_bytes(f"/artifacts/{ref.name}/{ref.version}/target")
    # A config bundle is refused as a malformed manifest would be; say it in words that help.
    if b'"variants"' not in content:
        raise UsageError(f"{ref} is no model: deltas are for model files")
    return decode_manifest(content)


async def _version(
    client: ControllerClient, entry: FileEntry, given: Mapping[str, Path], copy: Path
) -> Version:
    """A file whose hash was checked: the one that is given, or the controller's."""
    file = given.get(entry.sha256)
    if file is None:
        await _download(client, entry, copy)
    return Version(entry, file or copy)


async def _download(client: ControllerClient, entry: FileEntry, copy: Path) -> None:
    digest = hashlib.sha256()
    try:
        with copy.open("wb") as out, transfer_bar(f"reading {entry.sha256[:12]}", entry.length) as progress:
            for offset in range(0, entry.length, MAX_READ_BYTES):
                length = min(MAX_READ_BYTES, entry.length - offset)
                content = await client.read_blob(entry.sha256, offset, length)
                digest.update(content)
                await asyncio.to_thread(out.write, content)
                progress(offset + length)
    except OSError as error:
        raise WorldError(f"cannot write {copy}: {error.strerror}") from error
    if digest.hexdigest() != entry.sha256:
        raise WorldError(f"the stored file {entry.sha256} is damaged: 'skerry artifact verify' tells more")


def _build(ref: ArtifactRef, new: Version, base: Version | None, pack: Path) -> BuiltDelta | None:
    with transfer_bar(f"finding what changed in {ref}", new.entry.length) as progress:
        return build_delta(ref.name, new, base, pack, progress=progress)


def _hash(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
