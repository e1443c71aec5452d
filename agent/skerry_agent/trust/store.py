"""What this device believes about its fleet: verified, on disk, and usable without a network."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import structlog

from skerry_agent.errors import UsageError
from skerry_agent.events import EventSink
from skerry_agent.trust.errors import MetadataRefusedError, TrustStateLostError
from skerry_agent.trust.limits import TrustLimits
from skerry_agent.trust.refresh import RefreshFailedError, verify_again, verify_from_source
from skerry_agent.trust.signed_targets import check_signed, read_target
from skerry_agent.trust.similar_files import HeldFile, find_similar
from skerry_agent.trust.sources import MetadataSource
from skerry_agent.trust.state import MetadataFiles, TrustState
from skerry_agent.trust.target_cache import TargetCache
from skerry_agent.trust.version_folders import DamagedError, VersionFolders
from skerry_agent.trusted_time import TrustedTime
from skerry_protocol import envelope
from skerry_protocol.desired import TargetRef
from skerry_protocol.trust_document import TrustDocument

log = structlog.get_logger(__name__)

LoadResult = Literal["loaded", "recovered", "absent"]


class TrustStore:
    """Verified TUF metadata, targets and the trust document of one fleet.

    Reading is from memory; :meth:`load` fills that from disk, :meth:`refresh` from a source. A refresh that
    fails anywhere changes nothing. Verification and disk work run in threads.
    """

    def __init__(
        self,
        folder: Path,
        time: TrustedTime,
        *,
        events: EventSink | None = None,
        limits: TrustLimits | None = None,
    ) -> None:
        self._folder = folder
        self._time = time
        self._events = events
        self._limits = limits or TrustLimits()
        self._folders = VersionFolders(folder)
        self._cache = TargetCache(folder / "targets", self._limits.max_cached_bytes)
        self._lock = asyncio.Lock()
        self._state: TrustState | None = None
        self._current_is_sound = False
        self._refreshed_at = 0.0
        self._shown_refusal: tuple[str, str] | None = None

    @property
    def trust_document(self) -> TrustDocument:
        """The newest verified trust document.

        Raises:
            UsageError: Nothing is trusted yet.
        """
        return self._needed().document

    @property
    def versions(self) -> dict[str, int]:
        """TUF role -> version of what is trusted now; empty before enrollment."""
        return self._state.metadata.versions() if self._state else {}

    @property
    def age_s(self) -> float:
        """Trusted seconds since the last good refresh.

        Raises:
            UsageError: Nothing is trusted yet.
        """
        self._needed()
        return max(0.0, self._time.now() - self._refreshed_at)

    @property
    def is_stale(self) -> bool:
        """Whether the last good refresh is longer ago than ``max_age_s``. Only shown: it stays in use."""
        return self.age_s > self._limits.max_age_s

    def target(self, path: str) -> TargetRef | None:
        """What the fleet's keys signed for ``path``, looked up through the delegations; None for nothing.

        Raises:
            UsageError: Nothing is trusted yet.
        """
        return self._needed().metadata.target(path)

    def deltas(self, file_sha256: str) -> list[TargetRef]:
        """The delta indexes that the fleet's keys signed for a file.

        Raises:
            UsageError: Nothing is trusted yet.
        """
        return self._needed().metadata.deltas(file_sha256)

    async def similar(self, name: str) -> HeldFile | None:
        """A file of the repository that is here and resembles the named one: to read that against it."""
        state = self._state
        return None if state is None else await asyncio.to_thread(find_similar, name, state, self._cache)

    def open_down(self, kind: envelope.Kind, data: bytes) -> bytes:
        """The payload of a message from the director.

        Raises:
            ProtocolError: No envelope of this kind, or not signed by enough of the directors that the
                trust document names.
            UsageError: Nothing is trusted yet.
        """
        return envelope.open_sealed(data, kind, self.trust_document.director_keys())

    async def load(self) -> LoadResult:
        """Verify what is on disk again, at the time of the refresh that stored it. Needs no network.

        When the current version is lost or damaged, what enrollment verified is used until the next
        refresh, and the event ``trust_state_lost`` says so: versions seen since then are forgotten, so
        an attacker could replay older metadata.

        Returns:
            ``loaded``, ``recovered`` (from the enrollment's state) or ``absent`` (never enrolled).

        Raises:
            TrustStateLostError: Both are unusable.
        """
        async with self._lock:
            return await self._load()

    async def bootstrap(
        self,
        root: bytes,
        expected_sha256: str,
        source: MetadataSource,
        *,
        check: Callable[[TrustDocument], None] | None = None,
    ) -> dict[str, int]:
        """Begin to trust a fleet, from its initial root, whose hash came by a way of its own.

        Enrolling again in the same fleet keeps what is held, so that nothing older comes in.

        Args:
            root: The initial root metadata.
            expected_sha256: Its SHA-256, from the enrollment token.
            source: The repository.
            check: Called with the verified trust document before anything is stored; may raise.

        Returns:
            TUF role -> version.

        Raises:
            MetadataRefusedError: The root is another one, or something does not verify.
            UsageError: This device trusts another root already.
            WorldError: The source cannot be reached, or the disk refused.
        """
        if hashlib.sha256(root).hexdigest() != expected_sha256:
            raise MetadataRefusedError(
                "metadata_mismatch", "root", "the repository's initial root is not the one in the token"
            )
        async with self._lock:
            await self.check_root(expected_sha256)
            initial_is_lost = False
            try:
                await self._load()
            except TrustStateLostError as error:
                log.warning("trust_state_unusable", error=str(error))
                initial_is_lost = True
            held = self._state.files if self._state else MetadataFiles(roots=(root,), roots_used=1)
            state = await self._verify_first(held, source)
            if check is not None:
                check(state.document)
            await asyncio.to_thread(self._folders.keep_initial, state.files, replace=initial_is_lost)
            await self._accept(state)
            return self.versions

    async def _verify_first(self, held: MetadataFiles, source: MetadataSource) -> TrustState:
        """Verify now; when all looks expired to a device that trusted nobody, at the time of its anchor.

        Its floor may have been lifted by a server that it did not enroll with in the end.
        """
        try:
            return await verify_from_source(held, source, self._time.now(), self._limits)
        except RefreshFailedError as error:
            expired = isinstance(error.cause, MetadataRefusedError) and error.cause.code == "metadata_expired"
            if self._state is not None or not expired or self._time.anchor >= self._time.now():
                raise error.cause from error
        try:
            return await verify_from_source(held, source, self._time.anchor, self._limits)
        except RefreshFailedError as error:
            raise error.cause from error

    async def check_root(self, sha256: str) -> None:
        """Return when this device may trust the initial root with this hash: the known one, or the first.

        Raises:
            UsageError: This device trusts another root already.
            TrustStateLostError: It trusted one that cannot be read any more.
        """
        try:
            known = await asyncio.to_thread(self._folders.read_known_root)
        except DamagedError as error:
            raise TrustStateLostError(self._lost_message()) from error
        if known is not None and hashlib.sha256(known).hexdigest() != sha256:
            raise UsageError(
                "this device trusts the root of another fleet, and a token cannot change that: if it is to"
                f" change fleets, stop the agent, move {self._folder} and the identity folder beside it"
                " away, and enroll again"
            )

    async def refresh(self, source: MetadataSource) -> dict[str, int]:
        """Follow the repository: TUF's client workflow, all roles, then the trust document.

        Whatever goes wrong, what was trusted before stays, in memory and on disk. Nothing is written when
        nothing changed.

        Returns:
            TUF role -> version.

        Raises:
            MetadataRefusedError: Something does not verify. A refusal of a new kind also becomes an event
                ``metadata_refused``.
            WorldError: The source cannot be reached or is too slow, or the disk refused.
            UsageError: Nothing is trusted yet.
        """
        async with self._lock:
            self._needed()
            try:
                state = await self._verify_or_recover(source)
            except MetadataRefusedError as error:
                if self._shown_refusal != (error.code, error.role):
                    self._shown_refusal = (error.code, error.role)
                    await self._emit("metadata_refused", error.code, error.role, str(error))
                raise
            self._shown_refusal = None
            await self._accept(state)
            return self.versions

    async def fetch_target(
        self,
        ref: TargetRef,
        source: MetadataSource,
        *,
        minimum_versions: Mapping[str, int] | None = None,
    ) -> bytes:
        """The verified bytes of a signed target, from the cache or the source.

        Args:
            ref: What somebody chose who is not trusted with it; the fleet's keys must have signed just that.
            source: The repository.
            minimum_versions: TUF role -> version from which the target is said to be visible.

        Raises:
            TargetNotYetVisibleError: It is not, and this device's metadata is older than that; or the
                source does not have the file now, or altered it.
            TargetRefusedError: The fleet's keys signed something else, or nothing, under this path; or it is
                too large.
            WorldError: The source cannot be reached or is too slow, or the disk refused.
            UsageError: Nothing is trusted yet.
        """
        check_signed(
            ref,
            self.target(ref.path),
            versions=self.versions,
            minimum_versions=minimum_versions or {},
            max_bytes=self._limits.max_target_bytes,
        )
        return await read_target(ref, source, self._cache, self._limits)

    async def _verify_or_recover(self, source: MetadataSource) -> TrustState:
        """Refresh; when all looks expired, look for a new epoch at the time that offline keys vouch for.

        Somebody with a director key may have signed times far ahead. A trust document with a higher
        epoch, signed offline, ends that; nothing else is accepted at the earlier time.
        """
        try:
            return await self._verify(source, self._time.now())
        except MetadataRefusedError as error:
            anchor = self._time.anchor
            if error.code != "metadata_expired" or anchor >= self._time.now():
                raise
            try:
                state = await self._verify(source, anchor)
            except MetadataRefusedError:
                raise error from None
            if state.document.epoch <= self.trust_document.epoch:
                raise
            log.warning("trust_epoch_raised", epoch=state.document.epoch)
            return state

    async def _verify(self, source: MetadataSource, reference_time_s: float) -> TrustState:
        held = self._needed()
        try:
            return await verify_from_source(held.files, source, reference_time_s, self._limits)
        except RefreshFailedError as error:
            if len(error.roots) > len(held.files.roots):
                # Stored although the rest failed, so that revoked keys stay revoked (TUF, 5.3.8).
                files = replace(held.files, roots=error.roots)
                await asyncio.to_thread(self._folders.publish, files)
                self._state = held._replace(files=files)
            raise error.cause from error

    async def _accept(self, state: TrustState) -> None:
        self._refreshed_at = state.files.reference_time_s
        held = self._state
        if held is not None and self._current_is_sound and state.files.has_same_content(held.files):
            return
        await asyncio.to_thread(self._folders.publish, state.files)
        await asyncio.to_thread(self._cache.keep_only, state.metadata.listed_sha256s())
        self._take(state, current_is_sound=True)

    async def _load(self) -> LoadResult:
        if not await asyncio.to_thread(self._folders.has_any):
            return "absent"
        try:
            files = await asyncio.to_thread(self._folders.read_current)
            self._take(await verify_again(files, self._limits), current_is_sound=True)
        except (DamagedError, MetadataRefusedError) as error:
            await self._emit("trust_state_lost", "state_damaged", "all", str(error))
        else:
            return "loaded"
        try:
            files = await asyncio.to_thread(self._folders.read_initial)
            self._take(await verify_again(files, self._limits), current_is_sound=False)
        except (DamagedError, MetadataRefusedError) as error:
            raise TrustStateLostError(self._lost_message()) from error
        return "recovered"

    def _take(self, state: TrustState, *, current_is_sound: bool) -> None:
        self._state, self._current_is_sound = state, current_is_sound
        self._refreshed_at = state.files.reference_time_s
        self._time.set_anchor(state.document.epoch, state.document.issued_at)

    def _needed(self) -> TrustState:
        if self._state is None:
            raise UsageError("this device trusts no fleet yet: run 'skerry-agent enroll'")
        return self._state

    def _lost_message(self) -> str:
        return (
            f"the trust state in {self._folder} is damaged: restore it from a backup, or move it and the"
            " identity folder beside it away and enroll this device again"
        )

    async def _emit(self, name: str, code: str, role: str, message: str) -> None:
        log.warning(name, code=code, role=role, message=message)
        if self._events is not None:
            await self._events.emit(name, code=code, role=role, message=message)
