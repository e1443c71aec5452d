from typing import Any

import pytest

from support.scripted_controller import digest

pytestmark = pytest.mark.broker


async def test_a_session_begins_with_status_then_a_signed_report(make_device: Any) -> None:
    device, controller = await make_device()
    await controller.wait_for(lambda: bool(controller.reports))
    assert controller.order[:2] == ["status", "reported"]
    assert controller.statuses == [True]
    assert controller.reports[0].counter == 0
    assert controller.reports[0].boot_id == device.service.boot_id
    await device.stop()
    await controller.wait_for(lambda: controller.statuses == [True, False])


async def test_records_arrive_once_and_are_forgotten_after_the_acknowledgement(make_device: Any) -> None:
    device, controller = await make_device()
    for number in range(20):
        device.outbox.add_sample({"n": number})
        await device.outbox.emit("ping", number=number)
    await controller.wait_for(lambda: len(controller.stored) == 40)
    await device.wait_until_acknowledged()


async def test_a_blob_is_read_in_ranges(make_device: Any) -> None:
    device, controller = await make_device()
    blob = bytes(range(256)) * 20_000
    sha256 = digest(blob)
    controller.blobs[sha256] = blob
    got = bytearray(len(blob))
    spans = [(0, 1_000_000), (1_000_000, 500), (2_000_000, 3_000_000)]
    async for offset, data in device.service.requester.read_ranges(sha256, spans):
        got[offset : offset + len(data)] = data
    assert got[:1_000_500] == blob[:1_000_500]
    assert got[2_000_000:5_000_000] == blob[2_000_000:5_000_000]
    assert not any(got[1_000_500:2_000_000])
