"""Puts together everything that faces the fleet, for ``serve`` and for commands on a data folder."""

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass, field

import structlog

from skerry_controller.authorities import Authorities
from skerry_controller.blobs import BlobStore
from skerry_controller.clock import Clock
from skerry_controller.database import Database
from skerry_controller.director import Director
from skerry_controller.fleet import (
    Channels,
    ConfigAssignments,
    DesiredPublisher,
    DeviceKeys,
    Devices,
    FleetSettings,
    Refusals,
    Reports,
)
from skerry_controller.mqtt.answering import RequestAnswers
from skerry_controller.mqtt.capability_answers import CapabilityAnswers, CapabilityMaker
from skerry_controller.mqtt.commands import CommandService
from skerry_controller.mqtt.intake import Intake
from skerry_controller.mqtt.outbound import Outbound
from skerry_controller.mqtt.renewals import Renewals
from skerry_controller.mqtt.service import MqttService
from skerry_controller.mqtt.settings import MqttSettings
from skerry_controller.mqtt.sources import MetadataCache, PublishedBlobs
from skerry_controller.mqtt.tls import client_context
from skerry_controller.mqtt.trust_view import TrustView
from skerry_controller.repository import Repository
from skerry_controller.rollouts import Rollouts
from skerry_controller.telemetry import Telemetry, TelemetryIngest

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetParts:
    """What the fleet's side is built from."""

    database: Database
    repository: Repository
    blobs: BlobStore
    authorities: Authorities
    director: Director
    capabilities: CapabilityMaker
    clock: Clock
    mqtt: MqttSettings
    fleet: FleetSettings = field(default_factory=FleetSettings)
    capability_life_s: int = 3600
    tick_interval_s: float = 1.0


class FleetSide:
    """The services that operators' routes ask for, and the tasks that talk with devices."""

    def __init__(self, parts: FleetParts) -> None:
        """Build everything; nothing runs yet."""
        self._parts = parts
        database, clock, director = parts.database, parts.clock, parts.director
        self._trust = TrustView(parts.repository)
        self.outbound = Outbound(parts.mqtt)
        self.keys = DeviceKeys(database)
        self.refusals = Refusals(database, clock, time.monotonic)
        self.reports = Reports(database, self.keys, clock)
        self.publisher = DesiredPublisher(
            database, director, self.outbound, self._trust.state, clock, parts.fleet
        )
        self.devices = Devices(database, clock, sees_presence=lambda: self.outbound.connected)
        self.channels = Channels(database, clock)
        self.configs = ConfigAssignments(database, clock)
        self.rollouts = Rollouts(database, self.publisher, clock)
        self.ingest = TelemetryIngest(database, self.keys, director, self.outbound, clock)
        self.telemetry = Telemetry(database, self.ingest)
        self.commands = CommandService(database, director, self.keys, self.outbound, clock)
        self.mqtt = MqttService(parts.mqtt, self._tls, self.outbound, self._intake())
        self._enrolled: set[str] = set()
        self._fleet_changed = asyncio.Event()

    @property
    def services(self) -> tuple[object, ...]:
        """What goes into the operators' application."""
        return (
            self.devices,
            self.channels,
            self.configs,
            self.publisher,
            self.rollouts,
            self.telemetry,
            self.commands,
        )

    def on_enrolled(self, device: str) -> None:
        """A device is new: it gets its desired state before it first connects."""
        self._enrolled.add(device)
        self._fleet_changed.set()

    async def run(self) -> None:
        """Keep the session, plan rollouts and keep desired states fresh, until this is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.mqtt.run(), name="mqtt")
            group.create_task(self.rollouts.run(self._parts.tick_interval_s), name="rollouts")
            group.create_task(self._keep_fresh(), name="desired-states")

    async def _keep_fresh(self) -> None:
        while True:
            try:
                if self._enrolled:
                    new, self._enrolled = self._enrolled, set()
                    await self.publisher.refresh(new)
                    self.rollouts.wake()
                else:
                    await self.publisher.sweep()
            except Exception as error:  # one device's row must not take the controller down
                log.exception("sweep_failed", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._parts.fleet.sweep_interval_s):
                    await self._fleet_changed.wait()
            self._fleet_changed.clear()

    def _intake(self) -> Intake:
        parts = self._parts
        answers = RequestAnswers(
            metadata=MetadataCache(parts.repository),
            published=PublishedBlobs(parts.database),
            blobs=parts.blobs,
            keys=self.keys,
            capabilities=CapabilityAnswers(
                parts.director,
                parts.capabilities,
                self._trust.document,
                parts.clock,
                life_s=parts.capability_life_s,
            ),
            renewals=Renewals(parts.database, parts.authorities, parts.director, parts.clock),
            max_body_bytes=parts.mqtt.max_body_bytes,
        )
        return Intake(
            reports=self.reports,
            publisher=self.publisher,
            planner=self.rollouts,
            batches=self.ingest,
            commands=self.commands,
            answers=answers,
            frames=self.outbound,
            refusals=self.refusals,
        )

    def _tls(self) -> ssl.SSLContext:
        # A fresh certificate for each connection: a session may last longer than one lives.
        authorities = self._parts.authorities
        pair = authorities.issue_controller_certificate(now=self._parts.clock())
        return client_context(authorities.servers.certificate_pem.decode("ascii"), pair)
