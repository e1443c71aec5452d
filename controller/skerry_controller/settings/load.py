"""Reading settings: defaults < file < environment < flags."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from pydantic_settings.exceptions import SettingsError

from skerry_controller.errors import UsageError
from skerry_controller.settings.model import ControllerSettings

Settings = Mapping[str, Mapping[str, Any]]
DEFAULT_FILE = Path("/etc/skerry/controller.toml")
_FILE_IN_DATA = "controller.toml"
_PREFIX = "SKERRY_"
_AGENT_PREFIX = "SKERRY_AGENT_"


def settings_file(data_dir: Path | None, named: Path | None = None) -> Path | None:
    """Which file applies: the named one, else the data folder's (from ``skerry init``), else the system's."""
    if named is not None:
        return named
    if data_dir is not None and (data_dir / _FILE_IN_DATA).exists():
        return data_dir / _FILE_IN_DATA
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load_settings(
    file: Path | None = None, *, flags: Settings | None = None, environment: Mapping[str, str] | None = None
) -> ControllerSettings:
    """Read and check all settings.

    Args:
        file: A TOML file.
        flags: What the command line says.
        environment: For the check of names; the process's own by default.

    Raises:
        UsageError: A file cannot be read, or a key or value is wrong; names it and what is valid.
    """
    from_file = {} if file is None else _read_file(file)
    _check_keys(from_file, str(file))
    _check_environment(os.environ if environment is None else environment)
    return _build(from_file, flags or {}, str(file or "the environment"))


def render_file(settings: Settings) -> str:
    """A TOML file with these settings; values are strings, numbers and lists of strings."""
    lines = ["# Written by 'skerry init'; change it as you like, it is not written again."]
    for section, values in settings.items():
        lines += ["", f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read settings from {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def _fields(section: str) -> dict[str, Any]:
    return dict(getattr(ControllerSettings.model_fields[section].annotation, "model_fields", {}))


def _check_keys(settings: Mapping[str, Any], origin: str) -> None:
    for section, values in settings.items():
        if section not in ControllerSettings.model_fields:
            raise UsageError(_unknown(origin, f"[{section}]", section, ControllerSettings.model_fields))
        if not isinstance(values, Mapping):
            raise UsageError(f"{origin}: {section} is a section: write [{section}] and its keys below it")
        for key in values:
            if key not in _fields(section):
                raise UsageError(_unknown(origin, f"{section}.{key}", key, _fields(section)))


def _check_environment(environment: Mapping[str, str]) -> None:
    known = [_variable(s, k) for s in ControllerSettings.model_fields for k in _fields(s)]
    for name in environment:
        ours = name.startswith(_PREFIX) and not name.startswith(_AGENT_PREFIX)
        if ours and "__" in name and name not in known:
            raise UsageError(_unknown("the environment", name, name, known))


def _variable(*place: str) -> str:
    return (_PREFIX + "__".join(place)).upper()


def _unknown(origin: str, shown: str, name: str, valid: Iterable[str]) -> str:
    choices = sorted(valid)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "valid are " + ", ".join(choices)
    return f"{origin}: unknown setting {shown}; {hint}"


class _Values(PydanticBaseSettingsSource):
    """A settings source over a mapping that was read already."""

    def __init__(self, settings_cls: type[BaseSettings], values: Settings) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """One section's values."""
        del field
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return {section: dict(values) for section, values in self._values.items()}


def _build(values: Settings, flags: Settings, origin: str) -> ControllerSettings:
    class Layered(ControllerSettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del init_settings, dotenv_settings, file_secret_settings
            return _Values(settings_cls, flags), env_settings, _Values(settings_cls, values)

    try:
        return Layered()
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        if _is_from_environment(place, flags):
            origin = f"the environment variable {_variable(*place[:2])}"
        raise UsageError(
            f"{origin}: {'.'.join(place)}: {first['msg']} (got {first.get('input')!r})"
        ) from error
    except SettingsError as error:
        raise UsageError(f"the environment: {error}; write SKERRY_SECTION__KEY=value") from error


def _is_from_environment(place: Sequence[str], flags: Settings) -> bool:
    """Whether a value came from the environment, which wins over the file, and loses against flags."""
    section, *keys = place
    from_flags = bool(keys) and keys[0] in flags.get(section, {})
    return not from_flags and _variable(section, *keys[:1]) in os.environ
