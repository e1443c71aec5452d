"""Settings that are wrong: both daemons name the place, and what would be right."""

from functools import partial
from pathlib import Path

from support.fleet import BIN, Controller
from support.processes import run_command
from support.refused import Done, at_once, refused


def run_agent(folder: Path, config: Path, **environment: str) -> Done:
    command: list[str | Path] = [BIN / "skerry-agent", "run", "--state", folder / "state", "--config", config]
    return run_command(command, env=environment, check=False, timeout_s=20)


def run_controller(house: Controller, config: Path, **environment: str) -> Done:
    command: list[str | Path] = [BIN / "skerry", "serve", "--data", house.data, "--config", config]
    env = {**house.environment(), **environment}
    return run_command(command, env=env, check=False, timeout_s=20)


AGENT_FILES = {
    "[api]\nprot = 8611\n": "unknown setting api.prot; did you mean 'port'?",
    "[telemetri]\nsample_interval_s = 1\n": "unknown setting [telemetri]; did you mean 'telemetry'?",
    "api = 8611\n": "api is a section: write [api] and its keys below it",
    "[api]\nport = 70000\n": "api.port: Input should be less than or equal to 65535 (got 70000)",
    "[log]\nlevel = 'loud'\n": "log.level: Input should be 'debug', 'info', 'warning' or 'error' (got",
    "[api\nport = 1\n": "is not valid TOML: Expected ']'",
}
CONTROLLER_FILES = {
    "[operator]\nprot = 8600\n": "unknown setting operator.prot; did you mean 'port'?",
    "[brokr]\nport = 8883\n": "unknown setting [brokr]; did you mean 'broker'?",
    "broker = 8883\n": "broker is a section: write [broker] and its keys below it",
    "[broker]\nport = 0\n": "broker.port: Input should be greater than or equal to 1 (got 0)",
    "[device\nport = 1\n": "is not valid TOML: Expected ']'",
}


def written(folder: Path, texts: dict[str, str]) -> list[Path]:
    files = [folder / f"settings-{number}.toml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return files


def test_the_agent_says_what_is_wrong_in_its_file(tmp_path: Path) -> None:
    files = written(tmp_path, AGENT_FILES)
    ends = at_once(*(partial(run_agent, tmp_path, file) for file in files))
    for end, said in zip(ends, AGENT_FILES.values(), strict=True):
        refused(end, str(tmp_path), said)
    assert not (tmp_path / "state").exists()


def test_the_controller_says_what_is_wrong_in_its_file(tmp_path: Path, idle_house: Controller) -> None:
    files = written(tmp_path, CONTROLLER_FILES)
    ends = at_once(*(partial(run_controller, idle_house, file) for file in files))
    for end, said in zip(ends, CONTROLLER_FILES.values(), strict=True):
        refused(end, said)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, idle_house: Controller) -> None:
    missing, binary = tmp_path / "missing.toml", tmp_path / "binary.toml"
    binary.write_bytes(b"\x00\xff")
    for path, said in {missing: "No such file", tmp_path: "Is a directory", binary: "not valid TOML"}.items():
        for end in at_once(partial(run_agent, tmp_path, path), partial(run_controller, idle_house, path)):
            refused(end, str(path), said)


AGENT_VARIABLES = (
    ("SKERRY_AGENT_API__PROT", "1", "SKERRY_AGENT_API__PROT; did you mean 'SKERRY_AGENT_API__PORT'?"),
    ("SKERRY_AGENT_API__PORT", "many", "the environment variable SKERRY_AGENT_API__PORT: api.port: Input"),
    ("SKERRY_AGENT_API", "port", "write SKERRY_AGENT_SECTION__KEY=value"),
    ("SKERRY_AGENT_API", "8610", "the environment variable SKERRY_AGENT_API: api: Input should be"),
)
VARIABLES = (
    ("SKERRY_BROKER__PROT", "1", "SKERRY_BROKER__PROT; did you mean 'SKERRY_BROKER__PORT'?"),
    ("SKERRY_BROKER__PORT", "0", "the environment variable SKERRY_BROKER__PORT: broker.port: Input"),
    ("SKERRY_BROKER", "port", "write SKERRY_SECTION__KEY=value"),
)


def test_a_wrong_variable_is_named_and_not_the_file(tmp_path: Path, idle_house: Controller) -> None:
    file = tmp_path / "empty.toml"
    file.touch()
    agent_ends = at_once(
        *(partial(run_agent, tmp_path, file, **{name: value}) for name, value, _ in AGENT_VARIABLES)
    )
    controller_ends = at_once(
        *(partial(run_controller, idle_house, file, **{name: value}) for name, value, _ in VARIABLES)
    )
    for end, (_, _, said) in zip(agent_ends + controller_ends, (*AGENT_VARIABLES, *VARIABLES), strict=True):
        refused(end, said)
