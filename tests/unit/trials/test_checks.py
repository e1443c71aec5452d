import pytest

from skerry_agent.trials import judge_answer, judge_pattern
from skerry_agent.trials.patterns import Found
from skerry_protocol.manifest import AcceptanceCheck


@pytest.mark.parametrize(
    ("check", "answer", "tokens"),
    [
        (AcceptanceCheck(prompt="x"), "", 1),
        (AcceptanceCheck(prompt="x", min_tokens=3), "a b c", 3),
        (AcceptanceCheck(prompt="x", contains=("Paris", "France")), "Paris is in France.", 5),
    ],
)
def test_a_right_answer_passes(check: AcceptanceCheck, answer: str, tokens: int) -> None:
    assert judge_answer(check, answer, tokens) is None


@pytest.mark.parametrize(
    ("check", "answer", "tokens", "reason"),
    [
        (AcceptanceCheck(prompt="x"), "", 0, "0 tokens, at least 1"),
        (AcceptanceCheck(prompt="x", min_tokens=3), "a b", 2, "2 tokens, at least 3"),
        (AcceptanceCheck(prompt="x", contains=("Paris",)), "Rome", 1, "'Paris'"),
    ],
)
def test_a_wrong_answer_says_what_was_expected(
    check: AcceptanceCheck, answer: str, tokens: int, reason: str
) -> None:
    assert reason in (judge_answer(check, answer, tokens) or "")


@pytest.mark.parametrize(
    ("found", "reason"),
    [("absent", "does not match"), ("wrong_pattern", "is wrong"), ("too_slow", "takes too long")],
)
def test_a_pattern_that_is_not_found_fails_the_check(found: Found, reason: str) -> None:
    assert reason in (judge_pattern(r"^x+$", found) or "")


def test_a_pattern_that_is_found_passes() -> None:
    assert judge_pattern(r"^x+$", "found") is None
