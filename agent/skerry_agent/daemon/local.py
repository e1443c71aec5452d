"""What a device does without any fleet: registry, outbox, runtime, local API, administration, samples."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from starlette.applications import Starlette

from skerry_agent.admin import AdminService, create_admin_app
from skerry_agent.admin.service import Fleet
from skerry_agent.api import ApiOptions, create_api
from skerry_agent.daemon.servers import bind_tcp, bind_unix, make_server
from skerry_agent.outbox import Outbox
from skerry_agent.registry import InstalledArtifact, Registry, check_model_file
from skerry_agent.runtime import ModelPool
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
    sampler: Sampler
    api_socket: socket.socket
    admin_socket: socket.socket
    fleet: Fleet | None = None

    @property
    def port(self) -> int:
        """The TCP port of the local API."""
        port: int = self.api_socket.getsockname()[1]
        return port

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
        )
        admin = AdminService(
            registry=self.registry,
            outbox=self.outbox,
            allow_local=lambda: self.settings.registry.allow_local_when_enrolled or not self.state.enrolled,
            pool=self.pool,
            fleet=lambda: self.fleet,
            settle=self.settle,
        )
        return create_api(self.registry, self.pool, options), create_admin_app(admin, self.state.incoming)


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
        pool = ModelPool(
            check_header=check_model_file,
            options=runner_options(settings.runtime),
            limits=runtime_limits(settings.runtime),
        )
        stack.push_async_callback(pool.aclose)
        sampler = Sampler(
            Machine(state.root).sample,
            lambda: runtime_metrics(pool.metrics()),
            outbox.add_sample,
            sampler_limits(settings),
        )
        yield LocalDevice(settings, state, time, outbox, registry, pool, sampler, api_socket, admin_socket)


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
