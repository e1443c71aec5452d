"""Ports that are taken, folders that are in use, controllers that are not there, secrets that are wrong."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from support.fleet import BIN, Controller, Device
from support.processes import free_ports, run_command
from support.refused import Done, agent, at_once, refused, skerry
from support.tiny_gguf import write_tiny_gguf


@contextmanager
def taken_port() -> Iterator[str]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield str(other.getsockname()[1])


@pytest.mark.parametrize("section", ["operator", "device", "broker"])
def test_a_taken_port_of_the_controller_is_named_with_its_setting(
    idle_house: Controller, section: str
) -> None:
    variable = f"SKERRY_{section.upper()}__PORT"
    with taken_port() as port:
        done = skerry(
            idle_house,
            "serve",
            "--data",
            idle_house.data,
            SKERRY_DEVICE__HOST="127.0.0.1",
            **{variable: port},
        )
    refused(
        done, f"port {port} ", "is taken: stop the program", f"set {section}.port ({variable}) to another"
    )


def test_a_taken_port_of_the_agent_is_named_with_its_setting(tmp_path: Path) -> None:
    with taken_port() as port:
        done = agent(tmp_path / "state", "run", SKERRY_AGENT_API__PORT=port)
    refused(done, f"port {port} on 127.0.0.1 is taken", "set api.port (SKERRY_AGENT_API__PORT) to another")


def test_a_second_agent_on_a_state_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    device = Device.in_folder(tmp_path, "box")
    device.start()
    try:
        done = agent(device.state, "run", SKERRY_AGENT_API__PORT="0")
        refused(done, f"another skerry-agent works on {device.state}; stop it first, or use another --state")
        assert device.json("status")["running"]
    finally:
        device.service.stop()


def test_a_state_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for end in at_once(
        partial(agent, file, "models"), partial(agent, file, "run", SKERRY_AGENT_API__PORT="0")
    ):
        refused(end, f"cannot make the state folder {file}", "choose another with --state")


def test_a_data_folder_in_use_is_refused_and_its_controller_goes_on(lasting_house: Controller) -> None:
    data = lasting_house.data
    said = f"a controller runs on {data} (process {lasting_house.service.pid}): use its URL, or stop it first"
    for end in at_once(
        partial(skerry, lasting_house, "serve", "--data", data),
        partial(skerry, lasting_house, "token", "create", "--data", data, "--keys", lasting_house.keys),
    ):
        refused(end, said)
    refused(
        skerry(lasting_house, "init", "--data", data, "--keys", lasting_house.keys),
        f"there is a controller in {data} already: start it with",
    )
    assert lasting_house.json("token", "list") is not None


def test_a_data_folder_without_a_controller_is_refused(lasting_house: Controller, tmp_path: Path) -> None:
    for end in at_once(
        partial(skerry, lasting_house, "serve", "--data", tmp_path),
        partial(skerry, lasting_house, "device", "list", "--data", tmp_path / "missing"),
    ):
        refused(end, "there is no controller in", "run 'skerry init --data")


COMMANDS = (
    ("login",),
    ("token", "create", "--keys", "KEYS"),
    ("artifact", "list"),
    ("artifact", "add", "a@1", "FILE", "--keys", "KEYS"),
    ("channel", "set", "a/b", "--selector", "x=y"),
    ("rollout", "create", "a/b", "--to", "a@1"),
    ("device", "list"),
    ("device", "ping", "d-abcdefgh23456723"),
    ("telemetry", "query", "d-abcdefgh23456723", "cpu_percent"),
    ("audit", "list"),
)


def test_every_command_says_that_no_controller_answers(idle_house: Controller, tmp_path: Path) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf")
    named = {"KEYS": str(idle_house.keys), "FILE": str(file)}
    url = f"http://127.0.0.1:{free_ports(1)[0]}"

    def run(command: tuple[str, ...]) -> Done:
        options = ("--url", url) if command == ("login",) else ()
        words = (named.get(word, word) for word in command)
        return skerry(idle_house, *words, *options, SKERRY_URL=url, XDG_CONFIG_HOME=str(tmp_path))

    for end in at_once(*(partial(run, command) for command in COMMANDS)):
        refused(end, f"no controller answers at {url}: start it with 'skerry serve', correct the address")
    assert not (tmp_path / "skerry").exists()


def test_a_rollout_is_not_watched_for_ever_without_a_controller(idle_house: Controller) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    refused(skerry(idle_house, "rollout", "watch", "r-abcd2345", SKERRY_URL=url), "no controller answers")


ADDRESSES = {
    "127.0.0.1:8600": "is not a URL: write one such as http://127.0.0.1:8600",
    "ftp://127.0.0.1": "is not a URL",
    "http://127.0.0.1:port": "is not a URL",
}
TOKENS = {
    "nonsense": "the administrator's token is not valid here: run 'skerry login' again",
    "not-in-äscii": "the administrator's token was mistyped: copy it again, whole and alone",
    "two\nlines": "the administrator's token was mistyped",
    "": "there is no token for http://127.0.0.1:",
}


def test_a_wrong_address_or_administrators_token_is_refused(
    lasting_house: Controller, tmp_path: Path
) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    look = partial(skerry, lasting_house, "device", "list", **home)
    ends = at_once(
        *(partial(look, SKERRY_URL=url) for url in ADDRESSES),
        *(partial(look, SKERRY_TOKEN=token) for token in TOKENS),
    )
    for end, said in zip(ends, (*ADDRESSES.values(), *TOKENS.values()), strict=True):
        refused(end, said)
    refused(skerry(lasting_house, "login", "secret-on-the-line", **home), "use '-' for stdin, or @FILE")


def test_a_wrong_passphrase_or_keyring_signs_nothing(lasting_house: Controller, tmp_path: Path) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", seed=31)
    add = partial(skerry, lasting_house, "artifact", "add", "unsigned@1", file, XDG_CONFIG_HOME=str(tmp_path))
    keys = ("--keys", str(lasting_house.keys))
    ends = at_once(
        partial(add, *keys, SKERRY_KEYRING_PASSPHRASE="wrong"),  # noqa: S106 - it is wrong
        partial(add, *keys, SKERRY_KEYRING_PASSPHRASE=""),
        partial(add, "--keys", str(tmp_path)),
        partial(add),
    )
    said = (
        "the passphrase does not open the models key in",
        "passphrase of the keyring is empty",
        f"there is no keyring in {tmp_path}: give the folder that 'skerry init --keys' made",
        "the keyring is needed to sign: give --keys DIR",
    )
    for end, why in zip(ends, said, strict=True):
        refused(end, why)
    refused(skerry(lasting_house, "artifact", "show", "unsigned@1"), "there is no artifact unsigned@1")


def test_a_keyring_of_another_fleet_cannot_publish(
    lasting_house: Controller, idle_house: Controller, tmp_path: Path
) -> None:
    file = write_tiny_gguf(tmp_path / "tiny.gguf", seed=32)
    done = skerry(lasting_house, "artifact", "add", "foreign@1", file, "--keys", idle_house.keys)
    refused(done, "key")
    refused(skerry(lasting_house, "artifact", "show", "foreign@1"), "there is no artifact foreign@1")


def test_without_a_passphrase_or_a_terminal_it_says_what_to_set(
    idle_house: Controller, tmp_path: Path
) -> None:
    import os  # noqa: PLC0415 - only here

    environment = {k: v for k, v in idle_house.environment().items() if k != "SKERRY_KEYRING_PASSPHRASE"}
    assert "SKERRY_KEYRING_PASSPHRASE" not in os.environ
    command: list[str | Path] = [BIN / "skerry", "init", "--data", tmp_path / "d", "--keys", tmp_path / "k"]
    refused(
        run_command(command, env=environment, check=False), "set SKERRY_KEYRING_PASSPHRASE, or run this on"
    )
    assert list(tmp_path.iterdir()) == []
