import pytest

from skerry_agent.trials import judge_answer
from skerry_protocol.manifest import AcceptanceCheck


@pytest.mark.parametrize(
    ("check", "answer", "tokens"),
    [
        (AcceptanceCheck(prompt="x"), "", 1),
        (AcceptanceCheck(prompt="x", min_tokens=3), "a b c", 3),
        (AcceptanceCheck(prompt="x", contains=("Paris", "France")), "Paris is in France.", 5),
        (AcceptanceCheck(prompt="x", regex=r"\d{2}"), "it is 42", 3),
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
        (AcceptanceCheck(prompt="x", regex=r"^\d+$"), "x", 1, "does not match"),
        (AcceptanceCheck(prompt="x", regex="("), "x", 1, "pattern"),
    ],
)
def test_a_wrong_answer_says_what_was_expected(
    check: AcceptanceCheck, answer: str, tokens: int, reason: str
) -> None:
    assert reason in (judge_answer(check, answer, tokens) or "")
