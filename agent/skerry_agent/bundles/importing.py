"""Takes in one bundle: verify, accept, bring the chunks, wait for the end, write back."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import structlog

from skerry_agent.bundles.back import BackWriter
from skerry_agent.bundles.files import TORN, BundleFiles, BundleMetadata, read_whole
from skerry_agent.bundles.limits import ImportLimits
from skerry_agent.bundles.outcome import Outcome, outcome_of, slot_entries
from skerry_agent.errors import AgentError, PeerError, UsageError
from skerry_agent.events import EventSink
from skerry_agent.sync import Refusal, Taken
from skerry_agent.trust import MetadataRefusedError, TargetNotYetVisibleError, TrustStore
from skerry_agent.updates.sources import BundleSource
from skerry_protocol.bundle import (
    BUNDLE_LIMITS,
    HEAD,
    INDEX,
    BundleHead,
    ChunkIndex,
    acks_name,
    decode_head,
    decode_index,
    desired_name,
    pack_name,
    read_frames,
)
from skerry_protocol.desired import DesiredState, TargetRef
from skerry_protocol.errors import ProtocolError
from skerry_protocol.generation import GenerationMark
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.manifest import decode_manifest
from skerry_protocol.records import Value  # noqa: TC001 - also annotates a local
from skerry_protocol.reported import ConfigReport, SlotReport

log = structlog.get_logger(__name__)

_MAX_ACKNOWLEDGEMENTS_BYTES = 4 * 1024 * 1024


class Engine(Protocol):
    """The update engine as an import sees it."""

    @property
    def accepted(self) -> GenerationMark | None:
        """The newest desired state that was accepted."""

    @property
    def considered(self) -> GenerationMark | None:
        """The one that reports are about."""

    def reports(self) -> dict[str, SlotReport]:
        """Every slot as it stands."""


@dataclass(frozen=True, kw_only=True)
class ImportParts:
    """The doors of other rooms.

    Attributes:
        device: The device's id.
        trust: What the fleet's offline keys signed.
        take_desired: Judges and follows desired states, those of MQTT as well.
        take_acknowledgement: Lets the outbox forget; how many records.
        engine: Updates.
        configs: Where each wanted config bundle stands.
        hurry: Do not wait out pauses: somebody is there.
        source: Brings chunks while a bundle is attached.
        back: Writes what goes back.
        events: Told of the import.
        connected: Whether there is a network after all.
        limits: Times.
    """

    device: str
    trust: TrustStore
    take_desired: Callable[[bytes, Callable[[DesiredState], Awaitable[None]]], Awaitable[Taken]]
    take_acknowledgement: Callable[[bytes], Awaitable[int]]
    engine: Engine
    configs: Callable[[], Sequence[ConfigReport]]
    hurry: Callable[[], None]
    source: BundleSource
    back: BackWriter
    events: EventSink
    connected: Callable[[], bool]
    limits: ImportLimits


@dataclass(frozen=True, slots=True)
class Ended:
    """How an import ended.

    Attributes:
        outcome: Of the update; ``failed``: the bundle could not be used; ``nothing``: it asks for nothing.
        code: Stable, for programs; empty when all is well.
        message: For a person.
        generation: Of the desired state in it.
    """

    outcome: Literal["failed", "nothing"] | Outcome
    code: str = ""
    message: str = ""
    generation: str = ""


class BundleImport:
    """One import."""

    def __init__(self, parts: ImportParts, files: BundleFiles) -> None:
        self._parts = parts
        self._files = files
        self._metadata = BundleMetadata(files)
        self._acknowledged = 0
        self._brought_bytes = 0

    async def run(self, wait_s: float) -> dict[str, Any]:
        """Do all of it; returns what a person is shown in the end.

        Args:
            wait_s: How long the end of the update is waited for, in seconds.

        Raises:
            UsageError: That is no bundle of this fleet; nothing was done.
            StickError: The stick cannot be read.
        """
        head = await self._head()
        try:
            ended = await self._take_in(head, wait_s)
        except (AgentError, ProtocolError) as error:
            ended = Ended("failed", str(getattr(error, "code", "failed")), str(error))
        await self._note(head, ended)
        return {
            "device": self._parts.device,
            "artifacts": list(head.artifacts),
            "outcome": ended.outcome,
            "code": ended.code,
            "message": ended.message,
            "generation": ended.generation,
            "slots": slot_entries(self._parts.engine.reports()),
            "acknowledged": self._acknowledged,
            "chunk_bytes": self._brought_bytes,
            **await self._write_back(),
        }

    async def _head(self) -> BundleHead:
        data = await read_whole(self._files, HEAD, BUNDLE_LIMITS.max_head_bytes)
        if data is None:
            raise UsageError(f"there is no {HEAD}: name the folder that 'skerry artifact export' wrote")
        head = decode_head(data)
        own = self._parts.trust.trust_document.fleet
        if head.fleet != own:
            raise UsageError(f"the bundle is of the fleet {head.fleet[:64]}; this device belongs to {own}")
        return head

    async def _take_in(self, head: BundleHead, wait_s: float) -> Ended:
        index = await self._index()
        await self._take_acknowledgements()
        await self._refresh()
        envelope = await read_whole(
            self._files, desired_name(self._parts.device), DEFAULT_LIMITS.max_frame_bytes
        )
        if envelope is None:
            return self._nothing_for_us(head)
        self._parts.source.attach(index, self._files)
        try:
            taken = await self._parts.take_desired(envelope, self._fetch_targets)
            generation = "" if taken.mark is None else str(taken.mark.generation)
            if isinstance(taken.verdict, Refusal):
                return Ended("refused", taken.verdict.code, taken.verdict.message, generation)
            if taken.desired is None or taken.mark is None:
                raise RuntimeError("a desired state was accepted that could not be read")
            self._parts.hurry()
            again = taken.verdict == "same"
            return await self._wait(taken.desired, taken.mark, wait_s, again=again)
        finally:
            self._brought_bytes = self._parts.source.brought_bytes
            self._parts.source.detach()

    def _nothing_for_us(self, head: BundleHead) -> Ended:
        if not head.devices:
            return Ended("nothing", message="the bundle names no device: its metadata was taken in")
        raise WrongBundleError(
            f"the bundle has nothing for this device, {self._parts.device}; it is for"
            f" {', '.join(head.devices[:5])}: export it with --device {self._parts.device}"
        )

    async def _index(self) -> ChunkIndex:
        data = await read_whole(self._files, INDEX, BUNDLE_LIMITS.max_index_bytes)
        if data is None:
            raise PeerError(f"there is no {INDEX} in the bundle: {TORN}")
        index = decode_index(data)
        for number, length in enumerate(index.packs, start=1):
            if not await self._files.read(pack_name(number), length - 1, 1):
                raise PeerError(f"{pack_name(number)} is missing or cut off: {TORN}")
        return index

    async def _take_acknowledgements(self) -> None:
        data = await read_whole(self._files, acks_name(self._parts.device), _MAX_ACKNOWLEDGEMENTS_BYTES)
        try:
            for envelope in read_frames(io.BytesIO(data or b"").read):
                self._acknowledged += await self._parts.take_acknowledgement(envelope)
        except ProtocolError as error:
            # The records stay, and go back once more.
            log.warning("acknowledgements_unreadable", error=str(error))

    async def _refresh(self) -> None:
        try:
            await self._parts.trust.refresh(self._metadata)
        except MetadataRefusedError as error:
            if error.code == "metadata_rollback" and error.role in ("timestamp", "snapshot"):
                # The device knows a later state already, in which everything is that was published before.
                log.info("bundle_metadata_older", role=error.role)
                return
            raise

    async def _fetch_targets(self, desired: DesiredState) -> None:
        """Verify every target that a state names, and keep it for the steps that come later."""
        for config in desired.configs:
            await self._fetch(config, desired)
        for slot in desired.slots.values():
            for target in (slot.target, *slot.adapters):
                await self._fetch_deltas(await self._fetch(target, desired))

    async def _fetch(self, target: TargetRef, desired: DesiredState) -> bytes:
        try:
            return await self._parts.trust.fetch_target(
                target, self._metadata, minimum_versions=desired.minimum_versions
            )
        except TargetNotYetVisibleError as error:
            raise PeerError(f"{error}: {TORN}") from error

    async def _fetch_deltas(self, manifest: bytes) -> None:
        """Keep what the bundle has of the indexes of deltas; nothing depends on one."""
        trust = self._parts.trust
        try:
            variants = decode_manifest(manifest).variants
        except ProtocolError:
            return  # the engine says what is wrong with it
        for ref in [ref for each in variants for file in each.files for ref in trust.deltas(file.sha256)]:
            try:
                await trust.fetch_target(ref, self._metadata)
            except AgentError as error:
                log.info("delta_not_brought", path=ref.path, error=str(error))

    async def _wait(
        self, desired: DesiredState, mark: GenerationMark, wait_s: float, *, again: bool
    ) -> Ended:
        """Wait until the update is at its end, or cannot get there with this bundle.

        Args:
            desired: What is wanted.
            mark: Its generation.
            wait_s: How long at most.
            again: It was accepted before; what was refused then has a moment to begin anew.
        """
        engine, began = self._parts.engine, time.monotonic()
        recheck_s = self._parts.limits.recheck_s if again else 0.0
        while True:
            passed_s = time.monotonic() - began
            ended = self._look(desired, mark)
            if ended is not None and not (ended.outcome == "refused" and passed_s < recheck_s):
                return ended
            if passed_s > wait_s:
                message = "the update goes on by itself; see 'skerry-agent status'"
                return Ended("waiting", "not_waited_for", message, str(mark.generation))
            reports = engine.reports()
            if any(report.reason and report.reason.code == "spread_out" for report in reports.values()):
                self._parts.hurry()
            await self._files.tell({"slots": slot_entries(reports), "wanted": list(desired.slots)})
            await asyncio.sleep(self._parts.limits.poll_s)

    def _look(self, desired: DesiredState, mark: GenerationMark) -> Ended | None:
        """How the update ended; None while it goes on."""
        engine, generation = self._parts.engine, str(mark.generation)
        if engine.accepted != mark:
            message = "the device follows a newer desired state, which came meanwhile"
            return Ended("waiting", "superseded", message, generation)
        if engine.considered != mark:
            return None
        outcome, reason = outcome_of(desired, engine.reports(), self._parts.configs())
        if outcome in ("under_way", "waiting") and (stuck := self._stuck()) is not None:
            return Ended("failed", "bundle_incomplete", stuck, generation)
        if outcome == "under_way":
            return None
        code, message = ("", "") if reason is None else (reason.code, reason.message)
        return Ended(outcome, code, message, generation)

    def _stuck(self) -> str | None:
        """Why the bundle cannot bring what is needed, when nobody else can either."""
        source = self._parts.source
        if self._parts.connected():
            return None
        if source.problem is not None:
            return f"{source.problem}: {TORN}"
        if source.lacking_bytes:
            return (
                f"{source.lacking_bytes} bytes are needed that neither the bundle nor this device has: export"
                " it with a --base that this device runs, or without one"
            )
        return None

    async def _note(self, head: BundleHead, ended: Ended) -> None:
        data: dict[str, Value] = {
            "artifact": head.artifacts[0] if head.artifacts else "",
            "generation": ended.generation,
            "outcome": ended.outcome,
        }
        if ended.code:
            data |= {"code": ended.code, "message": ended.message}
        await self._parts.events.emit("bundle_imported", audit=True, **data)

    async def _write_back(self) -> Mapping[str, Any]:
        try:
            written = await self._parts.back.write(self._files)
        except AgentError as error:
            return {"written": None, "not_written": str(error)}
        return {"written": written._asdict(), "not_written": ""}


class WrongBundleError(PeerError):
    """A bundle for other devices."""

    code = "wrong_device"
