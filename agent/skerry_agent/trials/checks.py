"""Judging answers: functions of values."""

from skerry_agent.trials.patterns import Found
from skerry_protocol.manifest import AcceptanceCheck

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
    return None


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
