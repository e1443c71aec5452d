"""A fake device's session with a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiomqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from skerry_controller.authorities import KeyPair
from skerry_controller.authorities.certificates import key_pem
from skerry_protocol.requests import AnyRequest, ResponseFrame, decode_response
from skerry_protocol.topics import DownLeaf, Topic, UpLeaf, own_down
from support.broker import BrokerHouse
from support.fake_device import FakeDevice


def signing_request(device: FakeDevice) -> str:
    """A certificate signing request for the device's own key."""
    request = (
        x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(device.key, hashes.SHA256())
    )
    return request.public_bytes(Encoding.PEM).decode("ascii")


@dataclass
class DeviceSession:
    """What a connected device does; what came waits in one queue for each leaf."""

    device: FakeDevice
    client: aiomqtt.Client
    inbox: dict[str, asyncio.Queue[bytes]] = field(default_factory=dict)

    async def publish(self, leaf: UpLeaf, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        await self.client.publish(Topic(self.device.id, leaf).format(), payload, qos=qos, retain=retain)

    async def receive(self, leaf: DownLeaf, timeout_s: float = 10.0) -> bytes:
        """The next message on ``down/<leaf>``."""
        async with asyncio.timeout(timeout_s):
            return await self.queue(leaf).get()

    def queue(self, leaf: DownLeaf) -> asyncio.Queue[bytes]:
        return self.inbox.setdefault(leaf, asyncio.Queue())

    async def ask(self, body: AnyRequest, *, signed: bool = False) -> ResponseFrame:
        """One request and its answer; nothing else may be under way."""
        make = self.device.signed_request if signed else self.device.request
        await self.publish("request", make(body))
        return decode_response(await self.receive("response"))

    async def pump(self) -> None:
        """Sort what comes into the inbox, until this is cancelled."""
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            leaf = Topic.parse(message.topic.value).leaf
            assert leaf in ("desired", "ack", "command", "response")
            self.inbox.setdefault(leaf, asyncio.Queue()).put_nowait(message.payload)


@asynccontextmanager
async def connected(
    broker: BrokerHouse, device: FakeDevice, *, announce: bool = True
) -> AsyncIterator[DeviceSession]:
    """A device that is connected, subscribed and (unless told otherwise) has said that it is online."""
    certificate = broker.authorities.issue_device_certificate(
        signing_request(device).encode(), device.id, now=datetime.now(UTC)
    )
    pair = KeyPair(certificate, key_pem(device.key))
    will = aiomqtt.Will(Topic(device.id, "status").format(), device.status(online=False), qos=1, retain=True)
    async with broker.client(pair, will=will) as client:
        await client.subscribe(own_down(device.id), qos=1)
        session = DeviceSession(device, client)
        pump = asyncio.create_task(session.pump(), name=f"pump-{device.id}")
        try:
            if announce:
                await session.publish("status", device.status(online=True), retain=True)
            yield session
        finally:
            pump.cancel()
            await asyncio.wait([pump])
