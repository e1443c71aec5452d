"""From settings to the frozen limits that each room takes: those that every device needs."""

from pathlib import Path

from skerry_agent.outbox import OutboxLimits
from skerry_agent.registry import RegistryLimits
from skerry_agent.runtime import RunnerOptions, RuntimeLimits
from skerry_agent.settings.model import AgentSettings, RegistrySettings, RuntimeSettings
from skerry_agent.telemetry import SamplerLimits


def registry_limits(settings: RegistrySettings) -> RegistryLimits:
    """Bounds of the registry."""
    return RegistryLimits(
        disk_budget_bytes=settings.disk_budget_bytes, min_free_bytes=settings.min_free_bytes
    )


def runner_options(settings: RuntimeSettings, prefixes: Path) -> RunnerOptions:
    """How a runner runs its model; ``prefixes`` is the folder for those that are saved."""
    return RunnerOptions(
        context_tokens=settings.context_tokens,
        kv_tokens=settings.kv_tokens,
        threads=settings.threads,
        batch_tokens=settings.batch_tokens,
        slots=settings.slots,
        share_prefixes=settings.share_prefixes,
        adapt_threads=settings.adapt_threads,
        huge_pages=settings.huge_pages,
        speculate=settings.speculate,
        nice=settings.nice,
        max_celsius=settings.max_celsius,
        max_growth_bytes=settings.max_growth_bytes,
        prefix_folder=prefixes if settings.save_prefixes else None,
        prefix_max_bytes=settings.prefix_max_bytes,
        prefix_daily_bytes=settings.prefix_daily_bytes,
    )


def runtime_limits(settings: RuntimeSettings) -> RuntimeLimits:
    """Bounds of the runtime."""
    return RuntimeLimits(
        max_queue=settings.max_queue,
        max_loaded=settings.max_loaded,
        memory_budget_bytes=settings.memory_budget_bytes,
        keep_alive_s=settings.keep_alive_s,
        load_timeout_s=settings.load_timeout_s,
        max_crashes=settings.max_crashes,
        backoff_max_s=settings.backoff_max_s,
        drain_timeout_s=settings.drain_timeout_s,
    )


def outbox_limits(settings: AgentSettings) -> OutboxLimits:
    """Bounds of the outbox."""
    return OutboxLimits(
        max_bytes=settings.outbox.max_bytes,
        keep_events=settings.outbox.keep_events,
        flush_interval_s=settings.telemetry.flush_interval_s,
    )


def sampler_limits(settings: AgentSettings) -> SamplerLimits:
    """When samples are taken."""
    return SamplerLimits(sample_interval_s=settings.telemetry.sample_interval_s)
