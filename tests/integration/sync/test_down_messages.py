"""What a device does with messages from its controller, and with those of somebody else."""

import asyncio
from typing import Any

import msgspec
import pytest

from skerry_agent.errors import UsageError, WorldError
from skerry_agent.sync import CommandOutcome
from skerry_protocol.envelope import seal
from skerry_protocol.generation import Generation
from skerry_protocol.signing import KeySet, KeySigner
from support.mosquitto import Mosquitto
from support.scripted_controller import NOW, new_device_signer

pytestmark = pytest.mark.broker

OTHER = "d-bbbbbbbbbbbbbbbb"


async def answered(controller: Any, count: int) -> None:
    """Everything that was published before has been handled once a later ping is answered."""
    await controller.publish("command", controller.command("ping"))
    await controller.wait_for(lambda: len(controller.replies) >= count)


async def test_a_newer_desired_state_is_followed_and_its_time_is_taken(make_device: Any) -> None:
    device, controller = await make_device()
    await controller.publish("desired", controller.desired(7), retain=True)
    await controller.wait_for(lambda: any(report.desired for report in controller.reports))
    [followed] = device.engine.followed
    assert followed.generation == Generation(epoch=1, number=7)
    assert device.clock.floors == [(NOW, "desired state")]
    assert await device.events("desired_refused") == []


async def test_the_same_desired_state_again_is_nothing(make_device: Any) -> None:
    device, controller = await make_device()
    desired = controller.desired(7)
    await controller.publish("desired", desired)
    await controller.publish("desired", desired)
    await controller.publish("desired", controller.desired(8))
    await controller.wait_for(
        lambda: any(r.desired and r.desired.generation.number == 8 for r in controller.reports)
    )
    assert [state.generation.number for state in device.engine.followed] == [7, 8]
    assert await device.events("desired_refused") == []


async def test_an_older_desired_state_is_refused_with_both_numbers(make_device: Any) -> None:
    device, controller = await make_device()
    await controller.publish("desired", controller.desired(7))
    await controller.publish("desired", controller.desired(3))
    [event] = await device.wait_for_event("desired_refused")
    assert (event["code"], event["generation"], event["accepted"]) == ("older_generation", "1.3", "1.7")
    assert len(device.engine.followed) == 1


async def test_two_states_under_one_number_are_refused_and_shown(make_device: Any) -> None:
    device, controller = await make_device()
    await controller.publish("desired", controller.desired(7))
    await controller.publish("desired", controller.desired(7))
    [event] = await device.wait_for_event("desired_refused")
    assert event["code"] == "generation_conflict"


async def test_a_retained_replay_is_recorded_once_a_session(make_device: Any, broker: Mosquitto) -> None:
    device, controller = await make_device()
    old = controller.desired(3)
    await controller.publish("desired", controller.desired(7))
    for _ in range(3):
        await controller.publish("desired", old, retain=True)
    await device.wait_for_event("desired_refused")
    await controller.publish("desired", controller.desired(8))
    await controller.wait_for(
        lambda: any(r.desired and r.desired.generation.number == 8 for r in controller.reports)
    )
    assert len(await device.events("desired_refused")) == 1
    await device.stop()
    device.start()
    await device.wait_for_event("desired_refused", 2)


async def refused(device: Any, controller: Any, payload: bytes) -> str:
    await controller.publish("desired", payload)
    [event] = await device.wait_for_event("desired_refused")
    assert device.engine.followed == []
    assert event["message"]
    return str(event["code"])


async def test_a_desired_state_for_another_device_is_refused(make_device: Any) -> None:
    device, controller = await make_device()
    assert await refused(device, controller, controller.desired(7, device=OTHER)) == "wrong_device"


