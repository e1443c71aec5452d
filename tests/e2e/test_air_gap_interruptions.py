"""An import that breaks off goes on with what was verified: nothing of that is brought again."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Apart
from skerry_agent.cli import bundle_import
from skerry_agent.cli.device import device_client
from skerry_agent.cli.stick import Stick
from skerry_controller.artifacts.building import build_model
from skerry_protocol.bundle import pack_name
from skerry_protocol.manifest import Chunk, FileEntry, decode_manifest
from skerry_protocol.names import ArtifactRef
from support.fleet import Device
from support.processes import wait_for

CHANNEL = "barn/big"
PACK = pack_name(1)


class AccidentalStick(Stick):
    """A stick with which things happen once so many bytes of its chunks are read."""

    accidents: list[tuple[int, Callable[[], object]]]
    read_bytes = 0

    def read(self, name: str, offset: int, length: int) -> bytes | None:
        """As the stick's, after what is due."""
        if name == PACK and length > 1:
            while self.accidents and self.read_bytes >= self.accidents[0][0]:
                self.accidents.pop(0)[1]()
            type(self).read_bytes += length
        return super().read(name, offset, length)


@dataclass(frozen=True)
class Download:
    """A file that is coming onto a device, seen from outside."""

    device: Device
    file: FileEntry

    def held_bytes(self) -> int:
        """Bytes of chunks that are right; equal ones count once."""
        part = self.device.state / "registry" / "partial" / f"{self.file.sha256}.part"
        data = part.read_bytes()

        def is_right(chunk: Chunk) -> bool:
            here = data[chunk.offset : chunk.offset + chunk.length]
            return hashlib.sha256(here).hexdigest() == chunk.sha256

        return sum({chunk.sha256: chunk.length for chunk in self.file.chunks if is_right(chunk)}.values())


def take_in(device: Device, bundle: Path) -> dict[str, Any]:
    """What ``skerry-agent import`` does."""
    return bundle_import.import_bundle(lambda: device_client(device.state), bundle, None, lambda _: None)


def test_an_import_survives_kill_9_of_the_agent_and_a_stick_that_is_pulled_out(
    apart: Apart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller, device = apart.controller, apart.devices["barn"]
    file = apart.publish("big@1", name="big", embedding=512, blocks=4)
    entry = decode_manifest(build_model(ArtifactRef.parse("big@1"), file).content).variants[0].files[0]
    controller.at_rest("channel", "set", CHANNEL, "--selector", "site=barn", "--artifact", "big@1")
    made = apart.export("big@1", device, tmp_path / "trip")
    device.start()
    wait_for(lambda: device.json("status")["device"], "the fleet's side does not begin")
    download, pack = Download(device, entry), tmp_path / "trip" / PACK
    held: list[int] = []

    def die_and_come_back() -> None:
        device.service.kill()
        held.append(download.held_bytes())
        device.start()

    AccidentalStick.accidents = [
        (made["chunk_bytes"] // 3, die_and_come_back),
        (made["chunk_bytes"] * 2 // 3, lambda: pack.rename(tmp_path / "pulled-out")),
    ]
    monkeypatch.setattr(bundle_import, "Stick", AccidentalStick)
    torn = take_in(device, tmp_path / "trip")
    assert (torn["outcome"], torn["code"]) == ("failed", "bundle_incomplete")
    assert PACK in torn["message"]
    held.append(download.held_bytes())
    # The agent was started anew, and the same command went on with what was there.
    assert 0 < held[0] < held[1] == held[0] + torn["chunk_bytes"] < made["chunk_bytes"]

    (tmp_path / "pulled-out").rename(pack)
    imported = device.json("import", tmp_path / "trip")
    assert (imported["outcome"], imported["slots"][CHANNEL]["active"]) == ("committed", "big@1")
    assert held[1] + imported["chunk_bytes"] == made["chunk_bytes"]
