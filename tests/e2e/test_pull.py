"""Ollama's pull on a device of a real fleet: what the fleet chose, with its progress, and nothing else."""

from collections.abc import Callable

import ollama
import pytest

from support.fleet import Controller, Device
from support.processes import wait_for

pytestmark = pytest.mark.broker
CHANNEL = "assistant/stable"


def test_a_pull_shows_how_the_fleets_version_arrives(
    house: Controller, start_device: Callable[..., Device]
) -> None:
    device = start_device(house, "box", "site=lab")
    secret = device.run("token", "create").strip()
    with ollama.Client(device.url, headers={"Authorization": f"Bearer {secret}"}) as client:
        with pytest.raises(ollama.ResponseError, match="no channel"):
            client.pull("assistant")
        house.run("channel", "set", CHANNEL, "--selector", "site=lab", "--artifact", "tiny@1")
        wait_for(lambda: CHANNEL in device.json("status")["updates"], "the channel did not arrive")
        states = [part.status or "" for part in client.pull("assistant", stream=True)]
        assert states[0] == "pulling manifest"
        assert states[-2:] == ["writing manifest", "success"]
        assert client.pull("assistant/stable").status == "success"
        answer = client.chat("assistant", [{"role": "user", "content": "hi"}], options={"num_predict": 3})
        assert answer.done
        with pytest.raises(ollama.ResponseError, match="gives this device no channel"):
            client.pull("llama3")
        with pytest.raises(ollama.ResponseError, match="belongs to the fleet"):
            client.delete("assistant")
