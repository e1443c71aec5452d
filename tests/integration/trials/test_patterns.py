import asyncio
import time

import pytest

from skerry_agent.trials.patterns import Found, search


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"\d{2}", "it is 42", "found"),
        (r"^\d+$", "x", "absent"),
        ("(", "x", "wrong_pattern"),
        ("é+", "caféé \ud83d", "found"),
    ],
)
async def test_a_pattern_is_searched_as_python_does(pattern: str, text: str, expected: Found) -> None:
    assert await search(pattern, text.encode("utf-8", "replace").decode()) == expected


async def test_a_pattern_that_takes_for_ever_stops_nobody() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = time.monotonic()
    assert await search(r"(a+)+$", "a" * 64 + "b", timeout_s=0.5) == "too_slow"
    assert time.monotonic() - began < 5
    assert ticks > 5
    ticking.cancel()
    await asyncio.wait([ticking])
