import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from skerry_protocol.envelope import open_sealed, parse, seal
from skerry_protocol.errors import MalformedError, SignatureError, TooLargeError, UnsupportedVersionError
from skerry_protocol.signing import KeySet, KeySigner, load_public, public_pem

ALICE = KeySigner(ed25519.Ed25519PrivateKey.generate())
BOB = KeySigner(ec.generate_private_key(ec.SECP256R1()))
PAYLOAD = b'{"v":1,  "n": 3}'


@pytest.mark.parametrize("signer", [ALICE, BOB], ids=["ed25519", "p256"])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_a_payload_comes_back_byte_for_byte(signer: KeySigner, binary: bool) -> None:
    sealed = seal("desired", PAYLOAD, [signer], binary=binary)
    assert open_sealed(sealed, "desired", KeySet([signer.public_key])) == PAYLOAD


def test_a_person_can_read_a_json_envelope() -> None:
    document = json.loads(seal("desired", PAYLOAD, [ALICE]))
    assert document["payload"] == {"v": 1, "n": 3}
    assert document["kind"] == "desired"


@pytest.mark.parametrize("change", [(b'"n": 3', b'"n": 4'), (b'"n": 3', b'"n":3')])
def test_any_changed_byte_of_the_payload_is_noticed(change: tuple[bytes, bytes]) -> None:
    sealed = seal("desired", PAYLOAD, [ALICE]).replace(*change)
    with pytest.raises(SignatureError, match="0 valid signatures"):
        open_sealed(sealed, "desired", KeySet([ALICE.public_key]))


def test_another_key_does_not_count() -> None:
    with pytest.raises(SignatureError):
        open_sealed(seal("ack", PAYLOAD, [BOB]), "ack", KeySet([ALICE.public_key]))


def test_a_borrowed_key_id_does_not_count() -> None:
    document = json.loads(seal("ack", PAYLOAD, [BOB]))
    document["signatures"][0]["key"] = ALICE.key_id
    with pytest.raises(SignatureError):
        open_sealed(json.dumps(document).encode(), "ack", KeySet([ALICE.public_key]))


def test_one_key_twice_does_not_meet_a_threshold_of_two() -> None:
    keys = KeySet([ALICE.public_key, BOB.public_key], threshold=2)
    with pytest.raises(SignatureError, match="1 valid signatures by trusted keys, 2 needed"):
        open_sealed(seal("command", PAYLOAD, [ALICE, ALICE]), "command", keys)
    assert open_sealed(seal("command", PAYLOAD, [ALICE, BOB]), "command", keys) == PAYLOAD


def test_the_same_key_listed_twice_cannot_raise_a_threshold() -> None:
    with pytest.raises(ValueError, match="threshold"):
        KeySet([ALICE.public_key, ALICE.public_key], threshold=2)


def test_kinds_and_encodings_are_bound() -> None:
    keys = KeySet([ALICE.public_key])
    with pytest.raises(SignatureError, match="kind"):
        open_sealed(seal("ack", PAYLOAD, [ALICE]), "command", keys)
    document = json.loads(seal("records", PAYLOAD, [ALICE], binary=False))
    import msgspec  # noqa: PLC0415 - only here

    document["payload"] = PAYLOAD
    for signature in document["signatures"]:
        signature["sig"] = base64.b64decode(signature["sig"])
    with pytest.raises(SignatureError):
        open_sealed(msgspec.msgpack.encode(document), "records", keys)


def test_limits_and_versions_are_checked_first() -> None:
    with pytest.raises(TooLargeError):
        parse(b"{" + b" " * 200_000)
    sealed = seal("ack", PAYLOAD, [ALICE])
    with pytest.raises(UnsupportedVersionError):
        parse(sealed.replace(b'"v":1,"kind"', b'"v":2,"kind"'))
    document = json.loads(sealed)
    document["signatures"] *= 17
    with pytest.raises(MalformedError, match="17 signatures"):
        parse(json.dumps(document).encode())
    with pytest.raises(MalformedError):
        parse(sealed.replace(b'"kind"', b'"kin"'))


def test_only_our_kinds_of_keys_load() -> None:
    rsa_like = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(MalformedError, match="P-256"):
        load_public(public_pem(rsa_like))
    with pytest.raises(MalformedError):
        load_public("not pem")


@given(st.binary(max_size=64))
def test_no_signature_bytes_crash_the_check(signature: bytes) -> None:
    document = json.loads(seal("ack", PAYLOAD, [BOB]))
    document["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    with pytest.raises(SignatureError):
        open_sealed(json.dumps(document).encode(), "ack", KeySet([BOB.public_key]))
