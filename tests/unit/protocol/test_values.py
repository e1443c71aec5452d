import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry_protocol import ranges
from skerry_protocol.enrollment import EnrollmentToken, parse_token
from skerry_protocol.errors import MalformedError, UnsupportedVersionError
from skerry_protocol.generation import ZERO, Generation, GenerationMark, compare


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_exactly_their_numbers(numbers: set[int]) -> None:
    made = ranges.from_numbers(numbers)
    assert set(ranges.numbers(made)) == numbers
    assert ranges.count(made) == len(numbers)
    assert ranges.check(made) == made
    assert all(ranges.contains(made, n) is (n in numbers) for n in range(62))


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_a_union_holds_what_either_holds(one: set[int], other: set[int]) -> None:
    assert ranges.union(ranges.from_numbers(one), ranges.from_numbers(other)) == ranges.from_numbers(
        one | other
    )


generations = st.builds(lambda e, n: Generation(epoch=e, number=n), st.integers(0, 3), st.integers(0, 3))
marks = st.builds(
    lambda g, s: GenerationMark(generation=g, sha256=s), generations, st.sampled_from(["a", "b"])
)


@given(marks, marks)
def test_only_a_greater_generation_is_newer(held: GenerationMark, offered: GenerationMark) -> None:
    verdict = compare(held, offered)
    pair = (
        (held.generation.epoch, held.generation.number),
        (offered.generation.epoch, offered.generation.number),
    )
    assert (verdict == "newer") is (pair[1] > pair[0])
    assert (verdict == "older") is (pair[1] < pair[0])
    assert (verdict == "same") is (held == offered)


@given(marks)
def test_a_device_without_a_state_follows_any(offered: GenerationMark) -> None:
    assert compare(None, offered) == "newer"


def test_generations_count_within_their_epoch() -> None:
    assert ZERO.next() == Generation(epoch=0, number=1)
    assert Generation(epoch=1, number=0) > Generation(epoch=0, number=99)
    assert str(Generation(epoch=2, number=7)) == "2.7"


TOKEN = EnrollmentToken(secret="s", authority_sha256="01" * 32, root_sha256="02" * 32)  # noqa: S106 - made up


def test_a_token_survives_its_text_and_blanks_around_it() -> None:
    assert parse_token(f"  {TOKEN.format()}\n") == TOKEN


@given(st.integers(8, len(TOKEN.format()) - 1), st.sampled_from("abXY09-_"))
def test_a_mistyped_character_is_noticed(position: int, character: str) -> None:
    text = TOKEN.format()
    changed = text[:position] + character + text[position + 1 :]
    if changed != text:
        with pytest.raises(MalformedError):
            parse_token(changed)


@pytest.mark.parametrize("length", [0, 7, 8, 20, 150])
def test_a_cut_token_is_noticed(length: int) -> None:
    with pytest.raises(MalformedError):
        parse_token(TOKEN.format()[:length])


def test_a_later_version_of_tokens_is_told_apart() -> None:
    with pytest.raises(UnsupportedVersionError):
        parse_token("skerry2.abc")
