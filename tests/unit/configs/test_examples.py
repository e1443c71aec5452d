"""The example files hold exactly what the programs read: no more, no less."""

import os
import re
from pathlib import Path

import msgspec
import pytest
from pydantic import BaseModel

from skerry_agent.settings import AgentSettings, check_bundle
from skerry_agent.settings import load_settings as load_agent_settings
from skerry_controller.artifacts.building import build_config
from skerry_controller.artifacts.settings_file import read_acceptance, read_settings
from skerry_controller.broker import BrokerSettings, render_access_list, render_configuration
from skerry_controller.errors import UsageError
from skerry_controller.settings import ControllerSettings
from skerry_controller.settings import load_settings as load_controller_settings
from skerry_protocol.acceptance import Acceptance, AcceptanceCheck, PerplexityLimit, SoakTerms
from skerry_protocol.config_bundle import decode_config_bundle
from skerry_protocol.names import ArtifactRef

CONFIGS = Path(__file__).parents[3] / "configs"
AGENT, CONTROLLER = CONFIGS / "agent.toml", CONFIGS / "controller.toml"
EXAMPLES = [(AGENT, AgentSettings), (CONTROLLER, ControllerSettings)]


@pytest.fixture(autouse=True)
def _no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SKERRY_")]:
        monkeypatch.delenv(name)


def with_everything_set(example: Path, tmp_path: Path) -> Path:
    text = re.sub(r"(?m)^#(?=[a-z_]+ = )", "", example.read_text(encoding="utf-8"))
    path = tmp_path / example.name
    path.write_text(text, encoding="utf-8")
    return path


def keys(settings: type[BaseModel]) -> set[tuple[str, str]]:
    return {
        (section, key)
        for section, field in settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for key in field.annotation.model_fields
    }


def test_the_agents_example_changes_nothing_as_it_is() -> None:
    assert load_agent_settings(AGENT).model_dump() == AgentSettings().model_dump()


def test_the_controllers_example_changes_nothing_as_it_is() -> None:
    assert load_controller_settings(CONTROLLER).model_dump() == ControllerSettings().model_dump()


@pytest.mark.parametrize(("example", "settings"), EXAMPLES)
def test_an_example_has_every_setting_and_no_other(
    example: Path, settings: type[BaseModel], tmp_path: Path
) -> None:
    content = read_settings(with_everything_set(example, tmp_path))
    assert {(section, key) for section, values in content.items() for key in values} == keys(settings)


def test_the_agents_settings_in_the_example_are_the_defaults(tmp_path: Path) -> None:
    loaded = load_agent_settings(with_everything_set(AGENT, tmp_path))
    assert loaded.model_dump() == AgentSettings().model_dump()


def test_the_controllers_settings_in_the_example_are_the_defaults_where_there_is_one(tmp_path: Path) -> None:
    loaded = load_controller_settings(with_everything_set(CONTROLLER, tmp_path)).model_dump()
    for section, values in ControllerSettings().model_dump().items():
        for key, default in values.items():
            assert loaded[section][key] == default or default is None, f"{section}.{key}"


def test_the_bundle_can_be_built_and_a_device_accepts_it() -> None:
    built = build_config(ArtifactRef("lab-settings", "1"), CONFIGS / "config-bundle.toml")
    bundle = decode_config_bundle(built.content)
    check_bundle(bundle.settings)
    assert bundle.settings["updates"] == {"http_source": False}


def test_the_acceptance_example_has_one_check_of_each_kind() -> None:
    acceptance = read_acceptance(CONFIGS / "acceptance.toml")
    assert acceptance.deadline_s == Acceptance().deadline_s
    assert any(check.contains for check in acceptance.checks)
    assert [re.compile(check.regex) for check in acceptance.checks if check.regex]


def test_the_acceptance_example_shows_every_field(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^#(?=[a-z_]+ = |\[)", "", (CONFIGS / "acceptance.toml").read_text("utf-8"))
    (tmp_path / "all.toml").write_text(text)
    acceptance = read_acceptance(tmp_path / "all.toml")
    shown = msgspec.to_builtins(acceptance)
    assert shown.keys() == set(Acceptance.__struct_fields__)
    assert shown["soak"].keys() == set(SoakTerms.__struct_fields__)
    assert shown["perplexity"].keys() == set(PerplexityLimit.__struct_fields__)
    fields = {name for check in shown["checks"] for name in check}
    assert fields == set(AcceptanceCheck.__struct_fields__)


def test_a_pattern_that_is_none_is_refused_by_the_number_of_its_check(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[[checks]]\nprompt = "x"\n[[checks]]\nprompt = "y"\nregex = "("\n')
    with pytest.raises(UsageError, match=r"check 2: regex '\(' is no pattern"):
        read_acceptance(tmp_path / "a.toml")


def directives(text: str) -> list[list[str]]:
    lines = (line.strip() for line in text.splitlines())
    return [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]


def test_the_external_broker_enforces_what_the_managed_one_does(tmp_path: Path) -> None:
    managed = directives(render_configuration(BrokerSettings(folder=tmp_path), tmp_path))
    external = directives((CONFIGS / "mosquitto-external.conf").read_text(encoding="utf-8"))
    paths = {"cafile", "certfile", "keyfile", "acl_file"}
    assert [each for each in external if each[0] not in paths] == [
        each for each in managed if each[0] not in paths
    ]
    assert [each[0] for each in external] == [each[0] for each in managed]


def test_the_external_brokers_access_list_is_the_managed_ones(tmp_path: Path) -> None:
    managed = render_access_list(BrokerSettings(folder=tmp_path))
    external = (CONFIGS / "mosquitto-external.acl").read_text(encoding="utf-8")
    assert directives(external) == directives(managed)
