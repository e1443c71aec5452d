"""What a target says, checked against the path under which it was signed. Pure."""

import hashlib

from skerry_controller.database import ArtifactFileRow, ArtifactRow
from skerry_controller.errors import PeerError
from skerry_protocol.config_bundle import decode_config_bundle
from skerry_protocol.errors import ProtocolError
from skerry_protocol.manifest import decode_manifest
from skerry_protocol.names import ArtifactRef, parse_target_path, target_path


def describe_target(path: str, content: bytes) -> ArtifactRow:
    """The row of a target; ``published_at`` is left to the caller.

    Raises:
        PeerError: The content is malformed, or of another name, version or kind than the path says.
    """
    try:
        role, _ = parse_target_path(path)
        row = _model_row(content) if role == "models" else _config_row(content)
    except ProtocolError as error:
        raise PeerError(f"{path}: {error}") from error
    expected = target_path(row.kind, ArtifactRef(row.name, row.version))
    if expected != path:
        raise PeerError(f"{path} holds {row.kind} {row.name}@{row.version}, which belongs at {expected}")
    row.target_path = path
    row.content = content
    row.target_sha256 = hashlib.sha256(content).hexdigest()
    row.target_length = len(content)
    return row


def _model_row(content: bytes) -> ArtifactRow:
    manifest = decode_manifest(content)
    file = manifest.variants[-1].files[0]
    facts = {
        **manifest.description,
        "parameter_class": manifest.parameter_class,
        "memory_bytes": manifest.memory_bytes,
    }
    if manifest.base is not None:
        facts["base_sha256"] = manifest.base
    return ArtifactRow(
        name=manifest.name,
        version=manifest.version,
        kind=manifest.kind,
        file_sha256=file.sha256,
        file_length=file.length,
        license=manifest.license,
        description=facts,
        files=[
            ArtifactFileRow(
                position=position,
                selector=variant.selector,
                sha256=variant.files[0].sha256,
                length=variant.files[0].length,
            )
            for position, variant in enumerate(manifest.variants)
        ],
    )


def _config_row(content: bytes) -> ArtifactRow:
    bundle = decode_config_bundle(content)
    return ArtifactRow(
        name=bundle.name,
        version=bundle.version,
        kind="config",
        description={"sections": sorted(bundle.settings)},
    )
