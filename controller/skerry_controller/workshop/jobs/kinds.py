"""What each kind of job does. What it needs is imported when it runs: the server stays light."""

from collections.abc import Callable
from typing import Any

from skerry_controller.blobs import FolderBlobStore
from skerry_controller.errors import UsageError
from skerry_controller.workshop.jobs.keeper import UPLOADS
from skerry_controller.workshop.jobs.requests import ImportRequest, JobRequest, QuantizeRequest
from skerry_controller.workshop.library import Entry, Library
from skerry_controller.workshop.library.views import entry_view
from skerry_controller.workshop.progress import Progress, StopSign
from skerry_protocol.names import ArtifactRef, check_sha256

Note = Callable[[str], None]
_UPLOAD = "upload"


def check(request: JobRequest) -> None:
    """Refuse what can be seen to be wrong before it waits for its turn.

    Raises:
        UsageError: It asks for what a job does not do.
        NameSyntaxError: A name is none.
    """
    _ref(request)
    if isinstance(request, ImportRequest) and _uploaded(request) is None:
        _wish(request)


def run(
    request: JobRequest, library: Library, progress: Progress, stop: StopSign, note: Note
) -> dict[str, Any]:
    """Do it; blocks. Returns the new model as the API shows it.

    Raises:
        ControllerError: It cannot be; the library is as it was.
    """
    match request:
        case ImportRequest():
            entry = _import(request, library, progress, stop, note)
        case QuantizeRequest():
            entry = _quantize(request, library, progress, stop, note)
    return entry_view(entry)


def _import(
    request: ImportRequest, library: Library, progress: Progress, stop: StopSign, note: Note
) -> Entry:
    from skerry_controller.workshop.importing import Wish, import_model  # noqa: PLC0415 - when it runs
    from skerry_controller.workshop.importing.sources import LocalSource  # noqa: PLC0415 - the same

    sha256 = _uploaded(request)
    if sha256 is None:
        return import_model(library, _wish(request), progress=progress, stop=stop, tell=note)
    file = FolderBlobStore(library.folder / UPLOADS).path(sha256)
    wish = Wish(
        source=LocalSource(file),
        ref=_ref(request),
        licence=request.license,
        sha256=sha256,
        address=request.address,
    )
    try:
        return import_model(library, wish, progress=progress, stop=stop, tell=note)
    finally:
        file.unlink(missing_ok=True)


def _uploaded(request: ImportRequest) -> str | None:
    """The digest of the upload that is meant; None for another source."""
    scheme, colon, rest = request.source.partition(":")
    return check_sha256(rest) if colon and scheme == _UPLOAD else None


def _ref(request: JobRequest) -> ArtifactRef | None:
    return None if request.ref is None else ArtifactRef.parse(request.ref)


def _wish(request: ImportRequest) -> Any:
    from skerry_controller.workshop.importing import Wish, parse_source  # noqa: PLC0415 - when it runs
    from skerry_controller.workshop.importing.sources import LocalSource  # noqa: PLC0415 - the same

    source = parse_source(request.source)
    if isinstance(source, LocalSource):
        raise UsageError(
            "a controller imports from web addresses, buckets, hubs and registries, or takes a file that was "
            "sent to it, as 'skerry model import FILE --controller URL' does"
        )
    return Wish(
        source=source,
        ref=_ref(request),
        licence=request.license,
        sha256=None if request.sha256 is None else check_sha256(request.sha256.lower()),
    )


def _quantize(
    request: QuantizeRequest, library: Library, progress: Progress, stop: StopSign, note: Note
) -> Entry:
    from skerry_controller.workshop.quantizing import QuantizeSettings, quantize  # noqa: PLC0415 - the same

    settings = QuantizeSettings(
        ref=_ref(request),
        threads=request.threads,
        keep_output=request.keep_output,
        pure=request.pure,
        embedding_type=request.embedding_type,
        force=request.force,
    )

    def on_plan(plan: Any) -> None:
        for warning in plan.warnings:
            note(warning)

    return quantize(
        library,
        library.find(request.model),
        request.type,
        settings=settings,
        progress=progress,
        stop=stop,
        on_plan=on_plan,
    )
