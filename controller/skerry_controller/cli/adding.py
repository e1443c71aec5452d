"""``skerry artifact add`` and ``verify``: the work behind the options."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import typer
from securesystemslib.signer import Signer

from skerry_controller.artifacts.adding import Added, add_artifact
from skerry_controller.artifacts.building import BuiltArtifact, build_adapter, build_config, build_model
from skerry_controller.artifacts.settings_file import read_acceptance
from skerry_controller.artifacts.variants import VariantFile, parse_variant
from skerry_controller.cli.client import ControllerClient, work
from skerry_controller.cli.output import transfer_bar
from skerry_controller.cli.profile import load_profile
from skerry_controller.cli.publishing import ApiRemote
from skerry_controller.cli.secret_input import keyring_passphrase
from skerry_controller.clock import utc_now
from skerry_controller.errors import UsageError
from skerry_controller.keyring import Keyring
from skerry_protocol.acceptance import Acceptance
from skerry_protocol.names import ArtifactRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asks to publish: a file, and before it those for the devices that a selector matches."""

    ref: ArtifactRef
    file: Path
    selector: str = ""
    variants: tuple[VariantFile, ...] = ()
    kind: Literal["model", "adapter", "config"]
    acceptance: Path | Acceptance | None = None
    license_id: str | None = None
    card: str | None = None
    base: ArtifactRef | None = None


def variant_files(file: Path | None, variants: Sequence[str]) -> dict[str, Any]:
    """The fields of a :class:`Request` for ``[FILE] --variant SELECTOR=FILE…``.

    Raises:
        typer.BadParameter: There is no file at all.
        UsageError: One has another form.
    """
    parsed = [parse_variant(text) for text in variants]
    if file is not None:
        return {"file": file, "variants": tuple(parsed)}
    if not parsed:
        raise typer.BadParameter("say which file: NAME@VERSION FILE, or --variant SELECTOR=FILE")
    *before, last = parsed
    return {"file": last.file, "selector": last.selector, "variants": tuple(before)}


class OperatorKeys:
    """The operator's keyring, opened when it is first needed: so the passphrase is asked for once at most.

    Args:
        folder: Where it is; None for what the login remembers.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def signer(self, role: Literal["models", "configs"]) -> Signer:
        """The role's key.

        Raises:
            ControllerError: There is no keyring, or the passphrase is another.
        """
        return self._keyring.signer(role)

    @cached_property
    def _keyring(self) -> Keyring:
        return Keyring.open(_keys_folder(self._folder), keyring_passphrase())


def add_file(request: Request, keys: OperatorKeys, data: Path | None) -> dict[str, Any]:
    """Build, upload, sign and publish; returns what ``--json`` prints.

    Raises:
        ControllerError: Anything is wrong; nothing was published.
    """
    if request.ref.local:
        raise UsageError("local/ is for what a person imports on a device: publish it without that prefix")
    if request.kind != "model" and (request.variants or request.selector):
        raise UsageError("--variant belongs to models: an adapter is for one file, and a bundle has none")
    if request.base is not None and request.kind == "config":
        raise UsageError("--base belongs to models and adapters, not to config bundles")
    if request.base is None and request.kind == "adapter":
        raise UsageError("say which published model the adapter was made for: --base NAME@VERSION")
    # Before the hashing, so that a wrong passphrase costs no wait.
    signer = keys.signer("configs" if request.kind == "config" else "models")
    built = _build(request, _base_file(request, data))

    async def publish(client: ControllerClient) -> Added:
        if request.base is not None:
            # So that a mistyped base is told before anything is published.
            await client.get(f"/artifacts/{request.base.name}/{request.base.version}")
        return await add_artifact(ApiRemote(client), built, request.file, signer, clock=utc_now)

    added = work(data, publish)
    return {
        "artifact": str(built.ref),
        "kind": built.kind,
        "target_path": built.target_path,
        "target_sha256": hashlib.sha256(built.content).hexdigest(),
        "file_sha256": built.file_sha256,
        "file_length": built.file_length,
        "variants": len(built.further) + 1,
        **asdict(added),
    }


def verify_artifact(path: str, file: Path | None, data: Path | None) -> list[dict[str, Any]]:
    """The controller's checks, and that of a local file."""

    async def verify(client: ControllerClient) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = await client.post(f"{path}/verify", long=True)
        if file is not None:
            expected = [each["sha256"] for each in (await client.get(path))["files"]]
            found = await asyncio.to_thread(_hash, file)
            ok = found in expected
            same = "is the artifact's file" if ok else f"has the hash {found}, not {' or '.join(expected)}"
            results.append({"name": "local file", "ok": ok, "message": f"{file} {same}"})
        return results

    return work(data, verify)


def _base_file(request: Request, data: Path | None) -> str | None:
    """Digest of the file of an adapter's base."""
    base = request.base
    if base is None or request.kind != "adapter":
        return None
    found = work(data, lambda client: client.get(f"/artifacts/{base.name}/{base.version}"))
    if found["kind"] != "model":
        raise UsageError(f"{base} is a {found['kind']}: an adapter needs a model as its base")
    return str(found["file_sha256"])


def _build(request: Request, base_sha256: str | None) -> BuiltArtifact:
    if request.kind == "config":
        if request.acceptance or request.license_id:
            raise UsageError("--acceptance and --license belong to models, not to config bundles")
        return build_config(request.ref, request.file)
    acceptance = request.acceptance
    if isinstance(acceptance, Path):
        acceptance = read_acceptance(acceptance)
    if base_sha256 is not None:
        with transfer_bar(f"hashing {request.file.name}", _length(request.file)) as progress:
            return build_adapter(
                request.ref,
                request.file,
                base_sha256,
                acceptance=acceptance,
                license_id=request.license_id,
                progress=progress,
            )
    files = (*(variant.file for variant in request.variants), request.file)
    name = request.file.name if len(files) == 1 else f"{len(files)} files"
    with transfer_bar(f"hashing {name}", sum(map(_length, files))) as progress:
        return build_model(
            request.ref,
            request.file,
            acceptance=acceptance,
            license_id=request.license_id,
            selector=request.selector,
            before=request.variants,
            card=request.card,
            progress=progress,
        )


def _length(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def _keys_folder(keys: Path | None) -> Path:
    if keys is not None:
        return keys
    profile = load_profile()
    if profile is None or profile.keys is None:
        raise UsageError(
            "the keyring is needed to sign: give --keys DIR, set SKERRY_KEYS, or log in with --keys"
        )
    return Path(profile.keys)


def _hash(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
