"""Takes a sample every so often and gives it to the outbox; apscheduler keeps the time."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SamplerLimits:
    """When samples are taken.

    Attributes:
        sample_interval_s: Time between samples.
        misfire_grace_s: A sample that is later than this (the machine slept) is skipped.
        read_timeout_s: Longest time that reading may take (a dead mount); the sample is then skipped.
    """

    sample_interval_s: float = 30.0
    misfire_grace_s: int = 10
    read_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if min(self.sample_interval_s, self.misfire_grace_s, self.read_timeout_s) <= 0:
            raise ValueError("the sampler's times must be above 0")


class Sampler:
    """Samples the machine and the runtime.

    Args:
        machine: Reads the machine's metrics; called in a thread (:meth:`Machine.sample`).
        runtime: Reads the runtime's metrics; called on the loop.
        add_sample: Takes the sample (:meth:`Outbox.add_sample`).
        limits: When.
    """

    def __init__(
        self,
        machine: Callable[[], Mapping[str, float]],
        runtime: Callable[[], Mapping[str, float]],
        add_sample: Callable[[dict[str, float]], None],
        limits: SamplerLimits | None = None,
    ) -> None:
        self._machine = machine
        self._runtime = runtime
        self._add_sample = add_sample
        self._limits = limits or SamplerLimits()
        self._attempted = asyncio.Event()
        self._reading: asyncio.Future[Mapping[str, float]] | None = None

    async def run(self) -> None:
        """Take a sample now and then at every interval; returns only by cancellation."""
        from apscheduler.schedulers.asyncio import AsyncIOScheduler  # noqa: PLC0415 - heavy: only where it runs

        interval_s = self._limits.sample_interval_s
        scheduler = AsyncIOScheduler(timezone="UTC")
        job = scheduler.add_job(
            self.sample_once,
            "interval",
            seconds=interval_s,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=self._limits.misfire_grace_s,
        )
        await self.sample_once()
        scheduler.start()
        try:
            while True:
                await self._watch(2 * interval_s + self._limits.read_timeout_s)
                # apscheduler goes by the system clock: when that was wrong and is set back, the next run
                # lies as far in the future as the clock was wrong.
                log.warning("sampling_rescheduled", reason="no sample was due for two intervals")
                job.reschedule("interval", seconds=interval_s)
        finally:
            scheduler.shutdown(wait=False)

    async def _watch(self, patience_s: float) -> None:
        """Return when no sample was attempted for that long."""
        with suppress(TimeoutError):
            while True:
                self._attempted.clear()
                async with asyncio.timeout(patience_s):
                    await self._attempted.wait()

    async def sample_once(self) -> bool:
        """Take one sample; False when it was skipped because reading failed or took too long."""
        self._attempted.set()
        if self._reading is not None and not self._reading.done():
            return False  # the thread of the last one still hangs
        self._reading = asyncio.get_running_loop().run_in_executor(None, self._machine)
        try:
            async with asyncio.timeout(self._limits.read_timeout_s):
                metrics = dict(await asyncio.shield(self._reading))
            metrics.update(self._runtime())
        except TimeoutError:
            log.warning("sample_skipped", reason="reading took too long")
            return False
        except Exception:
            # A metric that cannot be read must not end sampling, let alone the daemon.
            log.exception("sample_skipped", reason="reading failed")
            return False
        self._add_sample(metrics)
        return True
