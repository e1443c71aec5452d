"""A TUF repository in memory with fresh keys, for tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from skerry_controller.repository import Repository, RepositoryStore, create_repository
from skerry_controller.repository.store import check_names
from skerry_protocol.signing import public_pem
from skerry_protocol.trust_document import Authorities, Directors, TrustDocument, encode_trust_document

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


class MemoryRepositoryStore:
    """Obeys the contract of ``RepositoryStore`` in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        return self.files.get(name)

    def put_many(self, files: Mapping[str, bytes]) -> None:
        check_names(files)
        self.files |= files


class MemoryKeys:
    """Stands for the keyring and for the online keys: a fresh key for each role that is asked for."""

    def __init__(self) -> None:
        self._signers: dict[str, CryptoSigner] = {}
        self.root: bytes | None = None

    def signer(self, role: str) -> CryptoSigner:
        return self._signers.setdefault(role, CryptoSigner.generate_ed25519())

    def pin_root(self, root: bytes) -> None:
        self.root = root


def trust_bytes(*, fleet: str = "f-test", epoch: int = 1) -> bytes:
    """A valid trust document."""
    director = Ed25519PrivateKey.generate().public_key()
    return encode_trust_document(
        TrustDocument(
            fleet=fleet,
            epoch=epoch,
            issued_at=int(NOW.timestamp()),
            directors=Directors(keys=(public_pem(director),)),
            authorities=Authorities(servers=("pem",), devices=("pem",)),
            controller_urls=("https://127.0.0.1:8601",),
            broker_urls=("mqtts://127.0.0.1:8883",),
        )
    )


@dataclass
class Fleet:
    """A new repository with all its keys."""

    now: datetime = NOW
    store: RepositoryStore = field(default_factory=MemoryRepositoryStore)
    offline: MemoryKeys = field(default_factory=MemoryKeys)
    online: MemoryKeys = field(default_factory=MemoryKeys)
    trust: bytes = field(default_factory=trust_bytes)

    def __post_init__(self) -> None:
        self.root = create_repository(self.store, self.offline, self.online, self.trust, now=self.now)
        self.repository = Repository(self.store, self.online)
