"""The operators' routes of the fleet's side, over the real application in process."""

from collections.abc import AsyncIterator

import httpx
import pytest

from skerry_controller.mqtt import FleetSide
from skerry_controller.operator_api import Admins, Services
from skerry_controller.operator_api.app import create_operator_app
from skerry_controller.operator_api.settings import OperatorApiLimits
from skerry_protocol.records import Record
from support.fake_device import FakeDevice, sample
from support.fleet_side import House

CHANNEL = "/channels/assistant/stable"


@pytest.fixture
def side(house: House) -> FleetSide:
    return house.side()


@pytest.fixture
async def api(house: House, side: FleetSide) -> AsyncIterator[httpx.AsyncClient]:
    admins = Admins(house.database, house.clock)
    token = await admins.create("tester", actor="system")
    app = create_operator_app(Services(admins, house.database, OperatorApiLimits(), *side.services))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://controller/api/v1",
        headers={"Authorization": f"Bearer {token}"},
    ) as client:
        yield client


@pytest.fixture
async def device(house: House) -> FakeDevice:
    return await house.add_device(site="lab")


async def test_from_channel_to_rollout(
    house: House, side: FleetSide, api: httpx.AsyncClient, device: FakeDevice
) -> None:
    await house.add_artifact("m@1")
    made = (await api.put(CHANNEL, json={"selector": "site=lab"})).json()
    assert (made["name"], made["devices"], made["current"]) == ("assistant/stable", 1, None)
    answer = await api.post("/rollouts", json={"channel": "assistant/stable", "to": "m@1"})
    assert answer.status_code == 201
    rollout = answer.json()
    assert (rollout["state"], rollout["to"], rollout["previous"]) == ("running", "m@1", None)
    assert [each["standing"] for each in rollout["devices"]] == ["pending"]
    for verb, state in (("pause", "paused"), ("resume", "running"), ("abort", "aborted")):
        assert (await api.post(f"/rollouts/{rollout['id']}/{verb}")).json()["state"] == state
    assert [each["id"] for each in (await api.get("/rollouts")).json()] == [rollout["id"]]
    audit = (await api.get("/audit", params={"limit": 1})).json()
    assert (audit[0]["actor"], audit[0]["action"]) == ("admin:tester", "rollout_aborted")


async def test_a_device_is_shown_with_what_it_should_and_does_run(
    house: House, side: FleetSide, api: httpx.AsyncClient, device: FakeDevice
) -> None:
    await house.add_artifact("m@1")
    await api.put(CHANNEL, json={"selector": "", "artifact": "m@1"})
    (shown,) = (await api.get("/devices", params={"selector": "site=lab"})).json()
    assert (shown["id"], shown["presence"], shown["in_sync"]) == (device.id, "never seen", False)
    (slot,) = shown["slots"]
    assert (slot["channel"], slot["desired"], slot["state"]) == ("assistant/stable", "m@1", None)
    assert (await api.get("/devices", params={"selector": "site=shop"})).json() == []


async def test_labels_move_a_device_between_channels(api: httpx.AsyncClient, device: FakeDevice) -> None:
    await api.put(CHANNEL, json={"selector": "ring=canary"})
    labels = await api.patch(
        f"/devices/{device.id}/labels", json={"add": {"ring": "canary"}, "remove": ["site"]}
    )
    assert labels.json() == {"ring": "canary"}
    assert (await api.get(CHANNEL)).json()["devices"] == 1


async def test_config_bundles_come_and_go(house: House, api: httpx.AsyncClient) -> None:
    await house.add_artifact("tuning@1", kind="config")
    made = (await api.post("/config-assignments", json={"bundle": "tuning@1", "selector": ""})).json()
    assert (await api.get("/config-assignments")).json() == [made]
    assert (await api.delete(f"/config-assignments/{made['id']}")).json() == made


async def test_telemetry_is_read_back(side: FleetSide, api: httpx.AsyncClient, device: FakeDevice) -> None:
    refused = Record(1, 1_800_000_000_500, "event", "target_refused", {"code": "hash_mismatch"})
    await side.ingest.accept(device.id, device.batch("s", [sample(0, cpu_percent=7.5), refused]))
    since = {"since": "2020-01-01T00:00:00Z"}
    points = (await api.get(f"/devices/{device.id}/telemetry/cpu_percent", params=since)).json()
    assert points == [{"at_ms": 1_800_000_000_000, "value": 7.5}]
    (entry,) = (await api.get(f"/devices/{device.id}/log", params=since)).json()
    assert (entry["source"], entry["name"], entry["data"]) == (
        "device",
        "target_refused",
        {"code": "hash_mismatch"},
    )
    counts = (await api.get(f"/devices/{device.id}/records")).json()
    assert (counts["samples"], counts["events"], counts["gone"]) == (1, 1, 0)


async def test_a_command_without_a_broker_says_so(api: httpx.AsyncClient, device: FakeDevice) -> None:
    answer = await api.post(f"/devices/{device.id}/commands", json={"name": "ping"})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/devices/d-aaaaaaaaaaaaaaaa", None, 404, "not_found"),
        ("GET", "/devices?selector=site", None, 400, "name_syntax"),
        ("POST", "/devices/d-aaaaaaaaaaaaaaaa/commands", {"name": "ping"}, 404, "not_found"),
        ("POST", "/devices/d-aaaaaaaaaaaaaaaa/commands", {"name": "explode"}, 422, "malformed"),
        ("GET", "/devices/d-aaaaaaaaaaaaaaaa/log?since=2020-01-01T00:00:00Z", None, 404, "not_found"),
        ("GET", "/devices/d-aaaaaaaaaaaaaaaa/log?since=yesterday", None, 422, "malformed"),
        ("GET", "/channels/no/such", None, 404, "not_found"),
        ("PUT", "/channels/local/x", {"selector": ""}, 400, "name_syntax"),
        ("PUT", CHANNEL, {"selektor": ""}, 422, "malformed"),
        ("POST", "/rollouts", {"channel": "a/b", "to": "m@1"}, 404, "not_found"),
        ("POST", "/rollouts", {"channel": "a/b", "to": "m@1", "waves": "x"}, 400, "usage"),
        ("POST", "/rollouts/r-none/abort", None, 404, "not_found"),
        ("POST", "/config-assignments", {"bundle": "m@1", "selector": ""}, 404, "not_found"),
    ],
)
async def test_mistakes_get_a_status_and_a_code(
    api: httpx.AsyncClient, method: str, path: str, body: dict[str, str] | None, status: int, code: str
) -> None:
    answer = await api.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]
