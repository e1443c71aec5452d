"""One MQTT 5 connection: aiomqtt, with what it lacks. The only place that touches its and paho's insides.

* Messages go straight to a function: aiomqtt's own queue costs a task a message, and when bounded drops
  messages without a word. What the function raises ends the connection.
* The broker's Maximum Packet Size is kept from its CONNACK.
* A connection that ends before the CONNACK (a refused certificate under TLS 1.3) fails at once, not after the
  timeout.
* Waits keep cancellation: aiomqtt uses ``asyncio.wait_for``, which in Python 3.11 loses a cancellation that
  comes together with the result; the cancelled task then runs on, and whoever waits for its end never stops.
* TCP connection and TLS are made here, so that connecting can be cancelled and every way out closes the
  socket.
"""

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from skerry_agent.sync.errors import NotConnectedError
from skerry_protocol.trust_document import Address

T = TypeVar("T")
OnMessage = Callable[[str, bytes], None]
UNLIMITED_PACKET_BYTES = 268_435_455
"""The largest packet of MQTT; what holds when a broker names no maximum (MQTT 5, section 3.2.2.3.6)."""


class _TlsSocket(Protocol):
    def getpeercert(self) -> dict[str, Any] | None: ...


class MqttClient(aiomqtt.Client):
    """One connection, to be opened once with :meth:`open` and ended with :meth:`close`.

    Args:
        address: The broker.
        identifier: Client id.
        on_message: Takes topic and payload, on the loop; must be quick. What it raises ends the connection.
        will: Published by the broker when the connection ends without a goodbye.
        tls_context: For TLS; None is plain TCP.
        keepalive_s: MQTT keepalive.
        timeout_s: For the TCP connection, for TLS and for the broker's answer, each.
        max_packet_bytes: The largest packet that the broker may send.
    """

    def __init__(
        self,
        address: Address,
        *,
        identifier: str,
        on_message: OnMessage,
        will: aiomqtt.Will,
        tls_context: ssl.SSLContext | None,
        keepalive_s: int,
        timeout_s: float,
        max_packet_bytes: int,
    ) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho is half typed
        properties.SessionExpiryInterval = 0
        properties.MaximumPacketSize = max_packet_bytes
        super().__init__(
            address.host,
            address.port,
            identifier=identifier,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=will,
            timeout=timeout_s,
            keepalive=keepalive_s,
            clean_start=True,
            properties=properties,
        )
        self.pending_calls_threshold = 1000  # a warning that the pump's own bound makes needless
        self._address = address
        self._tls_context = tls_context
        self._socket: socket.socket
        self._take = on_message
        self.maximum_packet_bytes = UNLIMITED_PACKET_BYTES

    async def open(self) -> None:
        """Connect.

        Raises:
            NotConnectedError: The broker cannot be reached, refuses, or does not answer in time.
        """
        where = f"{self._address.host}:{self._address.port}"
        try:
            async with asyncio.timeout(self.timeout):
                tcp = await _open_tcp(self._address)
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: no host name at all
            raise NotConnectedError(
                f"cannot reach the broker at {where}: {error or 'no answer in time'}"
            ) from error
        self._socket = tcp
        self._client._create_socket = self._secure  # type: ignore[method-assign]  # noqa: SLF001 - see above
        entering = asyncio.ensure_future(self.__aenter__())
        try:
            await asyncio.shield(entering)
        except aiomqtt.MqttError as error:
            self._drop()
            raise NotConnectedError(f"the broker at {where} refused the session: {error}") from error
        except BaseException:
            with contextlib.suppress(OSError):
                # Wakes the thread that may be in the handshake; the plain method leaves its TLS state alone.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            await asyncio.wait({entering})
            if not entering.cancelled():
                entering.exception()
            self._drop()
            raise

    def _secure(self) -> socket.socket:
        """Make the TLS handshake, in a thread of aiomqtt's."""
        tcp = self._socket
        tcp.settimeout(self.timeout)
        if self._tls_context is not None:
            try:
                tls = self._tls_context.wrap_socket(
                    tcp, server_hostname=self._address.host, do_handshake_on_connect=False
                )
            except ValueError as error:
                raise OSError(f"{self._address.host!r} cannot be a server's name: {error}") from error
            self._socket = tls
            tls.do_handshake()
        return self._socket

    async def close(self, timeout_s: float) -> None:
        """Say goodbye when the connection is alive, and close the socket in any case."""
        self.timeout = timeout_s
        try:
            with contextlib.suppress(aiomqtt.MqttError):
                await self.__aexit__(None, None, None)
        finally:
            self._drop()
            if self._disconnected.done() and not self._disconnected.cancelled():
                self._disconnected.exception()

    async def wait_closed(self) -> None:
        """Wait until the connection ends.

        Raises:
            NotConnectedError: Always, with the cause.
        """
        await asyncio.wait([self._disconnected])
        cause = self._disconnected.exception()
        raise NotConnectedError(f"the session with the broker ended: {cause or 'closed'}") from cause

    def peer_certificate(self) -> Mapping[str, Any] | None:
        """The broker's certificate as ``SSLSocket.getpeercert`` gives it; None without TLS."""
        connection: object = self._client.socket()
        if not hasattr(connection, "getpeercert"):
            return None
        tls: _TlsSocket = connection
        return tls.getpeercert()

    def note_broken(self) -> None:
        """End the connection when the socket is gone; for whoever sees that before the reader does."""
        if self._client.socket() is None and not self._disconnected.done():
            self._disconnected.set_exception(aiomqtt.MqttError("the connection broke"))

    def _drop(self) -> None:
        self._client._sock_close()  # noqa: SLF001 - see above
        if self._misc_task is not None:
            self._misc_task.cancel()
        self._socket.close()

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109 - aiomqtt's signature
        seconds = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.maximum_packet_bytes = getattr(properties, "MaximumPacketSize", UNLIMITED_PACKET_BYTES)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError(f"closed before the answer ({reason_code})"))
            self._connected.exception()  # when nobody waits any more, that is no warning
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:  # noqa: ARG002 - paho's signature
        self._take(message.topic, bytes(message.payload))


async def _open_tcp(address: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for family, kind, protocol, _, target in await loop.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM
    ):
        tcp = socket.socket(family, kind, protocol)
        try:
            tcp.setblocking(False)
            await loop.sock_connect(tcp, target)
        except OSError as error:
            tcp.close()
            failure = error
        except BaseException:
            tcp.close()
            raise
        else:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return tcp
    raise failure or OSError(f"no address for {address.host}")
