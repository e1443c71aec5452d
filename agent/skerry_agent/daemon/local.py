"""What a device does without any fleet: registry, outbox, runtime, local API, administration, samples."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import structlog
from starlette.applications import Starlette

from skerry_agent.access import TokenStore
from skerry_agent.admin import AdminService, create_admin_app
from skerry_agent.admin.service import Fleet
from skerry_agent.api import ApiOptions, ApiParts, PresetStore, create_api
from skerry_agent.daemon.servers import bind_tcp, bind_unix, make_server
from skerry_agent.drafts import Drafts
from skerry_agent.outbox import Outbox
from skerry_agent.pins import Pins
from skerry_agent.registry import InstalledArtifact, Registry
from skerry_agent.runtime import ModelPool, RuntimeEvent, check_model_file
from skerry_agent.settings import AgentSettings
from skerry_agent.settings.slices import (
    outbox_limits,
    registry_limits,
    runner_options,
    runtime_limits,
    sampler_limits,
)
from skerry_agent.state import StateFolder
from skerry_agent.telemetry import Machine, Sampler, runtime_metrics
from skerry_agent.trusted_time import TrustedTime

log = structlog.get_logger(__name__)

SAMPLING_RETRY_S = 60.0
"""Pause after sampling could not go on, unless the settings change."""


@dataclass
class LocalDevice:
    """The open parts of a device, fleet or not.

    Attributes:
        fleet: Set while the device belongs to a fleet.
    """

    settings: AgentSettings
    state: StateFolder
    time: TrustedTime
    outbox: Outbox
    registry: Registry
    pool: ModelPool
    tokens: TokenStore
    presets: PresetStore
    pins: Pins
    runtime_events: asyncio.Queue[RuntimeEvent]
    api_socket: socket.socket
    admin_socket: socket.socket
    fleet: Fleet | None = None
    _resample: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        """The TCP port of the local API."""
        port: int = self.api_socket.getsockname()[1]
        return port

    def resample(self, settings: AgentSettings) -> None:
        """Sample at another interval from now on."""
        self.settings = settings
        self._resample.set()

    async def sample(self) -> None:
        """Sample the machine and the runtime; never returns by itself."""
        machine = Machine(self.state.root)
        while True:
            self._resample.clear()
            sampler = Sampler(
                machine.sample,
                lambda: runtime_metrics(self.pool.metrics()),
                self.outbox.add_sample,
                sampler_limits(self.settings),
            )
            sampling = asyncio.create_task(sampler.run(), name="sampler")
            changed = asyncio.create_task(self._resample.wait(), name="sampler-settings")
            try:
                await asyncio.wait({sampling, changed}, return_when=asyncio.FIRST_COMPLETED)
                if sampling.done():
                    log.error("sampling_failed", exc_info=sampling.exception(), retry_s=SAMPLING_RETRY_S)
                    await asyncio.wait({changed}, timeout=SAMPLING_RETRY_S)
            finally:
                for task in (sampling, changed):
                    task.cancel()
                await asyncio.gather(sampling, changed, return_exceptions=True)

    async def tell_runtime_events(self) -> None:
        """Record what happened to models in the runtime; never returns by itself."""
        while True:
            event = await self.runtime_events.get()
            model, message = event.model.label, event.message
            if event.name == "model_back_in_service":
                await self.outbox.emit("model_back_in_service", model=model, message=message)
            elif event.name == "model_out_of_service":
                await self.outbox.emit(
                    "model_out_of_service", code="model_out_of_service", model=model, message=message
                )
            else:
                await self.outbox.emit("runner_crashed", code="runner_crashed", model=model, message=message)

    async def settle(self, before: InstalledArtifact | None) -> None:
        """Let the runtime drop a version that no slot serves any more."""
        if before is None:
            return
        active = {s.active.file_sha256 for s in await self.registry.slots() if s.active}
        if before.file_sha256 not in active:
            await self.pool.retire(before.file_sha256)

    def applications(self) -> tuple[Starlette, Starlette]:
        """The local API and the administration API."""
        options = ApiOptions(
            allowed_hosts=frozenset(host.lower() for host in self.settings.api.allowed_hosts),
            max_body_bytes=self.settings.api.max_body_bytes,
            request_timeout_s=self.settings.api.request_timeout_s,
            require_token=self.settings.api.require_token,
        )
        parts = ApiParts(
            models=self.registry,
            runners=self.pool,
            tokens=self.tokens,
            presets=self.presets,
            events=self.outbox,
            fleet=lambda: self.fleet,
        )
        admin = AdminService(
            registry=self.registry,
            outbox=self.outbox,
            allow_local=lambda: self.settings.registry.allow_local_when_enrolled or not self.state.enrolled,
            pool=self.pool,
            fleet=lambda: self.fleet,
            enrolled=lambda: self.state.enrolled,
            settle=self.settle,
            pins=self.pins,
            tokens=self.tokens,
            api_url=f"http://{self.settings.api.host}:{self.port}",
        )
        return create_api(parts, options), create_admin_app(admin, self.state.incoming)


@asynccontextmanager
async def open_device(settings: AgentSettings, state: StateFolder) -> AsyncIterator[LocalDevice]:
    """Open everything; what was opened is closed again, in reverse, whatever happens.

    Raises:
        WorldError: A port is taken, a disk or database fails.
    """
    async with AsyncExitStack() as stack:
        api_socket = bind_tcp(settings.api.host, settings.api.port)
        stack.callback(api_socket.close)
        admin_socket = bind_unix(state.socket)
        stack.callback(state.socket.unlink, missing_ok=True)
        stack.callback(admin_socket.close)
        time = TrustedTime(state.trusted_time)
        outbox = await Outbox.open(state.outbox, outbox_limits(settings), clock=time)
        stack.push_async_callback(outbox.close)
        registry = await Registry.open(
            state.registry, limits=registry_limits(settings.registry), events=outbox
        )
        stack.push_async_callback(registry.close)
        runtime_events: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        pool = ModelPool(
            check_header=check_model_file,
            on_event=runtime_events.put_nowait,
            options=runner_options(settings.runtime, state.prefixes),
            limits=runtime_limits(settings.runtime),
            find_draft=Drafts(settings.runtime.drafts, registry).find,
        )
        stack.push_async_callback(pool.aclose)
        tokens = TokenStore.load(state.api_tokens, clock=time.now)
        presets = PresetStore.load(state.presets)
        yield LocalDevice(
            settings=settings,
            state=state,
            time=time,
            outbox=outbox,
            registry=registry,
            pool=pool,
            tokens=tokens,
            presets=presets,
            pins=Pins(state.pins, settings.runtime.pinned, registry, pool),
            runtime_events=runtime_events,
            api_socket=api_socket,
            admin_socket=admin_socket,
        )


async def serve_local(device: LocalDevice, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
    """Serve both APIs until ``stop`` is set; requests under way may finish."""
    timeout_s = device.settings.daemon.stop_timeout_s
    api, admin = (make_server(app, stop_timeout_s=timeout_s) for app in device.applications())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(api.serve(sockets=[device.api_socket]), name="api")
        tasks.create_task(admin.serve(sockets=[device.admin_socket]), name="admin")
        await api.ready.wait()
        await admin.ready.wait()
        log.info(
            "ready", api=f"http://{device.settings.api.host}:{device.port}", admin=str(device.state.socket)
        )
        on_ready()
        await stop.wait()
        api.should_exit = admin.should_exit = True
