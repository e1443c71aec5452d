"""The published vectors hold: what the protocol's document says is what the code does."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from skerry_protocol import enrollment, records
from skerry_protocol.desired import decode_desired, encode_desired
from skerry_protocol.envelope import media_type, open_sealed, pre_authentication_encoding, seal
from skerry_protocol.errors import MalformedError, SignatureError
from skerry_protocol.manifest import decode_manifest, encode_manifest
from skerry_protocol.requests import RangeRequest, decode_request, decode_response, encode_response
from skerry_protocol.signing import KeySet, KeySigner, key_id, load_public

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())


def keys(name: str) -> KeySet:
    return KeySet([load_public(VECTORS["keys"][name]["public_pem"])])


@pytest.mark.parametrize("name", ["director", "device"])
def test_a_key_id_is_the_hash_of_the_public_key(name: str) -> None:
    entry = VECTORS["keys"][name]
    assert key_id(load_public(entry["public_pem"])) == entry["key_id"]


def test_the_desired_envelope_opens_to_its_payload() -> None:
    vector = VECTORS["desired"]
    payload = open_sealed(vector["envelope"].encode(), "desired", keys("director"))
    assert payload == vector["payload"].encode()
    assert encode_desired(decode_desired(payload)) == payload


def test_a_slot_of_a_desired_state_has_adapters_on_its_model() -> None:
    payload = VECTORS["desired_with_adapter"].encode()
    (slot,) = decode_desired(payload).slots.values()
    assert [adapter.path for adapter in slot.adapters] == ["models/german/1.json"]
    assert encode_desired(decode_desired(payload)) == payload


def test_an_adapter_names_the_file_that_it_was_made_for() -> None:
    data = VECTORS["adapter_manifest"].encode()
    manifest = decode_manifest(data)
    assert (manifest.kind, manifest.base) == ("adapter", "ab" * 32)
    assert encode_manifest(manifest) == data


@pytest.mark.parametrize("base", ["null", '"AB"', '"models/smollm2/1.json"'])
def test_an_adapter_without_a_base_is_none(base: str) -> None:
    data = VECTORS["adapter_manifest"].replace(f'"{"ab" * 32}"', base)
    with pytest.raises(MalformedError):
        decode_manifest(data.encode())


def test_what_is_signed_is_the_pre_authentication_encoding() -> None:
    vector = VECTORS["desired"]
    signed = pre_authentication_encoding(media_type("desired", binary=False), vector["payload"].encode())
    assert base64.b64decode(vector["signed_bytes"]) == signed
    assert signed.startswith(b"DSSEv1 38 application/vnd.skerry.desired.v1+json ")


def test_an_ed25519_envelope_is_reproduced_to_the_byte() -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - only here

    signer = KeySigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    vector = VECTORS["command"]
    assert seal("command", vector["payload"].encode(), [signer]) == vector["envelope"].encode()


def test_an_envelope_is_not_good_for_another_kind() -> None:
    renamed = VECTORS["desired"]["envelope"].replace('"kind":"desired"', '"kind":"command"')
    with pytest.raises(SignatureError):
        open_sealed(renamed.encode(), "command", keys("director"))


def test_the_records_envelope_opens_to_its_batch() -> None:
    vector = VECTORS["records"]
    payload = open_sealed(base64.b64decode(vector["envelope"]), "records", keys("device"))
    assert payload == base64.b64decode(vector["payload"])
    batch = records.decode_batch(payload)
    assert [r.sequence for r in batch.records] == [4, 5]
    assert batch.gone == ((0, 3),)


def test_a_request_and_its_response_decode() -> None:
    body = decode_request(VECTORS["request"].encode()).body
    assert isinstance(body, RangeRequest)
    assert (body.offset, body.length) == (0, 65_536)
    data = base64.b64decode(VECTORS["response"])
    frame = decode_response(data)
    assert (frame.status, frame.body) == ("ok", b"hello")
    assert encode_response(frame) == data


def test_the_enrollment_token_parses_and_formats() -> None:
    token = enrollment.parse_token(VECTORS["enrollment_token"])
    assert token.secret == "s3cret"  # noqa: S105 - a vector
    assert token.format() == VECTORS["enrollment_token"]
