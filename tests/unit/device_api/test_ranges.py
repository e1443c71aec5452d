import pytest

from skerry_controller.device_api.ranges import RangeNotSatisfiableError, Span, parse_range


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-9", Span(0, 10)),
        ("bytes=90-", Span(90, 10)),
        ("bytes=95-1000", Span(95, 5)),
        ("bytes=-7", Span(93, 7)),
        ("bytes=-1000", Span(0, 100)),
        ("bytes=99-99", Span(99, 1)),
    ],
)
def test_a_single_range_is_understood(header: str, span: Span) -> None:
    assert parse_range(header, 100) == span


@pytest.mark.parametrize(
    "header", [None, "", "bytes=-", "bytes=5-3", "bytes=0-1,5-6", "lines=0-1", "bytes=a-b", "bytes=1e3-"]
)
def test_anything_else_means_the_whole(header: str | None) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_is_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiableError):
        parse_range(header, 100)
