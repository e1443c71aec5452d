"""Driving the client workflow: files come from a source, verification runs in a thread."""

import asyncio

from skerry_agent.errors import WorldError
from skerry_agent.trust.errors import MetadataRefusedError
from skerry_agent.trust.limits import TrustLimits
from skerry_agent.trust.sources import MetadataSource
from skerry_agent.trust.state import MetadataFiles, TrustState, Wanted


class RefreshFailedError(Exception):
    """A refresh ended early. Carries why, and the roots that had been verified until then."""

    def __init__(self, cause: MetadataRefusedError | WorldError, roots: tuple[bytes, ...]) -> None:
        """Build the error around its cause."""
        super().__init__(str(cause))
        self.cause = cause
        self.roots = roots


async def verify_from_source(
    held: MetadataFiles, source: MetadataSource, reference_time_s: float, limits: TrustLimits
) -> TrustState:
    """Run the client workflow once.

    Args:
        held: What was verified before: the files to start from, and what nothing may be older than.
        source: The repository.
        reference_time_s: Against which expiries are judged, Unix seconds.
        limits: Sizes and deadlines.

    Raises:
        RefreshFailedError: With the MetadataRefusedError or WorldError that ended it.
    """
    from skerry_agent.trust.workflow import Refresh, advance  # noqa: PLC0415 - imports tuf, which is large

    refresh = Refresh(held, reference_time_s, limits)
    steps = refresh.steps()
    try:
        step = await asyncio.to_thread(advance, steps, None)
        while isinstance(step, Wanted):
            answer = await fetch(source, step.name, step.max_bytes, limits.fetch_timeout_s)
            step = await asyncio.to_thread(advance, steps, answer)
    except (MetadataRefusedError, WorldError) as error:
        raise RefreshFailedError(error, refresh.roots) from error
    return step


async def verify_again(files: MetadataFiles, limits: TrustLimits) -> TrustState:
    """Verify stored files without a network.

    Raises:
        MetadataRefusedError: They are damaged.
    """
    from skerry_agent.trust.workflow import reload  # noqa: PLC0415 - imports tuf, which is large

    return await asyncio.to_thread(reload, files, limits)


async def fetch(source: MetadataSource, name: str, max_bytes: int, timeout_s: float) -> bytes | None:
    """One file, within a deadline.

    Raises:
        WorldError: The source cannot be reached, or is too slow.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await source.fetch(name, max_bytes)
    except TimeoutError as error:
        raise WorldError(
            f"{name} did not come within {timeout_s:g} s; it is asked for again later"
        ) from error
