"""The daemon's life: lock, open, serve, stop; and again with new settings when the fleet sends some."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from skerry_agent import __version__
from skerry_agent.daemon.fleet_task import follow_fleet
from skerry_agent.daemon.local import LocalDevice, open_device, serve_local
from skerry_agent.daemon.notify import ServiceNotifier
from skerry_agent.errors import UsageError, WorldError
from skerry_agent.logs import configure_logs
from skerry_agent.settings import AgentSettings, load_settings
from skerry_agent.state import StateFolder

log = structlog.get_logger(__name__)

MAX_STARTS_WITH_FLEET_SETTINGS = 4
"""Settings of the fleet with which the rooms do not open are given up by then (see ``configs``)."""


@dataclass
class _Run:
    """One run of the process: where its settings come from, and when it ends."""

    config: Path | None
    flags: Mapping[str, Mapping[str, Any]]
    terminated: bool = False
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    def load(self, bundle: Mapping[str, Mapping[str, Any]]) -> AgentSettings:
        """Settings with the fleet's among them."""
        return load_settings(self.config, bundle=bundle, flags=self.flags)

    def terminate(self) -> None:
        """End the process."""
        self.terminated = True
        self.ending.set()


async def run_daemon(config: Path | None, state_dir: Path | None) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        AgentError: The daemon cannot start; the message says what to do.
    """
    run = _Run(config, {"daemon": {"state_dir": state_dir}} if state_dir else {})
    settings = run.load({})
    configure_logs(settings.log.level, settings.log.format)
    state = StateFolder(settings.daemon.state_dir)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, run.terminate)
    with state.locked():
        log.info("starting", version=__version__, state=str(state.root))
        await _keep_serving(run, state)
    log.info("stopped")


async def _keep_serving(run: _Run, state: StateFolder) -> None:
    """Open the rooms and serve; again whenever other settings ask for it."""
    notifier = ServiceNotifier()
    failed_starts = 0
    while not run.terminated:
        run.ending.clear()
        bundle = await asyncio.to_thread(_fleet_settings, state)
        settings = usable_settings(run.load, bundle)
        configure_logs(settings.log.level, settings.log.format)
        try:
            await _serve(run, settings, state, notifier)
            failed_starts = 0
        except WorldError as error:
            failed_starts += 1
            if not bundle or failed_starts > MAX_STARTS_WITH_FLEET_SETTINGS:
                raise
            log.warning("start_failed_with_fleet_settings", error=str(error))


def usable_settings(
    load: Callable[[Mapping[str, Mapping[str, Any]]], AgentSettings], bundle: Mapping[str, Mapping[str, Any]]
) -> AgentSettings:
    """Settings with the fleet's among them; without those when they do not fit this program (any more).

    Raises:
        UsageError: The device's own settings are wrong.
    """
    try:
        return load(bundle)
    except UsageError as error:
        settings = load({})
        log.error("fleet_settings_unusable", error=str(error))  # noqa: TRY400 - the message says it all
        return settings


async def _serve(run: _Run, settings: AgentSettings, state: StateFolder, notifier: ServiceNotifier) -> None:
    async with open_device(settings, state) as device, asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(follow_fleet(device, run.load, run.ending.set), name="fleet"),
            tasks.create_task(device.outbox.run(), name="outbox"),
            tasks.create_task(device.sample(), name="samples"),
            tasks.create_task(device.tell_runtime_events(), name="runtime-events"),
            tasks.create_task(device.pool.watch_memory(), name="memory"),
            tasks.create_task(device.pins.run(), name="pins"),
            tasks.create_task(notifier.watchdog(), name="watchdog"),
        ]
        await serve_local(device, run.ending, lambda: _ready(device, notifier))
        if run.terminated:
            notifier.send("STOPPING=1")
        for task in background:
            task.cancel()


def _fleet_settings(state: StateFolder) -> Mapping[str, Mapping[str, Any]]:
    if not state.configs.exists():
        return {}
    from skerry_agent.configs import settings_for_start  # noqa: PLC0415 - only enrolled devices pay for it

    return settings_for_start(state.configs)


def _ready(device: LocalDevice, notifier: ServiceNotifier) -> None:
    notifier.send(f"READY=1\nSTATUS=serving on port {device.port}")
