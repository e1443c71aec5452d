"""The controller's side that faces the fleet, on a real database and repository, with devices in it."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skerry_controller.authorities import Authorities
from skerry_controller.blobs import FolderBlobStore
from skerry_controller.database import ArtifactFileRow, ArtifactRow, Database, DeviceRow
from skerry_controller.device_api import Capabilities
from skerry_controller.director import Director
from skerry_controller.fleet import FleetSettings
from skerry_controller.mqtt import FleetParts, FleetSide, MqttSettings
from skerry_protocol.desired import TargetRef
from skerry_protocol.names import ArtifactRef, new_device_id, target_path
from skerry_protocol.signing import KeySet, public_pem
from skerry_protocol.topics import DownLeaf
from skerry_protocol.trust_document import (
    Authorities as AuthorityCertificates,
)
from skerry_protocol.trust_document import (
    Directors,
    TrustDocument,
    encode_trust_document,
)
from support.fake_device import FakeDevice
from support.repository import Fleet

CHANNEL = "assistant/stable"
CONTROLLER_URL = "https://controller.example:8601"


class SetClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2027, 1, 15, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Sent:
    """An outlet that keeps what was sent."""

    messages: list[tuple[str, DownLeaf, bytes, bool]] = field(default_factory=list)

    async def send(self, device: str, leaf: DownLeaf, payload: bytes, *, retain: bool = False) -> bool:
        self.messages.append((device, leaf, payload, retain))
        return True

    def to(self, device: str, leaf: DownLeaf) -> list[bytes]:
        """Payloads for one device, oldest first."""
        return [payload for name, kind, payload, _ in self.messages if (name, kind) == (device, leaf)]


@dataclass
class House:
    """Everything that the fleet's side needs, and ways to fill it."""

    folder: Path
    database: Database
    blobs: FolderBlobStore
    authorities: Authorities
    director_key: Ed25519PrivateKey
    clock: SetClock
    repository: Fleet
    epoch: int = 1

    @property
    def directors(self) -> KeySet:
        return KeySet([self.director_key.public_key()])

    def parts(self, *, port: int = 0, clock: SetClock | None = None) -> FleetParts:
        """What a :class:`FleetSide` is built from."""
        used = clock or self.clock
        return FleetParts(
            database=self.database,
            repository=self.repository.repository,
            blobs=self.blobs,
            authorities=self.authorities,
            director=Director(self.director_key, used),
            capabilities=Capabilities(b"k" * 32),
            clock=used,
            mqtt=MqttSettings(host="127.0.0.1", port=port, backoff_max_s=0.5),
            fleet=FleetSettings(),
            tick_interval_s=0.2,
        )

    def side(self) -> FleetSide:
        """The fleet's side, not connected."""
        return FleetSide(self.parts())

    async def add_device(self, **labels: str) -> FakeDevice:
        """An enrolled device."""
        device = FakeDevice(new_device_id(), self.directors)
        row = DeviceRow(
            id=device.id,
            enrolled_at=self.clock(),
            public_key_pem=device.public_key_pem,
            certificate_pem="",
            labels=labels or {"site": "lab"},
            inventory={"hostname": "box"},
        )
        async with self.database.transaction() as session:
            session.add(row)
        return device

    async def add_artifact(
        self, text: str, kind: str = "model", file: bytes | None = None, *, selector: str = ""
    ) -> TargetRef:
        """A published artifact, as far as the fleet's side looks; a selector is that of its only variant."""
        ref = ArtifactRef.parse(text)
        content = b"manifest of " + text.encode()
        target = TargetRef(
            path=target_path(kind, ref), sha256=hashlib.sha256(content).hexdigest(), length=len(content)
        )
        sha256 = None if file is None else hashlib.sha256(file).hexdigest()
        if file is not None and sha256 is not None:
            await self.blobs.write(sha256, _pieces(file), max_bytes=len(file))
        row = ArtifactRow(
            target_path=target.path,
            name=ref.name,
            version=ref.version,
            kind=kind,
            target_sha256=target.sha256,
            target_length=target.length,
            content=content,
            file_sha256=sha256,
            file_length=None if file is None else len(file),
            description={},
            published_at=self.clock(),
            files=[]
            if file is None or sha256 is None
            else [ArtifactFileRow(position=0, selector=selector, sha256=sha256, length=len(file))],
        )
        async with self.database.transaction() as session:
            session.add(row)
        return target


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


@asynccontextmanager
async def open_house(folder: Path, *, authorities: Authorities | None = None) -> AsyncIterator[House]:
    """A house with an empty, migrated database."""
    clock = SetClock()
    director_key = Ed25519PrivateKey.generate()
    made = authorities or Authorities.create(folder / "authorities", now=datetime.now(UTC))
    trust = TrustDocument(
        fleet="f-test",
        epoch=1,
        issued_at=int(clock().timestamp()),
        directors=Directors(keys=(public_pem(director_key.public_key()),)),
        authorities=AuthorityCertificates(
            servers=(made.servers.certificate_pem.decode(),), devices=(made.devices.certificate_pem.decode(),)
        ),
        controller_urls=(CONTROLLER_URL,),
        broker_urls=("mqtts://127.0.0.1:8883",),
    )
    database = Database.at(folder / "controller.db")
    await database.migrate()
    try:
        yield House(
            folder,
            database,
            FolderBlobStore(folder / "blobs"),
            made,
            director_key,
            clock,
            Fleet(trust=encode_trust_document(trust)),
        )
    finally:
        await database.close()
