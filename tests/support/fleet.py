"""A small fleet of real processes: a controller with its broker, and devices. Used as a person would."""

import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from support.processes import Service, free_ports, run_command, wait_for

BIN = Path(sys.executable).parent
PASSPHRASE = "correct horse battery staple"  # noqa: S105 - of a keyring that lives as long as its test


def http_json(url: str, timeout_s: float = 5.0) -> Any:
    """GET a JSON document; ``None`` while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:  # noqa: S310 - our own loopback address
            return json.load(response)
    except (urllib.error.URLError, OSError, ValueError):
        return None


def port_open(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Controller:
    """``skerry``: the service and the operator's commands."""

    folder: Path
    operator_port: int
    device_port: int
    broker_port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    service: Service = field(init=False)

    @classmethod
    def in_folder(cls, folder: Path, settings: Mapping[str, str] | None = None) -> Self:
        """A controller with free ports."""
        operator, devices, broker = free_ports(3)
        return cls(folder, operator, devices, broker, settings or {})

    def __post_init__(self) -> None:
        self.service = Service(
            "controller",
            [BIN / "skerry", "serve", "--data", self.data],
            self.folder / "controller.log",
            self.environment(),
        )

    @property
    def data(self) -> Path:
        """The controller's data."""
        return self.folder / "controller"

    @property
    def keys(self) -> Path:
        """The operator's keyring."""
        return self.folder / "operator-keys"

    @property
    def device_url(self) -> str:
        """Where devices enroll."""
        return f"https://127.0.0.1:{self.device_port}"

    def init(self) -> None:
        """``skerry init``, and the first admin's token."""
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = {"operator": self.operator_port, "device": self.device_port, "broker": self.broker_port}
        options = [part for name, port in ports.items() for part in (f"--{name}-port", str(port))]
        done = run_command(
            [
                *(BIN / "skerry", "init", "--data", self.data, "--keys", self.keys),
                *("--host", "127.0.0.1", *options, "--json"),
            ],
            env=self.environment(),
        )
        self.token = json.loads(done.stdout)["admin_token"]

    def start(self) -> None:
        """Start the service and wait until it answers."""
        self.service.start()
        url = f"http://127.0.0.1:{self.operator_port}/health"
        broker = int(self.settings.get("SKERRY_BROKER__PORT", self.broker_port))
        self.service.wait_until(lambda: http_json(url) is not None and port_open(broker))

    def serve_broker_on(self, port: int) -> None:
        """Bind the broker to another port than the one that devices are told of, from the next start on."""
        self._override("SKERRY_BROKER__PORT", port)

    def move_device_listener(self, port: int) -> None:
        """Bind the devices' listener to another port than the one that devices are told of."""
        self._override("SKERRY_DEVICE__PORT", port)

    def _override(self, name: str, port: int) -> None:
        self.settings = {**self.settings, name: str(port)}
        self.__post_init__()

    def run(
        self, *arguments: str | Path, check: bool = True, show: bool = False, timeout_s: float = 120.0
    ) -> str:
        """Run ``skerry`` with the admin's token, and return what it printed."""
        done = run_command(
            [BIN / "skerry", *arguments], env=self.environment(), check=check, show=show, timeout_s=timeout_s
        )
        return done.stdout if check else f"{done.returncode}\n{done.stdout}{done.stderr}"

    def json(self, *arguments: str | Path) -> Any:
        """Run ``skerry … --json``."""
        return json.loads(self.run(*arguments, "--json"))

    def at_rest(self, *arguments: str | Path) -> Any:
        """Run ``skerry … --data … --json``: while the service does not run."""
        return self.json(*arguments, "--data", self.data)

    def enrollment_token(self, *labels: str, uses: int = 1) -> str:
        """A new enrollment token."""
        options = [part for label in labels for part in ("--label", label)]
        return str(self.json("token", "create", "--uses", str(uses), "--keys", self.keys, *options)["token"])

    def environment(self) -> dict[str, str]:
        """What its commands find in their environment."""
        return {
            "SKERRY_KEYRING_PASSPHRASE": PASSPHRASE,
            "SKERRY_URL": f"http://127.0.0.1:{self.operator_port}",
            "SKERRY_TOKEN": self.token,
            **self.settings,
        }


@dataclass
class Device:
    """``skerry-agent`` on one state folder."""

    name: str
    folder: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    service: Service = field(init=False)

    @classmethod
    def in_folder(cls, folder: Path, name: str, settings: Mapping[str, str] | None = None) -> Self:
        """A device with a free port."""
        return cls(name, folder, free_ports(1)[0], settings or {})

    def __post_init__(self) -> None:
        # In a file, which the fleet's settings may override; the environment they may not.
        config = self.folder / f"{self.name}.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(f"[api]\nport = {self.port}\n[updates]\nsoak_s = 1.0\n", encoding="utf-8")
        self.service = Service(
            self.name,
            [BIN / "skerry-agent", "run", "--config", config],
            self.folder / f"{self.name}.log",
            self.environment(),
        )

    @property
    def state(self) -> Path:
        """The agent's state folder."""
        return self.folder / self.name

    @property
    def url(self) -> str:
        """The local API."""
        return f"http://127.0.0.1:{self.port}"

    def enroll(self, token: str, controller: Controller) -> None:
        """``skerry-agent enroll``."""
        run_command(
            [
                BIN / "skerry-agent",
                "enroll",
                "-",
                "--controller",
                controller.device_url,
                "--state",
                self.state,
            ],
            stdin=token + "\n",
        )
        self.id = json.loads((self.state / "identity" / "enrollment.json").read_text())["device"]

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        self.service.start()
        self.service.wait_until(lambda: http_json(f"{self.url}/health") is not None)

    def wait_connected(self, deadline_s: float = 30.0) -> None:
        """Wait until the MQTT session is up."""
        wait_for(
            lambda: self.json("status")["connected"], f"{self.name} is not connected", deadline_s=deadline_s
        )

    def run(self, *arguments: str | Path, check: bool = True) -> str:
        """Run ``skerry-agent`` on this device."""
        command = [BIN / "skerry-agent", *arguments, "--state", self.state]
        done = run_command(command, env=self.environment(), check=check)
        return done.stdout if check else f"{done.returncode}\n{done.stdout}{done.stderr}"

    def json(self, *arguments: str | Path) -> Any:
        """Run ``skerry-agent … --json``."""
        return json.loads(self.run(*arguments, "--json"))

    def environment(self) -> dict[str, str]:
        """What its commands find in their environment."""
        return {
            "SKERRY_AGENT_DAEMON__STATE_DIR": str(self.state),
            "SKERRY_AGENT_TELEMETRY__SAMPLE_INTERVAL_S": "1",
            "SKERRY_AGENT_TELEMETRY__FLUSH_INTERVAL_S": "1",
            "SKERRY_AGENT_SYNC__RECONNECT_MAX_S": "2",
            "SKERRY_AGENT_SYNC__ACK_TIMEOUT_S": "2",
            **self.settings,
        }
