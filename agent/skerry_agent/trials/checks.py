"""Judging answers: functions of values."""

import math
from collections.abc import Mapping

import msgspec

from skerry_agent.trials.patterns import Found
from skerry_protocol.acceptance import Acceptance, AcceptanceCheck, PerplexityLimit
from skerry_protocol.json_schema import Schema, violation
from skerry_protocol.reported import Reason

MIB = 1024 * 1024

MAX_SHOWN_CHARACTERS = 80


def judge_answer(check: AcceptanceCheck, answer: str, tokens: int) -> str | None:
    """What is wrong with an answer, its pattern apart; ``None`` when it passes.

    Args:
        check: What is expected.
        answer: What the candidate said.
        tokens: How many tokens it generated.
    """
    if tokens < check.min_tokens:
        return f"it generated {tokens} tokens, at least {check.min_tokens} are expected"
    for text in check.contains:
        if text not in answer:
            return f"its answer does not contain {_shown(text)}"
    return None if check.json_schema is None else _judge_json(check.json_schema, answer)


def judge_figures(acceptance: Acceptance, figures: Mapping[str, float]) -> Reason | None:
    """What breaks a floor or a ceiling; ``None`` when nothing does. What was not measured breaks both."""
    rate, floor = figures.get("tokens_per_s", 0.0), acceptance.min_tokens_per_s
    if floor is not None and rate < floor:
        return Reason("too_slow", f"{rate:g} tokens/s; at least {floor:g} are needed")
    first, latest = figures.get("first_token_ms", math.inf), acceptance.max_first_token_ms
    if latest is not None and first > latest:
        return Reason("first_token_late", f"{first:g} ms to the first token; {latest:g} are allowed")
    held, most = figures.get("rss_bytes", math.inf), acceptance.max_memory_bytes
    if most is not None and held > most:
        return Reason(
            "too_much_memory", f"its runner holds {held / MIB:.0f} MiB; {most / MIB:.0f} are allowed"
        )
    return None if acceptance.perplexity is None else _judge_perplexity(acceptance.perplexity, figures)


def _judge_perplexity(limit: PerplexityLimit, figures: Mapping[str, float]) -> Reason | None:
    found, before = figures.get("perplexity", math.inf), figures.get("before_perplexity")
    if limit.max_perplexity is not None and found > limit.max_perplexity:
        return Reason(
            "perplexity_too_high", f"a perplexity of {found:.2f}; {limit.max_perplexity:g} is allowed"
        )
    if limit.max_increase_percent is None or before is None:
        return None
    increase = 100.0 * (found / before - 1.0)
    if increase <= limit.max_increase_percent:
        return None
    return Reason(
        "perplexity_worse",
        f"a perplexity of {found:.2f}, {increase:.1f} % above the {before:.2f} of the version that serves;"
        f" {limit.max_increase_percent:g} % are allowed",
    )


def _judge_json(schema: Schema, answer: str) -> str | None:
    try:
        value = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return f"its answer {_shown(answer)} is not JSON: {error}"
    wrong = violation(schema, value)
    return None if wrong is None else f"its answer does not fit the schema: {wrong}"


def judge_pattern(pattern: str, found: Found) -> str | None:
    """What is wrong with an answer in which a pattern was searched; ``None`` when it passes."""
    match found:
        case "found":
            return None
        case "absent":
            return f"its answer does not match {_shown(pattern)}"
        case "wrong_pattern":
            return f"the check's pattern {_shown(pattern)} is wrong"
        case "too_slow":
            return f"the check's pattern {_shown(pattern)} takes too long on its answer"


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…")
