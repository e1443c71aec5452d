import math
from datetime import UTC, datetime

import pytest

from skerry_controller.audit import note
from skerry_controller.errors import NotFoundError
from skerry_controller.fleet import WrongDeviceError
from skerry_controller.telemetry import RecordCounts, Telemetry, TelemetryIngest
from skerry_controller.telemetry.store import known_sequences
from skerry_protocol.envelope import open_sealed
from skerry_protocol.errors import MalformedError, SignatureError
from skerry_protocol.records import Record, RecordBatch, decode_acknowledgement
from support.fake_device import FakeDevice, sample
from support.fleet_side import House, Sent

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
AT = 1_800_000_000_000


@pytest.fixture
async def device(house: House) -> FakeDevice:
    return await house.add_device()


def acknowledged(device: FakeDevice, sent: Sent) -> list[dict[str, list[tuple[int, int]]]]:
    opened = [
        decode_acknowledgement(open_sealed(each, "ack", device.directors))
        for each in sent.to(device.id, "ack")
    ]
    assert all(each.device == device.id for each in opened)
    return [
        {stream: [(first, last) for first, last in ranges] for stream, ranges in each.streams.items()}
        for each in opened
    ]


async def test_records_are_stored_once_and_acknowledged_each_time(
    house: House, sent: Sent, ingest: TelemetryIngest, telemetry: Telemetry, device: FakeDevice
) -> None:
    batch = device.batch("s1", [sample(0), sample(1), sample(2)])
    first = await ingest.accept(device.id, batch)
    again = await ingest.accept(device.id, batch)
    assert (first.stored, first.duplicates, again.stored, again.duplicates) == (3, 0, 0, 3)
    assert acknowledged(device, sent) == [{"s1": [(0, 2)]}] * 2
    assert await telemetry.counts(device.id) == RecordCounts(3, 0, 0, 1, 0, 3)


async def test_overlapping_batches_out_of_order_lose_nothing(
    sent: Sent, ingest: TelemetryIngest, telemetry: Telemetry, device: FakeDevice
) -> None:
    for numbers in ([5, 6, 7], [0, 1], [1, 2, 5], [3, 4]):
        await ingest.accept(device.id, device.batch("s1", [sample(number) for number in numbers]))
    assert (await telemetry.counts(device.id)).samples == 8
    assert acknowledged(device, sent)[2] == {"s1": [(1, 2), (5, 5)]}


async def test_each_boot_has_its_own_numbers(
    ingest: TelemetryIngest, telemetry: Telemetry, device: FakeDevice
) -> None:
    for stream in ("s1", "s2"):
        await ingest.accept(device.id, device.batch(stream, [sample(0)]))
    counts = await telemetry.counts(device.id)
    assert (counts.samples, counts.streams) == (2, 2)


async def test_what_is_gone_is_counted_once_and_acknowledged(
    sent: Sent, ingest: TelemetryIngest, telemetry: Telemetry, device: FakeDevice
) -> None:
    await ingest.accept(device.id, device.batch("s1", [sample(3), sample(9)]))
    for gone in ([(0, 4)], [(2, 6)], [(0, 4)]):
        await ingest.accept(device.id, device.batch("s1", gone=gone))
    assert (await telemetry.counts(device.id)).gone == 6, "0 to 6, of which 3 had arrived before"
    assert acknowledged(device, sent)[1] == {"s1": [(0, 4)]}


async def test_a_metric_is_read_back_in_order(
    ingest: TelemetryIngest, telemetry: Telemetry, device: FakeDevice
) -> None:
    records = [
        sample(0, AT, **{"cpu.percent": 1.5, "tokens": 3}),
        sample(1, AT + 2000, **{"cpu.percent": 2.5}),
        sample(2, AT + 1000, **{"cpu.percent": math.nan}),
        sample(3, AT + 3000, tokens=4),
    ]
    await ingest.accept(device.id, device.batch("s1", records))
    points = await telemetry.metric(device.id, "cpu.percent", since=LONG_AGO, limit=10)
    assert [(point.at_ms - AT, point.value) for point in points] == [(0, 1.5), (2000, 2.5)]
    (newest,) = await telemetry.metric(device.id, "tokens", since=LONG_AGO, limit=1)
    assert newest.value == 4
    later = datetime.fromtimestamp((AT + 1500) / 1000, UTC)
    assert len(await telemetry.metric(device.id, "cpu.percent", since=later, limit=10)) == 1
    with pytest.raises(NotFoundError, match="it sends tokens"):
        await telemetry.metric(device.id, "cpu", since=LONG_AGO, limit=10)
    with pytest.raises(NotFoundError):
        await telemetry.metric("d-aaaaaaaaaaaaaaaa", "cpu", since=LONG_AGO, limit=10)


