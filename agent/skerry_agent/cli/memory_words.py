"""A model's place in memory, in words."""

from typing import Any

MiB = 1024 * 1024
_MINUTE_S = 60
_HOUR_S = 3600


def in_memory(runner: dict[str, Any]) -> str:
    """How a runner stands: ``ready, 4 min left``, ``out of service, again in 210 s``."""
    words = str(runner["state"]).replace("_", " ")
    if runner["role"] != "serving":
        words = f"{runner['role']}, {words}"
    if runner["load_fraction"] is not None:
        return f"{words}, {100 * runner['load_fraction']:.0f} %"
    if runner["retry_after_s"]:
        return f"{words}, again in {_duration(runner['retry_after_s'])}"
    if runner["leases"]:
        return f"{words}, in use"
    left = runner["keep_alive_left_s"]
    return words if left is None else f"{words}, {_duration(left)} left"


def memory(runner: dict[str, Any]) -> str:
    """What a runner holds: ``268 of 290 MiB`` (measured, predicted), or the prediction alone."""
    predicted = runner["predicted_bytes"] / MiB
    measured = runner["measured_bytes"]
    if measured is None:
        return f"{predicted:.0f} MiB predicted" if predicted else "-"
    return f"{measured / MiB:.0f} MiB, {predicted:.0f} predicted"


def budget(memory_: dict[str, int]) -> str:
    """``models hold 268 of 6400 MiB``."""
    return f"models hold {memory_['loaded_bytes'] / MiB:.0f} of {memory_['budget_bytes'] / MiB:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.0f} h"
