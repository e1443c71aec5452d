"""What quality is measured on, how a text is cut, and what counts as a right answer."""

import math

import pytest

from skerry_controller.errors import UsageError
from skerry_controller.workshop.measuring.quality import bundled_questions, bundled_text
from skerry_controller.workshop.measuring.questions import EXAMPLES, Question, is_right, prompt_of
from skerry_controller.workshop.measuring.windows import cut_windows, estimate, quantile


def test_windows_do_not_overlap_and_score_their_second_half() -> None:
    windows = cut_windows(range(100), 32, begin=None)
    assert [(window.tokens[0], len(window.tokens), window.scored_from) for window in windows] == [
        (0, 32, 16),
        (32, 32, 16),
        (64, 32, 16),
    ]


def test_a_begin_token_stands_in_place_of_the_first() -> None:
    (window,) = cut_windows(range(40), 32, begin=99, most=1)
    assert window.tokens == (99, *range(1, 32))


def test_a_text_that_fills_no_window_is_refused() -> None:
    with pytest.raises(UsageError, match="fills no window of 32"):
        cut_windows(range(31), 32, begin=None)


def test_an_estimate_has_an_interval_of_the_right_width() -> None:
    found = estimate([0.0, 2.0] * 50)
    assert found.mean == 1.0
    assert found.high - found.mean == pytest.approx(1.96 * math.sqrt(100 / 99) / 10)
    assert estimate([3.0]) == (3.0, 3.0, 3.0)
    assert quantile(range(100), 0.99) == 99


@pytest.mark.parametrize("text", [" Paris", "paris.\nQuestion: next", ' "Paris"', "The Paris"])
def test_case_and_marks_do_not_make_an_answer_wrong(text: str) -> None:
    assert is_right(text, Question("?", ("paris",)))


@pytest.mark.parametrize("text", ["", "\n", "Parish", "not Paris", "Lyon\nParis", "I think it is Paris"])
def test_only_the_first_line_counts_and_only_as_a_whole(text: str) -> None:
    assert not is_right(text, Question("?", ("paris",)))


def test_no_question_is_asked_whose_answer_stands_among_the_examples() -> None:
    questions = bundled_questions()
    assert len(questions) == len({question.question for question in questions}) == 50
    assert {question.question for question in questions}.isdisjoint(asked for asked, _ in EXAMPLES)
    assert all(answer == answer.lower() and answer for q in questions for answer in q.answers)
    assert prompt_of("What?").endswith("Question: What?\nAnswer:")
    assert len(bundled_text()) > 4000
