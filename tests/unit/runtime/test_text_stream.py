from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_agent.runtime.text_stream import TextStream


def _run(pieces: list[bytes], stop: tuple[str, ...]) -> tuple[str, bool]:
    stream = TextStream(stop)
    out = []
    for piece in pieces:
        out.append(stream.feed(piece))
        if stream.stopped:
            return "".join(out), True
    out.append(stream.finish())
    return "".join(out), False


def test_text_without_stop_strings_comes_at_once() -> None:
    stream = TextStream()
    assert stream.feed(b"Hello") == "Hello"
    assert stream.feed(b" world") == " world"
    assert stream.finish() == ""


def test_bytes_of_an_unfinished_character_are_held_back() -> None:
    stream = TextStream()
    assert stream.feed("é".encode()[:1]) == ""
    assert stream.feed("é".encode()[1:]) == "é"


def test_an_emoji_over_four_tokens_comes_whole() -> None:
    pieces = [bytes([b]) for b in "🦭".encode()]
    stream = TextStream()
    assert [stream.feed(piece) for piece in pieces] == ["", "", "", "🦭"]


def test_an_unfinished_character_at_the_end_is_dropped() -> None:
    assert _run([b"a", "é".encode()[:1]], ()) == ("a", False)


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    assert _run([b"a\xff", b"b"], ()) == ("a\ufffdb", False)


def test_a_stop_string_over_token_borders_ends_the_text_before_it() -> None:
    assert _run([b"one E", b"N", b"D two"], ("END",)) == ("one ", True)


def test_what_might_become_a_stop_string_is_held_back_and_given_when_it_does_not() -> None:
    stream = TextStream(("END",))
    assert stream.feed(b"one EN") == "one "
    assert stream.feed(b"C") == "ENC"


def test_what_was_held_back_comes_at_the_end() -> None:
    assert _run([b"one E"], ("END",)) == ("one E", False)


def test_a_stop_string_that_begins_within_a_false_start_is_found() -> None:
    assert _run([b"aa", b"ab"], ("aab",)) == ("a", True)


def test_of_two_stop_strings_the_one_that_is_complete_first_counts() -> None:
    assert _run([b"abcdef"], ("abcdef", "cd")) == ("ab", True)


def test_a_stop_string_across_the_bytes_of_a_character_is_found() -> None:
    raw = "x→y".encode()
    assert _run([raw[:2], raw[2:]], ("→",)) == ("x", True)


def test_nothing_may_follow_the_stop() -> None:
    stream = TextStream(("x",))
    stream.feed(b"x")
    with pytest.raises(RuntimeError):
        stream.feed(b"y")


def test_an_empty_stop_string_is_a_callers_bug() -> None:
    with pytest.raises(ValueError, match="empty"):
        TextStream(("",))


@given(
    text=st.text(alphabet="abé🦭", max_size=30),
    stop=st.lists(st.text(alphabet="abé🦭", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 120), max_size=20),
)
def test_the_result_does_not_depend_on_the_borders_of_tokens(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    raw = text.encode()
    edges = sorted({0, len(raw), *(c for c in cuts if c < len(raw))})
    pieces = [raw[a:b] for a, b in pairwise(edges)]
    assert _run(pieces, tuple(stop)) == _reference(text, stop)


def _reference(text: str, stop: list[str]) -> tuple[str, bool]:
    for end in range(len(text) + 1):
        starts = [end - len(s) for s in stop if text[:end].endswith(s)]
        if starts:
            return text[: min(starts)], True
    return text, False
