"""Reading settings: defaults < file < config bundle < environment < flags."""

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from pydantic_settings.exceptions import SettingsError

from skerry_agent.errors import UsageError
from skerry_agent.settings.model import BUNDLE_SECTIONS, AgentSettings

Settings = Mapping[str, Mapping[str, Any]]
DEFAULT_FILE = Path("/etc/skerry/agent.toml")
_PREFIX = "SKERRY_AGENT_"


def load_settings(
    file: Path | None = None, *, bundle: Settings | None = None, flags: Settings | None = None
) -> AgentSettings:
    """Read and check all settings.

    Args:
        file: A TOML file; without one ``/etc/skerry/agent.toml`` is read where it exists.
        bundle: The settings of the fleet's config bundles.
        flags: What the command line says.

    Raises:
        UsageError: A file cannot be read, or a key or value is wrong; names it and what is valid.
    """
    explicit = file is not None
    path = file or DEFAULT_FILE
    from_file = _read_file(path) if explicit or path.exists() else {}
    _check_keys(from_file, str(path))
    _check_environment(os.environ)
    merged = _merge(from_file, bundle or {})
    return _build(merged, flags or {}, str(path))


def check_bundle(settings: Settings) -> None:
    """Check a config bundle's settings against the schema, before it is applied.

    Raises:
        UsageError: A section that no bundle may set, or a wrong key or value.
    """
    for section in settings:
        if section in AgentSettings.model_fields and section not in BUNDLE_SECTIONS:
            raise UsageError(f"a config bundle cannot set [{section}]: that belongs to the device")
    _check_keys(settings, "the config bundle")
    _build(settings, {}, "the config bundle", environment=False)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read settings from {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def _fields(section: str) -> dict[str, Any]:
    return dict(getattr(AgentSettings.model_fields[section].annotation, "model_fields", {}))


def _check_keys(settings: Mapping[str, Any], origin: str) -> None:
    for section, values in settings.items():
        if section not in AgentSettings.model_fields:
            raise UsageError(_unknown(origin, f"[{section}]", section, AgentSettings.model_fields))
        if not isinstance(values, Mapping):
            raise UsageError(f"{origin}: {section} is a section: write [{section}] and its keys below it")
        for key in values:
            if key not in _fields(section):
                raise UsageError(_unknown(origin, f"{section}.{key}", key, _fields(section)))


def _check_environment(environment: Mapping[str, str]) -> None:
    known = [_variable(s, k) for s in AgentSettings.model_fields for k in _fields(s)]
    for name in environment:
        if name.startswith(_PREFIX) and "__" in name and name not in known:
            raise UsageError(_unknown("the environment", name, name, known))


def _variable(*place: str) -> str:
    return (_PREFIX + "__".join(place)).upper()


def _unknown(origin: str, shown: str, name: str, valid: Any) -> str:
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "valid are " + ", ".join(sorted(valid))
    return f"{origin}: unknown setting {shown}; {hint}"


def _merge(*layers: Settings) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, values in layer.items():
            merged.setdefault(section, {}).update(values)
    return merged


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


def _build(values: Settings, flags: Settings, origin: str, *, environment: bool = True) -> AgentSettings:
    class Layered(AgentSettings):
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
            layers = (_Values(settings_cls, flags), env_settings, _Values(settings_cls, values))
            return layers if environment else (layers[0], layers[2])

    try:
        return Layered()
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        if environment and _is_from_environment(place, flags):
            origin = f"the environment variable {_variable(*place[:2])}"
        raise UsageError(
            f"{origin}: {'.'.join(place)}: {first['msg']} (got {first.get('input')!r})"
        ) from error
    except SettingsError as error:
        raise UsageError(f"the environment: {error}; write SKERRY_AGENT_SECTION__KEY=value") from error


def _is_from_environment(place: Sequence[str], flags: Settings) -> bool:
    """Whether a value came from the environment, which wins over the file, and loses against flags."""
    section, *keys = place
    from_flags = bool(keys) and keys[0] in flags.get(section, {})
    return not from_flags and _variable(section, *keys[:1]) in os.environ