async def test_the_log_joins_what_the_device_told_and_what_was_refused(
    house: House, ingest: TelemetryIngest, telemetry: Telemetry, device: FakeDevice
) -> None:
    refused = Record(
        0, AT, "event", "desired_refused", {"code": "older_generation", "message": "1.1 is older than 1.2"}
    )
    await ingest.accept(device.id, device.batch("s1", [refused, sample(1)]))
    async with house.database.transaction() as session:
        note(
            session,
            at=datetime.fromtimestamp(AT / 1000 + 1, UTC),
            actor=f"device:{device.id}",
            action="message_refused",
            subject=device.id,
            code="bad_signature",
        )
    log = await telemetry.log(device.id, since=LONG_AGO, limit=10)
    assert [(entry.source, entry.name, entry.data["code"]) for entry in log] == [
        ("device", "desired_refused", "older_generation"),
        ("controller", "message_refused", "bad_signature"),
    ]


async def test_what_is_not_the_devices_own_is_refused_and_not_acknowledged(
    house: House, sent: Sent, ingest: TelemetryIngest, telemetry: Telemetry, device: FakeDevice
) -> None:
    other = await house.add_device()
    with pytest.raises(SignatureError):
        await ingest.accept(device.id, other.batch("s1", [sample(0)]))
    with pytest.raises(WrongDeviceError):
        await ingest.accept(device.id, device.batch("s1", [sample(0)], device=other.id))
    with pytest.raises(MalformedError):
        await ingest.accept(device.id, device.batch("s1", [sample(2**63)]))
    with pytest.raises(MalformedError):
        await ingest.accept(device.id, device.batch("s1", gone=[(0, 2**63)]))
    assert sent.messages == []
    assert (await telemetry.counts(device.id)).samples == 0


async def test_a_batch_of_the_largest_size_is_stored(
    ingest: TelemetryIngest, telemetry: Telemetry, device: FakeDevice
) -> None:
    stored = await ingest.accept(device.id, device.batch("s1", [sample(number) for number in range(1000)]))
    assert stored.acknowledged == [(0, 999)]
    assert (await telemetry.counts(device.id)).samples == 1000


async def test_a_batch_that_spans_a_whole_stream_looks_at_its_own_records_only(
    house: House, ingest: TelemetryIngest, device: FakeDevice
) -> None:
    await ingest.accept(device.id, device.batch("s1", [sample(number) for number in range(50)]))
    batch = RecordBatch(device=device.id, stream="s1", records=(sample(0), sample(2**61)))
    async with house.database.session() as session:
        assert await known_sequences(session, batch, {0: sample(0), 2**61: sample(2**61)}) == {0}


async def test_many_gone_ranges_are_counted_as_one_by_one(
    ingest: TelemetryIngest, telemetry: Telemetry, device: FakeDevice
) -> None:
    for start in range(0, 4000, 1000):
        gone = [(number, number) for number in range(start, start + 1000, 2)]
        await ingest.accept(device.id, device.batch("s1", gone=gone))
    await ingest.accept(device.id, device.batch("s1", [sample(2)]))
    await ingest.accept(device.id, device.batch("s1", gone=[(1, 5), (3999, 4100)]))
    assert (await telemetry.counts(device.id)).gone == 2000 - 1 + 3 + 102


async def test_a_device_that_claims_ever_more_gaps_is_refused(
    ingest: TelemetryIngest, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry_controller.telemetry.store.MAX_STREAM_RANGES", 100)
    await ingest.accept(device.id, device.batch("s1", gone=[(n, n) for n in range(0, 200, 2)]))
    with pytest.raises(MalformedError, match="gone ranges"):
        await ingest.accept(device.id, device.batch("s1", gone=[(0, 0), (1000, 1000)]))
