"""An import that breaks off goes on with what was verified: nothing of that is brought again."""

import hashlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from e2e.conftest import Apart
from skerry_controller.artifacts.building import build_model
from skerry_protocol.manifest import Chunk, FileEntry, decode_manifest
from skerry_protocol.names import ArtifactRef
from support.fleet import BIN, Device
from support.processes import wait_for

CHANNEL = "barn/big"


class Import:
    """``skerry-agent import`` as a process that can be held."""

    def __init__(self, device: Device, bundle: Path) -> None:
        command = [BIN / "skerry-agent", "import", bundle, "--state", device.state, "--json"]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **device.environment()},
            stdout=subprocess.PIPE,
        )

    def hold(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def result(self) -> dict[str, Any]:
        out, _ = self._process.communicate(timeout=60)
        found: dict[str, Any] = msgspec.json.decode(out)
        return found


@dataclass(frozen=True)
class Download:
    """A file that is coming onto a device, seen from outside."""

    device: Device
    file: FileEntry

    @property
    def _part(self) -> Path:
        return self.device.state / "registry" / "partial" / f"{self.file.sha256}.part"

    def reached(self, share: float) -> bool:
        """Whether the chunk that lies so far in the file is there, at least in part."""
        position = share * self.file.length
        chunk = next(c for c in self.file.chunks if c.offset + c.length > position)
        return any(self._read(chunk))

    def held_bytes(self) -> int:
        """Bytes of chunks that are right; equal ones count once."""
        return sum(
            {c.sha256: c.length for c in self.file.chunks if _sha256(self._read(c)) == c.sha256}.values()
        )

    def _read(self, chunk: Chunk) -> bytes:
        if not self._part.exists():
            return b""
        with self._part.open("rb") as file:
            file.seek(chunk.offset)
            return file.read(chunk.length)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_import_survives_kill_9_of_the_agent_and_a_stick_that_is_pulled_out(
    apart: Apart, tmp_path: Path
) -> None:
    controller, device = apart.controller, apart.devices["barn"]
    file = apart.publish("big@1", name="big", embedding=512, blocks=6)
    entry = decode_manifest(build_model(ArtifactRef.parse("big@1"), file).content).variants[0].files[0]
    controller.at_rest("channel", "set", CHANNEL, "--selector", "site=barn", "--artifact", "big@1")
    made = apart.export("big@1", device, tmp_path / "trip")
    device.start()
    download, pack = Download(device, entry), tmp_path / "trip" / "chunks-0001.bin"
    aside = tmp_path / "not-there"

    # The agent dies, and comes back: the same command goes on.
    running = Import(device, tmp_path / "trip")
    wait_for(lambda: download.reached(0.25), "the import does not begin", poll_s=0.001)
    running.hold()
    device.service.kill()
    held = download.held_bytes()
    assert 0 < held < made["chunk_bytes"]
    device.start()
    running.go_on()

    # The stick is pulled out.
    wait_for(lambda: download.reached(0.6), "the import does not go on", poll_s=0.001)
    pack.rename(aside)
    torn = running.result()
    assert (torn["outcome"], torn["code"]) == ("failed", "bundle_incomplete")
    assert pack.name in torn["message"]
    more = download.held_bytes()
    assert held < more == held + torn["chunk_bytes"] < made["chunk_bytes"]

    aside.rename(pack)
    imported = device.json("import", tmp_path / "trip")
    assert (imported["outcome"], imported["slots"][CHANNEL]["active"]) == ("committed", "big@1")
    assert more + imported["chunk_bytes"] == made["chunk_bytes"]
