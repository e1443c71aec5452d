"""TOML and JSON files that an operator hands to a command."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from skerry_controller.errors import UsageError
from skerry_protocol.acceptance import Acceptance, acceptance_problem


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
    """What is asked of a trial; the format is in docs/reference/acceptance.md.

    Raises:
        UsageError: The file is not there, or a field is unknown or out of bounds; the message names it.
    """
    try:
        acceptance = msgspec.convert(read_settings(file), Acceptance)
    except msgspec.ValidationError as error:
        raise UsageError(f"{file}: {error}") from error
    if not acceptance.checks:
        raise UsageError(f"{file}: there is no check; write at least one [[checks]] with a prompt")
    problem = acceptance_problem(acceptance) or _wrong_pattern(acceptance)
    if problem is not None:
        raise UsageError(f"{file}: {problem}")
    return acceptance


def _wrong_pattern(acceptance: Acceptance) -> str | None:
    for number, check in enumerate(acceptance.checks, start=1):
        try:
            re.compile(check.regex or "")
        except (re.error, RecursionError, OverflowError) as error:
            return f"check {number}: regex {check.regex!r} is no pattern: {error}"
    return None
