import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from skerry_controller.broker import ManagedBroker
from skerry_controller.clock import Clock
from skerry_controller.data_folder import DataFolder
from skerry_controller.enrollment import EnrollmentService
from skerry_controller.errors import ControllerError
from skerry_controller.mqtt import FleetSide
from skerry_controller.serve import slices
from skerry_controller.serve.assembly import device_app, fleet_side, operator_app
from skerry_controller.serve.certificates import ServerCertificate, server_names
from skerry_controller.serve.connections import allow_many_files
from skerry_controller.serve.core import Core, open_core
from skerry_controller.serve.listeners import Listener, bind
from skerry_controller.serve.notify import keep_watchdog_calm, notify, watchdog_interval_s
from skerry_controller.serve.upkeep import Upkeep, broker_material
from skerry_controller.settings import ControllerSettings
from skerry_protocol.trust_document import TrustDocument

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the running controller listens."""

    operators: str
    devices: str
    broker: str


async def serve(
    settings: ControllerSettings,
    *,
    clock: Clock,
    stop: asyncio.Event,
    on_ready: Callable[[Addresses], None] = lambda _: None,
) -> None:
    """Run the controller until ``stop`` is set.

    Args:
        settings: Everything that can be set.
        clock: Time.
        stop: Ends it in order: no new requests, running ones finish, the broker last.
        on_ready: Called when everything listens.

    Raises:
        ControllerError: It could not start, or a part failed for good; the first reason.
    """
    allow_many_files()
    async with open_core(DataFolder(settings.server.data_dir), settings, clock) as core:
        try:
            await _Service(core).run(stop, on_ready)
        except* ControllerError as group:
            raise _first(group) from group


class _Service:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._settings = core.settings

    async def run(self, stop: asyncio.Event, on_ready: Callable[[Addresses], None]) -> None:
        trust = await asyncio.to_thread(self._core.trust_document)
        further = (*self._settings.device.certificate_names, slices.broker_host(self._settings))
        certificate = ServerCertificate(
            self._core.data.certificates, self._core.authorities, server_names(trust, further)
        )
        await asyncio.to_thread(certificate.ensure, self._core.clock())
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate.load_into(tls)
        with contextlib.ExitStack() as held:
            fleet = fleet_side(self._core, trust.topic_root)
            operators, devices = self._listeners(tls, held, fleet)
            broker = ManagedBroker(
                slices.broker_settings(self._settings, self._core.data, trust.topic_root),
                broker_material(self._core, certificate.pair()),
            )
            upkeep = Upkeep(self._core, certificate, tls, broker)
            async with _started(broker), asyncio.TaskGroup() as group:
                background = [
                    group.create_task(broker.watch(), name="broker-watch"),
                    group.create_task(upkeep.run(), name="upkeep"),
                    group.create_task(fleet.run(), name="fleet"),
                    group.create_task(self._core.jobs.run(), name="library-jobs"),
                ]
                serving = [
                    group.create_task(operators.run_until_stopped(), name="operators-http"),
                    group.create_task(devices.run_until_stopped(), name="devices-https"),
                ]
                await asyncio.gather(operators.ready.wait(), devices.ready.wait())
                self._announce(trust, operators, devices, on_ready)
                if (interval_s := watchdog_interval_s()) is not None:
                    background.append(group.create_task(keep_watchdog_calm(interval_s), name="watchdog"))
                await stop.wait()
                notify("STOPPING=1")
                log.info("controller_stopping")
                operators.stop()
                devices.stop()
                await asyncio.wait(serving)
                for task in background:
                    task.cancel()
        log.info("controller_stopped")

    def _listeners(
        self, tls: ssl.SSLContext, held: contextlib.ExitStack, fleet: FleetSide
    ) -> tuple[Listener, Listener]:
        """Bind both ports before anything is started: a taken one is the most likely trouble."""
        settings, stop_timeout_s = self._settings, self._settings.server.stop_timeout_s
        for_operators = held.enter_context(bind(settings.operator.host, settings.operator.port, "operator"))
        for_devices = held.enter_context(bind(settings.device.host, settings.device.port, "device"))
        enrollment = EnrollmentService(
            self._core.database,
            self._core.authorities,
            self._core.repository,
            self._core.clock,
            on_enrolled=fleet.on_enrolled,
        )
        return (
            Listener(operator_app(self._core, fleet), for_operators, stop_timeout_s=stop_timeout_s),
            Listener(device_app(self._core, enrollment), for_devices, stop_timeout_s=stop_timeout_s, tls=tls),
        )

    def _announce(
        self,
        trust: TrustDocument,
        operators: Listener,
        devices: Listener,
        on_ready: Callable[[Addresses], None],
    ) -> None:
        addresses = Addresses(
            operators=f"http://{self._settings.operator.host}:{operators.port}",
            devices=_public(trust.controller_urls, f"https://{self._settings.device.host}:{devices.port}"),
            broker=_public(trust.broker_urls, f"mqtts://localhost:{self._settings.broker.port}"),
        )
        log.info(
            "controller_ready",
            operators=addresses.operators,
            devices=addresses.devices,
            broker=addresses.broker,
        )
        notify("READY=1")
        on_ready(addresses)


@asynccontextmanager
async def _started(broker: ManagedBroker) -> AsyncIterator[None]:
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


def _public(urls: tuple[str, ...], otherwise: str) -> str:
    return urls[0] if urls else otherwise


def _first(group: BaseExceptionGroup[ControllerError]) -> ControllerError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, ControllerError):
        raise TypeError(f"{error!r} is not one of ours")
    return error
