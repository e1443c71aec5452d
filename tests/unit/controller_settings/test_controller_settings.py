from pathlib import Path

import pytest

from skerry_controller.errors import UsageError
from skerry_controller.settings import ControllerSettings, load_settings, render_file, settings_file


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKERRY_OPERATOR__PORT", raising=False)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "controller.toml"
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold() -> None:
    settings = load_settings(environment={})
    assert (settings.operator.host, settings.operator.port) == ("127.0.0.1", 8600)
    assert (settings.device.port, settings.broker.port) == (8601, 8883)


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "[operator]\nport = 1\n[device]\nport = 1\n[broker]\nport = 1\n")
    monkeypatch.setenv("SKERRY_DEVICE__PORT", "2")
    monkeypatch.setenv("SKERRY_BROKER__PORT", "2")
    settings = load_settings(file, flags={"broker": {"port": 3}})
    assert (settings.operator.port, settings.device.port, settings.broker.port) == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[operator]\nprot = 1", r"operator\.prot; did you mean 'port'\?"),
        ("[operators]\nport = 1", r"\[operators\]; did you mean 'operator'\?"),
        ("[zzz]\n", r"unknown setting \[zzz\]; valid are blobs, broker"),
        ("operator = 1", r"write \[operator\] and its keys below it"),
        ("[operator]\nport = 70000", r"operator\.port: .*65535.*70000"),
        ("[operator]\nport = 'x'", r"operator\.port"),
        ("[operator", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UsageError, match=message) as caught:
        load_settings(file)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read settings from .*nothing\.toml"):
        load_settings(tmp_path / "nothing.toml")


def test_a_mistake_in_the_environment_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'SKERRY_OPERATOR__PORT'"):
        load_settings(environment={"SKERRY_OPERATOR__PROT": "1"})


def test_the_environment_of_the_agent_and_of_commands_is_none_of_our_business() -> None:
    load_settings(environment={"SKERRY_AGENT_API__PORT": "1", "SKERRY_TOKEN": "x", "SKERRY_URL": "y"})


def test_settings_cannot_be_changed() -> None:
    settings = load_settings(environment={})
    with pytest.raises(ValueError, match="frozen"):
        settings.operator.port = 1


def test_a_rendered_file_is_read_back(tmp_path: Path) -> None:
    given: dict[str, dict[str, object]] = {
        "operator": {"port": 1234, "host": 'odd "host"\\'},
        "device": {"certificate_names": ["a.example", "b.example"]},
    }
    settings = load_settings(write(tmp_path, render_file(given)))
    assert settings.operator.port == 1234
    assert settings.operator.host == 'odd "host"\\'
    assert settings.device.certificate_names == ("a.example", "b.example")


def test_the_file_in_the_data_folder_applies_unless_another_is_named(tmp_path: Path) -> None:
    assert settings_file(tmp_path) != tmp_path / "controller.toml"
    file = write(tmp_path, "")
    assert settings_file(tmp_path) == file
    assert settings_file(tmp_path, tmp_path / "other.toml") == tmp_path / "other.toml"


def test_every_setting_says_what_it_is() -> None:
    for section in ControllerSettings.model_fields.values():
        assert section.annotation is not None
        assert section.annotation.__doc__
        fields = getattr(section.annotation, "model_fields", {})
        assert fields
        assert all(field.description for field in fields.values())
