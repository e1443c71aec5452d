"""The MQTT session: connects, announces the device, hands out what comes, and connects again."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Protocol

import structlog

from skerry_agent.backoff import full_jitter
from skerry_agent.errors import AgentError, PeerError
from skerry_agent.sync.errors import FrameTooLargeError, NotConnectedError
from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.ports import Connector
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.reported import Status, encode_status
from skerry_protocol.requests import FRAME_OVERHEAD_BYTES
from skerry_protocol.topics import DownLeaf, Topic, UpLeaf, own_down
from skerry_protocol.trust_document import Address

if TYPE_CHECKING:
    from skerry_agent.sync.mqtt_client import MqttClient

log = structlog.get_logger(__name__)

SMALLEST_PACKET_BYTES = 2048
"""A broker that takes less than this cannot carry a report."""
_GOODBYE_S = 3.0
_GRANTED = (0, 1, 2)


class SessionListener(Protocol):
    """Someone who needs to know when sessions begin and end. Called on the loop; must not block."""

    def session_started(self, frame_bytes: int) -> None:
        """A session is up; payloads of at most ``frame_bytes`` fit."""

    def session_ended(self) -> None:
        """It is gone."""


Route = Callable[[bytes], None]
"""Takes the payload of one ``down/`` leaf. What it raises ends the session."""


class MqttSession:
    """Keeps one session with a broker; implements ``Uplink``.

    Clean start and session expiry 0: nothing rests on the broker's memory.

    Args:
        connector: Where and as whom.
        boot_id: Goes into the status, so that a stale will can be told from a new start.
        limits: Times and bounds.
    """

    def __init__(self, connector: Connector, boot_id: str, limits: SyncLimits) -> None:
        self._connector = connector
        self._boot_id = boot_id
        self._limits = limits
        self._routes: Mapping[DownLeaf, Route] = {}
        self._by_topic: dict[str, Route] = {}
        self._listeners: list[SessionListener] = []
        self._client: MqttClient | None = None
        self._up = asyncio.Event()
        self.frame_bytes = DEFAULT_LIMITS.max_frame_bytes - FRAME_OVERHEAD_BYTES

    @property
    def connected(self) -> bool:
        """Whether there is a session now."""
        return self._client is not None

    def route(self, routes: Mapping[DownLeaf, Route]) -> None:
        """Say where messages go, before :meth:`run`."""
        self._routes = dict(routes)

    def listen(self, listener: SessionListener) -> None:
        """Have ``listener`` told of every begin and end."""
        self._listeners.append(listener)

    async def wait_connected(self, timeout_s: float) -> None:
        """Wait for a session.

        Raises:
            NotConnectedError: There was none within ``timeout_s``.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError as error:
            raise NotConnectedError(f"no session with the broker within {timeout_s:g} s") from error

    async def publish(
        self, leaf: UpLeaf, payload: bytes, *, qos: Literal[0, 1] = 1, retain: bool = False
    ) -> None:
        """Publish below the device's own ``up/``; with QoS 1, the broker has it when this returns.

        Raises:
            NotConnectedError: There is no session, it ended meanwhile, or no receipt came in time.
            FrameTooLargeError: The payload is above ``frame_bytes``.
        """
        if self._client is None:
            raise NotConnectedError("there is no session with the broker")
        if len(payload) > self.frame_bytes:
            raise FrameTooLargeError(
                f"a message of {len(payload)} bytes for {leaf}: the broker takes {self.frame_bytes}"
            )
        await self._publish(self._client, leaf, payload, qos=qos, retain=retain)

    async def run(self) -> None:
        """Keep a session; never returns. Ends with a goodbye when it is cancelled."""
        attempt = 0
        while True:
            started = time.monotonic()
            if await self._try_addresses():
                attempt = 0 if time.monotonic() - started >= self._limits.stable_after_s else attempt + 1
            else:
                attempt += 1
            pause_s = full_jitter(
                max(attempt - 1, 0), self._limits.reconnect_initial_s, self._limits.reconnect_max_s
            )
            await asyncio.sleep(pause_s)

    async def _try_addresses(self) -> bool:
        """Try the brokers in order; whether one gave a session (which is over now)."""
        for address in self._connector.addresses():
            was_up = False
            try:
                client = await self._open(address)
                try:
                    await self._greet(client)
                    was_up = True
                    self._begin(client)
                    await client.wait_closed()
                finally:
                    await self._end(client)
            except (AgentError, OSError) as error:
                log.warning(
                    "session_ended" if was_up else "broker_unavailable",
                    broker=f"{address.host}:{address.port}",
                    error=str(error),
                )
            if was_up:
                return True
        return False

    async def _open(self, address: Address) -> "MqttClient":
        # Only an enrolled device needs these modules; others stay smaller without them.
        import aiomqtt  # noqa: PLC0415

        from skerry_agent.sync.mqtt_client import MqttClient  # noqa: PLC0415

        client = MqttClient(
            address,
            identifier=self._connector.device,
            on_message=self._dispatch,
            will=aiomqtt.Will(self._topic("status"), self._status(online=False), qos=1, retain=True),
            tls_context=await asyncio.to_thread(self._connector.tls_context),
            keepalive_s=self._limits.keepalive_s,
            timeout_s=self._limits.connect_timeout_s,
            max_packet_bytes=DEFAULT_LIMITS.max_frame_bytes + FRAME_OVERHEAD_BYTES,
        )
        await client.open()
        return client

    async def _greet(self, client: "MqttClient") -> None:
        """Check the broker, say that the device is online, and subscribe.

        The report follows from the reporter, which listens to the session.
        """
        import aiomqtt  # noqa: PLC0415 - as above

        certificate = client.peer_certificate()
        if certificate is not None:
            self._connector.check_peer(certificate)
        packet_bytes = min(client.maximum_packet_bytes, DEFAULT_LIMITS.max_frame_bytes)
        if packet_bytes < SMALLEST_PACKET_BYTES:
            raise PeerError(
                f"the broker takes packets of {packet_bytes} bytes; set its maximum packet size to"
                f" {SMALLEST_PACKET_BYTES} or more"
            )
        self._by_topic = {self._topic(leaf): route for leaf, route in self._routes.items()}
        self.frame_bytes = packet_bytes - FRAME_OVERHEAD_BYTES
        await self._publish(client, "status", self._status(online=True), retain=True)
        topic = own_down(self._connector.device, self._connector.topic_root)
        try:
            granted = await client.subscribe(topic, qos=1)
        except aiomqtt.MqttError as error:
            raise NotConnectedError(f"subscribing to {topic}: {error}") from error
        refused = [code for code in granted if getattr(code, "value", code) not in _GRANTED]
        if refused:
            raise PeerError(
                f"the broker does not let {self._connector.device} read {topic}: {refused[0]}; see its rules"
            )

    def _begin(self, client: "MqttClient") -> None:
        self._client = client
        self._up.set()
        log.info("session_started", frame_bytes=self.frame_bytes)
        for listener in self._listeners:
            listener.session_started(self.frame_bytes)

    async def _end(self, client: "MqttClient") -> None:
        if self._client is client:
            self._client = None
            self._up.clear()
            for listener in self._listeners:
                listener.session_ended()
            with suppress(NotConnectedError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self._publish(client, "status", self._status(online=False), retain=True)
        await client.close(_GOODBYE_S)

    async def _publish(
        self,
        client: "MqttClient",
        leaf: UpLeaf,
        payload: bytes,
        *,
        qos: Literal[0, 1] = 1,
        retain: bool = False,
    ) -> None:
        import aiomqtt  # noqa: PLC0415 - as above

        try:
            await client.publish(
                self._topic(leaf), payload, qos, retain, timeout=self._limits.publish_timeout_s
            )
        except aiomqtt.MqttError as error:
            client.note_broken()
            # Whoever tries again at once must not keep the loop from noticing that the session ended.
            await asyncio.sleep(0)
            raise NotConnectedError(f"publishing {leaf}: {error}") from error

    def _dispatch(self, topic: str, payload: bytes) -> None:
        route = self._by_topic.get(topic)
        if route is None:
            # The subscription allows nothing else: a broker that is wrong, or another device's topic.
            log.warning("message_unexpected", topic=topic[:200])
            return
        route(payload)

    def _topic(self, leaf: UpLeaf | DownLeaf) -> str:
        return Topic(self._connector.device, leaf).format(self._connector.topic_root)

    def _status(self, *, online: bool) -> bytes:
        return encode_status(Status(device=self._connector.device, online=online, boot_id=self._boot_id))
