"""A broker that restarts in the middle of a chunk."""

import asyncio
from contextlib import aclosing
from typing import Any, NamedTuple

import pytest

from skerry_agent.updates import Traffic
from skerry_agent.updates.sources import MqttSource
from support.mosquitto import Mosquitto
from support.scripted_controller import digest, running_controller

pytestmark = pytest.mark.broker

BLOB = bytes(range(251)) * 12_000
SHA256 = digest(BLOB)


class Piece(NamedTuple):
    offset: int
    length: int


async def test_a_chunk_goes_on_where_it_was_when_the_broker_is_back(
    make_device: Any, broker: Mosquitto
) -> None:
    device, controller = await make_device()
    controller.blobs[SHA256] = BLOB
    traffic = Traffic()
    half = 1_500_000

    def half_of_the_first_chunk(_request: Any) -> bool:
        return traffic.total_bytes < half // 2

    controller.answer = half_of_the_first_chunk
    pieces = [Piece(0, half), Piece(half, len(BLOB) - half)]

    async def read() -> dict[Piece, bytes]:
        source = MqttSource(device.service.requester, traffic=traffic)
        async with aclosing(source.read(SHA256, pieces)) as arriving:
            return {piece: data async for piece, data in arriving}

    reading = asyncio.create_task(read())
    await controller.wait_for(lambda: traffic.total_bytes >= half // 2)
    await broker.stop(kill=True)
    await broker.start()
    controller.answer = lambda _request: True
    async with running_controller(controller, broker.address):
        got = await asyncio.wait_for(reading, 30)
    assert b"".join(got[piece] for piece in pieces) == BLOB
    assert traffic.total_bytes == len(BLOB)
