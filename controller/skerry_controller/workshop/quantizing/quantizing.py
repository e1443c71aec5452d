"""Quantizes a model of the library: a dry run that tells what will come, then the work, then the record."""

import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from skerry_controller.artifacts.mapped_model import mapped_model
from skerry_controller.errors import UsageError, WorldError
from skerry_controller.workshop.child import run_child
from skerry_controller.workshop.library import Entry, Library, Lineage, Origin
from skerry_controller.workshop.naming import result_name
from skerry_controller.workshop.progress import Progress, StopSign, silent
from skerry_controller.workshop.quantizing.imatrix import check_fit, read_imatrix
from skerry_controller.workshop.quantizing.llama_log import Said
from skerry_controller.workshop.quantizing.plan import Plan, make_plan
from skerry_controller.workshop.quantizing.quantize_main import QuantizeJob
from skerry_controller.workshop.quantizing.types import QuantizationType, find_type
from skerry_protocol.errors import ModelFileError
from skerry_protocol.gguf_check import read_model_header
from skerry_protocol.gguf_header import GgufHeader, read_gguf_header
from skerry_protocol.gguf_types import TENSOR_TYPES
from skerry_protocol.names import ArtifactRef

_CHILD: Final = "skerry_controller.workshop.quantizing.quantize_main"
_RESULT: Final = "model.gguf"
_SPARE_BYTES: Final = 16 * 1024 * 1024
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeSettings:
    """How to quantize.

    Attributes:
        ref: Name and version of the result; None for the parent's, with the type in its name.
        imatrix: File of an importance matrix.
        threads: How many work; 0 for as many as this process may use.
        keep_output: Leave the output layer as it is.
        pure: No mixture: all matrices get the one type.
        embedding_type: Tensor type of the token embeddings, such as ``Q8_0``; None for the mixture's.
        force: Quantize even to what is not lower.
    """

    ref: ArtifactRef | None = None
    imatrix: Path | None = None
    threads: int = 0
    keep_output: bool = False
    pure: bool = False
    embedding_type: str | None = None
    force: bool = False


def plan_quantization(
    library: Library,
    entry: Entry,
    kind: QuantizationType | str,
    *,
    settings: QuantizeSettings | None = None,
    stop: StopSign | None = None,
) -> Plan:
    """What :func:`quantize` would make, without making it.

    Raises:
        UsageError: The type is unknown, would not be lower, or needs an importance matrix.
        PeerError: The model or the importance matrix is none, or llama.cpp refuses it.
        WorldError: llama.cpp crashed or is not installed.
    """
    settings = settings or QuantizeSettings()
    kind = find_type(kind) if isinstance(kind, str) else kind
    _check_installed()
    file = library.path(entry)
    header = _header(file)
    warnings: list[str] = []
    if settings.imatrix is not None:
        found, matrices = check_fit(read_imatrix(settings.imatrix), header, settings.imatrix)
        if found < matrices:
            warnings.append(f"the importance matrix covers {found} of {matrices} matrices")
    said = run_child(_CHILD, _job(file, kind, settings), Said, stop=stop)
    plan = make_plan(
        entry,
        header,
        kind,
        said.tensors,
        said.fallbacks,
        keep_output=settings.keep_output,
        force=settings.force,
    )
    return replace(plan, warnings=(*plan.warnings, *warnings))


