"""From what a person names to an entry in the library."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import msgspec

from skerry_controller.durable_files import write_durably
from skerry_controller.errors import UsageError, WorldError
from skerry_controller.workshop.importing.download import Download
from skerry_controller.workshop.importing.handing_on import convert_checkpoint
from skerry_controller.workshop.importing.limits import DEFAULT_IMPORT_LIMITS, ImportLimits
from skerry_controller.workshop.importing.local import is_checkpoint, local_files
from skerry_controller.workshop.importing.naming import stem_of, suggest_ref
from skerry_controller.workshop.importing.offer import Digest, Offer
from skerry_controller.workshop.importing.offering import find_offer, origin_kind
from skerry_controller.workshop.importing.shards import join_shards
from skerry_controller.workshop.importing.sources import LocalSource, Source
from skerry_controller.workshop.importing.space import require_space
from skerry_controller.workshop.importing.trying import try_loading
from skerry_controller.workshop.importing.web import Web
from skerry_controller.workshop.library import Entry, Library, Licence, Origin
from skerry_controller.workshop.library.inspection import inspect_model
from skerry_controller.workshop.progress import Progress, StoppedError, StopSign, silent
from skerry_protocol.names import ArtifactRef

_PARTIAL = "partial"
_ABOUT = "source.json"
_CONVERTED_TYPE = "f16"

Tell = Callable[[str], None]
Trier = Callable[[Path, Progress, StopSign], tuple[str, ...]]
"""Loads a file once; returns notes, or raises ``PeerError``."""
Converter = Callable[[Library, Path, ArtifactRef, Origin, Licence | None, Progress, StopSign], Entry]
"""Makes a model of a checkpoint's folder, and takes it in."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks to import.

    Attributes:
        source: Where from.
        ref: The name and version that it gets; None for one made of its file's name.
        licence: Its id, instead of what source and header state.
        sha256: Of the single file, as the person knows it.
        address: Of a local file: where it was before it came here.
    """

    source: Source
    ref: ArtifactRef | None = None
    licence: str | None = None
    sha256: str | None = None
    address: str | None = None


class Unfinished(msgspec.Struct, frozen=True):
    """A download that was not finished: the same import goes on with it."""

    address: str
    revision: str | None = None
    present_bytes: int = 0


def import_model(
    library: Library,
    wish: Wish,
    *,
    progress: Progress = silent,
    stop: StopSign | None = None,
    tell: Tell = lambda _: None,
    trier: Trier = try_loading,
    converter: Converter = convert_checkpoint,
    limits: ImportLimits = DEFAULT_IMPORT_LIMITS,
) -> Entry:
    """Fetch what is named, check it, and take it into the library.

    Args:
        library: Where to.
        wish: What.
        progress: Told where it is.
        stop: Asks it to stop; what was downloaded stays for the next time.
        tell: Told what a person should see before the download: the licence.
        trier: Loads the model once.
        converter: Makes a model of a checkpoint.
        limits: See there.

    Raises:
        ControllerError: It cannot be; the library is as it was.
    """
    work = _Import(library, wish, progress, stop or StopSign(), trier, converter)
    if isinstance(wish.source, LocalSource):
        return work.from_disk(wish.source)
    with Web(limits) as web:
        offer = _expecting(find_offer(web, wish.source), wish.sha256)
        licence = offer.licence.id if offer.licence else None
        tell(f"licence: {wish.licence or licence or 'none is stated at the source; the file may state one'}")
        folder = _partial_folder(library, wish.source, offer)
        try:
            paths = _download(web, offer, folder, limits, progress, work.stop)
        except StoppedError as error:
            raise StoppedError("stopped as asked; what came is kept, and the same command goes on") from error
        finally:
            _drop_if_empty(folder)
    entry = work.from_source(offer, paths)
    shutil.rmtree(folder, ignore_errors=True)
    return entry


def unfinished(library: Library) -> dict[Path, Unfinished]:
    """Downloads that were not finished, by their folder."""
    found = {}
    for folder in sorted((library.folder / _PARTIAL).glob("*")):
        try:
            about = msgspec.json.decode((folder / _ABOUT).read_bytes(), type=Unfinished)
            present = sum(path.stat().st_size for path in folder.iterdir() if path.name != _ABOUT)
        except (OSError, msgspec.DecodeError):
            about, present = Unfinished(str(folder)), 0
        found[folder] = msgspec.structs.replace(about, present_bytes=present)
    return found


def discard_unfinished(library: Library) -> int:
    """Remove what unfinished downloads left; returns the bytes."""
    found = unfinished(library)
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    return sum(each.present_bytes for each in found.values())


def _expecting(offer: Offer, sha256: str | None) -> Offer:
    """The offer with what the person knows of its file."""
    if sha256 is None:
        return offer
    _check_single(sha256, len(offer.files))
    file = offer.files[0]
    return replace(offer, files=(replace(file, digest=file.digest or Digest("sha256", sha256)),))


def _check_single(sha256: str | None, count: int) -> None:
    if sha256 is not None and count > 1:
        raise UsageError("--sha256 is for a single file, and this model has several")


def _partial_folder(library: Library, source: Source, offer: Offer) -> Path:
    """Where what comes of this source is kept until it is whole; the same one after a crash."""
    key = hashlib.sha256(f"{source.address}\n{offer.revision}".encode()).hexdigest()[:20]
    folder = library.folder / _PARTIAL / key
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise WorldError(f"cannot create {folder}: {error.strerror}") from error
    write_durably(folder / _ABOUT, msgspec.json.encode(Unfinished(source.address, offer.revision)))
    return folder


def _drop_if_empty(folder: Path) -> None:
    """Nothing came: there is nothing to go on with."""
    if not any(path.name != _ABOUT for path in folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)


def _download(
    web: Web, offer: Offer, folder: Path, limits: ImportLimits, progress: Progress, stop: StopSign
) -> list[Path]:
    downloads = [Download(web, file, folder, limits=limits) for file in offer.files]
    known = sum(file.length or 0 for file in offer.files)
    missing = max(0, known - sum(download.present_bytes for download in downloads))
    total = missing + (known if len(downloads) > 1 and not offer.checkpoint else 0)  # parts are joined later
    require_space(folder, total, offer.stem, reserve_bytes=limits.reserve_bytes)
    return [download.run(progress, stop) for download in downloads]


@dataclass(frozen=True, slots=True)
class _Import:
    """Files that are there, on their way into the library."""

    library: Library
    wish: Wish
    progress: Progress
    stop: StopSign
    trier: Trier
    converter: Converter

    def from_disk(self, source: LocalSource) -> Entry:
        """What a person has already; it is copied."""
        if is_checkpoint(source.path):
            origin = Origin(kind="converted", address=source.address, at=self.library.now())
            offer = Offer(files=(), stem=source.path.absolute().name, hints=(source.address,))
            return self._convert(source.path, origin, offer)
        files = local_files(source.path)
        _check_single(self.wish.sha256, len(files))
        address = self.wish.address or source.address
        origin = Origin(kind=origin_kind(source), address=address, at=self.library.now())
        name = PurePath(address).name if self.wish.address else files[0].name
        offer = Offer(files=(), stem=stem_of(name), hints=(address,))
        return self._add(offer, files, origin)

    def from_source(self, offer: Offer, paths: list[Path]) -> Entry:
        """What was downloaded; it is moved."""
        source = self.wish.source
        origin = Origin(
            kind=origin_kind(source),
            address=source.address,
            at=self.library.now(),
            revision=offer.revision,
        )
        if offer.checkpoint:
            return self._convert(paths[0].parent, origin, offer)
        return self._add(offer, paths, origin)

    def _add(self, offer: Offer, paths: list[Path], origin: Origin) -> Entry:
        with self.library.staging() as staging:
            file = paths[0] if len(paths) == 1 else self._join(paths, staging / f"{offer.stem}.gguf")
            inspected = inspect_model(file, hints=offer.hints)
            ref = self.wish.ref or suggest_ref(offer.stem, inspected.description.quantization)
            notes = (*offer.notes, *self.trier(file, self.progress, self.stop))
            if not file.is_relative_to(self.library.folder):
                require_space(self.library.folder, file.stat().st_size, f"copying {file.name}")
            return self.library.add(
                file,
                ref,
                origin=origin,
                licence=self._licence(offer),
                hints=offer.hints,
                notes=notes,
                sha256=self.wish.sha256,
                progress=self.progress,
                stop=self.stop,
            )

    def _join(self, paths: list[Path], target: Path) -> Path:
        total = sum(path.stat().st_size for path in paths)
        require_space(self.library.folder, total, f"joining the {len(paths)} parts")
        try:
            join_shards(paths, target, self.progress, self.stop)
        except OSError as error:
            raise WorldError(f"cannot join the parts in {target.parent}: {error.strerror}") from error
        return target

    def _licence(self, offer: Offer) -> Licence | None:
        if self.wish.licence is not None:
            return Licence(id=self.wish.licence, source="operator")
        return offer.licence

    def _convert(self, folder: Path, origin: Origin, offer: Offer) -> Entry:
        ref = self.wish.ref or suggest_ref(offer.stem, _CONVERTED_TYPE)
        licence = self._licence(offer)
        return self.converter(self.library, folder, ref, origin, licence, self.progress, self.stop)
