"""The controller's side of the protocol as tests want it: honest by default, wrong on request."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from skerry_protocol import envelope, ranges
from skerry_protocol.commands import Command, CommandReply, decode_reply, encode_command
from skerry_protocol.desired import DesiredState, encode_desired
from skerry_protocol.errors import ProtocolError
from skerry_protocol.generation import Generation, GenerationMark
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.packing import pack
from skerry_protocol.records import Acknowledgement, Record, decode_batch, encode_acknowledgement
from skerry_protocol.reported import ReportedState, decode_reported, decode_status
from skerry_protocol.requests import (
    AnyRequest,
    Capability,
    CapabilityRequest,
    Certificate,
    MetadataRequest,
    RangeRequest,
    RenewalRequest,
    ResponseFrame,
    decode_request,
    encode_capability,
    encode_certificate,
    encode_response,
)
from skerry_protocol.signing import KeySet, KeySigner
from skerry_protocol.topics import DownLeaf, Topic
from skerry_protocol.trust_document import Address

NOW = 1_800_000_000
"""The time that both sides of these tests live in, Unix seconds."""


class ScriptedController:
    """Answers devices over a broker; what it saw is kept in public lists.

    Attributes:
        acknowledges: Whether records are acknowledged.
        answer: Called with each request before it is answered; returns False to stay silent.
        stored: (stream, sequence) -> record, each once; ``arrivals`` counts every arrival.
    """

    def __init__(self, device: str, device_keys: KeySet) -> None:
        self.director = KeySigner(ed25519.Ed25519PrivateKey.generate())
        self.device = device
        self._device_keys = device_keys
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.capability_changes: dict[str, Any] = {}
        self.acknowledges = True
        self.answer: Callable[[AnyRequest], bool] = lambda _request: True
        self.max_body_bytes = DEFAULT_LIMITS.max_frame_bytes
        self.stored: dict[tuple[str, int], Record] = {}
        self.gone: dict[str, list[tuple[int, int]]] = {}
        self.arrivals: list[tuple[str, str, int]] = []
        self.reports: list[ReportedState] = []
        self.replies: list[CommandReply] = []
        self.statuses: list[bool] = []
        self.requests: list[AnyRequest] = []
        self.order: list[str] = []
        self.changed = asyncio.Condition()
        self._client: aiomqtt.Client | None = None

    async def wait_for(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Wait until something that arrived makes the condition true."""
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(condition)

    async def publish(self, leaf: DownLeaf, payload: bytes, *, retain: bool = False, qos: int = 1) -> None:
        assert self._client is not None
        await self._client.publish(Topic(self.device, leaf).format(), payload, qos=qos, retain=retain)

    def desired(self, number: int, *, device: str | None = None, epoch: int = 1, **changes: Any) -> bytes:
        state = DesiredState(
            device=device or self.device,
            id=secrets.token_hex(8),
            generation=Generation(epoch=epoch, number=number),
            **({"issued_at": NOW, "expires_at": NOW + 3600} | changes),
        )
        return envelope.seal("desired", encode_desired(state), [self.director])

    def command(
        self,
        name: str,
        *,
        device: str | None = None,
        expires_at: int = NOW + 60,
        arguments: dict[str, str] | None = None,
    ) -> bytes:
        command = Command(
            device=device or self.device,
            id=secrets.token_hex(8),
            issued_at=NOW,
            expires_at=expires_at,
            name=name,
            arguments=arguments or {},
        )
        return envelope.seal("command", encode_command(command), [self.director])

    def acknowledgement(
        self,
        streams: dict[str, list[tuple[int, int]]],
        *,
        device: str | None = None,
        expires_at: int = NOW + 60,
        signer: KeySigner | None = None,
    ) -> bytes:
        ack = Acknowledgement(
            device=device or self.device,
            id=secrets.token_hex(8),
            issued_at=NOW,
            expires_at=expires_at,
            streams=streams,
        )
        return envelope.seal("ack", encode_acknowledgement(ack), [signer or self.director])

    async def serve(self, client: aiomqtt.Client) -> None:
        self._client = client
        async for message in client.messages:
            topic = Topic.parse(str(message.topic))
            assert isinstance(message.payload, bytes)
            await self._take(topic, message.payload)
            async with self.changed:
                self.changed.notify_all()

    async def _take(self, topic: Topic, payload: bytes) -> None:
        self.order.append(topic.leaf)
        match topic.leaf:
            case "status":
                self.statuses.append(decode_status(payload).online)
            case "reported":
                opened = envelope.open_sealed(payload, "reported", self._device_keys)
                self.reports.append(decode_reported(opened))
            case "reply":
                self.replies.append(decode_reply(envelope.open_sealed(payload, "reply", self._device_keys)))
            case "telemetry" | "events":
                await self._store(payload, topic.leaf)
            case "request":
                await self._answer(payload)

    async def _store(self, payload: bytes, leaf: str) -> None:
        batch = decode_batch(envelope.open_sealed(payload, "records", self._device_keys))
        for record in batch.records:
            assert (record.kind == "sample") is (leaf == "telemetry")
            self.stored[batch.stream, record.sequence] = record
            self.arrivals.append((leaf, batch.stream, record.sequence))
        self.gone[batch.stream] = ranges.union(self.gone.get(batch.stream, []), batch.gone)
        if self.acknowledges:
            covered = ranges.union(ranges.from_numbers(r.sequence for r in batch.records), batch.gone)
            await self.publish("ack", self.acknowledgement({batch.stream: covered}))

    async def _answer(self, payload: bytes) -> None:
        body, signed = self._open_request(payload)
        self.requests.append(body)
        if not self.answer(body):
            return
        frame = self._frame_for(body, signed=signed)
        await self.publish("response", encode_response(frame), qos=0)

    def _open_request(self, payload: bytes) -> tuple[AnyRequest, bool]:
        try:
            return decode_request(envelope.open_sealed(payload, "request", self._device_keys)).body, True
        except ProtocolError:
            return decode_request(payload).body, False

    def _frame_for(self, body: AnyRequest, *, signed: bool) -> ResponseFrame:
        match body:
            case MetadataRequest():
                return self._slice(body, self._file(body))
            case RangeRequest():
                return self._slice(body, self.blobs.get(body.sha256))
            case CapabilityRequest():
                if body.sha256 not in self.blobs:
                    return ResponseFrame(1, body.id, "not_found", 0, 0, b"no such blob")
                fields: dict[str, Any] = {
                    "device": self.device,
                    "request": body.id,
                    "issued_at": NOW,
                    "expires_at": NOW + 60,
                    "sha256": body.sha256,
                    "urls": ("https://127.0.0.1:1/v1/blobs/x",),
                }
                capability = Capability(**(fields | self.capability_changes))
                sealed = envelope.seal("capability", encode_capability(capability), [self.director])
                return ResponseFrame(1, body.id, "ok", len(sealed), 0, sealed)
            case RenewalRequest():
                if not signed:
                    return ResponseFrame(1, body.id, "bad_request", 0, 0, b"not signed by the device")
                certificate = Certificate(
                    device=self.device,
                    request=body.id,
                    issued_at=NOW,
                    expires_at=NOW + 60,
                    certificate_pem=f"certificate for {body.csr_pem}",
                )
                sealed = envelope.seal("certificate", encode_certificate(certificate), [self.director])
                return ResponseFrame(1, body.id, "ok", len(sealed), 0, sealed)

    def _file(self, body: MetadataRequest) -> bytes | None:
        content = self.files.get(body.name)
        if content is None or not body.packed:
            return content
        return pack(content, self.files.get(body.base or ""))

    def _slice(self, body: MetadataRequest | RangeRequest, data: bytes | None) -> ResponseFrame:
        if data is None:
            return ResponseFrame(1, body.id, "not_found", 0, 0, b"not here")
        end = body.offset + min(body.length, self.max_body_bytes)
        return ResponseFrame(1, body.id, "ok", len(data), body.offset, data[body.offset : end])