def quantize(
    library: Library,
    entry: Entry,
    kind: QuantizationType | str,
    *,
    settings: QuantizeSettings | None = None,
    progress: Progress = silent,
    stop: StopSign | None = None,
    on_plan: Callable[[Plan], None] = lambda _: None,
) -> Entry:
    """Make a quantized model of one in the library, and take it in.

    Args:
        library: Where both are.
        entry: The parent.
        kind: What it shall become.
        settings: How.
        progress: Told the bytes that are written, then those that are hashed.
        stop: Ends the work; nothing is left of it.
        on_plan: Told what will be made before it is begun; may raise to prevent it.

    Raises:
        UsageError: The type is unknown, would not be lower, or needs an importance matrix.
        ConflictError: The name and version are taken by another content.
        PeerError: The model or the importance matrix is none, or llama.cpp refuses it.
        StoppedError: It was asked to stop.
        WorldError: No space, or llama.cpp crashed or is not installed.
    """
    settings = settings or QuantizeSettings()
    kind = find_type(kind) if isinstance(kind, str) else kind
    plan = plan_quantization(library, entry, kind, settings=settings, stop=stop)
    on_plan(plan)
    ref = settings.ref or ArtifactRef(result_name(entry.name, kind.name), entry.version)
    with library.staging() as folder:
        _check_space(folder, plan)
        target = folder / _RESULT
        job = _job(library.path(entry), kind, settings, target=target, expected_bytes=plan.new_length)
        run_child(_CHILD, job, Said, progress=progress, stop=stop)
        _check_whole(target)
        return library.add(
            target,
            ref,
            origin=Origin(kind="quantized", address=str(entry.ref), at=library.now()),
            licence=entry.licence,
            lineage=_lineage(entry, kind, settings, plan),
            hints=(entry.family or "", entry.name),
            progress=progress,
            stop=stop,
        )


def _job(
    file: Path,
    kind: QuantizationType,
    settings: QuantizeSettings,
    *,
    target: Path | None = None,
    expected_bytes: int = 0,
) -> QuantizeJob:
    return QuantizeJob(
        source=str(file),
        target=None if target is None else str(target),
        file_type=kind.file_type,
        threads=settings.threads or len(os.sched_getaffinity(0)),
        keep_output=settings.keep_output,
        pure=settings.pure,
        embedding_type=_tensor_type(settings.embedding_type),
        imatrix=None if settings.imatrix is None else str(settings.imatrix.absolute()),
        expected_bytes=expected_bytes,
    )


def _tensor_type(name: str | None) -> int | None:
    if name is None:
        return None
    for kind in TENSOR_TYPES.values():
        if kind.name == name.upper():
            return kind.id
    known = ", ".join(kind.name for kind in TENSOR_TYPES.values())
    raise UsageError(f"there is no tensor type {name!r}: the types are {known}")


def _header(file: Path) -> GgufHeader:
    """Of the parent's file, checked: what llama.cpp would abort on does not get there."""
    with mapped_model(file) as data:
        return read_model_header(data)


def _check_installed() -> None:
    if importlib.util.find_spec("llama_cpp") is None:
        raise WorldError("llama-cpp-python is not installed here: pip install 'skerry[workshop]'")


def _check_space(folder: Path, plan: Plan) -> None:
    free = shutil.disk_usage(folder).free
    needed = plan.new_length + _SPARE_BYTES
    if free < needed:
        raise WorldError(
            f"no space for {plan.kind.name}: it takes {needed / _MIB:.0f} MiB, and {folder.parent.parent} "
            f"has {free / _MIB:.0f} MiB free"
        )


def _check_whole(file: Path) -> None:
    """llama.cpp does not see that a write failed: the file is then shorter than its header says."""
    try:
        with mapped_model(file) as data:
            read_gguf_header(data)
    except Exception as error:
        if isinstance(error.__cause__, ModelFileError) or not file.stat().st_size:
            raise WorldError(
                "the result could not be written whole, most likely since the disk is full: "
                f"{error.__cause__ or error}"
            ) from error
        raise


def _lineage(entry: Entry, kind: QuantizationType, settings: QuantizeSettings, plan: Plan) -> Lineage:
    version = importlib.metadata.version("llama-cpp-python")
    chosen: dict[str, str | int | float | bool | None] = {"type": kind.name}
    if settings.imatrix is not None:
        chosen["imatrix_sha256"] = read_imatrix(settings.imatrix).sha256
    if settings.embedding_type is not None:
        chosen["embedding_type"] = settings.embedding_type.upper()
    chosen |= {name: True for name in ("keep_output", "pure") if getattr(settings, name)}
    return Lineage(
        parent=str(entry.ref),
        parent_sha256=entry.sha256,
        method="quantize",
        tool=f"llama.cpp of llama-cpp-python {version}",
        settings=chosen,
        warnings=plan.warnings,
    )
