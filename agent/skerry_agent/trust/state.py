"""Values that the room passes around. Nothing here imports tuf."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from skerry_protocol.desired import TargetRef
from skerry_protocol.trust_document import TrustDocument

if TYPE_CHECKING:
    from skerry_agent.trust.metadata_set import MetadataSet


@dataclass(frozen=True)
class MetadataFiles:
    """The bytes of a verified state: enough to verify it again without a network.

    Attributes:
        roots: The chain of roots, from the initial one on.
        roots_used: How many of ``roots`` the other files were verified under. More are there when a
            refresh got new roots and then failed: the next one starts from them.
        roles: Role -> bytes of timestamp, snapshot, targets and delegated roles.
        trust_document: Bytes of ``fleet/trust.json``.
        reference_time_s: The trusted time of the refresh that verified them, Unix seconds.
    """

    roots: tuple[bytes, ...]
    roots_used: int
    roles: Mapping[str, bytes] = field(default_factory=dict)
    trust_document: bytes | None = None
    reference_time_s: float = 0.0

    def has_same_content(self, other: "MetadataFiles") -> bool:
        """Whether both hold the same bytes; when they were verified does not matter."""
        return (self.roots, self.roots_used, dict(self.roles), self.trust_document) == (
            other.roots,
            other.roots_used,
            dict(other.roles),
            other.trust_document,
        )


class TrustState(NamedTuple):
    """What a device believes: verified metadata, the trust document, and the bytes of both."""

    metadata: "MetadataSet"
    document: TrustDocument
    files: MetadataFiles


class Wanted(NamedTuple):
    """A file that the client workflow needs next, and the most bytes that it may have."""

    name: str
    max_bytes: int


def consistent_name(target: TargetRef) -> str:
    """The name of a target's file in the repository: ``models/NAME/<sha256>.VERSION.json`` (TUF, 6.2)."""
    folder, slash, name = target.path.rpartition("/")
    return f"{folder}{slash}{target.sha256}.{name}"
