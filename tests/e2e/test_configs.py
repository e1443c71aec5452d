"""Config bundles: signed, applied while running where that works, taken back when unhealthy."""

import json

from e2e.conftest import StartDevice
from support.fleet import Controller, Device, http_json
from support.processes import wait_for
from support.waiting import wait_for_event


def assign(house: Controller, name: str, text: str, selector: str) -> str:
    file = house.folder / f"{name.partition('@')[0]}-{len(text)}.toml"
    file.write_text(text)
    house.run("artifact", "add", name, file, "--kind", "config", "--keys", house.keys)
    house.run("config", "assign", name, "--selector", selector)
    return "configs/{}/{}.json".format(*name.split("@"))


def report(house: Controller, device: Device, path: str) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        reported = house.json("device", "show", device.id)["reported"] or {}
        found = [c for c in reported.get("configs", []) if c["target_path"] == path]
        return found[0] if found and (found[0]["applied"] or found[0]["reason"]) else None

    return wait_for(look, f"no report on {path}")


def applied_settings(device: Device) -> dict[str, dict[str, object]]:
    current = json.loads((device.state / "settings.d" / "current.json").read_text())
    settings: dict[str, dict[str, object]] = current["settings"]
    return settings


def test_what_needs_no_restart_is_applied_while_running(house: Controller, start_device: StartDevice) -> None:
    device = start_device(house, "tuned", "cfg=live", SKERRY_AGENT_SYNC__RECONNECT_INITIAL_S="0.2")
    started = device.service.pid
    path = assign(house, "quiet@1", '[log]\nlevel = "debug"\n', "cfg=live")
    assert report(house, device, path)["applied"]
    assert "restarting_for_settings" not in device.service.output()
    assert device.service.pid == started
    assert applied_settings(device) == {"log": {"level": "debug"}}
    wait_for_event(house, device, "config_applied")


def test_the_rooms_are_opened_again_for_the_rest_in_the_same_process(
    house: Controller, start_device: StartDevice
) -> None:
    device = start_device(house, "reopened", "cfg=rooms")
    path = assign(house, "context@1", "[runtime]\ncontext_tokens = 128\n", "cfg=rooms")
    assert report(house, device, path)["applied"]
    assert device.service.running
    assert "restarting_for_settings" in device.service.output()
    device.wait_connected()


def test_settings_with_which_the_agent_is_not_healthy_are_taken_back(
    house: Controller, start_device: StartDevice
) -> None:
    device = start_device(house, "stubborn", "cfg=bad")
    taken = house.operator_port
    path = assign(house, "elsewhere@1", f"[api]\nport = {taken}\n", "cfg=bad")
    told = report(house, device, path)
    assert not told["applied"]
    assert told["reason"]
    assert http_json(f"{device.url}/health") is not None
    wait_for_event(house, device, "config_refused")
    device.wait_connected()


def test_a_bundle_that_breaks_the_schema_or_touches_the_device_is_refused(
    house: Controller, start_device: StartDevice
) -> None:
    device = start_device(house, "strict", "cfg=strict")
    for number, (settings, word) in enumerate(
        (
            ('[daemon]\nstate_dir = "/tmp/elsewhere"\n', "daemon"),
            ('[api]\nhost = "0.0.0.0"\n', "api.host"),
            ("[sync]\nreconnect_initial_s = 1e9\n", "sync.reconnect_initial_s"),
        ),
        start=1,
    ):
        path = assign(house, f"mine@{number}", settings, "cfg=strict")
        told = report(house, device, path)
        assert not told["applied"]
        assert word in str(told["reason"])
