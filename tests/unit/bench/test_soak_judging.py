"""The soak sees a wrong answer, a torn one, and an error that no kill explains."""

import random

import pytest

from bench.runtime.http_stream import Answer
from bench.runtime.soak import Record, outcome_of
from bench.runtime.soak_requests import Outcome, Request, RequestMaker

SOLO = {"river stone": " river stone, river stone, river", "paper lamp": " paper lamp, paper lamp, paper"}
MAKER = RequestMaker("model", SOLO)


def plain() -> tuple[Request, str]:
    """A good request and the marker that it asks for."""
    request = MAKER.plain(random.Random(1))  # noqa: S311 - requests, not secrets
    return request, next(marker for marker in SOLO if marker.encode() in request.body)


def answer(
    text: str, *, status: int = 200, complete: bool = True, error: str | None = None, at: float = 100.0
) -> Answer:
    return Answer(sent_at=at, ended_at=at + 1, status=status, text=text, complete=complete, error=error)


def test_the_answer_of_the_solo_run_is_right() -> None:
    request, marker = plain()
    assert outcome_of(request, answer(SOLO[marker]), Record()) == "right"


def test_another_rounding_of_the_same_answer_is_told_apart() -> None:
    request, marker = plain()
    assert outcome_of(request, answer(f" {marker}, and so on"), Record()) == "rounded otherwise"


def test_text_of_another_request_is_wrong_also_beside_its_own() -> None:
    request, marker = plain()
    other = next(name for name in SOLO if name != marker)
    assert outcome_of(request, answer(f" {marker}, {other}"), Record()) == "wrong"
    assert outcome_of(request, answer(SOLO[other]), Record()) == "wrong"


def test_an_empty_answer_is_wrong() -> None:
    assert outcome_of(plain()[0], answer(""), Record()) == "wrong"


def test_a_stream_without_an_end_is_torn_also_when_the_runner_was_killed() -> None:
    request, marker = plain()
    torn = answer(SOLO[marker], complete=False)
    assert outcome_of(request, torn, Record(kills=[100.5])) == "torn"


@pytest.mark.parametrize(
    ("status", "kills", "outcome"),
    [
        (200, [100.5], "cut by a kill"),
        (503, [100.5], "cut by a kill"),
        (503, [], "refused"),
        (500, [], "unexpected"),
        (500, [50.0], "unexpected"),
        (200, [], "unexpected"),
        # A good request is not a bad one, whatever happens to the runner.
        (400, [100.5], "unexpected"),
    ],
)
def test_only_a_kill_nearby_explains_an_error(status: int, kills: list[float], outcome: Outcome) -> None:
    failed = answer("", status=status, error="the runner ended")
    assert outcome_of(plain()[0], failed, Record(kills=kills)) == outcome


def test_a_bad_request_that_is_answered_is_unexpected() -> None:
    bad = MAKER.bad(random.Random(1))  # noqa: S311 - requests, not secrets
    assert outcome_of(bad, answer("text"), Record()) == "unexpected"
