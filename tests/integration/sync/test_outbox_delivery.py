"""Records on their way: exactly once at the controller, whatever is lost."""

import asyncio
from typing import Any

import pytest

from skerry_agent.outbox import OutboxLimits
from support.mosquitto import Mosquitto

pytestmark = pytest.mark.broker


async def test_samples_and_events_arrive_and_are_forgotten_after_the_acknowledgement(
    make_device: Any,
) -> None:
    device, controller = await make_device()
    for number in range(20):
        device.outbox.add_sample({"n": number})
        await device.outbox.emit("ping", number=number)
    await controller.wait_for(lambda: len(controller.stored) == 40)
    await device.wait_until_acknowledged()
    assert len({(leaf, stream) for leaf, stream, _ in controller.arrivals}) == 2


async def test_what_is_not_acknowledged_is_sent_again_and_stored_once(make_device: Any, quick: Any) -> None:
    device, controller = await make_device(limits=quick(ack_timeout_s=0.1, ack_timeout_max_s=0.2))
    controller.acknowledges = False
    for number in range(10):
        await device.outbox.emit("ping", number=number)
    await controller.wait_for(lambda: len(controller.arrivals) > 2 * len(controller.stored) >= 20)
    controller.acknowledges = True
    await device.wait_until_acknowledged()
    assert sorted(int(str(r.data["number"])) for r in controller.stored.values()) == list(range(10))


async def test_a_controller_that_is_back_need_not_wait_for_what_it_missed(
    make_device: Any, quick: Any
) -> None:
    device, controller = await make_device(limits=quick(ack_timeout_s=60.0))
    controller.acknowledges = False  # as one that was away: the broker took the batches, nobody stored them
    for number in range(10):
        await device.outbox.emit("ping", number=number)
    await controller.wait_for(lambda: bool(controller.arrivals))
    controller.acknowledges = True
    await controller.publish("command", controller.command("report"))
    await device.wait_until_acknowledged()
    assert sorted(int(str(r.data["number"])) for r in controller.stored.values()) == list(range(10))


async def test_only_so_many_batches_are_under_way(make_device: Any, quick: Any) -> None:
    device, controller = await make_device(
        limits=quick(ack_timeout_s=60.0, max_unacked_batches=2, max_batch_frame_bytes=2048), start=False
    )
    controller.acknowledges = False
    for number in range(300):
        await device.outbox.emit("ping", text=f"{number * 7919:x}" * 20)
    device.start()
    await device.service.wait_connected(10)
    await controller.wait_for(lambda: controller.order.count("events") == 2)
    await controller.publish("command", controller.command("ping"))
    await controller.wait_for(lambda: bool(controller.replies))
    assert controller.order.count("events") == 2
    sent = {(stream, sequence) for _, stream, sequence in controller.arrivals}
    assert len(sent) == len(controller.arrivals) < 300


async def test_what_gathered_without_a_broker_arrives_exactly_once(
    make_device: Any, broker: Mosquitto
) -> None:
    device, controller = await make_device(start=False)
    for boot in range(3):
        for number in range(50):
            device.outbox.add_sample({"boot": boot, "n": number})
        await device.outbox.flush()
    await device.outbox.emit("ping")
    device.start()
    await controller.wait_for(lambda: len(controller.stored) == 151)
    await device.wait_until_acknowledged()
    samples: list[Any] = [r.data for r in controller.stored.values() if r.kind == "sample"]
    assert sorted((s["boot"], s["n"]) for s in samples) == [(b, n) for b in range(3) for n in range(50)]
    assert len(controller.arrivals) == 151


async def test_the_controller_is_told_what_was_thinned(make_device: Any) -> None:
    device, controller = await make_device(start=False, outbox_limits=OutboxLimits(max_rows=50))
    for number in range(200):
        device.outbox.add_sample({"n": number})
        await device.outbox.flush()
    stats = await device.outbox.stats()
    device.start()
    await controller.wait_for(
        lambda: len(controller.stored) + sum(b - a + 1 for g in controller.gone.values() for a, b in g) == 200
    )
    assert sum(b - a + 1 for g in controller.gone.values() for a, b in g) == stats.dropped["sample"]
    await device.wait_until_acknowledged()
    async with asyncio.timeout(10):
        while (await device.outbox.stats()).gone:  # noqa: ASYNC110 - the outbox tells of additions only
            await asyncio.sleep(0.01)
