"""The models on this device: content-addressed files, a catalog, slots, and room for more."""

from skerry_agent.registry.artifact import (
    ChunkPlace,
    DiskUsage,
    InstalledArtifact,
    NewArtifact,
    Pair,
    Progress,
    RegistryLimits,
    Slot,
    local_slot,
)
from skerry_agent.registry.disk import Disk
from skerry_agent.registry.errors import (
    DamagedDownloadError,
    InconsistentManifestError,
    ModelInUseError,
    ModelNotFoundError,
    ModelRefusedError,
    NoSpaceError,
    SlotError,
    StorageError,
    WrongBytesError,
    disk_errors,
    is_full_disk,
)
from skerry_agent.registry.files import check_model_file
from skerry_agent.registry.importing import check_import
from skerry_agent.registry.partial import PartialDownload
from skerry_agent.registry.registry import Registry

__all__ = [
    "ChunkPlace",
    "DamagedDownloadError",
    "Disk",
    "DiskUsage",
    "InconsistentManifestError",
    "InstalledArtifact",
    "ModelInUseError",
    "ModelNotFoundError",
    "ModelRefusedError",
    "NewArtifact",
    "NoSpaceError",
    "Pair",
    "PartialDownload",
    "Progress",
    "Registry",
    "RegistryLimits",
    "Slot",
    "SlotError",
    "StorageError",
    "WrongBytesError",
    "check_import",
    "check_model_file",
    "disk_errors",
    "is_full_disk",
    "local_slot",
]