@asynccontextmanager
async def running_controller(controller: ScriptedController, address: Address) -> AsyncIterator[None]:
    """Serve in the background until the block ends."""
    async with aiomqtt.Client(
        address.host, address.port, protocol=aiomqtt.ProtocolVersion.V5, identifier="skerry-controller"
    ) as client:
        client.pending_calls_threshold = 10_000
        await client.subscribe("skerry/v1/+/up/#", qos=1)
        serving = asyncio.create_task(controller.serve(client), name="scripted-controller")
        try:
            yield
        finally:
            # More than once: asyncio.wait_for in Python 3.11, which aiomqtt uses, may lose a cancellation.
            while not serving.done():
                serving.cancel()
                await asyncio.wait({serving}, timeout=0.2)
            (result,) = await asyncio.gather(serving, return_exceptions=True)
            if isinstance(result, Exception) and not isinstance(result, aiomqtt.MqttError):
                raise result


class FakeTrustedClock:
    """Trusted time that stands still until a test moves it."""

    def __init__(self, seconds: float = NOW) -> None:
        self.seconds = float(seconds)
        self.floors: list[tuple[float, str]] = []

    def now(self) -> float:
        return self.seconds

    def raise_floor(self, seconds: float, source: str) -> None:
        self.floors.append((seconds, source))


class FakeEngine:
    """Accepts whatever it is told to follow."""

    def __init__(self) -> None:
        self.accepted: GenerationMark | None = None
        self.followed: list[DesiredState] = []
        self.failure: Exception | None = None

    async def follow(self, desired: DesiredState, mark: GenerationMark) -> None:
        if self.failure is not None:
            raise self.failure
        self.accepted = mark
        self.followed.append(desired)


class PlainConnector:
    """Plain TCP to one broker or several."""

    def __init__(self, device: str, *addresses: Address) -> None:
        self.device = device
        self.topic_root = "skerry/v1"
        self.brokers = list(addresses)

    def addresses(self) -> list[Address]:
        return list(self.brokers)

    def tls_context(self) -> None:
        return None

    def check_peer(self, certificate: object) -> None:
        raise AssertionError("plain TCP has no certificate")


def new_device_signer() -> KeySigner:
    return KeySigner(ec.generate_private_key(ec.SECP256R1()))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
