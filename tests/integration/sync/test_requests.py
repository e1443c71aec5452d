"""Reading from the controller over a real broker."""

import asyncio
import random
from contextlib import aclosing
from typing import Any

import pytest

from skerry_agent.errors import PeerError
from skerry_agent.sync import BadAnswerError, BlobNotFoundError, NoAnswerError, NotConnectedError
from skerry_agent.trust.similar_files import HeldFile
from skerry_protocol.packing import pack
from skerry_protocol.requests import MetadataRequest, RangeRequest
from support.mosquitto import Mosquitto
from support.scripted_controller import NOW, digest, new_device_signer
from support.shaped_link import shaped_link

pytestmark = pytest.mark.broker

BLOB = bytes(range(251)) * 12_000
SHA256 = digest(BLOB)


async def read_all(device: Any, sha256: str, spans: list[tuple[int, int]], size: int) -> bytes:
    got = bytearray(size)
    covered = 0
    async for offset, data in device.service.requester.read_ranges(sha256, spans):
        got[offset : offset + len(data)] = data
        covered += len(data)
    assert covered == sum(length for _, length in spans)
    return bytes(got)


async def test_a_blob_is_read_whole(make_device: Any) -> None:
    device, controller = await make_device()
    controller.blobs[SHA256] = BLOB
    assert await read_all(device, SHA256, [(0, len(BLOB))], len(BLOB)) == BLOB


async def test_only_the_wanted_spans_are_read(make_device: Any) -> None:
    device, controller = await make_device()
    controller.blobs[SHA256] = BLOB
    spans = [(0, 1_000_000), (1_000_000, 500), (2_000_000, 1_000_000)]
    got = await read_all(device, SHA256, spans, len(BLOB))
    assert got[:1_000_500] == BLOB[:1_000_500]
    assert got[2_000_000:3_000_000] == BLOB[2_000_000:3_000_000]
    assert not any(got[1_000_500:2_000_000])


async def test_lost_answers_are_asked_for_again(make_device: Any, quick: Any) -> None:
    device, controller = await make_device(limits=quick(request_timeout_s=0.2))
    controller.blobs[SHA256] = BLOB
    seen: set[str] = set()

    def every_fourth_is_lost_once(request: Any) -> bool:
        if request.id in seen:
            return True
        seen.add(request.id)
        return len(seen) % 4 != 0

    controller.answer = every_fourth_is_lost_once
    assert await read_all(device, SHA256, [(0, len(BLOB))], len(BLOB)) == BLOB
    assert len(controller.requests) > len(seen)


async def test_answers_shorter_than_asked_are_completed(make_device: Any) -> None:
    device, controller = await make_device()
    controller.blobs[SHA256] = BLOB
    controller.max_body_bytes = 5000
    assert await read_all(device, SHA256, [(7, 300_000)], 300_007) == bytes(7) + BLOB[7:300_007]


async def test_a_download_goes_on_after_the_connection_broke(make_device: Any, broker: Mosquitto) -> None:
    async with shaped_link(broker.address, bytes_per_s=4e6) as link:
        device, controller = await make_device(through=link)
        controller.blobs[SHA256] = BLOB
        cuts = [0]

        def cut_now_and_then(_request: Any) -> bool:
            cuts[0] += 1
            if cuts[0] in (5, 20):
                link.cut()
            return True

        controller.answer = cut_now_and_then
        assert await read_all(device, SHA256, [(0, len(BLOB))], len(BLOB)) == BLOB
        assert controller.statuses.count(True) == 3
        await device.stop()


async def test_leaving_a_download_early_stops_asking(make_device: Any) -> None:
    device, controller = await make_device()
    controller.blobs[SHA256] = BLOB
    async with aclosing(device.service.requester.read_ranges(SHA256, [(0, len(BLOB))])) as ranges:
        async for _ in ranges:
            break
    assert device.service.requester._gate.window.in_flight_bytes == 0
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("read-")] == []


