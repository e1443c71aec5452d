"""What needs no network: shared by ``serve`` and by commands that work on a data folder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from skerry_controller.artifacts import ArtifactService
from skerry_controller.authorities import Authorities
from skerry_controller.blobs import FolderBlobStore
from skerry_controller.clock import Clock
from skerry_controller.data_folder import DataFolder
from skerry_controller.database import Database
from skerry_controller.device_api import Capabilities
from skerry_controller.durable_files import discard_staged
from skerry_controller.enrollment import EnrollmentTokens
from skerry_controller.errors import WorldError
from skerry_controller.keyring import OnlineKeys
from skerry_controller.operator_api import Admins
from skerry_controller.repository import FolderRepositoryStore, Repository
from skerry_controller.serve import slices
from skerry_controller.settings import ControllerSettings
from skerry_controller.workshop.jobs import JobService, LibraryKeeper
from skerry_protocol.names import TRUST_TARGET
from skerry_protocol.trust_document import TrustDocument, decode_trust_document


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The opened data folder and the services on it."""

    data: DataFolder
    settings: ControllerSettings
    clock: Clock
    database: Database
    online_keys: OnlineKeys
    authorities: Authorities
    repository: Repository
    blobs: FolderBlobStore
    artifacts: ArtifactService
    tokens: EnrollmentTokens
    admins: Admins
    capabilities: Capabilities
    library: LibraryKeeper
    jobs: JobService

    def trust_document(self) -> TrustDocument:
        """What the fleet believes now. Blocking.

        Raises:
            WorldError: The repository lost it.
        """
        content = self.repository.target(TRUST_TARGET)
        if content is None:
            raise WorldError(
                "the repository has no trust document: restore the controller's data from a backup"
            )
        return decode_trust_document(content)


@asynccontextmanager
async def open_core(data: DataFolder, settings: ControllerSettings, clock: Clock) -> AsyncIterator[Core]:
    """Lock the folder, bring the database up to date, sign what is about to expire, and open all services.

    Raises:
        InUseError: Another process works on the folder.
        UsageError: There is no controller in it.
        WorldError: Something in it is missing or damaged.
    """
    data.check()
    with data.lock():
        database = Database.at(data.database)
        try:
            await database.migrate()
            core = await asyncio.to_thread(_load, data, settings, clock, database)
            await core.blobs.discard_partials()
            await asyncio.to_thread(core.repository.refresh_timestamp, clock())
            await core.artifacts.reconcile()
            yield core
        finally:
            await database.close()


def _load(data: DataFolder, settings: ControllerSettings, clock: Clock, database: Database) -> Core:
    for folder in (data.repository, data.certificates):
        discard_staged(folder)
    online_keys = OnlineKeys.open(data.keys)
    repository = Repository(
        FolderRepositoryStore(data.repository), online_keys, slices.repository_settings(settings)
    )
    blobs = FolderBlobStore(data.blobs)
    library = LibraryKeeper(data.library, clock)
    library.discard_uploads()
    return Core(
        data=data,
        settings=settings,
        clock=clock,
        database=database,
        online_keys=online_keys,
        authorities=Authorities.open(data.authorities),
        repository=repository,
        blobs=blobs,
        artifacts=ArtifactService(database, blobs, repository, clock),
        tokens=EnrollmentTokens(database, clock, slices.enrollment_settings(settings)),
        admins=Admins(database, clock),
        capabilities=Capabilities.open(data.keys),
        library=library,
        jobs=JobService(library, database, clock),
    )
