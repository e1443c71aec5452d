from dataclasses import dataclass

from skerry_protocol.limits import DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """Lives of metadata, and limits.

    Attributes:
        root_days: Life of the root metadata.
        targets_days: Life of the metadata that offline keys sign (targets, models, configs).
        snapshot_days: Life of the snapshot, which the server signs.
        timestamp_days: Life of the timestamp, which the server signs: how long a broker or mirror can
            hide a newer state from a device that is online.
        max_carried_days: Longest life of the timestamp and snapshot that are carried to devices without a
            network.
        renewal_share: The server signs anew when less than this share of a life is left.
        max_metadata_bytes: Largest accepted metadata file.
        max_target_bytes: Largest accepted target file.
    """

    root_days: int = 365
    targets_days: int = 365
    snapshot_days: int = 7
    timestamp_days: int = 1
    max_carried_days: int = 90
    renewal_share: float = 0.5
    max_metadata_bytes: int = DEFAULT_LIMITS.max_metadata_bytes
    max_target_bytes: int = DEFAULT_LIMITS.max_manifest_bytes
