"""A device that speaks the protocol, without an agent: it signs, reports and follows at a test's word."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from skerry_protocol.commands import CommandReply, decode_command, encode_reply
from skerry_protocol.desired import DesiredState, decode_desired
from skerry_protocol.envelope import open_sealed, seal
from skerry_protocol.generation import GenerationMark
from skerry_protocol.records import Record, RecordBatch, encode_batch
from skerry_protocol.reported import (
    Reason,
    ReportedState,
    RunningVersion,
    SlotReport,
    SlotState,
    Status,
    encode_reported,
    encode_status,
)
from skerry_protocol.requests import AnyRequest, Request, encode_request
from skerry_protocol.signing import KeySet, KeySigner, public_pem

DeviceKey = ec.EllipticCurvePrivateKey


@dataclass
class FakeDevice:
    """One device's identity and state."""

    id: str
    directors: KeySet
    key: DeviceKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    boot_id: str = field(default_factory=lambda: secrets.token_hex(8))
    counter: int = 0
    desired: DesiredState | None = None
    mark: GenerationMark | None = None
    slots: dict[str, SlotReport] = field(default_factory=dict)

    @property
    def signer(self) -> KeySigner:
        return KeySigner(self.key)

    @property
    def public_key_pem(self) -> str:
        return public_pem(self.key.public_key())

    def follow(self, envelope: bytes) -> DesiredState:
        """Accept a desired state, as an agent would after checking it."""
        payload = open_sealed(envelope, "desired", self.directors)
        self.desired = decode_desired(payload)
        assert self.desired.device == self.id
        self.mark = GenerationMark(
            generation=self.desired.generation, sha256=hashlib.sha256(payload).hexdigest()
        )
        return self.desired

    def settle(self, channel: str, state: SlotState = "committed", reason: Reason | None = None) -> None:
        """Bring a slot of the accepted desired state to this end."""
        assert self.desired is not None
        slot = self.desired.slots[channel]
        new = RunningVersion(ref="m@9", target_sha256=slot.target.sha256, file_sha256="f" * 64, signed=True)
        before = self.slots.get(channel)
        old = None if before is None else before.active
        self.slots[channel] = SlotReport(
            state=state,
            active=new if state == "committed" else old,
            target_path=slot.target.path,
            target_sha256=slot.target.sha256,
            attempt=slot.attempt,
            reason=reason,
        )

    def report(self) -> bytes:
        """The next report, signed."""
        self.counter += 1
        return self.sealed_report(self.report_of(self.id))

    def report_of(self, device: str) -> ReportedState:
        """What this device would say about ``device``."""
        return ReportedState(
            device=device,
            boot_id=self.boot_id,
            counter=self.counter,
            reported_at=1_800_000_000,
            agent_version="1.0",
            desired=self.mark,
            slots=dict(self.slots),
        )

    def sealed_report(self, report: ReportedState) -> bytes:
        return seal("reported", encode_reported(report), [self.signer])

    def batch(
        self,
        stream: str,
        records: Sequence[Record] = (),
        *,
        gone: Sequence[tuple[int, int]] = (),
        device: str = "",
    ) -> bytes:
        """A signed batch of records."""
        batch = RecordBatch(device=device or self.id, stream=stream, records=tuple(records), gone=tuple(gone))
        return seal("records", encode_batch(batch), [self.signer], binary=True)

    def reply(
        self, command: bytes, *, ok: bool = True, message: str = "", data: Mapping[str, str] | None = None
    ) -> bytes:
        """A signed reply to a command."""
        told = decode_command(open_sealed(command, "command", self.directors))
        answer = CommandReply(device=self.id, command=told.id, ok=ok, message=message, data=dict(data or {}))
        return seal("reply", encode_reply(answer), [self.signer])

    def request(self, body: AnyRequest) -> bytes:
        return encode_request(Request(device=self.id, body=body))

    def signed_request(self, body: AnyRequest) -> bytes:
        return seal("request", self.request(body), [self.signer])

    def status(self, *, online: bool) -> bytes:
        return encode_status(Status(device=self.id, online=online, boot_id=self.boot_id))


def sample(sequence: int, at_ms: int = 1_800_000_000_000, **values: float) -> Record:
    """One telemetry sample."""
    return Record(sequence, at_ms, "sample", "sample", dict(values or {"cpu_percent": 1.5}))
