"""The TUF repository: what is signed offline, what the server publishes, and where it is kept."""

from skerry_controller.repository.errors import RefusedPublicationError, StalePublicationError
from skerry_controller.repository.naming import (
    DELEGATED_PATHS,
    TARGETS_ROLES,
    TIMESTAMP_NAME,
    TargetsRole,
    metadata_name,
    target_name,
)
from skerry_controller.repository.publication import CarriedMetadata, Publication, Repository
from skerry_controller.repository.settings import RepositorySettings
from skerry_controller.repository.signing import add_target, create_repository, resign
from skerry_controller.repository.store import FolderRepositoryStore, RepositoryStore

__all__ = [
    "DELEGATED_PATHS",
    "TARGETS_ROLES",
    "TIMESTAMP_NAME",
    "CarriedMetadata",
    "FolderRepositoryStore",
    "Publication",
    "RefusedPublicationError",
    "Repository",
    "RepositorySettings",
    "RepositoryStore",
    "StalePublicationError",
    "TargetsRole",
    "add_target",
    "create_repository",
    "metadata_name",
    "resign",
    "target_name",
]
