"""A grammar (GBNF) for the integers of a range. Pure."""

MAX_DIGITS = 16


def integer_range(low: int | None, high: int | None) -> str:
    """Alternatives that together are the integers from ``low`` to ``high``, both included; None is open."""
    parts: list[str] = []
    if low is None or low < 0:
        least = 1 if high is None or high >= 0 else -high
        most = None if low is None else -low
        if most is None or most >= least:
            parts += [f'"-" ({positive})' for positive in [_from(least, most)] if positive]
    if high is None or high >= 0:
        parts.append(_from(max(0, low or 0), high))
    return " | ".join(parts)


def _from(low: int, high: int | None) -> str:
    """The numbers from ``low`` >= 0 on."""
    if high is not None:
        return " | ".join(_between(low, high))
    digits = len(str(low))
    parts = _between(low, 10**digits - 1)
    if digits < MAX_DIGITS:
        parts.append(f"[1-9] [0-9]{{{digits},{MAX_DIGITS - 1}}}")
    return " | ".join(parts)


def _between(low: int, high: int) -> list[str]:
    """The numbers of a range, one length after another."""
    parts = []
    while low <= high:
        digits = len(str(low))
        top = min(high, 10**digits - 1)
        parts += _same_length(str(low), str(top))
        low = top + 1
    return parts


def _same_length(low: str, high: str) -> list[str]:
    """Numbers with equally many digits: the equal beginning, then each way in which they part."""
    if low == high:
        return [f'"{low}"']
    same = next(i for i in range(len(low)) if low[i] != high[i])
    head = f'"{low[:same]}" ' if same else ""
    rest = len(low) - same - 1
    if not rest:
        return [f"{head}[{low[same]}-{high[same]}]"]
    first, last = int(low[same]), int(high[same])
    parts = []
    if set(low[same + 1 :]) != {"0"}:
        parts += [f'{head}"{first}" ({" | ".join(_same_length(low[same + 1 :], "9" * rest))})']
        first += 1
    if set(high[same + 1 :]) != {"9"}:
        parts += [f'{head}"{last}" ({" | ".join(_same_length("0" * rest, high[same + 1 :]))})']
        last -= 1
    if first <= last:
        parts.append(f"{head}[{first}-{last}] [0-9]{{{rest}}}")
    return parts
