"""New settings from the fleet: taken while running where that works, else by starting the rooms again."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from skerry_agent.configs import Settings
from skerry_agent.daemon.local import LocalDevice
from skerry_agent.logs import configure_logs
from skerry_agent.settings import AgentSettings

log = structlog.get_logger(__name__)

LIVE_KEYS = frozenset(
    {
        "log.level",
        "log.format",
        "telemetry.sample_interval_s",
        "registry.allow_local_when_enrolled",
        "updates.download_bytes_per_s",
        "updates.download_window",
        "updates.activation_window",
        "updates.start_spread_s",
    }
)
"""What changes without starting the rooms again."""

HEALTH_TIMEOUT_S = 10.0


class LiveSettings:
    """Applies the fleet's settings to the running daemon; implements ``configs.ConfigTarget``.

    Args:
        device: What runs.
        load: Settings with the fleet's among them.
        restart: Starts the rooms again, in this process, with settings read anew.
    """

    def __init__(
        self, device: LocalDevice, load: Callable[[Settings], AgentSettings], restart: Callable[[], None]
    ) -> None:
        self._device = device
        self._load = load
        self._restart = restart

    async def apply(self, settings: Settings) -> bool:
        """Take the settings; returns whether the agent answers with them.

        Raises:
            UsageError: They do not go together with what the device has of its own.
        """
        new = self._load(settings)
        changed = changed_keys(self._device.settings, new)
        if changed - LIVE_KEYS:
            log.info("restarting_for_settings", keys=sorted(changed))
            self._restart()
            await asyncio.Event().wait()  # until the restart cancels this; the next start judges
        if changed:
            log.info("settings_changed", keys=sorted(changed))
        if any(key.startswith("log.") for key in changed):
            configure_logs(new.log.level, new.log.format)
        if "telemetry.sample_interval_s" in changed:
            self._device.resample(new)
        self._device.settings = new
        if self._device.fleet is not None and any(key.startswith("updates.") for key in changed):
            self._device.fleet.settings_changed()
        return await self._answers()

    async def _answers(self) -> bool:
        """Whether the local API answers on its own socket."""
        host, port = self._device.api_socket.getsockname()[:2]
        name = next(iter(self._device.settings.api.allowed_hosts), "localhost")
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(_reachable(host), port)
                try:
                    writer.write(
                        f"GET /health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
                    )
                    status = await reader.readline()
                finally:
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError) as error:
            log.warning("health_check_failed", error=str(error))
            return False
        return b" 200 " in status


def changed_keys(old: AgentSettings, new: AgentSettings) -> set[str]:
    """``section.key`` of every setting that differs."""
    before, after = _flat(old.model_dump()), _flat(new.model_dump())
    return {key for key, value in after.items() if before[key] != value}


def _flat(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
