"""The controller's side in this process, with the product's own repository, that counts what crosses.

Requests and response frames are the real ones, in MQTT packets as a broker would carry them. TLS and TCP
are not counted (about half a per cent), nor are the desired state and the reports (about 1 kB each): no
method saves them.
"""

import mmap
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from skerry_controller.mqtt.settings import MqttSettings
from skerry_controller.mqtt.sources import MetadataCache
from skerry_controller.repository import add_target
from skerry_protocol.desired import TargetRef
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.requests import (
    AnyRequest,
    MetadataRequest,
    RangeRequest,
    ResponseFrame,
    decode_request,
    encode_response,
)
from skerry_protocol.topics import Topic, UpLeaf
from support.repository import NOW, Fleet

DEVICE: Final = "d-" + "a" * 16
_BODY_BYTES: Final = MqttSettings("", 0).max_body_bytes


Respond = Callable[[bytes], object]
"""Takes a response frame."""


def _nobody(_frame: bytes) -> None:
    """No device has come yet."""


@dataclass
class Traffic:
    """Bytes of MQTT packets in both directions.

    Attributes:
        metadata_bytes: Repository files: roles, manifests, and whatever else is signed.
        blob_bytes: Models and what stands in for parts of them.
    """

    metadata_bytes: int = 0
    blob_bytes: int = 0
    requests: int = 0

    @property
    def wire_bytes(self) -> int:
        """All of it."""
        return self.metadata_bytes + self.blob_bytes


class Site:
    """Publishes files and answers requests; implements the agent's ``Uplink``.

    Attributes:
        traffic: Since :meth:`reset`.
        spans_read: Digest, start and end of what was read of blobs, since then.
        cpu_s: What answering cost, which is not the device's.
        respond: Takes a response frame, as from a broker.
    """

    connected = True
    frame_bytes = DEFAULT_LIMITS.max_frame_bytes

    def __init__(self) -> None:
        self.fleet = Fleet()
        self.traffic = Traffic()
        self.cpu_s = 0.0
        self.respond: Respond = _nobody
        self.spans_read: set[tuple[str, int, int]] = set()
        self._metadata = MetadataCache(self.fleet.repository)
        self._blobs: dict[str, memoryview] = {}
        self._open = ExitStack()

    def close(self) -> None:
        """Let go of the files."""
        self._open.close()

    def reset(self) -> None:
        """Count from nothing."""
        self.traffic, self.cpu_s = Traffic(), 0.0
        self.spans_read = set()

    def offer(self, path: str, content: bytes) -> TargetRef:
        """Sign a target of the ``models`` role and make it visible."""
        repository = self.fleet.repository
        signed = add_target(
            repository.role_metadata("models"),
            "models",
            path,
            content,
            self.fleet.offline.signer("models"),
            now=NOW,
        )
        repository.publish("models", signed, {path: content}, now=NOW)
        target = repository.targets("models")[path]
        return TargetRef(path=path, sha256=target.hashes["sha256"], length=target.length)

    def add_blob(self, sha256: str, path: Path) -> None:
        """Have a file to answer ranges from."""
        file = self._open.enter_context(path.open("rb"))
        mapped = self._open.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._blobs[sha256] = self._open.enter_context(memoryview(mapped))

    async def wait_connected(self, timeout_s: float) -> None:
        """There always is a session."""

    async def publish(
        self, leaf: UpLeaf, payload: bytes, *, qos: Literal[0, 1] = 1, retain: bool = False
    ) -> None:
        """Take a request and answer it."""
        if leaf != "request":
            return
        began = time.thread_time()
        body = decode_request(payload).body
        frame = encode_response(await self._frame(body))
        size = packet_bytes("request", payload) + packet_bytes("response", frame)
        self.traffic.requests += 1
        if isinstance(body, MetadataRequest):
            self.traffic.metadata_bytes += size
        else:
            self.traffic.blob_bytes += size
        self.cpu_s += time.thread_time() - began
        self.respond(frame)

    async def _frame(self, body: AnyRequest) -> ResponseFrame:
        content: memoryview | bytes | None = None
        if isinstance(body, RangeRequest):
            content = self._blobs.get(body.sha256)
            self.spans_read.add((body.sha256, body.offset, body.offset + body.length))
        elif isinstance(body, MetadataRequest) and body.packed:
            content = await self._metadata.packed(body.name, body.base)
        elif isinstance(body, MetadataRequest):
            content = await self._metadata.get(body.name)
        if content is None or not isinstance(body, RangeRequest | MetadataRequest):
            return ResponseFrame(1, body.id, "not_found", 0, 0, b"")
        piece = bytes(content[body.offset : body.offset + min(body.length, _BODY_BYTES)])
        return ResponseFrame(1, body.id, "ok", len(content), body.offset, piece)


def packet_bytes(leaf: Literal["request", "response"], payload: bytes) -> int:
    """Bytes of an MQTT 5 PUBLISH packet with QoS 0 and no properties."""
    rest = 2 + len(Topic(DEVICE, leaf).format()) + 1 + len(payload)
    length_bytes = max(1, -(-rest.bit_length() // 7))
    return 1 + length_bytes + rest
