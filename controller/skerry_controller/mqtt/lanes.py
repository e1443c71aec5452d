"""Received messages wait in lanes, so that a device that reads a model does not hold up a report.

Control and telemetry wait in order of arrival. Requests wait by device, and the devices take turns.
aiomqtt's own bounded queue drops silently; here an overflow is an event, and the session starts anew:
what was lost is asked for again.
"""

import asyncio
from collections import OrderedDict, deque
from typing import NamedTuple

import structlog

from skerry_controller.mqtt.settings import MqttSettings
from skerry_protocol.topics import Leaf

log = structlog.get_logger(__name__)


class Received(NamedTuple):
    """One message of a device."""

    device: str
    leaf: Leaf
    payload: bytes
    retained: bool


class Lanes:
    """The waiting messages of one session."""

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._ordered: dict[str, deque[Received]] = {"control": deque(), "telemetry": deque()}
        self._requests: OrderedDict[str, deque[Received]] = OrderedDict()
        self._bytes = 0
        self._ready = {lane: asyncio.Event() for lane in ("control", "telemetry", "requests")}
        self.overflowed = asyncio.Event()
        self.dropped_requests = 0

    def put(self, received: Received) -> None:
        """Take a message in; never blocks."""
        if received.leaf == "request":
            self._put_request(received)
            return
        lane = "telemetry" if received.leaf in ("telemetry", "events") else "control"
        waiting = self._ordered[lane]
        if len(waiting) >= self._settings.max_waiting or self._is_full(received):
            self.overflowed.set()
            return
        self._bytes += len(received.payload)
        waiting.append(received)
        self._ready[lane].set()

    async def next_of(self, lane: str) -> Received:
        """The next message of ``control`` or ``telemetry``."""
        waiting = self._ordered[lane]
        await self._wait(lane, waiting)
        return self._out(waiting.popleft())

    async def next_request(self) -> Received:
        """The next request; each device in its turn."""
        await self._wait("requests", self._requests)
        device, waiting = self._requests.popitem(last=False)
        received = waiting.popleft()
        if waiting:
            self._requests[device] = waiting
        return self._out(received)

    def _put_request(self, received: Received) -> None:
        waiting = self._requests.get(received.device)
        if waiting is not None and len(waiting) >= self._settings.max_waiting_requests:
            # A request holds no state: who gets no answer asks again.
            self.dropped_requests += 1
            log.warning("request_dropped", device=received.device, dropped=self.dropped_requests)
            return
        if self._is_full(received):
            self.overflowed.set()
            return
        self._bytes += len(received.payload)
        self._requests.setdefault(received.device, deque()).append(received)
        self._ready["requests"].set()

    async def _wait(self, lane: str, waiting: "deque[Received] | OrderedDict[str, deque[Received]]") -> None:
        while not waiting:
            self._ready[lane].clear()
            await self._ready[lane].wait()

    def _is_full(self, received: Received) -> bool:
        return self._bytes + len(received.payload) > self._settings.max_waiting_bytes

    def _out(self, received: Received) -> Received:
        self._bytes -= len(received.payload)
        return received
