from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from skerry_controller.director import Director, DirectorSettings
from skerry_protocol.commands import decode_command
from skerry_protocol.desired import DesiredSlot, TargetRef, decode_desired
from skerry_protocol.envelope import open_sealed, parse
from skerry_protocol.errors import SignatureError
from skerry_protocol.generation import Generation
from skerry_protocol.records import decode_acknowledgement
from skerry_protocol.requests import decode_capability, decode_certificate
from skerry_protocol.signing import KeySet

DEVICE = "d-abcdefgh23456722"
NOW = datetime(2027, 1, 1, tzinfo=UTC)
KEY = Ed25519PrivateKey.generate()
KEYS = KeySet([KEY.public_key()])
SETTINGS = DirectorSettings(desired_life_s=100, command_life_s=10, acknowledgement_life_s=20)


@pytest.fixture
def director() -> Director:
    return Director(KEY, lambda: NOW, SETTINGS)


def test_a_desired_state_is_what_was_asked_sealed_with_its_times(director: Director) -> None:
    slot = DesiredSlot(target=TargetRef(path="models/m/1.json", sha256="a" * 64, length=5), attempt=2)
    payload, envelope = director.desired(
        DEVICE,
        Generation(epoch=1, number=7),
        slots={"a/b": slot},
        configs=[],
        minimum_versions={"models": 3},
    )
    assert open_sealed(envelope, "desired", KEYS) == payload
    state = decode_desired(payload)
    assert (state.device, state.generation) == (DEVICE, Generation(epoch=1, number=7))
    assert (state.slots, state.minimum_versions) == ({"a/b": slot}, {"models": 3})
    assert state.expires_at - state.issued_at == 100


def test_the_payload_is_the_bytes_that_stand_in_the_envelope(director: Director) -> None:
    payload, envelope = director.desired(
        DEVICE, Generation(epoch=1, number=1), slots={}, configs=[], minimum_versions={}
    )
    assert parse(envelope).payload == payload


def test_commands_expire_and_have_ids_of_their_own(director: Director) -> None:
    first, envelope = director.command(DEVICE, "rollback", {"slot": "a/b"})
    second, _ = director.command(DEVICE, "ping", {}, life_s=3)
    command = decode_command(open_sealed(envelope, "command", KEYS))
    assert command.id == first != second
    assert (command.name, command.arguments) == ("rollback", {"slot": "a/b"})
    assert command.expires_at - command.issued_at == 10


def test_acknowledgements_capabilities_and_certificates_are_sealed_under_their_own_kinds(
    director: Director,
) -> None:
    acknowledgement = director.acknowledge(DEVICE, {"s": [(0, 4)]})
    capability = director.capability(
        DEVICE, "q1", "b" * 64, urls=["https://c/x"], expires_at=9, authority_pem="pem"
    )
    certificate = director.certificate(DEVICE, "q2", "certificate")
    streams = decode_acknowledgement(open_sealed(acknowledgement, "ack", KEYS)).streams
    assert {stream: [tuple(each) for each in ranges] for stream, ranges in streams.items()} == {"s": [(0, 4)]}
    assert decode_capability(open_sealed(capability, "capability", KEYS)).urls == ("https://c/x",)
    assert decode_certificate(open_sealed(certificate, "certificate", KEYS)).certificate_pem == "certificate"
    with pytest.raises(SignatureError):
        open_sealed(acknowledgement, "command", KEYS)
