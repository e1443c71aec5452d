"""Refreshes the TUF metadata: at each session, every so often, and when something asks for it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from skerry_agent.backoff import full_jitter
from skerry_agent.errors import AgentError, WorldError
from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.ports import MetadataSource, Refresh, Uplink

log = structlog.get_logger(__name__)


class MetadataRefresher:
    """The one who refreshes; everybody else asks it to.

    Args:
        refresh: Does it (``TrustStore.refresh``).
        source: Where the files come from.
        uplink: The session.
        limits: Times.
        done: Called after each good refresh.
        monotonic: Seconds.
    """

    def __init__(
        self,
        refresh: Refresh,
        source: MetadataSource,
        uplink: Uplink,
        limits: SyncLimits,
        *,
        done: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refresh = refresh
        self._source = source
        self._uplink = uplink
        self._limits = limits
        self._done = done
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._began_at: float | None = None
        self._went_well = False
        self._wake = asyncio.Event()

    def session_started(self, frame_bytes: int) -> None:  # noqa: ARG002 - a listener's signature
        """Much may have changed while the device was away."""
        self._wake.set()

    def session_ended(self) -> None:
        """Nothing to do."""

    async def refresh(self, reason: str) -> bool:
        """Refresh now, unless that was done within ``refresh_min_interval_s``.

        Returns:
            Whether a refresh began after the call and went well.
        """
        asked_at = self._monotonic()
        async with self._lock:
            if self._began_at is not None:
                if self._began_at >= asked_at:
                    return self._went_well
                if asked_at - self._began_at < self._limits.refresh_min_interval_s:
                    return False
            self._began_at, self._went_well = self._monotonic(), False
            try:
                await self._refresh(self._source)
            except AgentError as error:
                log.warning("metadata_refresh_failed", reason=reason, error=str(error))
                return False
            self._went_well = True
        log.info("metadata_refreshed", reason=reason)
        self._done()
        return True

    async def run(self) -> None:
        """Refresh at every session and every ``refresh_interval_s``; never returns."""
        failures = 0
        while True:
            if await self._is_connected():
                self._wake.clear()
                failures = 0 if await self.refresh("schedule") else failures + 1
            pause_s = self._limits.refresh_interval_s
            if failures:
                least_s = self._limits.refresh_min_interval_s
                pause_s = least_s + full_jitter(failures, least_s, self._limits.refresh_interval_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()

    async def _is_connected(self) -> bool:
        try:
            await self._uplink.wait_connected(self._limits.reconnect_wait_s)
        except WorldError:
            return False
        return True
