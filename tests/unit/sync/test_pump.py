"""The pump's way with a session whose limits change under it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry_agent.outbox import Outbox
from skerry_agent.sync import SyncLimits
from skerry_agent.sync.errors import FrameTooLargeError
from skerry_agent.sync.pump import Pump
from support.scripted_controller import FakeTrustedClock, new_device_signer

DEVICE = "d-aaaaaaaaaaaaaaaa"


class Uplink:
    """A session that came back with smaller frames just before the first batch went out."""

    connected = True
    frame_bytes = 4096

    def __init__(self) -> None:
        self.sent = asyncio.Event()
        self.refused = 0

    async def wait_connected(self, timeout_s: float) -> None:
        """There is one."""

    async def publish(self, leaf: str, payload: bytes, **_: Any) -> None:
        if not self.refused:
            self.refused += 1
            raise FrameTooLargeError("smaller than before")
        self.sent.set()


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    outbox = await Outbox.open(tmp_path / "outbox.db", clock=FakeTrustedClock())
    yield outbox
    await outbox.close()


async def test_a_frame_that_became_too_large_is_made_anew(outbox: Outbox) -> None:
    uplink = Uplink()
    pump = Pump(outbox, uplink, device=DEVICE, signer=new_device_signer(), limits=SyncLimits())
    await outbox.emit("update_committed")
    task = asyncio.create_task(pump.run())
    try:
        async with asyncio.timeout(5):
            await uplink.sent.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert uplink.refused == 1
