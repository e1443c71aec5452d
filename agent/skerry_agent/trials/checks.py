"""Judging answers: functions of values."""

import re

from skerry_protocol.manifest import AcceptanceCheck

MAX_SHOWN_CHARACTERS = 80


def judge_answer(check: AcceptanceCheck, answer: str, tokens: int) -> str | None:
    """What is wrong with an answer; ``None`` when it passes.

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
    if check.regex is not None:
        try:
            found = re.search(check.regex, answer)
        except re.error as error:
            return f"the check's pattern {_shown(check.regex)} is wrong: {error}"
        if found is None:
            return f"its answer does not match {_shown(check.regex)}"
    return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…")
