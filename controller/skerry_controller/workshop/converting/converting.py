"""Makes a GGUF model of a Hugging Face checkpoint, with llama.cpp's own converter."""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from skerry_controller.errors import UsageError, WorldError
from skerry_controller.workshop.child import run_program
from skerry_controller.workshop.converting import converter_tool
from skerry_controller.workshop.converting.architectures import check_architecture
from skerry_controller.workshop.converting.checkpoint import Checkpoint, digest, read_checkpoint
from skerry_controller.workshop.converting.environment import Environment
from skerry_controller.workshop.library import Entry, Library, Licence, Lineage, Origin
from skerry_controller.workshop.naming import result_name
from skerry_controller.workshop.progress import Progress, StopSign, silent
from skerry_protocol.names import ArtifactRef

BYTES: Final = {"f16": 2.0, "bf16": 2.0, "f32": 4.0, "q8_0": 34 / 32, "auto": 2.0}
"""Types of the result with their bytes a weight; ``auto`` is the checkpoint's own of F16 and BF16."""
_SPARE_BYTES: Final = 64 * 1024 * 1024
_NAME_CHARS: Final = 48
_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONPATH": "",
}


class ConvertJob(msgspec.Struct, frozen=True, kw_only=True):
    """What ``converter_tool`` is given."""

    checkpoint: str
    source: str
    target: str
    type: str
    name: str | None
    expected_bytes: int


class Converted(msgspec.Struct, frozen=True):
    """What it answers."""

    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertSettings:
    """How to convert.

    Attributes:
        ref: Name and version of the result; None for the folder's name with the type behind it.
        type: One of :data:`BYTES`.
        title: What ``general.name`` says; None for what the checkpoint tells.
    """

    ref: ArtifactRef | None = None
    type: str = "f16"
    title: str | None = None


def convert(
    library: Library,
    folder: Path,
    environment: Environment,
    *,
    settings: ConvertSettings | None = None,
    origin: Origin | None = None,
    licence: Licence | None = None,
    progress: Progress = silent,
    stop: StopSign | None = None,
) -> Entry:
    """Convert a checkpoint and take the result into the library.

    The environment is installed when it is not there yet: ask before, it is large.

    Args:
        library: Where the result goes.
        folder: The checkpoint: ``config.json``, safetensors, a tokenizer.
        environment: The converter's.
        settings: How.
        origin: Where the checkpoint came from; None for its folder.
        licence: Its licence; None for what the header states.
        progress: Told what is done.
        stop: Ends the work; nothing of the result is left.

    Raises:
        PeerError: The checkpoint is not whole, or llama.cpp cannot convert it.
        UsageError: There is no such folder, or no such type.
        ConflictError: The name and version are taken by another content.
        StoppedError: It was asked to stop.
        WorldError: No space, or the environment cannot be installed.
    """
    settings, stop = settings or ConvertSettings(), stop or StopSign()
    check_type(settings.type)
    checkpoint = read_checkpoint(folder.absolute())
    environment.fetch_source(progress, stop)
    check_architecture(checkpoint.architecture, environment.source)
    environment.install(progress, stop)
    sha256 = digest(checkpoint, progress, stop)
    expected = int(checkpoint.elements * BYTES[settings.type])
    with library.staging() as staging:
        _check_space(staging, expected)
        target = staging / "model.gguf"
        job = ConvertJob(
            checkpoint=str(checkpoint.folder),
            source=str(environment.source),
            target=str(target),
            type=settings.type,
            name=settings.title,
            expected_bytes=expected,
        )
        # -I: neither the working directory nor the checkpoint's folder is a place for modules.
        command = [str(environment.python), "-I", str(converter_tool.__file__)]
        run_program(command, job, Converted, progress=progress, stop=stop, environment=_OFFLINE)
        return library.add(
            target,
            settings.ref or default_ref(folder, settings.type),
            origin=origin
            or Origin(kind="converted", address=str(checkpoint.folder), at=library.now(), revision=sha256),
            licence=licence,
            lineage=_lineage(checkpoint, sha256, environment, settings, origin),
            hints=(checkpoint.folder.name,),
            progress=progress,
            stop=stop,
        )


def check_type(kind: str) -> None:
    """Refuse what the converter cannot write.

    Raises:
        UsageError: It cannot; lists what it can.
    """
    if kind not in BYTES:
        raise UsageError(
            f"a checkpoint cannot become {kind!r} at once: convert it to one of {', '.join(BYTES)}, then "
            "quantize that"
        )


def default_ref(folder: Path, kind: str) -> ArtifactRef:
    """What a result is called without ``--as``: the folder's name, the type behind it."""
    stem = re.sub(r"[^a-z0-9._-]+", "-", folder.absolute().name.lower()).strip("-._")[:_NAME_CHARS]
    return ArtifactRef(result_name(stem or "model", kind), "1")


def _check_space(staging: Path, expected: int) -> None:
    free = shutil.disk_usage(staging).free
    if free < expected + _SPARE_BYTES:
        raise WorldError(
            f"no space for the model: it takes {expected / 1e6:.0f} MB, and {staging.parent.parent} has "
            f"{free / 1e6:.0f} MB free"
        )


def _lineage(
    checkpoint: Checkpoint,
    sha256: str,
    environment: Environment,
    settings: ConvertSettings,
    origin: Origin | None,
) -> Lineage:
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return Lineage(
        parent=str(checkpoint.folder) if origin is None else origin.address,
        parent_sha256=sha256,
        method="convert",
        tool=f"convert_hf_to_gguf.py of llama-cpp-python {environment.version}, {python}",
        settings={"type": settings.type, "architecture": checkpoint.architecture},
    )
