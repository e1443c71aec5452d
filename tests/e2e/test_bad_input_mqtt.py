"""Wrong messages over real mutual TLS: each is refused and recorded, and the good one after it works."""

import json
import os
import signal
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from demo.thief import Thief
from skerry_agent.identity import Identity
from skerry_protocol.commands import Command, encode_command
from skerry_protocol.desired import DesiredState, encode_desired
from skerry_protocol.envelope import Kind, seal
from skerry_protocol.generation import Generation
from skerry_protocol.records import Acknowledgement, encode_acknowledgement
from skerry_protocol.topics import DownLeaf, UpLeaf
from support.fake_device import FakeDevice
from support.fleet import Controller, Device
from support.processes import ProcessError, wait_for
from support.refused import assert_no_traceback
from support.waiting import wait_for_event

STRANGER = "d-zzzzzzzzzzzzzzzz"
LONG = "x" * (121 * 1024)
"""Makes a message that the broker carries, and that is over the limit of its kind."""
OVER_PAYLOAD_LIMIT = b" " * (200 * 1024)
TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def device(lasting_house: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """An enrolled device whose agent does not run yet."""
    device = Device.in_folder(tmp_path_factory.mktemp("mqtt"), "box")
    device.enroll(lasting_house.enrollment_token("case=mqtt"), lasting_house)
    try:
        yield device
    finally:
        device.service.stop()
        assert_no_traceback(device.service)


@contextmanager
def session_of(device: Device, house: Controller) -> Iterator[Callable[[str, bytes], None]]:
    """The device's own session with the broker, without its agent; yields ``publish(topic, payload)``."""
    files = device.state / "identity"
    authority = (house.data / "authorities" / "servers.crt").read_text()
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(files / "certificate.pem", files / "device.key")
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device.id, protocol=mqtt.MQTTv5)
    client.tls_set_context(context)
    client.connect("127.0.0.1", house.broker_port)
    client.loop_start()

    def publish(topic: str, payload: bytes) -> None:
        client.publish(topic, payload, qos=1).wait_for_publish(TIMEOUT_S)

    try:
        yield publish
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def asleep(house: Controller) -> Iterator[None]:
    """The controller itself, which would take its place at the broker back, does nothing."""
    os.kill(house.service.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(house.service.pid, signal.SIGCONT)


def own(device: Device, leaf: UpLeaf) -> str:
    return f"skerry/v1/{device.id}/up/{leaf}"


def changed(payload: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(payload), **fields}).encode()


def stored_refusals(house: Controller, device: Device) -> set[tuple[str, str]]:
    """Leaf and code of the device's refused messages."""
    query = "SELECT detail FROM audit WHERE action = 'message_refused' AND subject = ?"
    database = f"file:{house.data / 'controller.db'}?mode=ro"
    with closing(sqlite3.connect(database, uri=True, timeout=10)) as connection:
        found = [json.loads(row[0]) for row in connection.execute(query, (device.id,))]
    return {(detail["leaf"], detail["code"]) for detail in found}


def is_recorded(house: Controller, device: Device, leaf: str, code: str) -> bool:
    return (leaf, code) in stored_refusals(house, device)


def bad_up(fake: FakeDevice) -> list[tuple[UpLeaf, bytes, str]]:
    """What a device may send that is wrong, with the code under which it is recorded."""
    report = json.dumps(json.loads(fake.report())["payload"]).encode()
    status = fake.status(online=True)

    def sealed(payload: bytes, kind: Kind = "reported") -> bytes:
        return seal(kind, payload, [fake.signer])

    request = {"v": 1, "device": fake.id, "body": {"op": "metadata", "id": "r1", "name": "timestamp.json"}}
    request["body"].update(offset=0, length=10)  # type: ignore[attr-defined]  # a dictionary
    asked = json.dumps(request).encode()
    return [
        ("status", b"not json", "not_json"),
        ("status", changed(status, mood="good"), "unknown_field"),
        ("status", changed(status, device=STRANGER), "wrong_device"),
        ("status", changed(status, v=2), "future_version"),
        ("reported", b"{", "not_json"),
        ("reported", sealed(changed(report, agent_version=LONG)), "too_large"),
        ("reported", sealed(changed(report, mood="good")), "unknown_field"),
        ("reported", sealed(changed(report, v=2)), "future_version"),
        ("reported", sealed(changed(report, device=STRANGER)), "wrong_device"),
        ("reported", sealed(report, "reply"), "bad_signature"),
        ("events", b"\x00\xff", "malformed"),
        ("telemetry", OVER_PAYLOAD_LIMIT, "too_large"),
        ("telemetry", fake.batch("s", device=STRANGER), "wrong_device"),
        ("request", b"[]", "malformed"),
        ("request", changed(asked, device=STRANGER), "wrong_device"),
        ("request", changed(asked, v=2), "future_version"),
        ("reply", b"}", "malformed"),
    ]


