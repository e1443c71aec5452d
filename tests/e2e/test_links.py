"""Only the broker's port is open; and a link of 256 kbit/s."""

from pathlib import Path

import pytest

from e2e.conftest import CHANNEL, StartDevice, publish_tiny
from e2e.test_story import ask
from support.fleet import Controller, port_open
from support.processes import free_ports, wait_for
from support.slow_link import SlowLink
from support.waiting import finish_rollout, wait_for_event, wait_for_slot

SLOW_BITS_PER_S = 256_000


def test_the_whole_story_works_through_the_brokers_port_alone(
    tmp_path: Path, start_device: StartDevice
) -> None:
    controller = Controller.in_folder(tmp_path / "house")
    try:
        controller.init()
        controller.start()
        device = start_device(controller, "behind-a-firewall", "site=lab")
        # The listener that the trust document names is gone: another port serves it now.
        controller.service.stop()
        controller.move_device_listener(free_ports(1)[0])
        controller.start()
        assert not port_open(controller.device_port)
        publish_tiny(controller, "1")
        controller.run("channel", "set", CHANNEL, "--selector", "site=lab")
        assert finish_rollout(controller, CHANNEL, "tiny@1")["state"] == "succeeded"
        slot = wait_for_slot(controller, device, CHANNEL, "committed", ref="tiny@1")
        assert slot["bytes_fetched"] > 500_000
        assert ask(device)
        wait_for_event(controller, device, "update_committed")
        wait_for(
            lambda: controller.json("telemetry", "query", device.id, "cpu_percent", "--since", "1h"),
            "no samples",
        )
    finally:
        controller.service.stop()


@pytest.mark.timeout(240)
def test_it_all_works_over_256_kbit_per_second(tmp_path: Path, start_device: StartDevice) -> None:
    controller = Controller.in_folder(tmp_path / "house")
    real_port = free_ports(1)[0]
    link = SlowLink(controller.broker_port, real_port, SLOW_BITS_PER_S)
    try:
        controller.init()
        controller.serve_broker_on(real_port)
        controller.start()
        with link.running():
            device = start_device(
                controller, "far-away", "site=lab", SKERRY_AGENT_UPDATES__HTTP_SOURCE="false",
                SKERRY_AGENT_SYNC__KEEPALIVE_S="10",
            )  # fmt: skip
            publish_tiny(controller, "1")
            controller.run("channel", "set", CHANNEL, "--selector", "site=lab", "--artifact", "tiny@1")
            wait_for_slot(controller, device, CHANNEL, "downloading", deadline_s=60)
            # Commands and samples get through while the download fills the link.
            answered = controller.json("device", "ping", device.id)
            assert answered["ok"]
            slot = wait_for_slot(controller, device, CHANNEL, "committed", ref="tiny@1", deadline_s=150)
            assert slot["bytes_total"] <= slot["bytes_fetched"] < 1.05 * slot["bytes_total"]
            assert ask(device)
    finally:
        controller.service.stop()
