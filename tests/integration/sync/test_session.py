import asyncio
import contextlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from skerry_agent.sync import NotConnectedError
from skerry_protocol.requests import FRAME_OVERHEAD_BYTES
from skerry_protocol.trust_document import Address
from support.mosquitto import Mosquitto, running_mosquitto

pytestmark = pytest.mark.broker


async def test_a_session_begins_with_status_then_a_signed_report(make_device: Any) -> None:
    device, controller = await make_device()
    await controller.wait_for(lambda: bool(controller.reports))
    assert controller.order[:2] == ["status", "reported"]
    assert controller.statuses == [True]
    assert controller.reports[0].counter == 0
    assert controller.reports[0].boot_id == device.service.boot_id
    await device.stop()
    await controller.wait_for(lambda: controller.statuses == [True, False])


async def test_the_broker_says_offline_for_a_device_that_vanished(make_device: Any) -> None:
    device, controller = await make_device()
    client = device.service._session._client
    assert client is not None
    client._client.socket().shutdown(socket.SHUT_RDWR)
    await controller.wait_for(lambda: controller.statuses[:3] == [True, False, True])


async def test_after_the_broker_was_gone_the_device_is_back_with_a_report(
    make_device: Any, broker: Mosquitto
) -> None:
    device, controller = await make_device(start=False)
    device.start()
    await device.service.wait_connected(10)
    await controller.wait_for(lambda: len(controller.reports) == 1)
    await broker.stop(kill=True)
    async with asyncio.timeout(10):
        while device.service.connected:  # noqa: ASYNC110 - the end of a session is no event to wait for
            await asyncio.sleep(0.01)
    with pytest.raises(NotConnectedError):
        await device.service.wait_connected(0.01)
    await broker.start()
    await device.service.wait_connected(10)
    assert device.service.connected


async def test_brokers_are_tried_in_order(make_device: Any, broker: Mosquitto) -> None:
    device, controller = await make_device(start=False)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = Address(host="127.0.0.1", port=nobody.getsockname()[1])
        device.connector.brokers = [
            dead,
            Address(host="no-such-host.invalid", port=1),
            Address(host="a" * 70, port=1),
            broker.address,
        ]
        device.start()
        await device.service.wait_connected(20)
    await controller.wait_for(lambda: bool(controller.reports))


async def test_a_broker_that_refuses_is_tried_again_and_nothing_is_left_open(
    make_device: Any, tmp_path: Path
) -> None:
    async with running_mosquitto(tmp_path, anonymous=False) as strict:
        device, _ = await make_device(start=False)
        device.connector.brokers = [strict.address]
        device.start()
        with pytest.raises(NotConnectedError):
            await device.service.wait_connected(1.0)
        await device.stop()


async def test_a_stop_while_a_silent_broker_is_waited_for_is_quick(make_device: Any) -> None:
    connected = asyncio.Event()
    released = asyncio.Event()

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await released.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    device, _ = await make_device(start=False)
    device.connector.brokers = [Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])]
    device.start()
    await asyncio.wait_for(connected.wait(), 5)
    began = time.monotonic()
    await device.stop()
    assert time.monotonic() - began < 2.0
    released.set()
    server.close()
    await server.wait_closed()


async def test_a_flood_starts_the_session_again_instead_of_dropping_messages(
    make_device: Any, quick: Any
) -> None:
    device, controller = await make_device(limits=quick(max_inbox_messages=2))
    for number in range(200):
        await controller.publish("ack", b"%d" % number, qos=0)
    await controller.wait_for(lambda: controller.statuses.count(True) >= 2)
    await device.service.wait_connected(10)
    await controller.publish("command", controller.command("ping"))
    await controller.wait_for(lambda: bool(controller.replies))


async def test_frames_follow_the_brokers_maximum_packet_size(make_device: Any, tmp_path: Path) -> None:
    async with running_mosquitto(tmp_path, max_packet_bytes=4096) as small:
        device, controller = await make_device(at=small)
        assert device.service.requester._gate.window.frame_bytes == 4096 - FRAME_OVERHEAD_BYTES
        for number in range(200):
            await device.outbox.emit("ping", text=f"{number:x}" * 100, number=number)
        await controller.wait_for(lambda: len(controller.stored) == 200)
        await device.wait_until_acknowledged()
        assert device.service.connected
        assert controller.statuses == [True]
        await device.stop()


async def test_a_record_that_no_frame_carries_is_given_up_and_counted(
    make_device: Any, tmp_path: Path
) -> None:
    async with running_mosquitto(tmp_path, max_packet_bytes=2048) as small:
        device, controller = await make_device(at=small)
        noise = {f"f{n:02}": "".join(chr(33 + (n * i * i + i) % 90) for i in range(900)) for n in range(20)}
        await device.outbox.emit("huge", **noise)
        await device.outbox.emit("ping")
        await controller.wait_for(lambda: any(r.name == "ping" for r in controller.stored.values()))
        await controller.wait_for(lambda: any(controller.gone.values()))
        await device.wait_until_acknowledged()
        assert (await device.outbox.stats()).dropped["event"] == 1
        assert controller.statuses == [True]
        await device.stop()


async def test_a_broker_that_takes_too_little_is_not_used(make_device: Any, tmp_path: Path) -> None:
    async with running_mosquitto(tmp_path, max_packet_bytes=1024) as tiny:
        device, _ = await make_device(at=tiny, start=False)
        device.start()
        with pytest.raises(NotConnectedError):
            await device.service.wait_connected(0.5)
        await device.stop()


async def test_a_task_that_is_cancelled_while_it_publishes_ends(make_device: Any) -> None:
    device, _ = await make_device()
    session = device.service._session
    status = session._status(online=True)

    async def publish_for_ever() -> None:
        while True:
            await session.publish("status", status, qos=0)

    for turn in range(50):
        task = asyncio.create_task(publish_for_ever())
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2)
        assert done, "the cancellation was lost"


async def test_publishing_on_a_broken_connection_leaves_the_loop_free_to_notice(make_device: Any) -> None:
    device, _ = await make_device()
    session = device.service._session
    status = session._status(online=True)
    session._client._client._sock_close()
    async with asyncio.timeout(5):
        while session.connected:
            with contextlib.suppress(NotConnectedError):
                await session.publish("status", status, qos=0)
    await device.service.wait_connected(10)
