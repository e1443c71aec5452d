import asyncio

import pytest

from skerry_controller.mqtt import MqttSettings, Outbound

DEVICE = "d-abcdefgh23456722"


class SlowClient:
    """Publishes as aiomqtt does: waits for a confirmation with ``asyncio.wait_for``."""

    def __init__(self) -> None:
        self.confirmed = asyncio.Event()
        self.published: list[tuple[str, int, bool]] = []

    async def publish(self, topic: str, _: bytes, *, qos: int, retain: bool, timeout: float) -> None:  # noqa: ASYNC109 - aiomqtt's signature
        self.published.append((topic, qos, retain))
        await asyncio.wait_for(self.confirmed.wait(), timeout)
        self.confirmed.clear()


@pytest.fixture
def outbound() -> Outbound:
    return Outbound(MqttSettings(host="broker", port=8883))


async def test_without_a_session_nothing_is_sent(outbound: Outbound) -> None:
    assert not outbound.connected
    assert not await outbound.send(DEVICE, "desired", b"x", retain=True)


async def test_control_messages_are_confirmed_and_frames_are_not(outbound: Outbound) -> None:
    client = SlowClient()
    with outbound.over(client):  # type: ignore[arg-type]  # what is used of aiomqtt's client
        for send in (outbound.send(DEVICE, "desired", b"x", retain=True), outbound.answer(DEVICE, b"frame")):
            client.confirmed.set()
            assert await send
    assert client.published == [
        (f"skerry/v1/{DEVICE}/down/desired", 1, True),
        (f"skerry/v1/{DEVICE}/down/response", 0, False),
    ]
    assert not outbound.connected


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancellation_in_the_moment_of_the_confirmation_is_not_lost(
    outbound: Outbound, steps: int
) -> None:
    client = SlowClient()

    async def publish_for_ever() -> None:
        while True:
            await outbound.answer(DEVICE, b"frame")

    with outbound.over(client):  # type: ignore[arg-type]  # as above
        task = asyncio.create_task(publish_for_ever())
        for _ in range(5):
            await asyncio.sleep(0)
        client.confirmed.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=1)
        lost = not done
        task.cancel()
        await asyncio.wait([task])
    assert not lost
