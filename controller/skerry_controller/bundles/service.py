"""Puts a bundle together: everything but the bytes of chunks, which are read while it is written."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select

from skerry_controller.audit import note
from skerry_controller.bundles.deltas import DeltaOffer, choose, files_of
from skerry_controller.bundles.packing import Packing, pack
from skerry_controller.clock import Clock
from skerry_controller.database import ArtifactRow, Database, DeltaRow, DeviceRow
from skerry_controller.director import Director
from skerry_controller.errors import NotFoundError, UsageError, WorldError
from skerry_controller.fleet import DesiredPublisher, RevokedDeviceError
from skerry_controller.fleet.channels import find_artifact_of_any_kind
from skerry_controller.fleet.desired import desired_content
from skerry_controller.fleet.plan_loading import load_assignments, load_plan
from skerry_controller.repository import CarriedMetadata, Repository, target_name
from skerry_controller.telemetry import TelemetryIngest
from skerry_protocol.bundle import (
    BUNDLE_LIMITS,
    HEAD,
    INDEX,
    BundleHead,
    acks_name,
    desired_name,
    encode_head,
    encode_index,
    frame,
    repository_file,
)
from skerry_protocol.deltas import decode_delta_index
from skerry_protocol.desired import DesiredSlot, TargetRef, decode_desired
from skerry_protocol.envelope import parse
from skerry_protocol.manifest import Manifest, decode_manifest
from skerry_protocol.names import TRUST_TARGET, parse_target_path
from skerry_protocol.selectors import Selector
from skerry_protocol.trust_document import TrustDocument

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What an operator asks for.

    Attributes:
        artifacts: ``NAME@VERSION`` of what it carries; the first is the one it is about.
        base: ``NAME@VERSION`` of what the devices have already.
        devices: Ids of devices whose desired states it carries.
        selector: Further devices by label; None for none.
        valid_s: How long it shall count, in seconds.
    """

    artifacts: tuple[str, ...]
    base: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    selector: str | None = None
    valid_s: int = 30 * 86400


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is written.

    Attributes:
        head: The bundle's head.
        files: Every file but packs and sums, by its name.
        packing: The packs.
        deltas: Target paths of the deltas in it.
        notes: What the operator should know.
    """

    head: BundleHead
    files: Mapping[str, bytes]
    packing: Packing
    deltas: tuple[str, ...]
    notes: tuple[str, ...]


class Bundles:
    """Makes bundles."""

    def __init__(
        self,
        database: Database,
        repository: Repository,
        publisher: DesiredPublisher,
        ingest: TelemetryIngest,
        director: Director,
        trust: Callable[[], TrustDocument],
        clock: Clock,
        *,
        max_valid_days: int,
    ) -> None:
        self._database = database
        self._repository = repository
        self._publisher = publisher
        self._ingest = ingest
        self._director = director
        self._trust = trust
        self._clock = clock
        self._max_valid_days = max_valid_days

    async def assemble(self, request: BundleRequest, *, actor: str) -> Bundle:
        """Issue metadata and desired states, and choose the chunks.

        Raises:
            UsageError: It cannot be: too long a validity, or a device that should run something else.
            NotFoundError: An artifact or device is not there.
            PeerError: A device was revoked, or metadata of an offline key has expired.
            WorldError: The store or the disk failed.
        """
        self._check_validity(request.valid_s)
        async with self._database.session() as session:
            wanted = [await find_artifact_of_any_kind(session, ref) for ref in request.artifacts]
            base = [await find_artifact_of_any_kind(session, ref) for ref in request.base]
        chosen, notes = await self._choose(await self._devices(request), wanted, request)
        manifests, base_manifests = _manifests(wanted), _manifests(base)
        offers = await self._delta_offers(manifests, base_manifests)
        max_pack_bytes = BUNDLE_LIMITS.max_pack_bytes
        carried = choose(manifests, base_manifests, offers, max_pack_bytes)
        packing = pack(carried.chunks, max_pack_bytes=max_pack_bytes)
        deltas = [delta.path for delta in carried.deltas]
        index = encode_index(packing.index)
        now = self._clock()
        valid = timedelta(seconds=request.valid_s)
        # First the desired states, then the metadata: they name versions that it must have.
        envelopes = await self._publisher.carried(chosen, now + valid)
        metadata = await asyncio.to_thread(self._repository.issue_carried, valid, now=now)
        head = BundleHead(
            fleet=(await asyncio.to_thread(self._trust)).fleet,
            created_at=int(now.timestamp()),
            expires_at=int(metadata.expires.timestamp()),
            artifacts=request.artifacts,
            base=request.base,
            devices=tuple(sorted(envelopes)),
            chunk_bytes=packing.length,
        )
        files = {HEAD: encode_head(head), INDEX: index}
        named = [*deltas, *(row.target_path for row in wanted)]
        files |= await asyncio.to_thread(self._repository_files, metadata, named, envelopes.values())
        files |= {desired_name(device): envelope for device, envelope in envelopes.items()}
        files |= await self._acknowledgements(envelopes, request.valid_s)
        await self._note(head, actor, now)
        notes += _expiry_note(metadata.expires, now + valid)
        return Bundle(head, files, packing, tuple(deltas), tuple(notes))

    async def _delta_offers(self, wanted: Sequence[Manifest], base: Sequence[Manifest]) -> list[DeltaOffer]:
        """The published deltas to what is wanted that devices with the base can use."""
        query = select(DeltaRow.target_path).where(
            DeltaRow.file_sha256.in_([file.sha256 for file in files_of(wanted)]),
            DeltaRow.base_sha256.is_(None)
            | DeltaRow.base_sha256.in_([file.sha256 for file in files_of(base)]),
            DeltaRow.withdrawn_at.is_(None),
        )
        async with self._database.session() as session:
            paths = list(await session.scalars(query.order_by(DeltaRow.target_path)))
        offers = []
        for path in paths:
            content = await asyncio.to_thread(self._repository.target, path)
            if content is None:
                raise WorldError(f"the repository lost {path}: restore the controller's data from a backup")
            offers.append(DeltaOffer(path, len(content), decode_delta_index(content, path)))
        return offers

    async def _note(self, head: BundleHead, actor: str, now: datetime) -> None:
        detail = {"devices": list(head.devices), "base": list(head.base), "expires_at": head.expires_at}
        subject = " ".join(head.artifacts)
        async with self._database.transaction() as session:
            note(session, at=now, actor=actor, action="bundle_exported", subject=subject, **detail)

    def _check_validity(self, valid_s: int) -> None:
        if not 0 < valid_s <= self._max_valid_days * 86400:
            raise UsageError(
                f"a bundle can be valid for {self._max_valid_days} days at most: give --valid 30d, or raise"
                " repository.max_carried_days"
            )

    async def _devices(self, request: BundleRequest) -> list[str]:
        """Ids of all devices that the request means."""
        query = select(DeviceRow.id, DeviceRow.labels, DeviceRow.revoked_at).order_by(DeviceRow.id)
        async with self._database.session() as session:
            rows = {row.id: row for row in (await session.execute(query)).all()}
        for device in request.devices:
            if device not in rows:
                raise NotFoundError(f"there is no device {device!r}: 'skerry device list' shows them")
            if rows[device].revoked_at is not None:
                raise RevokedDeviceError(f"{device} was revoked: a bundle has nothing for it")
        found = list(dict.fromkeys(request.devices))
        if request.selector is not None:
            selector = Selector.parse(request.selector)
            found += [
                row.id
                for row in rows.values()
                if row.revoked_at is None and selector.matches(row.labels) and row.id not in found
            ]
            if not found:
                raise NotFoundError(
                    f"no device matches {request.selector!r}: 'skerry device list' shows them"
                )
        return found

    async def _choose(
        self, devices: Sequence[str], wanted: Sequence[ArtifactRow], request: BundleRequest
    ) -> tuple[list[str], list[str]]:
        """Those of the devices that the bundle is for, and what is to be said of it. Issues nothing."""
        async with self._database.session() as session:
            plan, assignments = await load_plan(session), await load_assignments(session)
            query = select(DeviceRow.id, DeviceRow.labels).where(DeviceRow.id.in_(devices))
            labels = {row.id: row.labels for row in (await session.execute(query)).all()}
        carried = {row.target_path for row in wanted}
        ref = f"{wanted[0].name}@{wanted[0].version}"
        chosen, notes = [], []
        for device in devices:
            content = desired_content(labels[device], plan, assignments.get(device, {}))
            paths = target_paths(content.slots, content.configs)
            if wanted[0].target_path in paths:
                chosen.append(device)
                notes += _others_note(device, paths - carried)
                continue
            runs = ", ".join(sorted(str(parse_target_path(path)[1]) for path in paths)) or "nothing"
            what = f"{device} should run {runs}, not {ref}"
            if device in request.devices:
                raise UsageError(
                    f"{what}: set a channel that it follows to it ('skerry channel set', 'skerry rollout"
                    " create'), then export again"
                )
            notes.append(f"{what}: it is left out")
        if devices and not chosen:
            raise UsageError(f"none of the devices should run {ref}: there is nothing to carry to them")
        return chosen, notes

    def _repository_files(
        self,
        metadata: CarriedMetadata,
        targets: Iterable[str],
        envelopes: Iterable[bytes],
    ) -> dict[str, bytes]:
        """Metadata and targets, where a bundle has them."""
        named = dict(metadata.files)
        paths = {TRUST_TARGET, *targets}
        for envelope in envelopes:
            state = decode_desired(parse(envelope).payload)
            paths |= target_paths(state.slots, state.configs)
        for path in sorted(paths):
            content = self._repository.target(path)
            if content is None:
                raise WorldError(f"the repository lost {path}: restore the controller's data from a backup")
            named[target_name(path, self._repository.target_sha256(path))] = content
        files = {}
        for name, content in named.items():
            place = repository_file(name)
            if place is None:
                raise ValueError(f"a bundle has no place for {name}")
            files[place] = content
        return files

    async def _acknowledgements(self, devices: Collection[str], valid_s: int) -> dict[str, bytes]:
        files = {}
        for device in devices:
            streams = await self._ingest.stored(device)
            if streams:
                files[acks_name(device)] = frame(self._director.acknowledge(device, streams, life_s=valid_s))
        return files


def _manifests(rows: Sequence[ArtifactRow]) -> list[Manifest]:
    return [decode_manifest(row.content) for row in rows if row.file_sha256 is not None]


def target_paths(slots: Mapping[str, DesiredSlot], configs: Collection[TargetRef]) -> set[str]:
    """Every target that a desired state names."""
    models = {target.path for slot in slots.values() for target in (slot.target, *slot.adapters)}
    return models | {target.path for target in configs}


def _expiry_note(expires: datetime, until: datetime) -> list[str]:
    if expires >= until - timedelta(seconds=1):
        return []
    text = f"the bundle expires at {expires:%Y-%m-%d %H:%M} UTC, with metadata that offline keys signed"
    return [f"{text}: sign that again for a longer validity"]


def _others_note(device: str, paths: Collection[str]) -> list[str]:
    models = sorted(str(parse_target_path(path)[1]) for path in paths if path.startswith("models/"))
    if not models:
        return []
    text = f"{device} should also run {', '.join(models)}, whose chunks the bundle does not carry"
    return [f"{text}: add --with {models[0]} unless it has them"]
