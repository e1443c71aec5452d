import asyncio
import contextlib
from collections.abc import Iterator

import aiomqtt
import structlog

from skerry_controller.mqtt.settings import MqttSettings
from skerry_protocol.topics import DownLeaf, Topic

log = structlog.get_logger(__name__)


class Outbound:
    """What goes to devices, over whatever session there is now."""

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._client: aiomqtt.Client | None = None
        self._in_flight = asyncio.Semaphore(settings.max_in_flight)

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._client is not None

    @contextlib.contextmanager
    def over(self, client: aiomqtt.Client) -> Iterator[None]:
        """Send over this client while the block runs."""
        self._client = client
        try:
            yield
        finally:
            self._client = None

    async def send(self, device: str, leaf: DownLeaf, payload: bytes, *, retain: bool = False) -> bool:
        """Publish a control message with QoS 1; whether the broker confirmed it."""
        async with self._in_flight:
            return await self._publish(device, leaf, payload, qos=1, retain=retain)

    async def answer(self, device: str, frame: bytes) -> bool:
        """Publish a response frame with QoS 0: a lost one is asked for again.

        Returns once the frame was handed to the operating system, so that callers feel the link's speed.
        """
        return await self._publish(device, "response", frame, qos=0, retain=False)

    async def _publish(self, device: str, leaf: DownLeaf, payload: bytes, *, qos: int, retain: bool) -> bool:
        client = self._client
        if client is None:
            return False
        topic = Topic(device, leaf).format(self._settings.topic_root)
        try:
            await client.publish(topic, payload, qos=qos, retain=retain, timeout=self._settings.timeout_s)
        except aiomqtt.MqttError as error:
            log.warning("publication_failed", device=device, leaf=leaf, error=str(error))
            return False
        _notice_cancellation()
        return True


def _notice_cancellation() -> None:
    """Raise the cancellation that ``asyncio.wait_for`` inside aiomqtt may have lost.

    Before Python 3.12 it swallows one that comes in the moment of the result (gh-86296): the task would run
    on, and whoever cancelled it would wait for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
