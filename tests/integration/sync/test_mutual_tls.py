"""The session over mutual TLS with the broker that the controller manages."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skerry_agent.errors import PeerError
from skerry_agent.sync import NotConnectedError
from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.session import MqttSession
from skerry_protocol.reported import decode_status
from skerry_protocol.trust_document import Address
from support.broker import DEVICE_A, HOST, BrokerHouse, device_pair, next_message

pytestmark = pytest.mark.broker

LIMITS = SyncLimits(reconnect_initial_s=0.05, reconnect_max_s=0.1, connect_timeout_s=8.0)


class TlsConnector:
    """One broker, a TLS context, and a verdict on the broker's dates."""

    device = DEVICE_A
    topic_root = "skerry/v1"

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._address = Address(host=HOST, port=port)
        self._context = context
        self.rounds = 0
        self.seen: list[Mapping[str, Any]] = []
        self.verdict: PeerError | None = None

    def addresses(self) -> list[Address]:
        self.rounds += 1
        return [self._address]

    def tls_context(self) -> ssl.SSLContext:
        return self._context

    def check_peer(self, certificate: Mapping[str, Any]) -> None:
        self.seen.append(certificate)
        if self.verdict is not None:
            raise self.verdict


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BrokerHouse]:
    house = BrokerHouse(tmp_path)
    await house.broker.start()
    yield house
    await house.broker.stop()


@asynccontextmanager
async def running(connector: TlsConnector) -> AsyncIterator[MqttSession]:
    session = MqttSession(connector, "boot", LIMITS)
    task = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_session_comes_up_and_the_brokers_dates_are_looked_at(house: BrokerHouse) -> None:
    connector = TlsConnector(house.port, house.context(device_pair(house.authorities, DEVICE_A)))
    async with house.controller() as controller, running(connector) as session:
        await controller.subscribe(f"skerry/v1/{DEVICE_A}/up/status", qos=1)
        await session.wait_connected(10)
        topic, payload = await asyncio.wait_for(next_message(controller), 10)
    assert topic == f"skerry/v1/{DEVICE_A}/up/status"
    assert decode_status(payload).online
    assert connector.seen[0]["notAfter"]


async def test_a_broker_whose_dates_are_wrong_is_left_before_anything_is_said(house: BrokerHouse) -> None:
    connector = TlsConnector(house.port, house.context(device_pair(house.authorities, DEVICE_A)))
    connector.verdict = PeerError("the broker's certificate has expired")
    async with house.controller() as controller, running(connector) as session:
        await controller.subscribe(f"skerry/v1/{DEVICE_A}/up/status", qos=1)
        with pytest.raises(NotConnectedError):
            await session.wait_connected(1.0)
        assert connector.seen
        assert len(controller.messages) == 0 or not decode_status((await next_message(controller))[1]).online


async def test_a_device_without_a_certificate_fails_fast_and_tries_again(house: BrokerHouse) -> None:
    connector = TlsConnector(house.port, house.context(None))
    began = time.monotonic()
    async with running(connector) as session:
        with pytest.raises(NotConnectedError):
            await session.wait_connected(2.0)
    assert connector.rounds >= 3, "a refusal is noticed at once, not after the timeout"
    assert time.monotonic() - began < 6


async def test_a_broker_of_a_stranger_is_not_talked_to(house: BrokerHouse, tmp_path: Path) -> None:
    (tmp_path / "stranger").mkdir()
    stranger = BrokerHouse(tmp_path / "stranger")
    connector = TlsConnector(house.port, stranger.context(device_pair(house.authorities, DEVICE_A)))
    async with running(connector) as session:
        with pytest.raises(NotConnectedError):
            await session.wait_connected(1.0)
    assert connector.seen == []
