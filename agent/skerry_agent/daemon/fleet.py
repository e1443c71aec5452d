"""What a device does for its fleet: trust, desired states, updates, reports."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from skerry_agent import __version__
from skerry_agent.bundles import BackWriter, BundleImport, ImportLimits, ImportParts, ImportSessions
from skerry_agent.configs import ConfigFollower, ConfigTarget
from skerry_agent.daemon.controller_link import ControllerLink
from skerry_agent.daemon.download_network import open_network
from skerry_agent.daemon.local import LocalDevice
from skerry_agent.identity import FleetLink, Identity
from skerry_agent.runtime import LlamaLibrary, cache_tokens
from skerry_agent.settings import BUNDLE_SECTIONS, check_bundle
from skerry_agent.settings.fleet_slices import sync_limits, update_limits
from skerry_agent.settings.slices import runner_options
from skerry_agent.sync import CommandOutcome, ReportSources, SyncService
from skerry_agent.telemetry import read_inventory
from skerry_agent.trials import LiveHealth, Perplexities, RunnerTrier
from skerry_agent.trust import FleetTargets, TrustStore
from skerry_agent.updates import LinuxDevice, Opening, Starts, UpdateEngine
from skerry_agent.updates.sources import BundleSource, PatchSource
from skerry_protocol.desired import DesiredState
from skerry_protocol.generation import GenerationMark
from skerry_protocol.names import LOCAL_PREFIX
from skerry_protocol.reported import Inventory, SlotReport

log = structlog.get_logger(__name__)


@dataclass
class FleetDevice:
    """The fleet's side of the daemon; implements ``admin.Fleet``."""

    identity: Identity
    local: LocalDevice
    trust: TrustStore
    engine: UpdateEngine
    configs: ConfigFollower
    sync: SyncService
    imports: ImportSessions

    @property
    def device(self) -> str:
        """The device's id."""
        return self.identity.device

    @property
    def connected(self) -> bool:
        """Whether the MQTT session is up."""
        return self.sync.connected

    def reports(self) -> Mapping[str, SlotReport]:
        """Where each slot of the fleet stands."""
        return self.engine.reports()

    async def rollback(self, slot: str) -> None:
        """Go back to the version before, and hold there until a new attempt."""
        await self.engine.rollback(slot)

    def nudge(self) -> None:
        """Do not wait out pauses of updates: somebody at the device asks for them."""
        self.engine.hurry()

    def settings_changed(self) -> None:
        """Look again at what waits: windows and limits may be others."""
        self.engine.nudge()

    async def run(self) -> None:
        """Follow the fleet until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.engine.run(), name="updates")
            tasks.create_task(self.configs.run(), name="configs")
            for changed in (self.engine.changed, self.configs.changed):
                tasks.create_task(self._report(changed), name="report-changes")
            tasks.create_task(self.sync.run(), name="sync")
            tasks.create_task(self.imports.run(), name="imports")

    async def _report(self, changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            self.sync.report_changed()


class DesiredStates:
    """Hands an accepted desired state to the updates and to the settings; implements ``DesiredFollower``."""

    def __init__(self, engine: UpdateEngine, configs: ConfigFollower) -> None:
        self._engine = engine
        self._configs = configs
        if engine.desired is not None:
            self._follow_configs(engine.desired)

    @property
    def accepted(self) -> GenerationMark | None:
        """The newest desired state that was accepted."""
        return self._engine.accepted

    async def follow(self, desired: DesiredState, mark: GenerationMark) -> None:
        """Store it and go after it."""
        await self._engine.follow(desired, mark)
        self._follow_configs(desired)

    def _follow_configs(self, desired: DesiredState) -> None:
        self._configs.follow(desired.configs, desired.minimum_versions)


@asynccontextmanager
async def open_fleet(
    local: LocalDevice, identity: Identity, settings_target: ConfigTarget
) -> AsyncIterator[FleetDevice]:
    """Open trust, updates and the session of an enrolled device.

    Args:
        local: What runs already.
        identity: Who this device is.
        settings_target: Takes the fleet's settings.

    Raises:
        AgentError: What enrollment left is unusable; the device goes on serving what it has.
    """
    trust = TrustStore(local.state.trust, local.time, events=local.outbox)
    await trust.load()
    link = ControllerLink()
    bundle = BundleSource()
    targets = FleetTargets(trust, link, link.carried_bytes)
    trier = RunnerTrier(local.pool, lambda: _active_files(local), Perplexities(local.state.measurements))
    network = open_network(local, link, identity.device)
    inventory = read_inventory(local.state.root)
    engine = await UpdateEngine.open(
        local.state.updates,
        local.registry,
        targets=targets,
        network=network,
        nearby=[
            PatchSource(local.registry, targets, bundle),
            bundle,
            PatchSource(local.registry, targets, network),
        ],
        trier=trier,
        device=LinuxDevice(
            inventory=inventory,
            memory=local.pool.room_for,
            cache_tokens=lambda trained: cache_tokens(
                runner_options(local.settings.runtime, local.state.prefixes), trained
            ),
            library=LlamaLibrary().problem,
        ),
        health=LiveHealth(local.pool),
        events=local.outbox,
        limits=update_limits(local.settings.updates),
        activation_delay_s=Opening(lambda: local.settings.updates.activation_window, local.time.now).closed_s,
        starts=Starts(lambda: local.settings.updates.start_spread_s, identity.device, time.monotonic),
        wall=local.time.now,
    )
    try:
        configs = await asyncio.to_thread(
            lambda: ConfigFollower(
                local.state.configs,
                targets=targets,
                target=settings_target,
                validate=check_bundle,
                allowed_sections=BUNDLE_SECTIONS,
                events=local.outbox,
            )
        )
        yield _assemble(local, identity, trust, engine, configs, link, bundle, inventory)
    finally:
        await engine.close()


def _assemble(
    local: LocalDevice,
    identity: Identity,
    trust: TrustStore,
    engine: UpdateEngine,
    configs: ConfigFollower,
    link: ControllerLink,
    bundle: BundleSource,
    inventory: Inventory,
) -> FleetDevice:
    async def roll_back(arguments: Mapping[str, str]) -> CommandOutcome:
        await engine.rollback(arguments.get("slot", ""))
        return CommandOutcome(ok=True, message="rolled back")

    def nudge() -> None:
        engine.nudge()
        configs.nudge()

    fleet_link = FleetLink(identity, trust, local.time)
    sync = SyncService(
        connector=fleet_link,
        signer=identity.signer,
        clock=local.time,
        open_down=trust.open_down,
        refresh=trust.refresh,
        engine=DesiredStates(engine, configs),
        outbox=local.outbox,
        report=_report_sources(local, trust, engine, configs, inventory),
        certificate=fleet_link,
        commands={"rollback": roll_back},
        on_connected=nudge,
        similar=trust.similar,
        limits=sync_limits(local.settings.sync),
    )
    link.requester = sync.requester
    imports = _imports(identity, local, trust, engine, configs, sync, bundle)
    return FleetDevice(identity, local, trust, engine, configs, sync, imports)


def _imports(
    identity: Identity,
    local: LocalDevice,
    trust: TrustStore,
    engine: UpdateEngine,
    configs: ConfigFollower,
    sync: SyncService,
    bundle: BundleSource,
) -> ImportSessions:
    def hurry() -> None:
        engine.hurry()
        configs.nudge()

    limits = ImportLimits()
    parts = ImportParts(
        device=identity.device,
        trust=trust,
        take_desired=sync.take_desired,
        take_acknowledgement=sync.take_acknowledgement,
        engine=engine,
        configs=configs.reports,
        hurry=hurry,
        source=bundle,
        back=BackWriter(identity.device, identity.signer, local.outbox, sync.sealed_report),
        events=local.outbox,
        connected=lambda: sync.connected,
        limits=limits,
    )
    return ImportSessions(lambda files: BundleImport(parts, files), limits)


def _report_sources(
    local: LocalDevice,
    trust: TrustStore,
    engine: UpdateEngine,
    configs: ConfigFollower,
    inventory: Inventory,
) -> ReportSources:
    return ReportSources(
        slots=engine.reports,
        accepted=lambda: engine.accepted,
        inventory=lambda: inventory,
        metadata_versions=lambda: trust.versions,
        configs=configs.reports,
        trust_epoch=lambda: trust.trust_document.epoch,
        unsigned=lambda: [
            slot.serving.parts[-1].ref
            for slot in local.registry.slots_now.values()
            if slot.serving is not None and slot.name.startswith(LOCAL_PREFIX)
        ],
        agent_version=__version__,
    )


async def _active_files(local: LocalDevice) -> set[str]:
    return {slot.active.file_sha256 for slot in await local.registry.slots() if slot.active}
