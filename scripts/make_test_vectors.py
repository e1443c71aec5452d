"""Write ``tests/conformance/vectors.json``: messages of the protocol with the keys that signed them.

The keys are derived from fixed numbers, so another implementation can check both directions. ECDSA
signatures are random: the vectors hold one that is valid, not the only one.
"""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from skerry_protocol import enrollment, records
from skerry_protocol.commands import Command, encode_command
from skerry_protocol.desired import DesiredSlot, DesiredState, TargetRef, encode_desired
from skerry_protocol.envelope import media_type, pre_authentication_encoding, seal
from skerry_protocol.generation import Generation
from skerry_protocol.manifest import Chunk, FileEntry, Manifest, Variant, encode_manifest
from skerry_protocol.records import Record, RecordBatch
from skerry_protocol.requests import RangeRequest, Request, ResponseFrame, encode_request, encode_response
from skerry_protocol.signing import KeySigner, public_pem

DEVICE = "d-abcdefgh23456723"
DIRECTOR_SEED = bytes(range(32))
DEVICE_SECRET = int.from_bytes(bytes(range(1, 33)), "big")


def director() -> KeySigner:
    """The director of the vectors."""
    return KeySigner(ed25519.Ed25519PrivateKey.from_private_bytes(DIRECTOR_SEED))


def device_signer() -> KeySigner:
    """The device of the vectors."""
    return KeySigner(ec.derive_private_key(DEVICE_SECRET, ec.SECP256R1()))


def desired() -> DesiredState:
    """One desired state."""
    target = TargetRef(path="models/smollm2/1.json", sha256="ab" * 32, length=40_000)
    return DesiredState(
        device=DEVICE,
        id="0123456789abcdef",
        generation=Generation(epoch=1, number=7),
        issued_at=1_790_000_000,
        expires_at=1_792_592_000,
        minimum_versions={"models": 3},
        slots={"assistant/stable": DesiredSlot(target=target, rollout="r-1")},
    )


def desired_with_adapter() -> DesiredState:
    """The next one: an adapter on the same model."""
    state = desired()
    slot = state.slots["assistant/stable"]
    german = TargetRef(path="models/german/1.json", sha256="cd" * 32, length=900)
    return msgspec.structs.replace(
        state,
        generation=Generation(epoch=1, number=8),
        slots={"assistant/stable": msgspec.structs.replace(slot, adapters=(german,))},
    )


def adapter_manifest() -> Manifest:
    """A LoRA adapter, which names its base by the hash of the model file."""
    entry = FileEntry(sha256="ef" * 32, length=7, chunks=(Chunk(0, 4, "11" * 32), Chunk(4, 3, "22" * 32)))
    return Manifest(
        name="german", version="1", kind="adapter", variants=(Variant(files=(entry,)),), base="ab" * 32
    )


def batch() -> RecordBatch:
    """One batch of records."""
    return RecordBatch(
        device=DEVICE,
        stream="00112233445566778899aabbccddeeff",
        records=(
            Record(4, 1_790_000_000_123, "sample", "sample", {"cpu_percent": 12.5}),
            Record(
                5, 1_790_000_001_123, "event", "update_committed", {"slot": "assistant/stable", "attempt": 1}
            ),
        ),
        gone=((0, 3),),
    )


def vectors() -> dict[str, Any]:
    """All vectors."""
    state = encode_desired(desired())
    command = encode_command(
        Command(device=DEVICE, id="c-1", issued_at=1_790_000_000, expires_at=1_790_000_060, name="ping")
    )
    packed = records.encode_batch(batch())
    request = Request(device=DEVICE, body=RangeRequest(id="1", sha256="cd" * 32, offset=0, length=65_536))
    token = enrollment.EnrollmentToken(secret="s3cret", authority_sha256="01" * 32, root_sha256="02" * 32)  # noqa: S106 - a vector
    return {
        "keys": {
            "director": {"public_pem": public_pem(director().public_key), "key_id": director().key_id},
            "device": {
                "public_pem": public_pem(device_signer().public_key),
                "key_id": device_signer().key_id,
            },
        },
        "desired": {
            "payload": state.decode(),
            "signed_bytes": _b64(pre_authentication_encoding(media_type("desired", binary=False), state)),
            "envelope": seal("desired", state, [director()]).decode(),
        },
        "desired_with_adapter": encode_desired(desired_with_adapter()).decode(),
        "adapter_manifest": encode_manifest(adapter_manifest()).decode(),
        "command": {"payload": command.decode(), "envelope": seal("command", command, [director()]).decode()},
        "records": {
            "payload": _b64(packed),
            "envelope": _b64(seal("records", packed, [device_signer()], binary=True)),
        },
        "request": encode_request(request).decode(),
        "response": _b64(encode_response(ResponseFrame(1, "1", "ok", 5, 0, b"hello"))),
        "enrollment_token": token.format(),
    }


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "tests" / "conformance" / "vectors.json"
    path.write_text(json.dumps(vectors(), indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path}")
