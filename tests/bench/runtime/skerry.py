"""Our agent as a peer: never enrolled, with one imported model, and what it tells about itself."""

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from bench.runtime.http_stream import PeerError
from bench.runtime.peers import ModelCase, Peer
from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.settings.model import RuntimeSettings
from support.fleet import Device, http_json
from support.processes import wait_for

NAME = "skerry"
MODEL = "bench"
RUNNER_MODULE = "skerry_agent.runtime.runner_main"
WANTED_SETTINGS = {
    # A crash every 20 s is what the soak is about: the model must not go out of service for that.
    "max_crashes": "1000",
    "backoff_max_s": "1",
    # Longer than a run: peers keep their models as well.
    "keep_alive_s": "86400",
}
METRICS_DEADLINE_S = 5.0


def known_settings(wanted: Mapping[str, str]) -> dict[str, str]:
    """Those of the ``runtime`` section's settings that this version has, as environment variables."""
    return {
        f"SKERRY_AGENT_RUNTIME__{name.upper()}": value
        for name, value in wanted.items()
        if name in RuntimeSettings.model_fields
    }


@dataclass
class Skerry(Peer):
    """The agent's daemon, and its runner below it.

    Attributes:
        device: Its state folder and commands.
    """

    device: Device = field(kw_only=True)

    def start(self) -> None:
        """Start the daemon."""
        self.device.start()

    def restart(self) -> None:
        """Stop the daemon properly, and start it again."""
        self.stop()
        self.start()

    def runner(self) -> psutil.Process | None:
        """The runner's process, while there is one."""
        for process in self.processes():
            try:
                if RUNNER_MODULE in process.cmdline():
                    return process
            except psutil.Error:  # it ended meanwhile
                continue
        return None

    def engine_counters(self) -> EngineStats | None:
        """What the engine counted since its runner started; None while there is no runner."""
        for runner in self.device.json("status")["runners"]:
            if runner.get("role") == "serving" and runner.get("engine"):
                return msgspec.convert(runner["engine"], EngineStats)
        return None

    def private_bytes(self) -> int:
        """Memory that the daemon and its runner do not share with others: no pages of the model's file.

        Raises:
            PeerError: There is no runner: the figure would be the daemon's alone.
        """
        if self.runner() is None:
            raise PeerError("the agent has no runner, so its memory says nothing")
        return sum(process.memory_full_info().uss for process in self.processes())

    def figures(self) -> dict[str, float]:
        """All samples of ``/metrics``, labels cut off: of the same name they are added up."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=METRICS_DEADLINE_S) as response:
            return parse_metrics(response.read().decode())


def parse_metrics(text: str) -> dict[str, float]:
    """Samples in Prometheus' text format, added up over their labels."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            found[name] = found.get(name, 0.0) + float(value)
    return found


def skerry(case: ModelCase, folder: Path) -> Skerry:
    """An agent with the model imported and active; it is stopped again, with everything on disk."""
    settings = known_settings(WANTED_SETTINGS)
    device = Device.in_folder(
        folder, f"skerry-{case.name}", {**settings, "SKERRY_AGENT_LOG__LEVEL": "warning"}
    )
    device.start()
    try:
        device.run("import", case.path, "--name", f"{MODEL}@1")
        device.run("activate", f"{MODEL}@1")
        listed = wait_for(lambda: http_json(f"{device.url}/v1/models"), "the agent lists no models")
    finally:
        device.service.stop()
    names = [str(model["id"]) for model in listed["data"]]
    name = next((name for name in names if name.endswith(MODEL)), None)
    if name is None:
        raise RuntimeError(f"the imported model is not listed: {json.dumps(listed)}")
    flags = [f"{name}={value}" for name, value in settings.items()]
    return Skerry(
        NAME, device.service, device.port, case, "/health", name, {"ignore_eos": True},
        [*flags, "all else at its defaults"], device=device,
    )  # fmt: skip
