"""Judging and joining config bundles. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping

from skerry_agent.errors import UsageError
from skerry_protocol.config_bundle import ConfigBundle, Setting, decode_config_bundle
from skerry_protocol.errors import ProtocolError
from skerry_protocol.names import parse_target_path
from skerry_protocol.reported import Reason

Settings = dict[str, dict[str, Setting]]
"""Settings by section and key."""
Validate = Callable[[Mapping[str, Mapping[str, Setting]]], None]
"""Checks settings against the agent's schema; raises ``UsageError`` that names the key and the nearest."""


def judge_bundle(
    path: str, data: bytes, *, allowed_sections: Collection[str], validate: Validate
) -> ConfigBundle | Reason:
    """The bundle of a target, or why it is refused.

    Args:
        path: The target's path; the bundle must be the one that it names.
        data: The target's bytes.
        allowed_sections: Sections that a bundle may set. Identity, trust and addresses are never among them.
        validate: The agent's schema.
    """
    try:
        bundle = decode_config_bundle(data)
    except ProtocolError as error:
        return Reason("bundle_malformed", f"{path}: {error}")
    if parse_target_path(path)[1] != bundle.ref:
        return Reason("bundle_mismatch", f"the bundle at {path} says that it is {bundle.ref}")
    forbidden = sorted(set(bundle.settings) - set(allowed_sections))
    if forbidden:
        allowed = ", ".join(sorted(allowed_sections))
        return Reason(
            "section_forbidden", f"{bundle.ref} sets [{forbidden[0]}]: a bundle may set {allowed} only"
        )
    wrong = check_settings(bundle.settings, validate)
    return bundle if wrong is None else Reason("settings_invalid", f"{bundle.ref}: {wrong}")


def check_settings(settings: Mapping[str, Mapping[str, Setting]], validate: Validate) -> str | None:
    """What is wrong with settings, or None."""
    try:
        validate(settings)
    except UsageError as error:
        return str(error)
    return None


def join(bundles: Iterable[Mapping[str, Mapping[str, Setting]]]) -> Settings:
    """All settings together; later ones win, key by key."""
    joined: Settings = {}
    for settings in bundles:
        for section, values in settings.items():
            joined.setdefault(section, {}).update(values)
    return joined