async def test_an_expired_desired_state_is_refused(make_device: Any) -> None:
    device, controller = await make_device()
    assert await refused(device, controller, controller.desired(7, expires_at=NOW - 1)) == "expired"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda _c: b"not json", "malformed", id="not JSON"),
        pytest.param(lambda c: seal("desired", b'"text"', [c.director]), "malformed", id="no object"),
        pytest.param(lambda c: changed(c, surprise=1), "malformed", id="an unknown field"),
        pytest.param(lambda c: changed(c, v=2), "future_version", id="a later version"),
        pytest.param(lambda c: c.command("ping"), "bad_signature", id="a command in its place"),
        pytest.param(
            lambda c: c.desired(7).replace(b'"number":7', b'"number":8'), "bad_signature", id="altered bytes"
        ),
        pytest.param(
            lambda c: c.desired(7).replace(b'{"v":1,"kind"', b'{"v":9,"kind"'),
            "future_version",
            id="a later envelope",
        ),
    ],
)
async def test_what_is_wrong_is_refused_with_its_code(make_device: Any, change: Any, code: str) -> None:
    device, controller = await make_device()
    assert await refused(device, controller, change(controller)) == code


def changed(controller: Any, **fields: Any) -> bytes:
    """A desired state with other fields, and a good signature on it."""
    envelope = msgspec.json.decode(controller.desired(7))
    payload = msgspec.json.encode(envelope["payload"] | fields)
    return seal("desired", payload, [controller.director])


async def test_an_overlong_message_is_kept_away_and_the_session_goes_on(make_device: Any) -> None:
    device, controller = await make_device()
    await controller.publish("desired", b'"' + b"x" * 300_000 + b'"')
    await answered(controller, 1)
    assert device.engine.followed == []
    assert controller.statuses == [True]


async def test_a_forged_desired_state_is_refused_even_after_a_refresh(make_device: Any) -> None:
    device, controller = await make_device()
    genuine, controller.director = controller.director, new_director()
    device.director_keys = KeySet([genuine.public_key])
    assert await refused(device, controller, controller.desired(7)) == "bad_signature"


def new_director() -> KeySigner:
    return new_device_signer()


async def test_a_new_director_is_learnt_by_one_refresh(make_device: Any, quick: Any) -> None:
    device, controller = await make_device(limits=quick(refresh_min_interval_s=0.001))
    await controller.wait_for(lambda: bool(controller.reports))
    keys = iter([KeySet([new_director().public_key]), KeySet([controller.director.public_key])])
    device.director_keys = next(keys)

    async def learn(_source: Any) -> None:
        device.director_keys = next(keys)

    device.service._refresher._refresh = learn
    await controller.publish("desired", controller.desired(7))
    await controller.wait_for(lambda: any(report.desired for report in controller.reports))
    assert len(device.engine.followed) == 1
    assert await device.events("desired_refused") == []


async def test_a_state_that_could_not_be_stored_is_tried_again_with_the_next_copy(make_device: Any) -> None:
    device, controller = await make_device()
    desired = controller.desired(7)
    device.engine.failure = WorldError("no room on the disk")
    assert await refused(device, controller, desired) == "not_stored"
    device.engine.failure = None
    await controller.publish("desired", desired)
    await answered(controller, 1)
    await controller.wait_for(lambda: any(report.desired for report in controller.reports))
    assert len(device.engine.followed) == 1


async def test_ping_is_answered_with_a_signed_reply(make_device: Any) -> None:
    _, controller = await make_device()
    await controller.publish("command", controller.command("ping"))
    await controller.wait_for(lambda: bool(controller.replies))
    assert (controller.replies[0].ok, controller.replies[0].message) == (True, "pong")


async def test_report_brings_a_report(make_device: Any) -> None:
    _, controller = await make_device()
    await controller.wait_for(lambda: len(controller.reports) >= 1)
    before = len(controller.reports)
    await controller.publish("command", controller.command("report"))
    await controller.wait_for(lambda: len(controller.reports) > before and bool(controller.replies))
    counters = [report.counter for report in controller.reports]
    assert counters == sorted(set(counters))


async def test_handlers_get_arguments_and_their_errors_become_replies(make_device: Any) -> None:
    async def rollback(arguments: Any) -> CommandOutcome:
        if arguments.get("slot") != "assistant/stable":
            raise UsageError("no such slot; there is assistant/stable")
        return CommandOutcome(ok=True, data={"active": "m@1"})

    async def broken(_arguments: Any) -> CommandOutcome:
        raise ZeroDivisionError

    _, controller = await make_device(commands={"rollback": rollback, "broken": broken})
    await controller.publish(
        "command", controller.command("rollback", arguments={"slot": "assistant/stable"})
    )
    await controller.publish("command", controller.command("rollback"))
    await controller.publish("command", controller.command("broken"))
    await controller.publish("command", controller.command("dance"))
    await controller.wait_for(lambda: len(controller.replies) == 4)
    good, wrong, failed, unknown = controller.replies
    assert (good.ok, good.data) == (True, {"active": "m@1"})
    assert (wrong.ok, wrong.message) == (False, "no such slot; there is assistant/stable")
    assert not failed.ok
    assert not unknown.ok
    assert "ping" in unknown.message


