"""A small TUF repository in memory that can also be made to attack: other keys, old files, wrong hashes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from skerry_protocol.desired import TargetRef
from skerry_protocol.names import TRUST_TARGET
from skerry_protocol.signing import KeySigner, public_pem
from skerry_protocol.trust_document import Authorities, Directors, TrustDocument, encode_trust_document

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")
DELEGATED = ("models", "configs")


def trust_document(
    director: KeySigner,
    *,
    servers: Sequence[str] = ("authority of servers",),
    devices: Sequence[str] = ("authority of devices",),
    epoch: int = 1,
    issued_at: int = int(START.timestamp()),
    fleet: str = "f-test",
) -> bytes:
    document = TrustDocument(
        fleet=fleet,
        epoch=epoch,
        issued_at=issued_at,
        directors=Directors(keys=(public_pem(director.public_key),)),
        authorities=Authorities(servers=tuple(servers), devices=tuple(devices)),
        controller_urls=("https://127.0.0.1:8601",),
        broker_urls=("mqtts://127.0.0.1:8883",),
    )
    return encode_trust_document(document)


@dataclass
class TufRepository:
    """Holds the current metadata and the published files, under the names that a client asks for."""

    now: datetime = START
    lifetimes: dict[str, timedelta] = field(
        default_factory=lambda: {
            "root": timedelta(days=365),
            "targets": timedelta(days=365),
            "models": timedelta(days=365),
            "configs": timedelta(days=365),
            "snapshot": timedelta(days=30),
            "timestamp": timedelta(days=7),
        }
    )
    files: dict[str, bytes] = field(default_factory=dict)
    director: KeySigner = field(default_factory=lambda: KeySigner(Ed25519PrivateKey.generate()))

    def __post_init__(self) -> None:
        self.signers = {role: CryptoSigner.generate_ed25519() for role in (*TOP_LEVEL, *DELEGATED)}
        self.root = Root(consistent_snapshot=True)
        for role in TOP_LEVEL:
            self.root.add_key(self.signers[role].public_key, role)
        self.targets = {role: Targets() for role in ("targets", *DELEGATED)}
        self.targets["targets"].delegations = Delegations(
            {},
            {
                role: DelegatedRole(role, [], 1, terminating=True, paths=[f"{role}/*/*.json"])
                for role in DELEGATED
            },
        )
        for role in DELEGATED:
            self.targets["targets"].add_key(self.signers[role].public_key, role)
        self.snapshot, self.timestamp = Snapshot(), Timestamp()
        for signed in (self.root, *self.targets.values(), self.snapshot, self.timestamp):
            signed.version = 0
        self.publish_root()
        self.put_target(TRUST_TARGET, trust_document(self.director))
        self.publish("targets", *DELEGATED)

    @property
    def initial_root(self) -> bytes:
        return self.files["1.root.json"]

    @property
    def initial_root_sha256(self) -> str:
        return hashlib.sha256(self.initial_root).hexdigest()

    def put_target(self, path: str, content: bytes, *, role: str | None = None) -> TargetRef:
        """List a target in its role (which is not published yet) and put its file."""
        role = role or (folder if (folder := path.partition("/")[0]) in DELEGATED else "targets")
        sha256 = hashlib.sha256(content).hexdigest()
        self.targets[role].targets[path] = TargetFile(len(content), {"sha256": sha256}, path)
        folder, _, name = path.rpartition("/")
        self.files[f"{folder}/{sha256}.{name}"] = content
        return TargetRef(path=path, sha256=sha256, length=len(content))

    def publish_root(self, *also_signed_by: CryptoSigner) -> None:
        """A new root version."""
        self.root.version += 1
        self.root.expires = self.now + self.lifetimes["root"]
        self.files[f"{self.root.version}.root.json"] = _signed(
            self.root, self.signers["root"], *also_signed_by
        )

    def rotate(self, role: str) -> CryptoSigner:
        """Give a top-level role a new key, in a new root; returns the old signer."""
        old = self.signers[role]
        self.root.revoke_key(old.public_key.keyid, role)
        self.signers[role] = CryptoSigner.generate_ed25519()
        self.root.add_key(self.signers[role].public_key, role)
        self.publish_root(*([old] if role == "root" else []))
        return old

    def publish(self, *roles: str) -> None:
        """New versions of the named targets roles, then snapshot and timestamp."""
        for role in roles:
            self.publish_targets(role)
        self.publish_snapshot()
        self.publish_timestamp()

    def publish_targets(self, role: str, signer: CryptoSigner | None = None) -> None:
        targets = self.targets[role]
        targets.version += 1
        targets.expires = self.now + self.lifetimes[role]
        data = _signed(targets, signer or self.signers[role])
        self.files[f"{targets.version}.{role}.json"] = data
        self.snapshot.meta[f"{role}.json"] = _meta(targets.version, data)

    def publish_snapshot(self) -> None:
        self.snapshot.version += 1
        self.snapshot.expires = self.now + self.lifetimes["snapshot"]
        data = _signed(self.snapshot, self.signers["snapshot"])
        self.files[f"{self.snapshot.version}.snapshot.json"] = data
        self.timestamp.snapshot_meta = _meta(self.snapshot.version, data)

    def publish_timestamp(self) -> None:
        self.timestamp.version += 1
        self.timestamp.expires = self.now + self.lifetimes["timestamp"]
        self.files["timestamp.json"] = _signed(self.timestamp, self.signers["timestamp"])


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})


def _signed(payload: T, *signers: CryptoSigner) -> bytes:
    metadata = Metadata(payload)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()
