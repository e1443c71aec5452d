"""A managed mosquitto on a free port, and MQTT clients with certificates of its authorities."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from skerry_controller.authorities import Authorities, KeyPair
from skerry_controller.authorities.certificates import key_pem
from skerry_controller.broker import BrokerMaterial, BrokerSettings, BrokerState, ManagedBroker
from support.processes import free_ports

DEVICE_A = "d-aaaaaaaaaaaaaaaa"
DEVICE_B = "d-bbbbbbbbbbbbbbbb"
HOST = "127.0.0.1"


def free_port() -> int:
    """A TCP port that nobody uses now."""
    return free_ports(1)[0]


def device_pair(authorities: Authorities, device: str) -> KeyPair:
    """What enrollment gives to a device."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    certificate = authorities.issue_device_certificate(
        request.public_bytes(Encoding.PEM), device, now=datetime.now(UTC)
    )
    return KeyPair(certificate, key_pem(key))


def client_context(folder: Path, servers_authority_pem: bytes, pair: KeyPair | None) -> ssl.SSLContext:
    """A TLS context that trusts the servers authority and shows the pair's certificate."""
    context = ssl.create_default_context(cadata=servers_authority_pem.decode())
    if pair is not None:
        # The ssl module reads certificates from files only.
        file = folder / f"client-{pair.certificate.serial_number}.pem"
        file.touch(mode=0o600)
        file.write_bytes(pair.key_pem + pair.certificate_pem)
        context.load_cert_chain(file)
    return context


@dataclass
class BrokerHouse:
    """Authorities, a broker that is not started yet, and its clients."""

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.now = datetime.now(UTC)
        self.authorities = Authorities.create(self.folder / "authorities", now=self.now)
        self.port = free_port()
        self.states: list[BrokerState] = []
        self.settings = BrokerSettings(
            folder=self.folder / "the broker", port=self.port, bind_address=HOST, **self.options
        )
        self.broker = ManagedBroker(self.settings, self.material(), on_state=self.states.append)

    def material(self) -> BrokerMaterial:
        """Fresh TLS files for the broker."""
        return BrokerMaterial(
            self.authorities.devices.certificate_pem,
            self.authorities.issue_server_certificate([HOST], now=self.now),
        )

    def context(self, pair: KeyPair | None) -> ssl.SSLContext:
        """A TLS context for a client of this broker."""
        return client_context(self.folder, self.authorities.servers.certificate_pem, pair)

    def client(self, pair: KeyPair | None, **options: Any) -> aiomqtt.Client:
        """An MQTT 5 client."""
        defaults: dict[str, Any] = {"protocol": aiomqtt.ProtocolVersion.V5, "timeout": 10}
        return aiomqtt.Client(HOST, self.port, tls_context=self.context(pair), **(defaults | options))

    def device(self, device: str, **options: Any) -> aiomqtt.Client:
        """A device's client."""
        return self.client(device_pair(self.authorities, device), **({"identifier": device} | options))

    def controller(self, **options: Any) -> aiomqtt.Client:
        """The controller's client."""
        return self.client(self.authorities.issue_controller_certificate(now=self.now), **options)


async def next_message(client: aiomqtt.Client) -> tuple[str, bytes]:
    """Topic and payload of the next message."""
    message = await anext(aiter(client.messages))
    assert isinstance(message.payload, bytes)
    return str(message.topic), message.payload
