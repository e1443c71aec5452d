"""What this room needs of others, as narrow protocols; each room keeps its own types."""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from skerry_agent.outbox import PendingBatch
from skerry_protocol.desired import DesiredState
from skerry_protocol.envelope import Kind
from skerry_protocol.generation import GenerationMark
from skerry_protocol.ranges import Range
from skerry_protocol.reported import ConfigReport, Inventory, SlotReport
from skerry_protocol.topics import UpLeaf
from skerry_protocol.trust_document import Address

OpenDown = Callable[[Kind, bytes], bytes]
"""The payload of a director's envelope, or ``ProtocolError`` (``TrustStore.open_down``)."""


class HeldFile(Protocol):
    """A file of the repository that this device has."""

    @property
    def name(self) -> str:
        """As a TUF client asks for it."""

    @property
    def content(self) -> bytes:
        """Its bytes."""


SimilarFile = Callable[[str], Awaitable[HeldFile | None]]
"""A held file that resembles the one with this name, or None (``TrustStore.similar``)."""


class TrustedClock(Protocol):
    """Trusted time (``skerry_agent.trust.TrustedTime``)."""

    def now(self) -> float:
        """Unix seconds."""

    def raise_floor(self, seconds: float, source: str) -> None:
        """Time is at least this, as something signed says."""


class Connector(Protocol):
    """Where the broker is, and how the device proves itself and knows it."""

    @property
    def device(self) -> str:
        """The device's id: certificate name, client id and topic level."""

    @property
    def topic_root(self) -> str:
        """What stands before all topics."""

    def addresses(self) -> Sequence[Address]:
        """Brokers in the order in which to try them; asked anew for every round."""

    def tls_context(self) -> ssl.SSLContext | None:
        """The context for mutual TLS, made anew; None is plain TCP, for tests. May block."""

    def check_peer(self, certificate: Mapping[str, Any]) -> None:
        """Check the dates of the broker's certificate (as ``SSLSocket.getpeercert`` gives it).

        Raises:
            PeerError: It is not valid at trusted time.
        """


class MetadataSource(Protocol):
    """The requester as the trust store reads from it."""

    async def fetch(self, name: str, max_bytes: int) -> bytes | None:
        """One file of the repository."""


Refresh = Callable[[MetadataSource], Awaitable[object]]
"""Refresh the TUF metadata from a source (``TrustStore.refresh``)."""


class CertificateHolder(Protocol):
    """The device's certificate, for its renewal (``skerry_agent.identity.Identity``)."""

    def renewal_due(self, now: float) -> bool:
        """Whether two thirds of its life are over at ``now``, Unix seconds."""

    def new_csr(self) -> str:
        """A certificate signing request, PEM. May block."""

    def install_certificate(self, pem: str) -> None:
        """Check and store the renewed certificate. May block.

        Raises:
            PeerError: It is not for this key.
        """


class DesiredFollower(Protocol):
    """The update engine as far as desired states go."""

    @property
    def accepted(self) -> GenerationMark | None:
        """The newest desired state that was accepted."""

    async def follow(self, desired: DesiredState, mark: GenerationMark) -> None:
        """Store it and go after it; durable when this returns.

        Raises:
            AgentError: It could not be stored.
        """


class Uplink(Protocol):
    """The session as those see it who send."""

    @property
    def connected(self) -> bool:
        """Whether there is a session now."""

    @property
    def frame_bytes(self) -> int:
        """The largest payload that the broker takes."""

    async def wait_connected(self, timeout_s: float) -> None:
        """Wait for a session.

        Raises:
            NotConnectedError: There was none in time.
        """

    async def publish(
        self, leaf: UpLeaf, payload: bytes, *, qos: Literal[0, 1] = 1, retain: bool = False
    ) -> None:
        """Publish below the device's own ``up/``; with QoS 1, the broker has it when this returns.

        Raises:
            NotConnectedError: There is no session, or it ended meanwhile.
            FrameTooLargeError: The payload is above ``frame_bytes``.
        """


class RecordQueue(Protocol):
    """The outbox as the pump and acknowledgements see it."""

    def watch(self, notify: Callable[[], None]) -> None:
        """Have ``notify`` called when there is something new."""

    async def pending_batches(
        self,
        max_bytes: int,
        max_records: int = 500,
        *,
        max_batches: int = 1,
        in_flight: Mapping[str, Sequence[Range]] | None = None,
    ) -> list[PendingBatch]:
        """What is not acknowledged and not in flight."""

    async def acknowledge(self, streams: Mapping[str, Sequence[Range]]) -> int:
        """Forget what the controller stored."""

    async def give_up(self, stream: str, sequence: int) -> None:
        """Drop a record that no frame can carry."""

    async def remember_once(self, key: str, expires_at: int) -> bool:
        """Remember a key; whether it was new."""


@dataclass(frozen=True, kw_only=True)
class ReportSources:
    """Where the parts of a report come from; each is asked for every report and must not block.

    ``slots`` is ``UpdateEngine.reports``; ``accepted`` its accepted mark; ``metadata_versions`` and
    ``trust_epoch`` come from the trust store, ``unsigned`` from the registry.
    """

    slots: Callable[[], Mapping[str, SlotReport]]
    accepted: Callable[[], GenerationMark | None]
    inventory: Callable[[], Inventory]
    metadata_versions: Callable[[], Mapping[str, int]]
    trust_epoch: Callable[[], int]
    configs: Callable[[], Sequence[ConfigReport]] = tuple
    unsigned: Callable[[], Sequence[str]] = tuple
    agent_version: str = ""


class CommandOutcome(NamedTuple):
    """What a command came to; goes into the reply."""

    ok: bool
    message: str = ""
    data: Mapping[str, str] = {}


CommandHandler = Callable[[Mapping[str, str]], Awaitable[CommandOutcome]]
"""Carries out one command by its arguments; an ``AgentError`` becomes a reply that says so."""
