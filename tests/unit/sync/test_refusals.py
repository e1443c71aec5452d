from typing import Any

import pytest

from skerry_agent.sync.refusals import Refusals, code_of
from skerry_protocol.errors import (
    MalformedError,
    NameSyntaxError,
    ProtocolError,
    SignatureError,
    TooLargeError,
    UnsupportedVersionError,
)


class Events:
    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    async def emit(self, name: str, /, *, audit: bool = False, **data: Any) -> None:
        self.seen.append({"name": name} | data)


async def test_the_same_bytes_are_recorded_once_a_session() -> None:
    events = Events()
    refusals = Refusals(events, 100)
    for _ in range(3):
        await refusals.record("ack_refused", "expired", "…", b"one")
    await refusals.record("command_refused", "expired", "…", b"one")
    assert [event["name"] for event in events.seen] == ["ack_refused", "command_refused"]
    refusals.session_started(1)
    await refusals.record("ack_refused", "expired", "…", b"one")
    assert len(events.seen) == 3


async def test_a_flood_is_bounded_and_what_was_left_out_is_counted() -> None:
    events = Events()
    now = [0.0]
    refusals = Refusals(events, 5, lambda: now[0])
    for number in range(1000):
        await refusals.record("ack_refused", "bad_signature", "…", b"%d" % number)
    assert len(events.seen) == 5
    now[0] = 61.0
    await refusals.record("ack_refused", "bad_signature", "…", b"later")
    assert events.seen[-1]["suppressed"] == 995


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SignatureError(""), "bad_signature"),
        (TooLargeError(""), "too_large"),
        (UnsupportedVersionError(""), "future_version"),
        (MalformedError(""), "malformed"),
        (NameSyntaxError(""), "malformed"),
    ],
)
def test_every_wrong_message_has_a_code(error: ProtocolError, code: str) -> None:
    assert code_of(error) == code
