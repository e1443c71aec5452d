"""Fetches one file in a way that outlives everything: cut connections, kill -9, a source that changed.

What came lies in ``NAME.part``, and ``NAME.state`` says which content it is the beginning of. A file is there
under its own name only when it is whole, has the length and the digest that the source gave, and is synced.
"""

import errno
import hashlib
import os
import re
import time
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec
import requests

from skerry_controller.durable_files import read_file, sync_folder, write_durably
from skerry_controller.errors import PeerError, WorldError
from skerry_controller.workshop.importing.errors import NoSpaceError
from skerry_controller.workshop.importing.limits import DEFAULT_IMPORT_LIMITS, ImportLimits
from skerry_controller.workshop.importing.offer import Digest, Headers, RemoteFile
from skerry_controller.workshop.importing.space import require_space
from skerry_controller.workshop.importing.stated_digest import stated_digest
from skerry_controller.workshop.importing.web import PARTIAL, RANGE_REFUSED, RefusedError, Web
from skerry_controller.workshop.library.errors import DigestMismatchError
from skerry_controller.workshop.progress import Progress, StopSign

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_STOP_LOOK_S = 0.2


class _State(msgspec.Struct, frozen=True):
    """Which content a ``.part`` is the beginning of. The place has no query: it may hold secrets."""

    place: str
    validator: str | None = None
    digest: str | None = None


class _TryAgainError(Exception):
    """The attempt ended before the file did; what came is kept."""