async def test_a_blob_that_is_not_there_is_an_error_of_its_own(make_device: Any) -> None:
    device, _ = await make_device()
    with pytest.raises(BlobNotFoundError):
        await read_all(device, SHA256, [(0, 10)], 10)
    with pytest.raises(BlobNotFoundError):
        await device.service.requester.capability(SHA256)


async def test_reading_beyond_the_end_is_refused(make_device: Any) -> None:
    device, controller = await make_device()
    controller.blobs[SHA256] = BLOB[:100]
    with pytest.raises(BadAnswerError, match="beyond the end"):
        await read_all(device, SHA256, [(90, 20)], 110)


async def test_a_controller_that_is_not_there_is_a_clear_error(make_device: Any, quick: Any) -> None:
    device, controller = await make_device(limits=quick(request_timeout_s=0.05, max_attempts=2))
    controller.answer = lambda _request: False
    with pytest.raises(NoAnswerError, match="did not answer"):
        await device.service.requester.read_metadata("timestamp.json", 1000)


async def test_without_a_session_a_request_fails_in_time(make_device: Any, quick: Any) -> None:
    device, _ = await make_device(limits=quick(reconnect_wait_s=0.05), start=False)
    with pytest.raises(NotConnectedError):
        await device.service.requester.read_metadata("timestamp.json", 1000)


@pytest.mark.parametrize("size", [0, 1, 511, 8192, 200_000])
async def test_metadata_of_any_size_is_read_whole(make_device: Any, size: int) -> None:
    device, controller = await make_device()
    controller.files["3.models.json"] = BLOB[:size]
    assert await device.service.requester.fetch("3.models.json", 300_000) == BLOB[:size]


async def test_metadata_that_is_not_there_is_none(make_device: Any) -> None:
    device, _ = await make_device()
    assert await device.service.requester.fetch("2.root.json", 1000) is None


async def test_metadata_beyond_its_limit_is_cut_after_one_byte_more(make_device: Any) -> None:
    device, controller = await make_device()
    controller.files["timestamp.json"] = BLOB
    assert await device.service.requester.fetch("timestamp.json", 50_000) == BLOB[:50_001]


async def test_metadata_that_changes_while_it_is_read_is_read_again(make_device: Any) -> None:
    device, controller = await make_device()
    controller.files["targets.json"] = BLOB[:100_000]
    requests = [0]

    def change_once(_request: Any) -> bool:
        requests[0] += 1
        if requests[0] == 3:
            controller.files["targets.json"] = BLOB[:100_100]
        return True

    controller.answer = change_once
    assert await device.service.requester.read_metadata("targets.json", 300_000) == BLOB[:100_100]


async def test_metadata_travels_packed_against_what_is_held(make_device: Any) -> None:
    device, controller = await make_device()
    old = random.Random(1).randbytes(60_000)  # noqa: S311 - repeatable test data
    new = old[:30_000] + b"changed" + old[30_000:]
    controller.files |= {"3.models.json": old, "4.models.json": new}

    async def similar(name: str) -> HeldFile | None:
        return HeldFile("3.models.json", old) if name == "4.models.json" else None

    device.service.requester._similar = similar
    assert await device.service.requester.fetch("4.models.json", len(new)) == new
    (request,) = [r for r in controller.requests if isinstance(r, MetadataRequest)]
    assert (request.packed, request.base) == (True, "3.models.json")
    assert len(pack(new, old)) < 200


@pytest.mark.parametrize("base", ["3.models.json", "2.models.json"])
async def test_metadata_that_was_packed_wrongly_is_read_as_it_is(make_device: Any, base: str) -> None:
    device, controller = await make_device()
    other, new = BLOB[7:5000], BLOB[:5000]
    controller.files |= {"3.models.json": other, "4.models.json": new}

    async def similar(_name: str) -> HeldFile | None:
        return HeldFile(base, BLOB[:4990])  # not what the controller has under this name, if it has any

    device.service.requester._similar = similar
    assert await device.service.requester.fetch("4.models.json", len(new)) == new