def test_wrong_messages_of_a_device_are_recorded_and_the_good_one_is_taken(
    lasting_house: Controller, device: Device
) -> None:
    identity = Identity.load(device.state / "identity")
    assert identity is not None
    fake = FakeDevice(id=device.id, directors=None, key=identity.signer._key)  # type: ignore[arg-type]  # follows nobody
    wrong = bad_up(fake)
    with session_of(device, lasting_house) as publish, suppress(RuntimeError):
        # The broker lets nothing pass that is not below the device's own topic, and may end the session.
        publish(f"skerry/v1/{STRANGER}/up/status", fake.status(online=True))
    with session_of(device, lasting_house) as publish:
        for leaf, payload, code in wrong:
            publish(own(device, leaf), payload)
            # One by one: of reports and presence that wait, only the newest of a device counts.
            wait_for(partial(is_recorded, lasting_house, device, leaf, code), f"{leaf} is not {code}")
        publish(own(device, "reported"), fake.report())
        wait_for(
            lambda: (
                (lasting_house.json("device", "show", device.id)["reported"] or {}).get("agent_version")
                == "1.0"
            ),
            "the good report was not taken",
        )
    entries = lasting_house.json("audit", "list", "--action", "message_refused", "--limit", "500")
    shown = [
        (e["detail"]["leaf"], e["detail"]["code"]) for e in reversed(entries) if e["subject"] == device.id
    ]
    assert shown == [(leaf, code) for leaf, _, code in wrong]
    assert all(e["detail"]["message"] for e in entries)
    assert not any(e["subject"] == STRANGER for e in entries)


def bad_down(device: str, sign: Callable[[Kind, bytes], bytes]) -> list[tuple[DownLeaf, str, bytes, str]]:
    """What a controller may send that is wrong: leaf, event, message, code."""
    now = int(time.time())
    desired = encode_desired(
        DesiredState(
            device=device, id="x", issued_at=now, expires_at=now + 600, generation=Generation(0, 10**6)
        )
    )
    command = encode_command(Command(device=device, id="x", issued_at=now, expires_at=now + 600, name="ping"))
    ack = encode_acknowledgement(
        Acknowledgement(device=device, id="x", issued_at=now, expires_at=now + 600, streams={})
    )
    wrong: list[tuple[DownLeaf, str, bytes, str]] = []
    good: list[tuple[DownLeaf, bytes]] = [("desired", desired), ("command", command), ("ack", ack)]
    for leaf, payload in good:
        event = f"{leaf}_refused"
        kind: Kind = leaf  # type: ignore[assignment]  # each has a kind of its own
        wrong += [
            (leaf, event, b"not json", "malformed"),
            (leaf, event, sign(kind, changed(payload, id=LONG)), "too_large"),
            (leaf, event, sign(kind, changed(payload, mood="good")), "malformed"),
            (leaf, event, sign(kind, changed(payload, v=2)), "future_version"),
            (leaf, event, sign(kind, changed(payload, device=STRANGER)), "wrong_device"),
        ]
    return wrong


def test_wrong_messages_to_an_agent_are_recorded_and_the_good_one_is_followed(
    lasting_house: Controller, device: Device
) -> None:
    device.start()
    device.wait_connected()
    thief = Thief(lasting_house)
    wrong = bad_down(device.id, lambda kind, payload: seal(kind, payload, [thief.director]))
    with asleep(lasting_house), thief.in_the_controllers_place(device.id) as send:
        for leaf, _, payload, _ in wrong:
            send(leaf, payload)
        send("response", b"no frame")
        send("command", OVER_PAYLOAD_LIMIT)

    def recorded() -> set[tuple[str, str]]:
        logs = lasting_house.json("device", "logs", device.id, "--since", "1h")
        return {(e["name"], str(e["data"].get("code"))) for e in logs}

    expected = {(event, code) for _, event, _, code in wrong}
    with suppress(ProcessError):
        wait_for(lambda: expected <= recorded(), "not all is recorded", deadline_s=TIMEOUT_S, poll_s=0.5)
    assert expected - recorded() == set()
    assert device.json("status")["connected"]
    assert lasting_house.json("device", "ping", device.id)["ok"]
    assert {e["name"] for e in device.json("events")["events"]} >= {event for event, _ in expected}
    wait_for_event(lasting_house, device, "desired_refused", code="wrong_device")
