"""The controller's one MQTT session: connected, subscribed, and started anew whenever it ends."""

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Iterator

import aiomqtt
import structlog
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from skerry_controller.errors import ControllerError
from skerry_controller.mqtt.intake import Intake
from skerry_controller.mqtt.lanes import Lane, Lanes, Received
from skerry_controller.mqtt.outbound import Outbound
from skerry_controller.mqtt.settings import MqttSettings
from skerry_protocol.errors import MalformedError
from skerry_protocol.names import CONTROLLER_NAME
from skerry_protocol.requests import LARGEST_PACKET_BYTES
from skerry_protocol.topics import UP_LEAVES, Topic, UpLeaf, every_device, shared

log = structlog.get_logger(__name__)

_SHARED: frozenset[UpLeaf] = frozenset({"telemetry", "events", "request"})
_RECEIVE_MAXIMUM = 1000
_FIRST_FAILURE_CODE = 0x80  # MQTT 5, 3.9.3


class OverflowedError(Exception):
    """More came than could wait: the session starts anew."""


class MqttService:
    """Keeps a session with the broker."""

    def __init__(
        self,
        settings: MqttSettings,
        tls: Callable[[], ssl.SSLContext],
        outbound: Outbound,
        intake: Intake,
    ) -> None:
        """Set up; nothing is connected yet.

        Args:
            settings: Where and how.
            tls: A fresh TLS context for each connection, so that a renewed certificate is used.
            outbound: Sends over the session while there is one.
            intake: Takes what comes in.
        """
        self._settings = settings
        self._tls = tls
        self._outbound = outbound
        self._intake = intake
        self.connected = asyncio.Event()
        """Set while the session is up and subscribed."""

    async def run(self) -> None:
        """Keep a session up until this is cancelled."""
        wait_s = self._settings.backoff_min_s
        while True:
            started = time.monotonic()
            try:
                await self._session()
            except* (aiomqtt.MqttError, OverflowedError, OSError, ControllerError) as group:
                log.warning("mqtt_session_ended", error="; ".join(map(str, _causes(group))))
            await self._forget_presence()
            if time.monotonic() - started >= self._settings.stable_after_s:
                wait_s = self._settings.backoff_min_s
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnections, no secret
            wait_s = min(wait_s * 2, self._settings.backoff_max_s)

    async def _session(self) -> None:
        lanes = Lanes(self._settings)
        context = await asyncio.to_thread(self._tls)
        async with self._client(lanes, context) as client:
            client.pending_calls_threshold = 2 * self._settings.max_in_flight
            await self._forget_presence()
            async with asyncio.TaskGroup() as group:
                with self._outbound.over(client):
                    self._start_workers(group, lanes)
                    await self._subscribe(client)
                    log.info("mqtt_connected", host=self._settings.host, port=self._settings.port)
                    self.connected.set()
                    try:
                        await _until_end(client, lanes)
                    finally:
                        self.connected.clear()

    def _client(self, lanes: Lanes, context: ssl.SSLContext) -> aiomqtt.Client:
        root = self._settings.topic_root

        class LaneQueue(asyncio.Queue[aiomqtt.Message]):
            """Gives each message to its lane at once; nothing ever waits in here."""

            def put_nowait(self, item: aiomqtt.Message) -> None:
                try:
                    topic = Topic.parse(item.topic.value, root)
                except MalformedError as error:
                    log.warning("topic_refused", error=str(error))
                    return
                payload = item.payload if isinstance(item.payload, bytes) else b""
                lanes.put(Received(topic.device, topic.leaf, payload, bool(item.retain)))

        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types here
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = _RECEIVE_MAXIMUM
        properties.MaximumPacketSize = LARGEST_PACKET_BYTES
        return aiomqtt.Client(
            self._settings.host,
            self._settings.port,
            identifier=CONTROLLER_NAME,
            queue_type=LaneQueue,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
            keepalive=self._settings.keepalive_s,
            timeout=self._settings.timeout_s,
            max_inflight_messages=self._settings.max_in_flight,
            tls_context=context,
        )

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        filters = [self._filter(leaf) for leaf in UP_LEAVES]
        codes = await client.subscribe([(topic_filter, 1) for topic_filter in filters])
        refused = [name for name, code in zip(filters, codes, strict=True) if _is_failure(code)]
        if refused:
            raise aiomqtt.MqttError(f"the broker refuses to let this controller read {', '.join(refused)}")

    def _filter(self, leaf: UpLeaf) -> str:
        # Presence and reports by plain subscriptions: MQTT 5 sends no retained messages to shared ones, and
        # every replica plans by all reports.
        topic_filter = every_device(leaf, self._settings.topic_root)
        return shared(self._settings.share_group, topic_filter) if leaf in _SHARED else topic_filter

    def _start_workers(self, group: asyncio.TaskGroup, lanes: Lanes) -> None:
        workers: dict[Lane, int] = {"control": 1, "telemetry": 1, "requests": self._settings.answer_workers}
        for lane, count in workers.items():
            for number in range(count):
                group.create_task(self._work(lanes, lane), name=f"mqtt-{lane}-{number}")

    async def _work(self, lanes: Lanes, lane: Lane) -> None:
        while True:
            await self._intake.take(await lanes.take(lane))

    async def _forget_presence(self) -> None:
        try:
            await self._intake.forget_presence()
        except Exception as error:
            log.exception("presence_not_forgotten", error=str(error))


def _causes(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """What really happened, without the groups around it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _causes(error)
        else:
            yield error


async def _until_end(client: aiomqtt.Client, lanes: Lanes) -> None:
    """Return never: raise when the session ends, or when more came than could wait.

    Raises:
        MqttError: The connection ended.
        OverflowedError: Messages were lost here.
    """
    async with asyncio.TaskGroup() as group:
        ended = group.create_task(_wait_for_end(client), name="mqtt-connection")
        await lanes.overflowed.wait()
        ended.cancel()
    raise OverflowedError("more messages came than could wait; what was lost is asked for again")


async def _wait_for_end(client: aiomqtt.Client) -> None:
    async for _ in client.messages:  # the queue is always empty: this ends with the connection
        pass


def _is_failure(code: object) -> bool:
    return isinstance(code, ReasonCode) and code.value >= _FIRST_FAILURE_CODE
