"""TOML and JSON files that an operator hands to a command."""

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from skerry_controller.errors import UsageError
from skerry_protocol.manifest import MAX_ACCEPTANCE_TOKENS, Acceptance


def read_settings(file: Path) -> dict[str, Any]:
    """The file as a mapping; ``.json`` is JSON, anything else TOML.

    Raises:
        UsageError: It is not there, or is not of that form.
    """
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:  # of JSON, TOML and UTF-8 alike
        raise UsageError(
            f"{file} is not valid {'JSON' if file.suffix == '.json' else 'TOML'}: {error}"
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{file} must hold a mapping, not a {type(content).__name__}")
    return content


def read_acceptance(file: Path) -> Acceptance:
    """Acceptance checks: ``deadline_s`` and a list ``checks`` (in TOML ``[[checks]]``).

    Raises:
        UsageError: The file is not there, or a field is unknown or out of bounds; the message names it.
    """
    try:
        acceptance = msgspec.convert(read_settings(file), Acceptance)
    except msgspec.ValidationError as error:
        raise UsageError(f"{file}: {error}") from error
    if not acceptance.checks:
        raise UsageError(f"{file}: there is no check; write at least one [[checks]] with a prompt")
    for number, check in enumerate(acceptance.checks, start=1):
        if not 1 <= check.min_tokens <= check.max_tokens <= MAX_ACCEPTANCE_TOKENS:
            raise UsageError(
                f"{file}: check {number} needs 1 <= min_tokens <= max_tokens <= {MAX_ACCEPTANCE_TOKENS}"
            )
    if acceptance.deadline_s <= 0:
        raise UsageError(f"{file}: deadline_s must be above 0")
    return acceptance
