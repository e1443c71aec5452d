"""Both ends of a stick in one process: a controller that nobody can reach, and a device that hears nobody.

The controller's services, the device's trust, judge, engine and outbox are the real ones; only trials run no
model.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from skerry_agent.bundles import BackWriter, BundleImport, ImportLimits, ImportParts
from skerry_agent.cli.stick import Stick
from skerry_agent.outbox import Outbox
from skerry_agent.registry import Registry
from skerry_agent.sync import ReportSources, SyncService
from skerry_agent.trust import FilesSource, FleetTargets, TrustedTime, TrustStore
from skerry_agent.updates import Network, Traffic, UpdateEngine, UpdateLimits
from skerry_agent.updates.sources import BundleSource, PatchSource
from skerry_controller.artifacts.adding import add_artifact
from skerry_controller.artifacts.building import build_adapter, build_config, build_model
from skerry_controller.cli.client import ControllerClient
from skerry_controller.cli.exporting import write_bundle
from skerry_controller.clock import utc_now
from skerry_controller.database import DeviceRow
from skerry_controller.deltas import BuiltDelta, Version, build_delta
from skerry_controller.deltas.publishing import publish_delta
from skerry_controller.enrollment.first_files import first_files
from skerry_controller.serve.core import Core
from skerry_controller.setup import NewController
from skerry_protocol.manifest import decode_manifest
from skerry_protocol.names import ArtifactRef, new_device_id
from skerry_protocol.reported import Inventory
from skerry_protocol.signing import KeySigner, public_pem
from support.controller_data import open_keyring, opened_core, operator_http
from support.fake_health import FakeHealth
from support.lora_gguf import write_lora_gguf
from support.publishing import CoreRemote
from support.registry import LIMITS
from support.scripted_controller import PlainConnector, new_device_signer
from support.tiny_gguf import CHATML, write_tiny_gguf
from support.tuning import tuned
from support.updates import FakeDevice, FakeTrier

CHANNEL = "assistant/stable"
SITE = "hut"


@dataclass
class Office:
    """The controller."""

    folder: Path
    made: NewController
    core: Core
    client: ControllerClient

    async def publish(self, version: str, *, seed: int = 0, fix: str = "") -> Path:
        """Publish ``tiny@VERSION``; with another ``fix``, another chat template."""
        file = self.folder / f"tiny-{version}.gguf"
        write_tiny_gguf(file, seed=seed, blocks=1, chat_template=CHATML + fix)
        built = build_model(ArtifactRef.parse(f"tiny@{version}"), file)
        signer = open_keyring(self.made).signer("models")
        await add_artifact(CoreRemote(self.core), built, file, signer, clock=utc_now)
        return file

    async def publish_adapter(self, ref: str, base: str, *, seed: int) -> Path:
        """Publish an adapter for ``tiny@BASE``."""
        on = self.folder / f"tiny-{base}.gguf"
        file = write_lora_gguf(self.folder / f"{ref}.gguf", on, seed=seed, rank=2)
        built = build_adapter(ArtifactRef.parse(ref), file, hashlib.sha256(on.read_bytes()).hexdigest())
        signer = open_keyring(self.made).signer("models")
        await add_artifact(CoreRemote(self.core), built, file, signer, clock=utc_now)
        return file

    async def publish_tuned(self, version: str, base: str) -> BuiltDelta:
        """Publish a fine-tune of another version, and a delta from that."""
        one, two = (self.folder / f"tiny-{each}.gguf" for each in (base, version))
        two.write_bytes(tuned(one.read_bytes()))
        signer, remote = open_keyring(self.made).signer("models"), CoreRemote(self.core)
        built = [build_model(ArtifactRef.parse(f"tiny@{v}"), f) for v, f in ((base, one), (version, two))]
        await add_artifact(remote, built[1], two, signer, clock=utc_now)
        entries = [decode_manifest(each.content).variants[0].files[0] for each in built]
        pack = self.folder / f"pack-{version}"
        delta = build_delta("tiny", Version(entries[1], two), Version(entries[0], one), pack)
        if delta is None:
            raise AssertionError("a fine-tune without a delta")
        await publish_delta(remote, delta, signer, clock=utc_now)
        return delta

    async def publish_settings(self, ref: str) -> None:
        """Publish a config bundle and give it to the devices of the site."""
        file = self.folder / "bundle.toml"
        file.write_text("[telemetry]\nsample_interval_s = 30\n", encoding="utf-8")
        built = build_config(ArtifactRef.parse(ref), file)
        signer = open_keyring(self.made).signer("configs")
        await add_artifact(CoreRemote(self.core), built, file, signer, clock=utc_now)
        await self.client.post("/config-assignments", {"bundle": ref, "selector": f"site={SITE}"})

    async def point_channel(self, version: str) -> None:
        """Let the channel begin at a version, or roll it out to all at once."""
        path = f"/channels/{CHANNEL}"
        if version == "1":
            await self.client.put(path, {"selector": f"site={SITE}", "artifact": "tiny@1"})
            return
        body = {"channel": CHANNEL, "to": f"tiny@{version}", "waves": "100%", "soak": "0s"}
        await self.client.post("/rollouts", body)

    async def export(self, version: str, output: Path, **request: Any) -> dict[str, Any]:
        """Write a bundle."""
        return await write_bundle(self.client, {"artifacts": [f"tiny@{version}"], **request}, output)

    async def add_device(self, signer: KeySigner, site: str = SITE) -> str:
        """Enroll a device, as far as the database goes."""
        device = new_device_id()
        row = DeviceRow(
            id=device,
            enrolled_at=self.core.clock(),
            public_key_pem=public_pem(signer.public_key),
            certificate_pem="",
            labels={"site": site},
            inventory={},
        )
        async with self.core.database.transaction() as session:
            session.add(row)
        return device


@asynccontextmanager
async def open_office(folder: Path) -> AsyncIterator[Office]:
    """A controller with ``tiny@1`` on its channel."""
    async with opened_core(folder) as (made, core), operator_http(core, made.admin_token) as http:
        office = Office(folder, made, core, ControllerClient(http))
        await office.publish("1")
        await office.point_channel("1")
        yield office


@dataclass
class DirectStick:
    """The command's hands on the stick, without a socket between. Implements ``BundleFiles``."""

    stick: Stick
    told: list[Mapping[str, Any]] = field(default_factory=list)

    async def read(self, name: str, offset: int, length: int) -> bytes | None:
        return await asyncio.to_thread(self.stick.read, name, offset, length)

    async def write(self, name: str, data: bytes, *, first: bool, last: bool) -> None:
        await asyncio.to_thread(lambda: self.stick.write(name, data, first=first, last=last))

    async def tell(self, progress: Mapping[str, Any]) -> None:
        self.told.append(progress)


