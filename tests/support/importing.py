"""Imports as tests want them: quick to give up, and without llama.cpp where it is not the point."""

from pathlib import Path

from skerry_controller.workshop.importing import Wish, import_model, parse_source
from skerry_controller.workshop.importing.limits import ImportLimits
from skerry_controller.workshop.library import Entry, Library
from skerry_controller.workshop.progress import Progress, StopSign, silent
from skerry_protocol.names import ArtifactRef

QUICK = ImportLimits(
    connect_timeout_s=2,
    read_timeout_s=2,
    first_pause_s=0.01,
    longest_pause_s=0.02,
    reserve_bytes=0,
    piece_bytes=16 * 1024,
)


def untried(file: Path, progress: Progress, stop: StopSign) -> tuple[str, ...]:
    """Instead of loading the model once."""
    del file, progress, stop
    return ()


def fetch(
    library: Library,
    source: str,
    *,
    ref: str | None = "tiny@1",
    sha256: str | None = None,
    licence: str | None = None,
    progress: Progress = silent,
    stop: StopSign | None = None,
    told: list[str] | None = None,
    limits: ImportLimits = QUICK,
) -> Entry:
    """Import from a source as a person writes it."""
    wish = Wish(
        source=parse_source(source),
        ref=None if ref is None else ArtifactRef.parse(ref),
        licence=licence,
        sha256=sha256,
    )
    tell = (lambda _: None) if told is None else told.append
    return import_model(library, wish, progress=progress, stop=stop, tell=tell, trier=untried, limits=limits)


def partial_files(library: Library) -> list[str]:
    """What downloads left behind."""
    return sorted(path.name for path in (library.folder / "partial").rglob("*") if path.is_file())
