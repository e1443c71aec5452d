"""Someone who stole what a controller and a broker have: all online keys, all topics. No offline key."""

import secrets
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from skerry_controller.authorities import Authorities
from skerry_controller.keyring import OnlineKeys
from skerry_controller.repository import FolderRepositoryStore, metadata_name, target_name
from skerry_protocol.envelope import Kind, seal
from skerry_protocol.requests import MetadataRequest, ResponseFrame, decode_request, encode_response
from skerry_protocol.signing import KeySigner
from skerry_protocol.topics import DownLeaf, Topic
from support.fleet import Controller

BROKER_TIMEOUT_S = 20.0


class Thief:
    """Reads a controller's data folder and speaks in the broker's place."""

    def __init__(self, controller: Controller) -> None:
        self._data = controller.data
        self._port = controller.broker_port
        self._keys = OnlineKeys.open(controller.data / "keys")
        self._store = FolderRepositoryStore(controller.data / "repository")
        self.stranger = KeySigner(Ed25519PrivateKey.generate())
        self.director = KeySigner(self._keys.private_key("director"))

    def send(self, device: str, leaf: DownLeaf, payload: bytes) -> None:
        """Put a message on a device's topic, as a broker can."""
        with self._session() as client:
            _publish(client, device, leaf, payload)

    @contextmanager
    def in_the_controllers_place(self, device: str) -> Iterator[Callable[[DownLeaf, bytes], None]]:
        """Hold the controller's session, and answer a device's questions for metadata as it would.

        Yields:
            A function that sends the device a message.
        """
        with self._session() as client:
            client.on_message = lambda _client, _data, message: self._answer(
                client, device, bytes(message.payload)
            )
            client.subscribe(Topic(device, "request").format(), qos=0)
            yield lambda leaf, payload: _publish(client, device, leaf, payload)

    def _answer(self, client: mqtt.Client, device: str, payload: bytes) -> None:
        body = decode_request(payload).body
        content = self._store.get(body.name) if isinstance(body, MetadataRequest) else None
        if content is None or not isinstance(body, MetadataRequest):
            frame = ResponseFrame(1, body.id, "not_found", 0, 0, b"")
        else:
            piece = content[body.offset : body.offset + body.length]
            frame = ResponseFrame(1, body.id, "ok", len(content), body.offset, piece)
        client.publish(Topic(device, "response").format(), encode_response(frame))

    @contextmanager
    def _session(self) -> Iterator[mqtt.Client]:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.tls_set_context(self._tls())
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        try:
            yield client
        finally:
            client.disconnect()
            client.loop_stop()

    def forged(self, kind: Kind, payload: bytes) -> bytes:
        """An envelope that a stranger signed."""
        return seal(kind, payload, [self.stranger])

    def add_unsigned_target(self, path: str, content: bytes) -> Mapping[str, bytes]:
        """Add a target to the repository with a key that nobody trusts, below properly signed online roles.

        Returns:
            The files that were there before, for :meth:`restore`.
        """
        before = {name: self._read(name) for name in ("timestamp.json",)}
        timestamp = Metadata[Timestamp].from_bytes(before["timestamp.json"])
        snapshot = Metadata[Snapshot].from_bytes(
            self._read(metadata_name("snapshot", timestamp.signed.snapshot_meta.version))
        )
        version = snapshot.signed.meta["models.json"].version
        models = Metadata[Targets].from_bytes(self._read(metadata_name("models", version)))
        target = TargetFile.from_data(path, content, ["sha256"])
        models.signed.targets[path] = target
        models.signed.version = version + 1
        models.signed.expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        models.sign(CryptoSigner(Ed25519PrivateKey.generate()))
        snapshot.signed.meta["models.json"] = MetaFile(version=version + 1)
        snapshot.signed.version += 1
        snapshot.sign(self._keys.signer("snapshot"))
        timestamp.signed.snapshot_meta = MetaFile(version=snapshot.signed.version)
        timestamp.signed.version += 1
        timestamp.sign(self._keys.signer("timestamp"))
        self._store.put_many(
            {
                target_name(path, target.hashes["sha256"]): content,
                metadata_name("models", version + 1): models.to_bytes(),
                metadata_name("snapshot", snapshot.signed.version): snapshot.to_bytes(),
                "timestamp.json": timestamp.to_bytes(),
            }
        )
        return before

    def restore(self, files: Mapping[str, bytes]) -> None:
        """Put the repository back as it was."""
        self._store.put_many(files)

    def alter_blob(self, sha256: str) -> None:
        """Change one byte near the end of a stored model file."""
        path = next((self._data / "blobs").rglob(sha256))
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.seek(-1000, 2)
            byte = file.read(1)
            file.seek(-1000, 2)
            file.write(bytes([byte[0] ^ 0xFF]))

    def _read(self, name: str) -> bytes:
        content = self._store.get(name)
        if content is None:
            raise FileNotFoundError(name)
        return content

    def _tls(self) -> ssl.SSLContext:
        authorities = Authorities.open(self._data / "authorities")
        pair = authorities.issue_controller_certificate(now=datetime.now(UTC))
        context = ssl.create_default_context(cadata=_text(authorities.servers.certificate_pem))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{secrets.token_hex(4)}.pem"
            file.touch(mode=0o600)
            file.write_text(_text(pair.certificate_pem) + _text(pair.key_pem))
            context.load_cert_chain(file)
        return context


def _publish(client: mqtt.Client, device: str, leaf: DownLeaf, payload: bytes) -> None:
    info = client.publish(Topic(device, leaf).format(), payload, qos=1)
    info.wait_for_publish(BROKER_TIMEOUT_S)


def _text(pem: bytes | str) -> str:
    return pem.decode() if isinstance(pem, bytes) else pem