class Hut:
    """The device."""

    def __init__(self) -> None:
        self.signer = new_device_signer()
        self.wall_offset_s = 0.0
        self.device = ""
        self.trier = FakeTrier()

    async def open(self, stack: AsyncExitStack, folder: Path, office: Office) -> Self:
        """Enroll and start it; what was opened is closed with the stack."""
        await asyncio.to_thread(folder.mkdir)
        self.device = await office.add_device(self.signer)
        clock = TrustedTime(folder / "time.json", lambda: time.time() + self.wall_offset_s)
        self.outbox = await Outbox.open(folder / "outbox.db", clock=clock)
        stack.push_async_callback(self.outbox.close)
        self.trust = TrustStore(folder / "trust", clock, events=self.outbox)
        files = first_files(office.core.repository)
        root = files["1.root.json"]
        await self.trust.bootstrap(root, hashlib.sha256(root).hexdigest(), FilesSource(files))
        self.registry = await Registry.open(folder / "registry", limits=LIMITS, events=self.outbox)
        stack.push_async_callback(self.registry.close)
        self.source = BundleSource()
        limits = UpdateLimits(progress_s=0.0, soak_s=0.0)
        targets = FleetTargets(self.trust, FilesSource({}))
        self.engine = await UpdateEngine.open(
            folder / "updates.db",
            self.registry,
            targets=targets,
            network=Network([], Traffic(), self.outbox, limits),
            trier=self.trier,
            events=self.outbox,
            device=FakeDevice(),
            health=FakeHealth(),
            limits=limits,
            nearby=[PatchSource(self.registry, targets, self.source), self.source],
        )
        stack.push_async_callback(self.engine.close)
        self.sync = self._sync(clock)
        task = asyncio.create_task(self.engine.run(), name="engine")
        stack.push_async_callback(_ended, task)
        return self

    def _sync(self, clock: TrustedTime) -> SyncService:
        return SyncService(
            connector=PlainConnector(self.device),
            signer=self.signer,
            clock=clock,
            open_down=self.trust.open_down,
            refresh=self.trust.refresh,
            engine=self.engine,
            outbox=self.outbox,
            report=ReportSources(
                slots=self.engine.reports,
                accepted=lambda: self.engine.accepted,
                inventory=Inventory,
                metadata_versions=lambda: self.trust.versions,
                trust_epoch=lambda: self.trust.trust_document.epoch,
            ),
        )

    def parts(self) -> ImportParts:
        """What an import is made of."""
        return ImportParts(
            device=self.device,
            trust=self.trust,
            take_desired=self.sync.take_desired,
            take_acknowledgement=self.sync.take_acknowledgement,
            engine=self.engine,
            configs=tuple,
            hurry=self.engine.hurry,
            source=self.source,
            back=BackWriter(self.device, self.signer, self.outbox, self.sync.sealed_report),
            events=self.outbox,
            connected=lambda: False,
            limits=ImportLimits(poll_s=0.02, recheck_s=0.2),
        )

    async def take_in(self, folder: Path, wait_s: float = 20.0) -> dict[str, Any]:
        """``skerry-agent import``."""
        return await BundleImport(self.parts(), DirectStick(Stick(folder))).run(wait_s)

    @property
    def active(self) -> str | None:
        """What serves."""
        slot = self.registry.slots_now.get(CHANNEL)
        return slot.active.ref if slot is not None and slot.active is not None else None


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