class Download:
    """One file on its way into a folder.

    Args:
        web: Makes the requests.
        file: What to fetch.
        folder: Where to; it outlives this process.
        limits: How patient it is.
    """

    def __init__(
        self, web: Web, file: RemoteFile, folder: Path, *, limits: ImportLimits = DEFAULT_IMPORT_LIMITS
    ) -> None:
        self._web = web
        self._file = file
        self._limits = limits
        self._whole = folder / file.name
        self._part = folder / f"{file.name}.part"
        self._state_path = folder / f"{file.name}.state"
        self._place = file.url.partition("?")[0]
        self._digest = file.digest
        self._hash = _new_hash(file.digest)
        self._done = 0
        self._resumed = False
        self._answered = False

    @property
    def present_bytes(self) -> int:
        """So much of it is there already."""
        for path in (self._whole, self._part):
            if path.exists():
                return path.stat().st_size
        return 0

    def run(self, progress: Progress, stop: StopSign) -> Path:
        """Fetch what is missing; returns the whole, checked, synced file.

        Raises:
            StoppedError: Somebody asked; what came is kept.
            PeerError: The source refuses, or serves other bytes than it promised.
            NoSpaceError: The disk has no room.
            WorldError: The source is out of reach, or the disk refused.
        """
        if self._whole.exists():
            return self._whole
        try:
            self._take_up(progress, stop)
            self._fetch_and_verify(progress, stop)
            self._part.replace(self._whole)
            self._state_path.unlink(missing_ok=True)
            sync_folder(self._whole.parent)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise NoSpaceError(
                    f"the disk of {self._part} is full: make room, and import again"
                ) from error
            raise WorldError(f"cannot write {self._part}: {error.strerror or error}") from error
        return self._whole

    def _fetch_and_verify(self, progress: Progress, stop: StopSign) -> None:
        try:
            self._fetch(progress, stop)
            self._verify()
        except DigestMismatchError:
            if not self._resumed:
                raise
            # A power cut may have spoilt the end of what came earlier: once more, from the start.
            self._resumed, self._done = False, 0
            self._fetch(progress, stop)
            self._verify()

    def _fetch(self, progress: Progress, stop: StopSign) -> None:
        failures, pause = 0, self._limits.first_pause_s
        while True:
            before = self._done
            try:
                self._attempt(progress, stop)
            except NoSpaceError:
                raise
            except (_TryAgainError, WorldError) as error:
                failures = 1 if self._done > before else failures + 1
                if failures >= (self._limits.attempts if self._answered else 2):
                    kept = "; what came is kept, and the same command goes on" if self._done else ""
                    raise WorldError(f"{self._file.name} did not come: {error}{kept}") from error
                pause = self._limits.first_pause_s if failures == 1 else pause * 2
                self._wait(min(pause, self._limits.longest_pause_s), progress, stop)
            else:
                return

    def _wait(self, seconds: float, progress: Progress, stop: StopSign) -> None:
        progress(f"waiting to ask again for {self._file.name}", 0, None)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            stop.check()
            time.sleep(min(left, _STOP_LOOK_S))

    def _take_up(self, progress: Progress, stop: StopSign) -> None:
        """Hash what an earlier run left, when it is the beginning of what we want; else drop it."""
        state = self._read_state()
        if state is None or not self._part.exists() or not self._continues(state):
            self._part.unlink(missing_ok=True)
            return
        self._digest = self._file.digest or _parse_digest(state.digest)
        self._hash = _new_hash(self._digest)
        self._resumed = True
        total = self._part.stat().st_size
        with self._part.open("rb") as stream:
            while piece := stream.read(self._limits.piece_bytes):
                stop.check()
                self._hash.update(piece)
                self._done += len(piece)
                progress(f"checking what came of {self._file.name}", self._done, total)

    def _continues(self, state: _State) -> bool:
        """Whether a part can be gone on with: its content is named by a digest, or by a validator."""
        if self._file.digest is not None:
            return state.digest == str(self._file.digest)
        return state.place == self._place and state.validator is not None

    def _attempt(self, progress: Progress, stop: StopSign) -> None:
        if self._done and self._done == self._file.length:
            return
        try:
            with self._web.get(self._file.url, self._request_headers()) as answer:
                self._answered = True
                self._take(answer, progress, stop)
        except RefusedError as error:
            self._answered = True
            if error.status == RANGE_REFUSED and self._done:
                self._done = 0  # it is longer than the file, which is another one then
                raise _TryAgainError("the source has another file now") from error
            if error.passing:
                raise _TryAgainError(str(error)) from error
            raise PeerError(f"{error}{self._file.advice and f': {self._file.advice}'}") from error

    def _request_headers(self) -> Headers:
        extra = {}
        if self._done:
            extra["Range"] = f"bytes={self._done}-"
            state = self._read_state()
            if self._file.digest is None and state is not None and state.validator is not None:
                extra["If-Range"] = state.validator
        return self._file.headers(self._file.url, extra)

    def _take(self, answer: requests.Response, progress: Progress, stop: StopSign) -> None:
        total = self._placed(answer)
        if self._done == 0:
            self._begin(answer)
        if total is not None:
            missing, reserve = total - self._done, self._limits.reserve_bytes
            require_space(self._part.parent, missing, self._file.name, reserve_bytes=reserve)
        with self._part.open("ab", buffering=0) as part:
            try:
                for piece in answer.iter_content(self._limits.piece_bytes):
                    stop.check()
                    part.write(piece)
                    self._hash.update(piece)
                    self._done += len(piece)
                    if total is not None and self._done > total:
                        raise PeerError(
                            f"{self._file.name} is longer than the {total} bytes that were announced"
                        )
                    self._sync_now_and_then(part, len(piece))
                    progress(f"downloading {self._file.name}", self._done, total)
            finally:
                os.fsync(part.fileno())
        if total is not None and self._done < total:
            raise _TryAgainError(f"the connection ended after {self._done} of {total} bytes")

    def _sync_now_and_then(self, part: FileIO, added: int) -> None:
        every = self._limits.sync_every_bytes
        if self._done // every != (self._done - added) // every:
            os.fdatasync(part.fileno())

    def _placed(self, answer: requests.Response) -> int | None:
        """The length of the whole; afterwards ``_done`` is where the body belongs."""
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise PeerError(f"{self._file.name} comes compressed, though we did not ask for that")
        if answer.status_code != PARTIAL:
            self._done = 0
            length = answer.headers.get("Content-Length", "")
            return self._agreed(int(length) if length.isdecimal() else None)
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != self._done:
            raise PeerError(f"the source of {self._file.name} answers with another part than we asked for")
        return self._agreed(int(match[3]))

    def _agreed(self, length: int | None) -> int | None:
        expected = self._file.length
        if expected is not None and length is not None and length != expected:
            raise PeerError(f"{self._file.name} has {length} bytes, where its source announced {expected}")
        return expected if length is None else length

    def _begin(self, answer: requests.Response) -> None:
        """Write down which content is beginning, before its first byte."""
        self._part.unlink(missing_ok=True)
        self._resumed = False
        self._digest = self._file.digest or stated_digest(answer.headers)
        self._hash = _new_hash(self._digest)
        etag = answer.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else answer.headers.get("Last-Modified")
        digest = None if self._digest is None else str(self._digest)
        write_durably(self._state_path, msgspec.json.encode(_State(self._place, validator, digest)))

    def _read_state(self) -> _State | None:
        content = read_file(self._state_path)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=_State)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _verify(self) -> None:
        if self._digest is None or self._hash.hexdigest() == self._digest.hex:
            return
        found = self._hash.hexdigest()
        self._part.unlink(missing_ok=True)
        self._state_path.unlink(missing_ok=True)
        raise DigestMismatchError(
            f"{self._file.name} has the {self._digest.algorithm} {found}, its source says "
            f"{self._digest.hex}: what came was thrown away; try again, or doubt the source"
        )


def _new_hash(digest: Digest | None) -> Any:
    return hashlib.new("sha256" if digest is None else digest.algorithm, usedforsecurity=False)


def _parse_digest(text: str | None) -> Digest | None:
    algorithm, _, value = (text or "").partition(":")
    if algorithm in ("sha256", "md5"):
        return Digest("sha256" if algorithm == "sha256" else "md5", value)
    return None
