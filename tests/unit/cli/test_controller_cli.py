import subprocess
import sys
from pathlib import Path

import pytest

from skerry_controller.cli.durations import parse_duration
from skerry_controller.cli.output import format_bytes, format_labels, format_span
from skerry_controller.cli.profile import Profile, load_profile, profile_path, save_profile
from skerry_controller.cli.secret_input import read_secret
from skerry_controller.errors import UsageError
from skerry_protocol.errors import NameSyntaxError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800), (" 1s ", 1)]
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1w", "-1h", "1.5h", "9999999999s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(NameSyntaxError):
        parse_duration(text)


def test_a_profile_is_kept_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_profile() is None
    saved = save_profile(Profile(url="http://x", token="secret", root_sha256="0" * 64))  # noqa: S106 - none
    assert saved == profile_path()
    assert saved.stat().st_mode & 0o777 == 0o600
    loaded = load_profile()
    assert loaded is not None
    assert (loaded.url, loaded.token) == ("http://x", "secret")
    saved.write_text("{")
    with pytest.raises(UsageError, match="run 'skerry login' again"):
        load_profile()


def test_a_secret_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from file\n")
    monkeypatch.setenv("MY_SECRET", "from environment")
    assert read_secret(f"@{tmp_path / 'secret'}", "MY_SECRET", "Secret") == "from file"
    assert read_secret(None, "MY_SECRET", "Secret") == "from environment"


def test_a_secret_on_the_command_line_or_nowhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_SECRET", raising=False)
    with pytest.raises(UsageError, match="does not belong on the command line"):
        read_secret("hunter2", "MY_SECRET", "Secret")
    with pytest.raises(UsageError, match="cannot read the secret"):
        read_secret(f"@{tmp_path / 'nothing'}", "MY_SECRET", "Secret")
    with pytest.raises(UsageError, match="set MY_SECRET"):
        read_secret(None, "MY_SECRET", "Secret")
    monkeypatch.setenv("MY_SECRET", "")
    with pytest.raises(UsageError, match="is empty"):
        read_secret(None, "MY_SECRET", "Secret")


def test_values_read_well() -> None:
    assert format_bytes(98 * 1024 * 1024) == "98.0 MiB"
    assert format_bytes(None) is None
    assert [format_span(s) for s in (5, 300, 7200, 86400 * 5)] == ["5s", "5m", "2h", "5d"]
    assert (format_labels({"b": "2", "a": "1"}), format_labels({})) == ("a=1, b=2", "-")


def test_the_command_line_imports_nothing_heavy_before_a_command_runs() -> None:
    heavy = ("sqlalchemy", "tuf", "fastapi", "httpx", "alembic", "aiomqtt", "rich.console", "pydantic")
    code = (
        "import sys\n"
        "sys.argv = ['skerry', '--help']\n"
        "from skerry_controller.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "artifact" in done.stdout
