import asyncio
from dataclasses import replace

import pytest

from skerry_controller.mqtt import MqttSettings
from skerry_controller.mqtt.lanes import Lane, Lanes, Received
from skerry_protocol.topics import UpLeaf

SETTINGS = MqttSettings(host="broker", port=8883, max_waiting_per_device=3, max_waiting_requests=2)


def message(device: str, leaf: UpLeaf, text: str = "") -> Received:
    return Received(device, leaf, text.encode(), retained=False)


async def drain(lanes: Lanes, lane: Lane, count: int) -> list[tuple[str, str]]:
    taken = []
    for _ in range(count):
        async with asyncio.timeout(1):
            received = await lanes.take(lane)
        taken.append((received.device, received.payload.decode()))
    return taken


async def is_empty(lanes: Lanes, lane: Lane) -> bool:
    try:
        async with asyncio.timeout(0.01):
            await lanes.take(lane)
    except TimeoutError:
        return True
    return False


async def test_devices_take_turns() -> None:
    lanes = Lanes(SETTINGS)
    for text in ("a1", "a2"):
        lanes.put(message("a", "request", text))
    lanes.put(message("b", "request", "b1"))
    assert await drain(lanes, "requests", 3) == [("a", "a1"), ("b", "b1"), ("a", "a2")]


@pytest.mark.parametrize(
    ("leaf", "lane"),
    [("reported", "control"), ("status", "control"), ("reply", "control"), ("telemetry", "telemetry"),
     ("events", "telemetry"), ("request", "requests")],
)  # fmt: skip
async def test_each_kind_has_its_lane(leaf: UpLeaf, lane: Lane) -> None:
    lanes = Lanes(SETTINGS)
    lanes.put(message("a", leaf, "x"))
    assert await drain(lanes, lane, 1) == [("a", "x")]


async def test_only_the_newest_report_and_presence_wait() -> None:
    lanes = Lanes(SETTINGS)
    for number in range(10):
        lanes.put(message("a", "reported", f"r{number}"))
        lanes.put(message("a", "status", f"s{number}"))
    assert await drain(lanes, "control", 2) == [("a", "r9"), ("a", "s9")]
    assert await is_empty(lanes, "control")
    assert lanes.dropped == 0


async def test_a_device_that_floods_costs_itself() -> None:
    lanes = Lanes(SETTINGS)
    for number in range(100):
        lanes.put(message("a", "request", f"a{number}"))
        lanes.put(message("a", "telemetry", f"t{number}"))
    lanes.put(message("b", "request", "b0"))
    assert await drain(lanes, "requests", 3) == [("a", "a0"), ("b", "b0"), ("a", "a1")]
    assert await drain(lanes, "telemetry", 3) == [("a", "t0"), ("a", "t1"), ("a", "t2")]
    assert lanes.dropped == 98 + 97
    assert not lanes.overflowed.is_set()


async def test_too_much_of_everything_is_an_overflow() -> None:
    by_count = Lanes(replace(SETTINGS, max_waiting=2))
    by_bytes = Lanes(replace(SETTINGS, max_waiting_bytes=5))
    for device in ("a", "b"):
        by_count.put(message(device, "reply", "x"))
    by_bytes.put(message("a", "reply", "12345"))
    assert not by_count.overflowed.is_set()
    assert not by_bytes.overflowed.is_set()
    by_count.put(message("c", "reply", "x"))
    by_bytes.put(message("b", "reply", "6"))
    assert by_count.overflowed.is_set()
    assert by_bytes.overflowed.is_set()


async def test_what_was_taken_or_dropped_no_longer_counts() -> None:
    lanes = Lanes(replace(SETTINGS, max_waiting=3))
    for _ in range(50):
        lanes.put(message("a", "reply", "x"))
        lanes.put(message("a", "reported", "x"))
        await drain(lanes, "control", 2)
    assert not lanes.overflowed.is_set()


async def test_a_taker_waits_for_what_comes() -> None:
    lanes = Lanes(SETTINGS)
    taker = asyncio.create_task(lanes.take("control"))
    await asyncio.sleep(0)
    lanes.put(message("a", "reply", "x"))
    assert (await taker).payload == b"x"


async def test_large_messages_of_one_device_leave_room_for_others() -> None:
    lanes = Lanes(replace(SETTINGS, max_device_bytes=10))
    for number in range(3):
        lanes.put(message("a", "telemetry", f"{number}" * 6))
    lanes.put(message("b", "telemetry", "fine"))
    assert await drain(lanes, "telemetry", 2) == [("a", "0" * 6), ("b", "fine")]
    assert (lanes.dropped, await is_empty(lanes, "telemetry")) == (2, True)


async def test_an_oversized_message_costs_its_sender_only() -> None:
    lanes = Lanes(replace(SETTINGS, max_message_bytes=10, max_waiting_bytes=15))
    lanes.put(message("a", "status", "x" * 11))
    lanes.put(message("a", "status", "x" * 2000))
    assert not lanes.overflowed.is_set()
    lanes.put(message("b", "status", "fine"))
    assert await drain(lanes, "control", 1) == [("b", "fine")]
    assert lanes.dropped == 2
