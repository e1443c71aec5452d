"""The fleet says when and how fast its devices download."""

from typing import Any

from e2e.conftest import StartDevice, publish_tiny
from e2e.test_configs import assign, report
from support.fleet import Controller
from support.processes import wait_for
from support.waiting import wait_for_slot

CHANNEL = "metered/stable"


def test_a_window_holds_a_download_back_until_the_fleet_opens_it(
    lasting_house: Controller, start_device: StartDevice
) -> None:
    house = lasting_house
    device = start_device(house, "metered", "cfg=metered")
    closed = assign(house, "metered@1", '[updates]\ndownload_window = "0 0 29 2 * 1h"\n', "cfg=metered")
    assert report(house, device, closed)["applied"]
    publish_tiny(house, "1", name="metered-model")
    house.run("channel", "set", CHANNEL, "--selector", "cfg=metered", "--artifact", "metered-model@1")

    def waiting() -> dict[str, Any] | None:
        update: dict[str, Any] = device.json("status")["updates"].get(CHANNEL, {})
        return update if (update.get("reason") or {}).get("code") == "outside_download_window" else None

    update = wait_for(waiting, "the download does not wait for its window")
    assert (update["state"], update["bytes_fetched"]) == ("downloading", 0)
    assert update["waits_until"] is not None
    assert "waits for the window for downloads (until 20" in " ".join(device.run("status").split())
    opened = assign(
        house, "metered@2", '[updates]\ndownload_window = ""\ndownload_bytes_per_s = 400000\n', "cfg=metered"
    )
    assert report(house, device, opened)["applied"]
    slot = wait_for_slot(house, device, CHANNEL, "committed", ref="metered-model@1")
    assert slot["bytes_fetched"] > 500_000
    assert slot["waits_until"] is None
    output = device.service.output()
    assert "restarting_for_settings" not in output
    assert "source_failed" not in output  # it came over HTTPS, the first source
