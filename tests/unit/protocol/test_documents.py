"""Hostile input: whatever arrives, the answer is a document or a ProtocolError."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_protocol import (
    commands,
    config_bundle,
    desired,
    enrollment,
    envelope,
    manifest,
    records,
    reported,
    requests,
    trust_document,
)
from skerry_protocol.errors import MalformedError, ProtocolError, TooLargeError, UnsupportedVersionError

DEVICE = "d-abcdefgh23456723"
SHA = "ab" * 32
Decoder = Callable[[bytes], object]

VALID: dict[str, tuple[Decoder, dict[str, Any]]] = {
    "desired": (
        desired.decode_desired,
        {
            "v": 1,
            "device": DEVICE,
            "id": "x",
            "generation": {"epoch": 1, "number": 2},
            "issued_at": 1,
            "expires_at": 2,
            "slots": {"a/b": {"target": {"path": "models/m/1.json", "sha256": SHA, "length": 3}}},
        },
    ),
    "reported": (
        reported.decode_reported,
        {"v": 1, "device": DEVICE, "boot_id": "b", "counter": 0, "reported_at": 1, "agent_version": "0"},
    ),
    "status": (reported.decode_status, {"v": 1, "device": DEVICE, "online": True}),
    "command": (
        commands.decode_command,
        {"v": 1, "device": DEVICE, "id": "x", "issued_at": 1, "expires_at": 2, "name": "ping"},
    ),
    "reply": (commands.decode_reply, {"v": 1, "device": DEVICE, "command": "x", "ok": True}),
    "ack": (
        records.decode_acknowledgement,
        {
            "v": 1,
            "device": DEVICE,
            "id": "x",
            "issued_at": 1,
            "expires_at": 2,
            "streams": {"s": [[0, 4], [6, 6]]},
        },
    ),
    "request": (
        requests.decode_request,
        {
            "v": 1,
            "device": DEVICE,
            "body": {"op": "range", "id": "1", "sha256": SHA, "offset": 0, "length": 1},
        },
    ),
    "manifest": (
        manifest.decode_manifest,
        {
            "v": 1,
            "name": "m",
            "version": "1",
            "kind": "model",
            "variants": [{"files": [{"sha256": SHA, "length": 5, "chunks": [[0, 3, SHA], [3, 2, SHA]]}]}],
        },
    ),
    "bundle": (
        config_bundle.decode_config_bundle,
        {"v": 1, "name": "m", "version": "1", "settings": {"api": {"port": 1}}},
    ),
    "enrollment": (
        enrollment.decode_enrollment_request,
        {"v": 1, "token_secret": "s", "csr_pem": "p"},
    ),
}

kinds = pytest.mark.parametrize("kind", VALID)


def encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


@kinds
def test_a_valid_document_decodes(kind: str) -> None:
    decode, document = VALID[kind]
    assert decode(encoded(document)) is not None


@kinds
@pytest.mark.parametrize(
    "data", [b"", b"not json", b"[]", b"null", b"{}", b"\xff\xfe", b'{"v":', b"[" * 100_000]
)
def test_what_is_no_document_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        VALID[kind][0](data)


@kinds
def test_an_unknown_field_is_refused_by_name(kind: str) -> None:
    decode, document = VALID[kind]
    with pytest.raises(MalformedError, match="surprise"):
        decode(encoded({**document, "surprise": 1}))


@kinds
def test_a_future_version_is_told_apart(kind: str) -> None:
    decode, document = VALID[kind]
    with pytest.raises(UnsupportedVersionError, match="version 99"):
        decode(encoded({**document, "v": 99, "surprise": 1}))


@kinds
def test_a_missing_field_is_refused(kind: str) -> None:
    decode, document = VALID[kind]
    required = list(document)[1]
    with pytest.raises(MalformedError, match=required):
        decode(encoded({key: value for key, value in document.items() if key != required}))


@kinds
def test_what_is_over_its_limit_is_refused_unread(kind: str) -> None:
    with pytest.raises(TooLargeError, match="limit"):
        VALID[kind][0](b" " * (64 * 1024 * 1024))


@kinds
@given(data=st.binary(max_size=200))
def test_noise_never_raises_anything_else(kind: str, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        VALID[kind][0](data)


@given(data=st.binary(max_size=300))
def test_noise_is_no_envelope_no_batch_and_no_frame(data: bytes) -> None:
    for decode in (envelope.parse, records.decode_batch, requests.decode_response):
        with pytest.raises(ProtocolError):
            decode(data)


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [[0, 5, SHA], [5, 1, SHA]],
        [[1, 4, SHA]],
        [[0, 3, SHA], [2, 3, SHA]],
        [[0, 3, SHA], [4, 1, SHA]],
        [[0, 5, "x"]],
        [[0, 0, SHA], [0, 5, SHA]],
        [[0, -1, SHA], [-1, 6, SHA]],
    ],
)
def test_chunks_must_cover_the_file_exactly(chunks: list[Any]) -> None:
    document = json.loads(json.dumps(VALID["manifest"][1]))
    document["variants"][0]["files"][0]["chunks"] = chunks
    with pytest.raises(MalformedError):
        manifest.decode_manifest(encoded(document))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "config"),
        ("name", "../m"),
        ("version", "a/b"),
        ("variants", []),
        ("acceptance", {"checks": [{"prompt": "x", "max_tokens": 100_000}]}),
        ("kind", "adapter"),
        ("base", SHA),
    ],
)
def test_an_inconsistent_manifest_is_refused(field: str, value: object) -> None:
    with pytest.raises(MalformedError):
        manifest.decode_manifest(encoded({**VALID["manifest"][1], field: value}))


@pytest.mark.parametrize(
    "slots",
    [{"local/x": {}}, {"nochannel": {}}],
)
def test_a_desired_state_names_channels_only(slots: dict[str, Any]) -> None:
    target = {"target": {"path": "models/m/1.json", "sha256": SHA, "length": 3}}
    with pytest.raises(MalformedError):
        desired.decode_desired(encoded({**VALID["desired"][1], "slots": dict.fromkeys(slots, target)}))


@pytest.mark.parametrize(
    "paths", ["models/a/1.json models/a/1.json", "models/m/1.json", "configs/a/1.json", "a b c d e"]
)
def test_a_slot_takes_a_few_adapters_each_once(paths: str) -> None:
    def target(path: str) -> dict[str, Any]:
        return {"path": path if "/" in path else f"models/{path}/1.json", "sha256": SHA, "length": 3}

    slot = {"target": target("models/m/1.json"), "adapters": [target(path) for path in paths.split()]}
    with pytest.raises(MalformedError):
        desired.decode_desired(encoded({**VALID["desired"][1], "slots": {"a/b": slot}}))


@pytest.mark.parametrize("path", ["fleet/trust.json", "configs/m/1.json", "../../etc/passwd"])
def test_a_slot_takes_models_only(path: str) -> None:
    slots = {"a/b": {"target": {"path": path, "sha256": SHA, "length": 3}}}
    with pytest.raises(MalformedError):
        desired.decode_desired(encoded({**VALID["desired"][1], "slots": slots}))


@pytest.mark.parametrize("ranges", [[[4, 0]], [[0, 4], [4, 6]], [[-1, 0]], [[6, 6], [0, 4]]])
def test_an_acknowledgement_has_sorted_disjoint_ranges(ranges: list[Any]) -> None:
    with pytest.raises(MalformedError):
        records.decode_acknowledgement(encoded({**VALID["ack"][1], "streams": {"s": ranges}}))


def test_a_compressed_bomb_is_refused_before_it_expands() -> None:
    import zlib  # noqa: PLC0415 - only here

    with pytest.raises(TooLargeError, match="expands"):
        records.decode_batch(zlib.compress(b"\x00" * 50_000_000))


def test_a_cut_batch_is_refused() -> None:
    whole = records.encode_batch(records.RecordBatch(device=DEVICE, stream="s", records=()))
    with pytest.raises(MalformedError, match="cut off"):
        records.decode_batch(whole[:-3])


def test_a_trust_document_needs_keys_brokers_and_authorities() -> None:
    document = {
        "v": 1,
        "fleet": "f",
        "epoch": 1,
        "issued_at": 1,
        "directors": {"keys": [], "threshold": 1},
        "authorities": {"servers": ["pem"], "devices": []},
        "controller_urls": [],
        "broker_urls": ["mqtts://h:1"],
    }
    with pytest.raises(MalformedError, match="threshold"):
        trust_document.decode_trust_document(encoded(document))


@pytest.mark.parametrize("url", ["http://h:1", "mqtt://h", "mqtts://", "mqtts://h:99999", "h:8883"])
def test_only_addresses_of_the_right_form_are_taken(url: str) -> None:
    with pytest.raises(MalformedError):
        trust_document.parse_url(url, "mqtts", 8883)


def test_addresses_have_default_ports() -> None:
    assert trust_document.parse_url("mqtts://h", "mqtts", 8883) == trust_document.Address(host="h", port=8883)
    assert trust_document.parse_url("mqtts://[::1]:1", "mqtts", 8883).host == "::1"
