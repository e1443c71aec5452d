"""One device under test, its broker, and a controller that does as it is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from skerry_agent.outbox import Outbox, OutboxLimits
from skerry_agent.sync import ReportSources, SyncLimits, SyncService
from skerry_protocol.envelope import Kind, open_sealed
from skerry_protocol.reported import Inventory, SlotReport
from skerry_protocol.signing import KeySet, KeySigner
from support.mosquitto import Mosquitto, running_mosquitto
from support.scripted_controller import (
    FakeEngine,
    FakeTrustedClock,
    PlainConnector,
    ScriptedController,
    new_device_signer,
    running_controller,
)

DEVICE = "d-aaaaaaaaaaaaaaaa"
QUICK = SyncLimits(
    reconnect_initial_s=0.05,
    reconnect_max_s=0.2,
    request_timeout_s=2.0,
    retry_initial_s=0.05,
    retry_max_s=0.1,
    ack_timeout_s=0.5,
    report_interval_s=0.1,
    refresh_min_interval_s=0.05,
    connect_timeout_s=5.0,
)


@dataclass
class Device:
    """A running sync service and what stands around it."""

    service: SyncService
    outbox: Outbox
    engine: FakeEngine
    clock: FakeTrustedClock
    connector: PlainConnector
    signer: KeySigner
    slots: dict[str, SlotReport]
    refreshes: list[str] = field(default_factory=list)
    director_keys: KeySet | None = None
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self.service.run()), asyncio.create_task(self.outbox.run())]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks = []
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def events(self, name: str) -> list[dict[str, Any]]:
        return [dict(event.data) for event in await self.outbox.recent_events() if event.name == name]

    async def wait_until_acknowledged(self) -> None:
        async with asyncio.timeout(20):
            while sum((await self.outbox.stats()).pending.values()):  # noqa: ASYNC110 - it tells of additions only
                await asyncio.sleep(0.01)

    async def wait_for_event(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while len(found := await self.events(name)) < count:
                committed = asyncio.Event()
                self.outbox.watch(committed.set)
                if len(await self.events(name)) < count:
                    await committed.wait()
        return found


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with running_mosquitto(tmp_path) as broker:
        yield broker


MakeDevice = Callable[..., Any]


@pytest.fixture
async def make_device(tmp_path: Path, broker: Mosquitto) -> AsyncIterator[MakeDevice]:
    """Makes (device, controller); both end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            *,
            limits: SyncLimits = QUICK,
            outbox_limits: OutboxLimits | None = None,
            through: Any = None,
            at: Mosquitto | None = None,
            start: bool = True,
            **changes: Any,
        ) -> tuple[Device, ScriptedController]:
            server = at or broker
            signer = new_device_signer()
            controller = ScriptedController(DEVICE, KeySet([signer.public_key]))
            clock, engine, slots = FakeTrustedClock(), FakeEngine(), dict[str, SlotReport]()
            outbox = await Outbox.open(
                tmp_path / f"outbox-{server.port}.db",
                outbox_limits or OutboxLimits(flush_interval_s=0.05),
                clock=clock,
            )
            stack.push_async_callback(outbox.close)
            refreshes: list[str] = []

            async def refresh(source: Any) -> None:
                refreshes.append("refresh")
                if device.director_keys is None:
                    device.director_keys = KeySet([controller.director.public_key])

            def open_down(kind: Kind, data: bytes) -> bytes:
                keys = device.director_keys or KeySet([controller.director.public_key])
                return open_sealed(data, kind, keys)

            connector = PlainConnector(DEVICE, (through or server).address)
            service = SyncService(
                connector=connector,
                signer=signer,
                clock=clock,
                open_down=open_down,
                refresh=refresh,
                engine=engine,
                outbox=outbox,
                report=ReportSources(
                    slots=lambda: slots,
                    accepted=lambda: engine.accepted,
                    inventory=Inventory,
                    metadata_versions=dict,
                    trust_epoch=lambda: 1,
                    agent_version="1.0",
                ),
                limits=limits,
                **changes,
            )
            device = Device(service, outbox, engine, clock, connector, signer, slots, refreshes)
            await stack.enter_async_context(running_controller(controller, server.address))
            stack.push_async_callback(device.stop)
            if start:
                device.start()
                await service.wait_connected(10)
            return device, controller

        yield make


@pytest.fixture
def quick() -> Callable[..., SyncLimits]:
    """Times short enough for tests, with changes."""

    def make(**changes: Any) -> SyncLimits:
        return replace(QUICK, **changes)

    return make
