from pathlib import Path

import pytest

from skerry_agent.errors import UsageError
from skerry_agent.settings import check_bundle, load_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.toml"


def test_defaults_need_no_file() -> None:
    assert load_settings().api.port == 8610


def test_later_layers_win(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(
        "[api]\nport = 1\n[telemetry]\nsample_interval_s = 1\n"
        "[runtime]\nthreads = 1\n[sync]\nkeepalive_s = 11\n"
    )
    bundle = {"telemetry": {"sample_interval_s": 2}, "runtime": {"threads": 2}, "sync": {"keepalive_s": 12}}
    monkeypatch.setenv("SKERRY_AGENT_RUNTIME__THREADS", "3")
    monkeypatch.setenv("SKERRY_AGENT_SYNC__KEEPALIVE_S", "13")
    settings = load_settings(file, bundle=bundle, flags={"sync": {"keepalive_s": 14}})
    assert settings.api.port == 1
    assert settings.telemetry.sample_interval_s == 2
    assert settings.runtime.threads == 3
    assert settings.sync.keepalive_s == 14


def test_a_layer_changes_only_the_keys_that_it_has(file: Path) -> None:
    file.write_text('[api]\nport = 1\nhost = "0.0.0.0"\n')
    settings = load_settings(file, bundle={"api": {"port": 2}})
    assert (settings.api.port, settings.api.host) == (2, "0.0.0.0")  # noqa: S104 - read, not bound


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[telemtry]\n", r"\[telemtry\]; did you mean 'telemetry'"),
        ("[api]\nprot = 1\n", r"api\.prot; did you mean 'port'"),
        ("[api]\nzzzzzz = 1\n", r"api\.zzzzzz; valid are .*port"),
        ("api = 1\n", r"api is a section"),
        ("[api]\nport = 'x'\n", r"api\.port: .*integer.*'x'"),
        ("[api]\nport = 70000\n", r"api\.port: .*65535.*70000"),
        ("[api\n", "not valid TOML"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_valid_key(file: Path, text: str, expected: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError, match=expected) as caught:
        load_settings(file)
    assert str(file) in str(caught.value)


def test_a_typo_in_the_environment_is_noticed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_AGENT_API__PROT", "1")
    with pytest.raises(UsageError, match="SKERRY_AGENT_API__PORT"):
        load_settings()


def test_a_named_file_that_is_not_there_is_an_error(file: Path) -> None:
    with pytest.raises(UsageError, match="cannot read settings"):
        load_settings(file)


def test_a_bundle_may_set_what_belongs_to_the_fleet() -> None:
    check_bundle({"telemetry": {"sample_interval_s": 5.0}, "log": {"level": "debug"}})


@pytest.mark.parametrize(
    "bundle",
    [
        {"daemon": {"state_dir": "/elsewhere"}},
        {"identity": {"key": "x"}},
        {"trust": {"root": "x"}},
        {"controller": {"url": "x"}},
        {"telemetry": {"sample_interval_s": 0}},
        {"telemetry": {"interval": 5}},
    ],
)
def test_a_bundle_cannot_touch_identity_trust_or_break_the_schema(
    bundle: dict[str, dict[str, object]],
) -> None:
    with pytest.raises(UsageError):
        check_bundle(bundle)


def test_a_bundle_is_judged_without_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKERRY_AGENT_API__PORT", "1")
    with pytest.raises(UsageError, match=r"api\.port"):
        check_bundle({"api": {"port": "x"}})


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().api.port = 1
