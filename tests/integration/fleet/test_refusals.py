from skerry_controller.audit import entries
from skerry_controller.fleet import RefusalLimits, Refusals
from support.fleet_side import House

DEVICE = "d-aaaaaaaaaaaaaaaa"


async def test_a_flood_is_counted_and_not_written(house: House) -> None:
    now = 0.0
    refusals = Refusals(
        house.database, house.clock, lambda: now, RefusalLimits(per_interval=2, interval_s=60)
    )
    written = [await refusals.record(DEVICE, "reported", "bad_signature", "no") for _ in range(5)]
    assert written == [True, True, False, False, False]
    assert await refusals.record(DEVICE, "reported", "too_large", "no"), "another code has its own budget"
    now = 61
    assert await refusals.record(DEVICE, "reported", "bad_signature", "no")
    newest = (await entries(house.database, limit=10))[0]
    assert (newest["action"], newest["subject"]) == ("message_refused", DEVICE)
    assert newest["detail"] == {
        "leaf": "reported",
        "code": "bad_signature",
        "message": "no",
        "suppressed_before": 3,
    }
