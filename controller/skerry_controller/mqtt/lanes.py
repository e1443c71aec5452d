"""Received messages wait in lanes, so that a device that reads a model does not hold up a report.

In each lane the devices take turns, and each may have only so much waiting: one device that floods costs
itself, not the fleet. Of reports and presence only the newest of a device waits, since it says everything.
What is dropped is asked for or sent again: a request after its deadline, a batch that was not acknowledged.

aiomqtt's own bounded queue drops silently. Here an overflow of everything together is an event, and the
session starts anew: what was lost is asked for.
"""

import asyncio
from collections import OrderedDict, deque
from typing import Literal, NamedTuple

import structlog

from skerry_controller.mqtt.settings import MqttSettings
from skerry_protocol.topics import Leaf

log = structlog.get_logger(__name__)

Lane = Literal["control", "telemetry", "requests"]
_LANES: dict[Leaf, Lane] = {"telemetry": "telemetry", "events": "telemetry", "request": "requests"}
_NEWEST_COUNTS: frozenset[Leaf] = frozenset({"reported", "status"})


class Received(NamedTuple):
    """One message of a device."""

    device: str
    leaf: Leaf
    payload: bytes
    retained: bool


class _FairLane:
    """Messages by device; the devices take turns."""

    def __init__(self, max_per_device: int, max_device_bytes: int) -> None:
        self._max_per_device = max_per_device
        self._max_device_bytes = max_device_bytes
        self._waiting: OrderedDict[str, deque[Received]] = OrderedDict()
        self._ready = asyncio.Event()

    def put(self, received: Received) -> Received | None:
        """Take a message in; returns the one that is given up for it, if any (it may be itself)."""
        mine = self._waiting.get(received.device)
        if mine is None:
            mine = self._waiting[received.device] = deque()
            self._ready.set()
        if received.leaf in _NEWEST_COUNTS:
            for place, former in enumerate(mine):
                if former.leaf == received.leaf:
                    mine[place] = received
                    return former
        waiting = sum(len(each.payload) for each in mine) + len(received.payload)
        if mine and (len(mine) >= self._max_per_device or waiting > self._max_device_bytes):
            return received
        mine.append(received)
        return None

    async def take(self) -> Received:
        """The next message, when there is one."""
        while not self._waiting:
            self._ready.clear()
            await self._ready.wait()
        device, mine = self._waiting.popitem(last=False)
        received = mine.popleft()
        if mine:
            self._waiting[device] = mine
        return received


class Lanes:
    """The waiting messages of one session."""

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._lanes: dict[Lane, _FairLane] = {
            "control": _FairLane(settings.max_waiting_per_device, settings.max_device_bytes),
            "telemetry": _FairLane(settings.max_waiting_per_device, settings.max_device_bytes),
            "requests": _FairLane(settings.max_waiting_requests, settings.max_device_bytes),
        }
        self._count = 0
        self._bytes = 0
        self.overflowed = asyncio.Event()
        self.dropped = 0

    def put(self, received: Received) -> None:
        """Take a message in; never blocks."""
        size = len(received.payload)
        if size > self._settings.max_message_bytes:
            # Before it counts: a huge message that the broker keeps would end every session anew.
            self._tell_dropped(received)
            return
        if self._count >= self._settings.max_waiting or self._bytes + size > self._settings.max_waiting_bytes:
            self.overflowed.set()
            return
        given_up = self._lanes[_LANES.get(received.leaf, "control")].put(received)
        self._count += 1
        self._bytes += size
        if given_up is not None:
            self._forget(given_up)
            if given_up is received:
                self._tell_dropped(received)

    async def take(self, lane: Lane) -> Received:
        """The next message of a lane."""
        received = await self._lanes[lane].take()
        self._forget(received)
        return received

    def _forget(self, received: Received) -> None:
        self._count -= 1
        self._bytes -= len(received.payload)

    def _tell_dropped(self, received: Received) -> None:
        self.dropped += 1
        if self.dropped.bit_count() == 1:  # 1, 2, 4, 8, …: a flood must not fill the log
            log.warning("message_dropped", device=received.device, leaf=received.leaf, dropped=self.dropped)
