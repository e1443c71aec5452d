"""What devices ask for, over a real broker."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator

import pytest
from cryptography import x509

from skerry_controller.audit import entries
from skerry_controller.database import DeviceRow
from skerry_protocol.envelope import open_sealed
from skerry_protocol.limits import DEFAULT_LIMITS
from skerry_protocol.requests import (
    CapabilityRequest,
    MetadataRequest,
    RangeRequest,
    RenewalRequest,
    decode_capability,
    decode_certificate,
    decode_response,
)
from support.fake_device import FakeDevice
from support.fleet_side import CONTROLLER_URL
from support.mqtt_device import DeviceSession, connected, signing_request
from support.mqtt_site import Site, eventually

pytestmark = pytest.mark.broker

FILE = os.urandom(300_000)
SHA256 = hashlib.sha256(FILE).hexdigest()


async def test_a_file_of_the_repository_is_read_in_ranges(site: Site) -> None:
    device = await site.house.add_device()
    whole = site.house.repository.repository.get("timestamp.json")
    assert whole is not None
    async with site.controller(), connected(site.broker, device) as session:
        first = await session.ask(MetadataRequest(id="1", name="timestamp.json", offset=0, length=100))
        rest = await session.ask(MetadataRequest(id="2", name="timestamp.json", offset=100, length=10**6))
        assert (first.id, first.status, first.total, len(first.body)) == ("1", "ok", len(whole), 100)
        assert first.body + rest.body == whole
        root = await session.ask(MetadataRequest(id="3", name="1.root.json", length=10**6))
        assert root.body == site.house.repository.root
        for name in ("2.root.json", "../controller.db", "", "x" * 1000):
            missing = await session.ask(MetadataRequest(id="4", name=name, length=10))
            assert missing.status == "not_found"


async def test_a_published_file_is_read_by_a_window_of_requests(site: Site) -> None:
    device = await site.house.add_device()
    await site.house.add_artifact("m@1", file=FILE)
    async with site.controller(), connected(site.broker, device) as session:
        step = 64 * 1024
        offsets = range(0, len(FILE), step)
        for offset in offsets:
            body = RangeRequest(id=f"r{offset}", sha256=SHA256, offset=offset, length=step)
            await session.publish("request", device.request(body), qos=0)
        frames = [decode_response(await session.receive("response")) for _ in offsets]
        assert {frame.id for frame in frames} == {f"r{offset}" for offset in offsets}
        assert b"".join(frame.body for frame in sorted(frames, key=lambda frame: frame.offset)) == FILE
        assert {frame.total for frame in frames} == {len(FILE)}


async def test_a_frame_never_exceeds_its_limit_or_the_end(site: Site) -> None:
    device = await site.house.add_device()
    await site.house.add_artifact("m@1", file=FILE)
    async with site.controller(), connected(site.broker, device) as session:
        for request in (
            RangeRequest(id="a", sha256=SHA256, offset=0, length=10**9),
            RangeRequest(id="b", sha256=SHA256, offset=len(FILE) - 5, length=10),
            RangeRequest(id="c", sha256=SHA256, offset=len(FILE) + 5, length=10),
        ):
            await session.publish("request", device.request(request))
        raw = [await session.receive("response") for _ in range(3)]
        assert max(map(len, raw)) <= DEFAULT_LIMITS.max_frame_bytes
        frames = {frame.id: frame for frame in map(decode_response, raw)}
        assert FILE.startswith(frames["a"].body)
        assert len(frames["a"].body) > 100_000
        assert (frames["b"].body, frames["c"].body) == (FILE[-5:], b"")


async def test_a_file_of_no_published_artifact_is_not_found(site: Site) -> None:
    device = await site.house.add_device()
    await site.house.blobs.write(SHA256, _once(FILE), max_bytes=len(FILE))
    async with site.controller(), connected(site.broker, device) as session:
        frame = await session.ask(RangeRequest(id="1", sha256=SHA256, offset=0, length=10))
        assert (frame.status, b"no published artifact" in frame.body) == ("not_found", True)
        frame = await session.ask(CapabilityRequest(id="2", sha256=SHA256))
        assert frame.status == "not_found"


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_addresses_of_a_file_come_sealed(site: Site) -> None:
    device = await site.house.add_device()
    await site.house.add_artifact("m@1", file=FILE)
    async with site.controller(), connected(site.broker, device) as session:
        frame = await session.ask(CapabilityRequest(id="1", sha256=SHA256))
        capability = decode_capability(open_sealed(frame.body, "capability", device.directors))
        assert (capability.device, capability.request, capability.sha256) == (device.id, "1", SHA256)
        (url,) = capability.urls
        assert url.startswith(f"{CONTROLLER_URL}/v1/blobs/{SHA256}?capability=v1.{device.id}.")
        assert capability.authority_pem == site.house.authorities.servers.certificate_pem.decode()


async def test_a_certificate_is_renewed_for_the_same_key_by_signed_request_only(site: Site) -> None:
    device = await site.house.add_device()
    request = RenewalRequest(id="1", csr_pem=signing_request(device))
    async with site.controller(), connected(site.broker, device) as session:
        assert (await session.ask(request)).status == "bad_request"
        frame = await session.ask(request, signed=True)
        answer = decode_certificate(open_sealed(frame.body, "certificate", device.directors))
        certificate = x509.load_pem_x509_certificate(answer.certificate_pem.encode())
        assert certificate.subject.rfc4514_string() == f"CN={device.id}"
        assert certificate.public_key() == device.key.public_key()
        other_key = RenewalRequest(id="2", csr_pem=signing_request(FakeDevice(device.id, device.directors)))
        frame = await session.ask(other_key, signed=True)
        assert (frame.status, b"keeps the device's key" in frame.body) == ("bad_request", True)
        frame = await session.ask(RenewalRequest(id="3", csr_pem="nonsense"), signed=True)
        assert frame.status == "bad_request"


async def test_reading_devices_do_not_hold_up_a_command(site: Site) -> None:
    """Two devices read as fast as they can; a third gets its command and replies meanwhile."""
    await site.house.add_artifact("m@1", file=FILE)
    devices = [await site.house.add_device() for _ in range(3)]
    async with (
        site.controller() as side,
        connected(site.broker, devices[0]) as a,
        connected(site.broker, devices[1]) as b,
        connected(site.broker, devices[2]) as calm,
    ):
        body = RangeRequest(id="r", sha256=SHA256, offset=0, length=100_000)
        stop = asyncio.Event()

        async def read(session: DeviceSession) -> int:
            frames = 0
            for _ in range(8):
                await session.publish("request", session.device.request(body), qos=0)
            while not stop.is_set():
                await session.receive("response")
                frames += 1
                await session.publish("request", session.device.request(body), qos=0)
            return frames

        readers = [asyncio.create_task(read(each)) for each in (a, b)]
        for _ in range(10):
            waiting = asyncio.create_task(side.commands.send(calm.device.id, "ping", timeout_s=5))
            await calm.publish("reply", calm.device.reply(await calm.receive("command", 5)))
            assert (await waiting).ok
        stop.set()
        counts = await asyncio.gather(*readers)
        assert min(counts) > 0.3 * max(counts), f"devices take turns: {counts}"


async def test_a_revoked_device_reads_nothing_any_more(site: Site) -> None:
    device, other = [await site.house.add_device() for _ in range(2)]
    await site.house.add_artifact("m@1", file=FILE)
    async with site.house.database.transaction() as session:
        (await session.get_one(DeviceRow, device.id)).revoked_at = site.house.clock()
    body = RangeRequest(id="r", sha256=SHA256, offset=0, length=100)
    async with (
        site.controller(),
        connected(site.broker, device, announce=False) as revoked,
        connected(site.broker, other) as honest,
    ):
        for asked in (body, MetadataRequest(id="m", name="timestamp.json", length=100)):
            await revoked.publish("request", device.request(asked))
        assert (await honest.ask(body)).status == "ok"

        async def refused() -> bool:
            return bool(await entries_about(site, device))

        await eventually(refused)
        assert revoked.queue("response").empty()


async def entries_about(site: Site, device: FakeDevice) -> list[str]:
    found = await entries(site.house.database, limit=50)
    return [str(each["detail"]["code"]) for each in found if each["subject"] == device.id]
