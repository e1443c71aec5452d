"""Bounds of the trust room, with units."""

from dataclasses import dataclass

from skerry_protocol.limits import DEFAULT_LIMITS

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class TrustLimits:
    """What a refresh may cost, and how long its result counts as fresh.

    Attributes:
        max_root_bytes: One root metadata file.
        max_timestamp_bytes: ``timestamp.json``.
        max_snapshot_bytes: One snapshot metadata file.
        max_targets_bytes: One targets or delegated metadata file.
        max_target_bytes: One target: a manifest, a config bundle or the trust document.
        max_root_rotations: New roots that one refresh follows; the next one goes on from there.
        max_delegated_roles: Delegated roles that one refresh loads.
        fetch_timeout_s: For one file; the source may give up earlier.
        max_age_s: After that without a good refresh the state is reported as stale. It stays usable.
        max_cached_bytes: Verified targets kept on disk, all together; the oldest go first.
    """

    max_root_bytes: int = 512_000
    max_timestamp_bytes: int = 16_384
    max_snapshot_bytes: int = 2_000_000
    max_targets_bytes: int = DEFAULT_LIMITS.max_metadata_bytes
    max_target_bytes: int = DEFAULT_LIMITS.max_manifest_bytes
    max_root_rotations: int = 256
    max_delegated_roles: int = 64
    fetch_timeout_s: float = 120.0
    max_age_s: float = 90.0 * _DAY_S
    max_cached_bytes: int = 64 * 1024 * 1024
