"""Whether a chosen target is one that the fleet's keys signed, and its bytes."""

import asyncio
import hashlib
from collections.abc import Mapping

from skerry_agent.trust.errors import TargetNotYetVisibleError, TargetRefusedError
from skerry_agent.trust.limits import TrustLimits
from skerry_agent.trust.refresh import fetch
from skerry_agent.trust.sources import MetadataSource
from skerry_agent.trust.state import consistent_name
from skerry_agent.trust.target_cache import TargetCache
from skerry_protocol.desired import TargetRef


def check_signed(
    ref: TargetRef,
    signed: TargetRef | None,
    *,
    versions: Mapping[str, int],
    minimum_versions: Mapping[str, int],
    max_bytes: int,
) -> None:
    """Return when ``ref`` is exactly what was signed.

    Args:
        ref: What somebody chose who is not trusted with it.
        signed: The verified metadata's entry for the same path.
        versions: TUF role -> version of that metadata.
        minimum_versions: TUF role -> version from which the target is said to be visible.
        max_bytes: The largest target that is read.

    Raises:
        TargetNotYetVisibleError: Nothing or something else is signed, in metadata that is older than that.
        TargetRefusedError: It is not what was signed, or too large.
    """
    if signed != ref:
        behind = sorted((role, v) for role, v in minimum_versions.items() if versions.get(role, 0) < v)
        if behind:
            wanted = ", ".join(f"{role} {version}" for role, version in behind)
            raise TargetNotYetVisibleError(
                f"{ref.path} is visible from {wanted} on; this device is behind that"
            )
        if signed is None:
            raise TargetRefusedError("target_unknown", f"the fleet's keys signed nothing under {ref.path}")
        raise TargetRefusedError(
            "target_mismatch", f"{ref.path} is not what the fleet's keys signed: another hash or length"
        )
    if ref.length > max_bytes:
        raise TargetRefusedError(
            "target_too_large", f"{ref.path} has {ref.length} bytes; the limit is {max_bytes}"
        )


async def read_target(
    ref: TargetRef, source: MetadataSource, cache: TargetCache, limits: TrustLimits
) -> bytes:
    """The bytes of a target that passed :func:`check_signed`, from the cache or the source.

    Raises:
        TargetNotYetVisibleError: The source does not have the file now, or the bytes that came are not the
            signed ones: that says something of who carried them, and nothing of the target.
        WorldError: The source cannot be reached or is too slow, or the disk refused.
    """
    held = await asyncio.to_thread(cache.read, ref.sha256)
    if held is not None:
        return held
    data = await fetch(source, consistent_name(ref), ref.length, limits.fetch_timeout_s)
    if data is None:
        raise TargetNotYetVisibleError(f"the repository lists {ref.path} but has no such file now")
    if len(data) != ref.length or hashlib.sha256(data).hexdigest() != ref.sha256:
        raise TargetNotYetVisibleError(
            f"the bytes that came for {ref.path} are not those that were signed; they are asked for again"
        )
    await asyncio.to_thread(cache.write, ref.sha256, data)
    return data
