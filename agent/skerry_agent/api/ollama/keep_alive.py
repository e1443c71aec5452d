"""How long a model stays loaded, in Ollama's words. Pure."""

import math
import re

from skerry_agent.api.errors import BadRequestError

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_PART.pattern})+")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
MAX_CHARS = 64


def keep_alive_seconds(given: str | float | None) -> float | None:
    """Seconds; infinity for a negative duration, None when nothing is said.

    Raises:
        BadRequestError: It is no duration such as ``5m`` or ``300``.
    """
    if given is None or given == "":
        return None
    seconds = float(given) if isinstance(given, int | float) else _parse(given)
    return math.inf if seconds < 0 else seconds


def _parse(text: str) -> float:
    if len(text) <= MAX_CHARS and _NUMBER.fullmatch(text):
        return float(text)
    if len(text) > MAX_CHARS or not _DURATION.fullmatch(text):
        raise BadRequestError(
            f"keep_alive: {text[:MAX_CHARS]!r} is no duration such as 5m or 300", "keep_alive"
        )
    seconds = math.fsum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    return -seconds if text.startswith("-") else seconds