async def test_metadata_that_unpacks_beyond_its_limit_is_cut(make_device: Any) -> None:
    device, controller = await make_device()
    controller.files["4.models.json"] = BLOB
    assert await device.service.requester.fetch("4.models.json", 50_000) == BLOB[:50_001]


async def test_a_capability_is_the_directors_word(make_device: Any) -> None:
    device, controller = await make_device()
    controller.blobs[SHA256] = BLOB
    capability = await device.service.requester.capability(SHA256)
    assert capability.urls == ("https://127.0.0.1:1/v1/blobs/x",)


@pytest.mark.parametrize(
    "changes",
    [
        {"request": "another"},
        {"device": "d-bbbbbbbbbbbbbbbb"},
        {"expires_at": NOW - 1},
        {"sha256": "0" * 64},
    ],
)
async def test_a_capability_for_something_else_is_refused(make_device: Any, changes: Any) -> None:
    device, controller = await make_device()
    controller.blobs[SHA256] = BLOB
    controller.capability_changes = changes
    with pytest.raises(BadAnswerError):
        await device.service.requester.capability(SHA256)


async def test_a_forged_capability_is_refused(make_device: Any) -> None:
    device, controller = await make_device()
    await controller.wait_for(lambda: bool(controller.reports))
    controller.blobs[SHA256] = BLOB
    controller.director = new_device_signer()
    with pytest.raises(BadAnswerError, match="refused"):
        await device.service.requester.capability(SHA256)


class Certificate:
    """A certificate that is due until it was renewed."""

    def __init__(self) -> None:
        self.installed: list[str] = []
        self.failure: PeerError | None = None

    def renewal_due(self, _now: float) -> bool:
        return not self.installed

    def new_csr(self) -> str:
        return "a request"

    def install_certificate(self, pem: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.installed.append(pem)


async def test_a_certificate_is_renewed_when_it_is_due(make_device: Any) -> None:
    holder = Certificate()
    device, controller = await make_device(certificate=holder)
    await device.wait_for_event("certificate_renewed")
    assert holder.installed == ["certificate for a request"]
    assert (NOW, "renewed certificate") in device.clock.floors
    await controller.wait_for(
        lambda: any(r.name == "certificate_renewed" and r.kind == "audit" for r in controller.stored.values())
    )


async def test_a_certificate_that_does_not_fit_is_not_taken(make_device: Any) -> None:
    holder = Certificate()
    holder.failure = PeerError("the certificate is for another key")
    device, _ = await make_device(certificate=holder, start=False)
    device.start()
    await device.service.wait_connected(10)
    assert not await device.service._renewal.check()
    assert await device.events("certificate_renewed") == []


async def test_a_shaped_link_stays_responsive_under_a_download(
    make_device: Any, broker: Mosquitto, quick: Any
) -> None:
    """256 kbit/s: commands and acknowledgements pass while a download uses the link well."""
    size, rate = 250_000, 256_000 / 8
    async with shaped_link(broker.address, bytes_per_s=rate, latency_s=0.02) as link:
        device, controller = await make_device(
            through=link, limits=quick(request_timeout_s=15.0, ack_timeout_s=10.0)
        )
        await controller.wait_for(lambda: bool(controller.reports))
        controller.blobs[SHA256] = BLOB
        loop = asyncio.get_running_loop()
        began, replied = loop.time(), list[float]()

        async def pings() -> None:
            while True:
                sent = loop.time()
                await controller.publish("command", controller.command("ping"))
                replied.append(0.0)
                await controller.wait_for(lambda: len(controller.replies) == len(replied))
                replied[-1] = loop.time() - sent
                await device.outbox.emit("ping")

        pinging = asyncio.create_task(pings())
        assert await read_all(device, SHA256, [(0, size)], size) == BLOB[:size]
        took = loop.time() - began
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
        assert controller.statuses == [True]
        assert max(replied) < 4.0
        assert took < 1.35 * size / rate
        lengths = [r.length for r in controller.requests if isinstance(r, RangeRequest)]
        assert max(lengths) <= 24 * 1024
        await device.stop()
