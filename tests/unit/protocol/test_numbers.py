"""Numbers from outside stay within what every reader and every database can hold."""

import json
from typing import Any

import pytest

from skerry_protocol.commands import decode_command
from skerry_protocol.desired import decode_desired
from skerry_protocol.errors import MalformedError
from skerry_protocol.numbers import MAX_INTEGER, MAX_REPORTED
from skerry_protocol.reported import decode_reported

DEVICE = "d-abcdefgh23456723"
SHA = "ab" * 32


def report(**changed: Any) -> bytes:
    plain = {"v": 1, "device": DEVICE, "boot_id": "b", "counter": 0, "reported_at": 1, "agent_version": "0"}
    return json.dumps({**plain, **changed}).encode()


def desired(**changed: Any) -> bytes:
    target = {"path": "models/m/1.json", "sha256": SHA, "length": 3}
    plain = {
        "v": 1,
        "device": DEVICE,
        "id": "x",
        "generation": {"epoch": 1, "number": 2},
        "issued_at": 1,
        "expires_at": 2,
        "slots": {"a/b": {"target": target, "attempt": changed.pop("attempt", 1)}},
    }
    return json.dumps({**plain, **changed}).encode()


def mark(epoch: int, number: int) -> dict[str, Any]:
    return {"generation": {"epoch": epoch, "number": number}, "sha256": SHA}


@pytest.mark.parametrize("number", [-1, MAX_INTEGER + 1, 2**63, 2**64, 10**30])
@pytest.mark.parametrize(
    "make",
    [
        lambda n: report(counter=n),
        lambda n: report(reported_at=n),
        lambda n: report(trust_epoch=n),
        lambda n: report(metadata_versions={"models": n}),
        lambda n: report(inventory={"memory_bytes": n}),
        lambda n: report(slots={"a/b": {"state": "trial", "attempt": n}}),
        lambda n: report(slots={"a/b": {"state": "trial", "bytes_done": n}}),
        lambda n: report(desired=mark(n, 1)),
        lambda n: report(desired=mark(1, n)),
    ],
)
def test_a_report_with_a_number_out_of_range_is_refused(make: Any, number: int) -> None:
    with pytest.raises(MalformedError):
        decode_reported(make(number))


def test_the_controller_can_always_go_above_what_a_device_reports() -> None:
    for text in (
        report(desired=mark(1, MAX_REPORTED + 1)),
        report(desired=mark(MAX_REPORTED + 1, 1)),
        report(slots={"a/b": {"state": "trial", "attempt": MAX_REPORTED + 1}}),
    ):
        with pytest.raises(MalformedError, match="above"):
            decode_reported(text)
    highest = report(
        desired=mark(1, MAX_REPORTED), slots={"a/b": {"state": "trial", "attempt": MAX_REPORTED}}
    )
    decode_reported(highest)
    decode_desired(desired(generation={"epoch": 1, "number": MAX_REPORTED + 1}, attempt=MAX_REPORTED + 1))


@pytest.mark.parametrize("number", [-1, MAX_INTEGER + 1, 2**63, 10**30])
@pytest.mark.parametrize(
    "make",
    [
        lambda n: desired(issued_at=n),
        lambda n: desired(expires_at=n),
        lambda n: desired(generation={"epoch": 1, "number": n}),
        lambda n: desired(generation={"epoch": n, "number": 1}),
        lambda n: desired(attempt=n),
        lambda n: desired(minimum_versions={"models": n}),
        lambda n: desired(configs=[{"path": "configs/m/1.json", "sha256": SHA, "length": n}]),
    ],
)
def test_a_desired_state_with_a_number_out_of_range_is_refused(make: Any, number: int) -> None:
    with pytest.raises(MalformedError):
        decode_desired(make(number))


def test_a_boot_id_and_a_commands_id_have_a_bound() -> None:
    with pytest.raises(MalformedError, match="boot id"):
        decode_reported(report(boot_id="b" * 65))
    plain = {"v": 1, "device": DEVICE, "id": "i" * 65, "issued_at": 1, "expires_at": 2, "name": "ping"}
    with pytest.raises(MalformedError, match="id"):
        decode_command(json.dumps(plain).encode())
