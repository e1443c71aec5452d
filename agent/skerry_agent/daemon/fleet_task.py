"""Waits for the device to be enrolled, then follows the fleet. What is heavy is imported only then."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from skerry_agent.daemon.local import LocalDevice
from skerry_agent.errors import AgentError
from skerry_agent.settings import AgentSettings

log = structlog.get_logger(__name__)

ENROLLMENT_POLL_S = 1.0
"""How often a device that belongs to no fleet looks whether it was enrolled meanwhile."""
RETRY_S = 30.0
"""Pause after the fleet's side failed: damaged files need a person."""


LoadSettings = Callable[[Mapping[str, Mapping[str, Any]]], AgentSettings]


async def follow_fleet(device: LocalDevice, load: LoadSettings, restart: Callable[[], None]) -> None:
    """Run the fleet's side of the daemon whenever there is one; never returns by itself.

    Whatever is wrong with it, the device goes on serving what it has.

    Args:
        device: What runs already.
        load: Settings with the fleet's among them.
        restart: Opens the rooms again with settings read anew.
    """
    while True:
        while not device.state.enrolled:  # noqa: ASYNC110 - another process enrolls this device
            await asyncio.sleep(ENROLLMENT_POLL_S)
        try:
            await _follow(device, load, restart)
        except AgentError as error:
            log.warning("fleet_side_failed", error=str(error), retry_s=RETRY_S)
        except Exception:
            log.exception("fleet_side_broken", retry_s=RETRY_S)
        await asyncio.sleep(RETRY_S)


async def _follow(device: LocalDevice, load: LoadSettings, restart: Callable[[], None]) -> None:
    from skerry_agent.daemon.fleet import open_fleet  # noqa: PLC0415 - TUF and MQTT: only enrolled devices pay
    from skerry_agent.daemon.live_settings import LiveSettings  # noqa: PLC0415 - see above
    from skerry_agent.identity import Identity  # noqa: PLC0415 - see above

    identity = await asyncio.to_thread(Identity.load, device.state.identity)
    if identity is None:
        return
    with structlog.contextvars.bound_contextvars(device=identity.device):
        async with open_fleet(device, identity, LiveSettings(device, load, restart)) as fleet:
            device.fleet = fleet
            try:
                await fleet.run()
            finally:
                device.fleet = None
