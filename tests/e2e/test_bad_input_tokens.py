"""Enrollment tokens that cannot be used: the device says why, and stays as it was."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry_protocol.enrollment import parse_token
from support.fleet import Controller
from support.processes import free_ports, wait_for
from support.refused import Done, agent, at_once, refused, skerry, succeeded


@pytest.fixture
def other_house(idle_house: Controller) -> Iterator[Controller]:
    """Another fleet's controller."""
    idle_house.start()
    yield idle_house
    idle_house.service.stop()


def new_token(house: Controller, *options: str) -> dict[str, Any]:
    made: dict[str, Any] = house.json("token", "create", "--keys", house.keys, *options)
    return made


def enroll(state: Path, token: str, url: str) -> Done:
    return agent(state, "enroll", "-", "--controller", url, stdin=f"{token}\n")


def token_state(house: Controller, token_id: str) -> str:
    return next(str(t["state"]) for t in house.json("token", "list") if t["id"] == token_id)


def test_text_that_is_no_whole_token_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    token = "skerry1." + "QUJD" * 30
    url = f"https://127.0.0.1:{free_ports(1)[0]}"  # nobody is there, and nobody is asked
    bad = {
        "hello": "that is not an enrollment token: one starts with 'skerry1.'",
        "": "that is not an enrollment token",
        token[:-3]: "cut or mistyped; copy it again",
        "skerry2.abcdefgh": "of a version that this agent does not know",
        token + "A" * 2000: "too long; copy it again, whole and alone",
    }
    ends = at_once(*(partial(enroll, tmp_path / f"s{n}", text, url) for n, text in enumerate(bad)))
    for end, said in zip(ends, bad.values(), strict=True):
        refused(end, said)
    refused(
        agent(tmp_path / "s", "enroll", f"@{tmp_path}/nowhere", "--controller", url), "cannot read the token"
    )


def test_a_good_token_that_was_cut_or_mistyped_is_refused_and_works_whole(
    lasting_house: Controller, tmp_path: Path
) -> None:
    token, state = lasting_house.enrollment_token(), tmp_path / "state"
    middle = len(token) // 2
    mistyped = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    for text in (token[:-1], mistyped):
        refused(enroll(state, text, lasting_house.device_url), "cut or mistyped; copy it again")
    assert "enrolled as d-" in succeeded(enroll(state, token, lasting_house.device_url))
    # The identity that it has now is not given up for another token.
    again = enroll(state, lasting_house.enrollment_token(), lasting_house.device_url)
    refused(again, "this device is enrolled already, as d-", "move", "away")


def test_a_token_that_is_spent_expired_revoked_or_unknown_is_refused(
    lasting_house: Controller, tmp_path: Path
) -> None:
    expired, revoked, spent = (
        new_token(lasting_house, "--expires", "1s"),
        new_token(lasting_house),
        new_token(lasting_house),
    )
    succeeded(skerry(lasting_house, "token", "revoke", revoked["id"]))
    succeeded(enroll(tmp_path / "first", spent["token"], lasting_house.device_url))
    wait_for(lambda: token_state(lasting_house, expired["id"]) == "expired", "it does not expire")
    unknown = msgspec.structs.replace(parse_token(spent["token"]), secret="guessed").format()  # noqa: S106 - nobody's
    said = {
        expired["token"]: "expired",
        revoked["token"]: "revoked",
        spent["token"]: "used",
        unknown: "did not make that enrollment token: check the address, or ask",
    }
    state = tmp_path / "state"
    for token, why in said.items():
        refused(enroll(state, token, lasting_house.device_url), "did not enroll this device", why)
        assert not (state / "identity").exists()
    # Nothing of that stands in the way of a good one.
    succeeded(enroll(state, lasting_house.enrollment_token(), lasting_house.device_url))


def test_a_token_of_another_controller_is_refused_and_not_spent(
    lasting_house: Controller, other_house: Controller, tmp_path: Path
) -> None:
    theirs, state = new_token(other_house), tmp_path / "state"
    refused(
        enroll(state, theirs["token"], lasting_house.device_url),
        f"the token is not for the controller at {lasting_house.device_url}",
        "check the address",
    )
    # A token with our authority's fingerprint and their root: somebody else's repository.
    ours, mixed = parse_token(lasting_house.enrollment_token()), parse_token(theirs["token"])
    stolen = msgspec.structs.replace(ours, root_sha256=mixed.root_sha256).format()
    refused(enroll(state, stolen, lasting_house.device_url), "root")
    assert not (state / "identity").exists()
    succeeded(enroll(state, theirs["token"], other_house.device_url))
    assert token_state(other_house, theirs["id"]) == "used_up"


def test_an_address_where_no_controller_answers_is_named(lasting_house: Controller, tmp_path: Path) -> None:
    token, state = lasting_house.enrollment_token(), tmp_path / "state"
    nobody = f"https://127.0.0.1:{free_ports(1)[0]}"
    said = {
        nobody: f"nothing listens at {nobody}: check that the controller runs, and the address",
        f"https://127.0.0.1:{lasting_house.operator_port}": "does not speak TLS as a controller does",
        f"http://127.0.0.1:{lasting_house.device_port}": "does not start with https://",
        "https://no-such-host.invalid:8601": "the name no-such-host.invalid cannot be resolved",
        f"https://localhost:port{lasting_house.device_port}": "is not the address of a controller",
    }
    for url, why in said.items():
        refused(enroll(state, token, url), why)
    succeeded(enroll(state, token, lasting_house.device_url))
