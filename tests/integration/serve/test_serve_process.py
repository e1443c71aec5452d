"""``skerry`` as a person uses it: real processes, a real broker, ports of their own."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from skerry_controller.clock import utc_now
from skerry_controller.setup import Plan, initialise
from support.controller_data import CHEAP, PASSPHRASE
from support.fleet import Controller
from support.processes import ProcessError, run_command, wait_for
from support.publishing import tiny_model

BIN = Path(sys.executable).parent
pytestmark = pytest.mark.broker


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    controller = Controller.in_folder(
        tmp_path, {"XDG_CONFIG_HOME": str(tmp_path / "config"), "SKERRY_KEYRING_PASSPHRASE": PASSPHRASE}
    )
    init_cheaply(controller)
    yield controller
    controller.service.stop()


def init_cheaply(controller: Controller) -> None:
    """As ``skerry init``, with a keyring that opens quickly."""
    wanted = Plan(
        data=controller.data,
        keys=controller.keys,
        hosts=("127.0.0.1",),
        operator_port=controller.operator_port,
        device_port=controller.device_port,
        broker_port=controller.broker_port,
    )
    made = asyncio.run(initialise(wanted, PASSPHRASE, clock=utc_now, keyring_settings=CHEAP))
    controller.token = made.admin_token


def serve_fails(controller: Controller, *options: str) -> str:
    done = run_command(
        [BIN / "skerry", "serve", "--data", controller.data, *options],
        env=controller.environment(),
        check=False,
        timeout_s=60,
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("skerry: ")]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr
    return lines[0]


def children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def test_it_serves_without_the_keyring_signs_elsewhere_and_stops_in_order(
    controller: Controller, tmp_path: Path
) -> None:
    away = tmp_path / "locked-away"
    shutil.move(controller.keys, away)
    controller.start()
    assert not controller.keys.exists()
    broker = children(controller.service.pid)
    assert broker
    model = tiny_model(tmp_path)
    added = controller.json("artifact", "add", "tiny@1", model, "--keys", away)
    assert (added["outcome"], added["uploaded"]) == ("published", True)
    again = controller.json("artifact", "add", "tiny@1", model, "--keys", away)
    assert (again["outcome"], again["uploaded"]) == ("unchanged", False)
    assert [a["name"] for a in controller.json("artifact", "list")] == ["tiny"]
    assert all(check["ok"] for check in controller.json("artifact", "verify", "tiny@1", model))
    token = controller.json("token", "create", "--label", "site=lab", "--keys", away)
    assert token["token"].startswith("skerry1.")
    assert controller.json("token", "list")[0]["labels"] == {"site": "lab"}
    assert "revoked" in controller.run("token", "revoke", token["id"])
    actions = [entry["action"] for entry in controller.json("audit", "list")]
    assert {"token_revoked", "token_created", "artifact_published", "admin_created"} <= set(actions)
    assert controller.service.stop() == 0
    assert not [pid for pid in broker if Path(f"/proc/{pid}").exists()]
    output = controller.service.output()
    assert f"http://127.0.0.1:{controller.operator_port}" in output
    assert controller.token not in output
    assert token["token"] not in output


def test_commands_work_on_the_folder_of_a_controller_that_is_not_running(
    controller: Controller, tmp_path: Path
) -> None:
    data: tuple[str | Path, ...] = ("--data", controller.data)
    controller.json("artifact", "add", "tiny@1", tiny_model(tmp_path), "--keys", controller.keys, *data)
    assert [a["name"] for a in controller.json("artifact", "list", *data)] == ["tiny"]
    controller.start()
    assert [a["name"] for a in controller.json("artifact", "list")] == ["tiny"]
    refused = controller.run("artifact", "list", *data, check=False)
    assert "a controller runs on" in refused
    assert str(controller.service.pid) in refused


def test_it_goes_on_after_it_was_killed(controller: Controller, tmp_path: Path) -> None:
    controller.start()
    controller.json("artifact", "add", "tiny@1", tiny_model(tmp_path), "--keys", controller.keys)
    broker = children(controller.service.pid)
    controller.service.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in broker), "the broker lives on")
    controller.start()
    assert all(check["ok"] for check in controller.json("artifact", "verify", "tiny@1"))


def test_a_taken_port_is_one_line_that_names_it_and_the_setting(controller: Controller) -> None:
    with socket.create_server(("127.0.0.1", controller.operator_port)):
        line = serve_fails(controller)
    assert str(controller.operator_port) in line
    assert "SKERRY_OPERATOR__PORT" in line
    with socket.create_server(("0.0.0.0", controller.device_port)):  # noqa: S104 - as the controller does
        assert "device.port" in serve_fails(controller)
    with socket.create_server(("0.0.0.0", controller.broker_port)):  # noqa: S104 - the same
        assert str(controller.broker_port) in serve_fails(controller)


def test_a_second_controller_on_the_same_data_is_refused(controller: Controller) -> None:
    controller.start()
    assert "a controller runs on" in serve_fails(controller)


def test_a_mistake_in_the_settings_is_named(controller: Controller, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[broker]\nprot = 1\n")
    line = serve_fails(controller, "--config", str(tmp_path / "bad.toml"))
    assert "did you mean 'port'?" in line


def test_data_of_a_newer_version_are_refused(controller: Controller) -> None:
    with closing(sqlite3.connect(controller.data / "controller.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "another version of skerry" in serve_fails(controller)


def test_systemd_hears_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(30)
        controller = Controller.in_folder(
            tmp_path, {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        )
        init_cheaply(controller)
        controller.service.start()
        try:
            said = [channel.recv(100) for _ in range(3)]
            assert said[0] == b"READY=1"
            assert said[1:] == [b"WATCHDOG=1"] * 2
            os.kill(controller.service.pid, signal.SIGTERM)
            while (word := channel.recv(100)) == b"WATCHDOG=1":
                pass
            assert word == b"STOPPING=1"
        finally:
            controller.service.stop()


def test_without_a_controller_every_command_says_what_to_do(controller: Controller) -> None:
    assert "no controller answers" in controller.run("artifact", "list", check=False)
    with pytest.raises(ProcessError):
        controller.run("artifact", "list")


def test_login_checks_the_token_and_pins_the_root(controller: Controller, tmp_path: Path) -> None:
    controller.start()
    environment = {
        name: value
        for name, value in (os.environ | controller.environment()).items()
        if name not in ("SKERRY_URL", "SKERRY_TOKEN")
    }
    url = f"http://127.0.0.1:{controller.operator_port}"

    def skerry(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "skerry"), *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert "run 'skerry login" in skerry("token", "list").stderr
    wrong = skerry("login", "-", "--url", url, stdin="skerry-admin-wrong\n")
    assert (wrong.returncode, "not valid here" in wrong.stderr) == (1, True)
    assert skerry("login", controller.token, "--url", url).returncode == 1
    right = skerry("login", "-", "--url", url, "--keys", str(controller.keys), stdin=controller.token + "\n")
    assert right.returncode == 0, right.stderr
    saved = tmp_path / "config" / "skerry" / "operator.json"
    assert saved.stat().st_mode & 0o077 == 0
    pinned = json.loads(saved.read_text())["root_sha256"]
    made = skerry("token", "create", "--json")
    assert json.loads(made.stdout)["root_sha256"] == pinned
    assert "controller's word" not in made.stderr
    profile = json.loads(saved.read_text()) | {"root_sha256": "0" * 64}
    saved.write_text(json.dumps(profile))
    refused = skerry("token", "create")
    assert (refused.returncode, "another first root" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["artifact", "add", "Tiny@1", "x.gguf"], 2, "is not a name"),
        (["artifact", "add", "tiny", "x.gguf"], 2, "has no version"),
        (["token", "create", "--expires", "soon"], 2, "not a duration"),
        (["token", "create", "--label", "nonsense"], 2, "is not a label"),
        (["artifact", "add", "tiny@1"], 2, "say which file"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_wrong_arguments_are_usage_errors(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = run_command(
        [BIN / "skerry", *arguments],
        env={"XDG_CONFIG_HOME": str(tmp_path), "SKERRY_TOKEN": "x", "SKERRY_KEYRING_PASSPHRASE": "y"},
        check=False,
    )
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_init_tells_what_was_made_and_refuses_to_make_it_twice(tmp_path: Path) -> None:
    controller = Controller.in_folder(tmp_path)
    controller.init()
    assert controller.token.startswith("skerry-admin-")
    before = sorted(path for path in tmp_path.rglob("*"))
    again: list[str | Path] = [
        BIN / "skerry",
        "init",
        "--data",
        controller.data,
        "--keys",
        tmp_path / "k",
        "--host",
        "a",
    ]
    done = run_command(again, env=controller.environment(), check=False)
    assert (done.returncode, "there is a controller in" in done.stderr) == (1, True)
    assert sorted(path for path in tmp_path.rglob("*")) == before
    inside: list[str | Path] = [
        BIN / "skerry",
        "init",
        "--data",
        tmp_path / "d",
        "--keys",
        tmp_path / "d" / "k",
        "--host",
        "a",
    ]
    assert "must be apart" in run_command(inside, env=controller.environment(), check=False).stderr
