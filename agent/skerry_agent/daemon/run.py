"""The daemon's life: lock, open, serve, stop; and again with new settings when the fleet sends some."""

import asyncio
import signal
from pathlib import Path

import structlog

from skerry_agent import __version__
from skerry_agent.daemon.fleet_task import follow_fleet
from skerry_agent.daemon.local import LocalDevice, open_device, serve_local
from skerry_agent.daemon.notify import ServiceNotifier
from skerry_agent.logs import configure_logs
from skerry_agent.settings import AgentSettings, load_settings
from skerry_agent.state import StateFolder

log = structlog.get_logger(__name__)


async def run_daemon(config: Path | None, state_dir: Path | None) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        AgentError: The daemon cannot start; the message says what to do.
    """
    flags = {"daemon": {"state_dir": state_dir}} if state_dir else {}
    settings = load_settings(config, flags=flags)
    configure_logs(settings.log.level, settings.log.format)
    state = StateFolder(settings.daemon.state_dir)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with state.locked():
        log.info("starting", version=__version__, state=str(state.root))
        await _serve(settings, state, stop)
    log.info("stopped")


async def _serve(settings: AgentSettings, state: StateFolder, stop: asyncio.Event) -> None:
    notifier = ServiceNotifier()
    async with open_device(settings, state) as device, asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(follow_fleet(device), name="fleet"),
            tasks.create_task(device.outbox.run(), name="outbox"),
            tasks.create_task(device.sampler.run(), name="sampler"),
            tasks.create_task(notifier.watchdog(), name="watchdog"),
        ]
        await serve_local(device, stop, lambda: _ready(device, notifier))
        notifier.send("STOPPING=1")
        for task in background:
            task.cancel()


def _ready(device: LocalDevice, notifier: ServiceNotifier) -> None:
    notifier.send(f"READY=1\nSTATUS=serving on port {device.port}")