async def test_a_command_is_carried_out_once_even_across_a_restart(make_device: Any) -> None:
    device, controller = await make_device()
    command = controller.command("ping")
    await controller.publish("command", command)
    await controller.wait_for(lambda: len(controller.replies) == 1)
    await device.stop()
    device.start()
    await device.service.wait_connected(10)
    await controller.publish("command", command)
    [event] = await device.wait_for_event("command_refused")
    assert event["code"] == "replayed"
    await answered(controller, 2)
    assert len(controller.replies) == 2


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda c: c.command("ping", expires_at=NOW - 1), "expired"),
        (lambda c: c.command("ping", device=OTHER), "wrong_device"),
        (lambda _c: seal("command", b"{}", [new_director()]), "bad_signature"),
        (lambda _c: b"\x00\x01", "malformed"),
    ],
)
async def test_a_command_that_is_not_the_directors_for_now_and_here_is_refused(
    make_device: Any, make: Any, code: str
) -> None:
    device, controller = await make_device()
    await controller.publish("command", make(controller))
    [event] = await device.wait_for_event("command_refused")
    assert event["code"] == code
    assert controller.replies == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signer": new_device_signer()}, "bad_signature"),
        ({"expires_at": NOW - 1}, "expired"),
        ({"device": OTHER}, "wrong_device"),
    ],
)
async def test_a_false_acknowledgement_lets_nothing_be_forgotten(
    make_device: Any, changes: Any, code: str
) -> None:
    device, controller = await make_device()
    controller.acknowledges = False
    await device.outbox.emit("precious")
    await controller.wait_for(lambda: any(r.name == "precious" for r in controller.stored.values()))
    [(stream, _)] = controller.stored
    await controller.publish("ack", controller.acknowledgement({stream: [(0, 99)]}, **changes))
    [event] = await device.wait_for_event("ack_refused")
    assert event["code"] == code
    assert (await device.outbox.stats()).pending["event"] == 2
    controller.acknowledges = True
    await device.wait_until_acknowledged()


async def test_a_flood_of_forgeries_does_not_fill_the_outbox(make_device: Any, quick: Any) -> None:
    device, controller = await make_device(limits=quick(max_inbox_messages=10_000, max_refusals_per_minute=5))
    for number in range(100):
        await controller.publish("ack", b"forged %d" % number)
    await answered(controller, 1)
    async with asyncio.timeout(10):
        while device.service._inboxes["ack"]._waiting:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)
    assert len(await device.events("ack_refused")) == 5


async def test_garbage_among_responses_is_dropped(make_device: Any) -> None:
    device, controller = await make_device()
    controller.files["timestamp.json"] = b"{}"
    for garbage in (b"", b"\xff\xff", b"{}", b"x" * 1000):
        await controller.publish("response", garbage, qos=0)
    assert await device.service.requester.read_metadata("timestamp.json", 1000) == b"{}"
    assert controller.statuses == [True]


async def test_a_message_for_another_device_is_not_looked_at(make_device: Any, broker: Mosquitto) -> None:
    device, controller = await make_device()
    device.service._session._dispatch("skerry/v1/d-bbbbbbbbbbbbbbbb/down/desired", controller.desired(7))
    await answered(controller, 1)
    assert device.engine.followed == []


async def test_an_epoch_that_no_offline_key_raised_is_refused_and_poisons_nothing(make_device: Any) -> None:
    device, controller = await make_device()
    await controller.publish("desired", controller.desired(1, epoch=2**52))
    [event] = await device.wait_for_event("desired_refused")
    assert event["code"] == "epoch_ahead"
    assert device.refreshes, "it looked whether there is a new trust document"
    await controller.publish("desired", controller.desired(1))
    await controller.wait_for(lambda: any(report.desired for report in controller.reports))
    assert [state.generation for state in device.engine.followed] == [Generation(epoch=1, number=1)]
