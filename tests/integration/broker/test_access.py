"""Who may do what at a real mosquitto."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from skerry_controller.authorities import Authorities, KeyPair
from skerry_controller.broker import ManagedBroker
from skerry_protocol.limits import DEFAULT_LIMITS
from support.broker import DEVICE_A, DEVICE_B, HOST, BrokerHouse, device_pair, next_message

pytestmark = pytest.mark.broker

ROOT = "skerry/v1"
CONNACK = b"\x20"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BrokerHouse]:
    house = BrokerHouse(tmp_path)
    async with house.broker.running():
        yield house


async def forge(house: BrokerHouse, topics: Iterable[str], **options: str) -> None:
    """Publish what is not allowed; mosquitto cuts an MQTT 5 client off that tries."""
    for topic in topics:
        with contextlib.suppress(aiomqtt.MqttError):
            async with house.device(DEVICE_A, **options) as device:
                await device.publish(topic, b"forged")


async def test_a_device_publishes_only_below_its_own_up(house: BrokerHouse) -> None:
    async with house.controller() as controller:
        await controller.subscribe(f"{ROOT}/#", qos=1)
        await forge(
            house,
            [
                f"{ROOT}/{DEVICE_B}/up/reported",
                f"{ROOT}/{DEVICE_B}/down/desired",
                f"{ROOT}/{DEVICE_A}/down/desired",
                f"{ROOT}/{DEVICE_A}/other",
                f"{ROOT}/skerry-controller/up/reported",
                f"{ROOT}/x",
            ],
        )
        # The new session takes the former's place, so all that went before was dealt with.
        async with house.device(DEVICE_A) as device:
            await device.publish(f"{ROOT}/{DEVICE_A}/up/reported", b"mine", qos=1)
        assert await next_message(controller) == (f"{ROOT}/{DEVICE_A}/up/reported", b"mine")


async def test_a_device_reads_only_below_its_own_down(house: BrokerHouse) -> None:
    async with house.controller() as controller, house.device(DEVICE_A) as device:
        await controller.publish(f"{ROOT}/{DEVICE_B}/down/desired", b"retained", qos=1, retain=True)
        for topic in (
            "#",
            "+/+/+/+/+",
            f"{ROOT}/{DEVICE_B}/down/#",
            f"$share/g/{ROOT}/{DEVICE_B}/down/#",
            "$SYS/#",
        ):
            await device.subscribe(topic, qos=1)
        await controller.publish(f"{ROOT}/{DEVICE_B}/down/ack", b"another's", qos=1)
        await controller.publish(f"{ROOT}/{DEVICE_A}/up/reported", b"not down", qos=1)
        await controller.publish(f"{ROOT}/{DEVICE_A}/down/ack", b"mine", qos=1)
        assert await next_message(device) == (f"{ROOT}/{DEVICE_A}/down/ack", b"mine")


async def test_another_devices_client_id_takes_nothing_over(house: BrokerHouse) -> None:
    async with house.device(DEVICE_A) as victim, house.controller() as controller:
        await victim.subscribe(f"{ROOT}/{DEVICE_A}/down/+", qos=1)
        async with house.device(DEVICE_B, identifier=DEVICE_A, clean_start=False) as thief:
            await thief.subscribe(f"{ROOT}/{DEVICE_A}/down/+", qos=1)
            await thief.subscribe(f"{ROOT}/{DEVICE_B}/down/+", qos=1)
            await controller.publish(f"{ROOT}/{DEVICE_A}/down/ack", b"for a", qos=1)
            await controller.publish(f"{ROOT}/{DEVICE_B}/down/ack", b"for b", qos=1)
            assert await next_message(victim) == (f"{ROOT}/{DEVICE_A}/down/ack", b"for a")
            assert await next_message(thief) == (f"{ROOT}/{DEVICE_B}/down/ack", b"for b")


async def test_a_device_that_calls_itself_the_controller_is_still_the_device(house: BrokerHouse) -> None:
    options = {"identifier": "skerry-controller", "username": "skerry-controller", "password": "x"}
    async with house.controller() as controller:
        await controller.subscribe(f"{ROOT}/#", qos=1)
        await forge(house, [f"{ROOT}/{DEVICE_B}/down/command"], **options)
        async with house.device(DEVICE_A, **options) as device:
            await device.publish(f"{ROOT}/{DEVICE_A}/up/events", b"mine", qos=1)
        assert await next_message(controller) == (f"{ROOT}/{DEVICE_A}/up/events", b"mine")


def answer_to_connect(house: BrokerHouse, pair: KeyPair | None) -> bytes:
    """The first byte after an MQTT 5 CONNECT; nothing when the broker hangs up or refuses by TLS."""
    packet = bytes.fromhex("100d00044d5154540502003c000000")
    try:
        with (
            socket.create_connection((HOST, house.port), timeout=10) as connection,
            house.context(pair).wrap_socket(connection, server_hostname=HOST) as tls,
        ):
            tls.sendall(packet)
            return tls.recv(1)
    except (ssl.SSLError, ConnectionError):
        return b""


async def test_only_certificates_of_the_devices_authority_get_in(house: BrokerHouse, tmp_path: Path) -> None:
    others = Authorities.create(tmp_path / "others", now=house.now)
    for pair, answer in [
        (device_pair(house.authorities, DEVICE_A), CONNACK),
        (device_pair(others, DEVICE_A), b""),
        (others.issue_controller_certificate(now=house.now), b""),
        (house.authorities.issue_server_certificate([HOST], now=house.now), b""),
        (None, b""),
    ]:
        assert await asyncio.to_thread(answer_to_connect, house, pair) == answer


async def test_a_revoked_device_gets_in_no_longer_and_others_do(house: BrokerHouse) -> None:
    lost, kept = (device_pair(house.authorities, device) for device in (DEVICE_A, DEVICE_B))
    assert await asyncio.to_thread(answer_to_connect, house, lost) == CONNACK
    revocations = house.authorities.device_revocations([lost.certificate.serial_number], now=house.now)
    await house.broker.stop()
    material = replace(house.material(), revocations_pem=revocations)
    async with ManagedBroker(house.settings, material).running() as broker:
        assert await asyncio.to_thread(answer_to_connect, house, lost) == b""
        assert await asyncio.to_thread(answer_to_connect, house, kept) == CONNACK
        both = [lost.certificate.serial_number, kept.certificate.serial_number]
        revocations = house.authorities.device_revocations(both, now=house.now)
        await broker.reload(replace(material, revocations_pem=revocations))
        async with asyncio.timeout(10):
            while await asyncio.to_thread(answer_to_connect, house, kept) == CONNACK:
                pass  # the signal takes its time; each round is a TLS handshake


async def test_a_message_to_a_slow_reader_is_not_dropped(house: BrokerHouse) -> None:
    count = 3000
    reader = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    reader.tls_set_context(house.context(device_pair(house.authorities, DEVICE_A)))
    subscribed: list[list[ReasonCode]] = []
    received: list[bytes] = []
    reader.on_subscribe = lambda _client, _data, _mid, codes, _properties: subscribed.append(codes)
    reader.on_message = lambda _client, _data, message: received.append(bytes(message.payload))

    def read_until(done: list[object] | list[list[ReasonCode]] | list[bytes], size: int) -> None:
        while len(done) < size:
            assert reader.loop(timeout=5) == paho.MQTT_ERR_SUCCESS

    def connect() -> None:
        reader.connect(HOST, house.port)
        while not reader.is_connected():
            reader.loop(timeout=5)
        reader.subscribe(f"{ROOT}/{DEVICE_A}/down/+", qos=1)
        read_until(subscribed, 1)

    await asyncio.to_thread(connect)
    async with house.controller() as controller:
        for number in range(count):
            await controller.publish(f"{ROOT}/{DEVICE_A}/down/response", str(number).encode(), qos=1)
    await asyncio.to_thread(read_until, received, count)
    assert received == [str(number).encode() for number in range(count)]
    reader.disconnect()
    await asyncio.to_thread(reader.loop)


async def test_clients_are_told_the_packet_limit(tmp_path: Path) -> None:
    house = BrokerHouse(tmp_path, {"max_packet_size_bytes": 131_072})
    async with house.broker.running():
        told: list[int] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.tls_set_context(house.context(device_pair(house.authorities, DEVICE_A)))
        client.on_connect = lambda _client, _data, _flags, _code, properties: told.append(
            properties.MaximumPacketSize
        )

        def connect() -> None:
            client.connect(HOST, house.port)
            while not told:
                client.loop(timeout=5)
            client.disconnect()
            client.loop()

        await asyncio.to_thread(connect)
        assert told == [131_072]


async def test_a_device_cannot_fill_the_broker_with_retained_topics(house: BrokerHouse) -> None:
    async with house.controller() as controller:
        await controller.subscribe(f"{ROOT}/#", qos=1)
        await forge(house, [f"{ROOT}/{DEVICE_A}/up/{leaf}" for leaf in ("mine", "status/1", "a/b/c", "")])
        async with house.device(DEVICE_A) as device:
            await device.publish(f"{ROOT}/{DEVICE_A}/up/status", b"mine", qos=1, retain=True)
        assert await next_message(controller) == (f"{ROOT}/{DEVICE_A}/up/status", b"mine")


async def test_a_device_cannot_send_more_than_a_frame(house: BrokerHouse) -> None:
    topic = f"{ROOT}/{DEVICE_A}/up/status"
    async with house.controller() as controller:
        await controller.subscribe(f"{ROOT}/#", qos=1)
        with contextlib.suppress(aiomqtt.MqttError):
            async with house.device(DEVICE_A) as device:
                await device.publish(topic, b"x" * 4 * 1024 * 1024, qos=1, retain=True, timeout=5)
        async with house.device(DEVICE_A) as device:
            await device.publish(topic, b"y" * DEFAULT_LIMITS.max_control_bytes, qos=1)
        assert len((await next_message(controller))[1]) == DEFAULT_LIMITS.max_control_bytes
