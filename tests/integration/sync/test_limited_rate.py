"""A download over MQTT within a limit."""

import time
from contextlib import aclosing
from typing import Any, NamedTuple

import pytest

from skerry_agent.updates import Traffic
from skerry_agent.updates.sources import MqttSource
from skerry_protocol.requests import RangeRequest
from support.scripted_controller import digest

pytestmark = pytest.mark.broker

BLOB = bytes(range(251)) * 600
SHA256 = digest(BLOB)
RATE = 200_000


class Piece(NamedTuple):
    offset: int
    length: int


async def test_requests_are_held_back_and_small_so_that_other_traffic_gets_its_turn(make_device: Any) -> None:
    device, controller = await make_device()
    controller.blobs[SHA256] = BLOB
    traffic = Traffic(lambda: RATE)
    source = MqttSource(device.service.requester, traffic=traffic)
    in_flight: list[int] = []

    def look(request: Any) -> bool:
        if isinstance(request, RangeRequest):
            in_flight.append(device.service.requester._gate.window.in_flight_bytes)
        return True

    controller.answer = look
    began = time.monotonic()
    async with aclosing(source.read(SHA256, [Piece(0, len(BLOB))])) as arriving:
        got = [data async for _, data in arriving]
    assert time.monotonic() - began > 0.9 * (len(BLOB) / RATE - 0.25)
    assert got == [BLOB]
    sizes = [request.length for request in controller.requests if isinstance(request, RangeRequest)]
    assert max(sizes) <= RATE / 2
    # No more is under way than comes within the two seconds that flow control allows.
    assert max(in_flight) <= 2 * RATE
