"""Searching for a pattern in a child process: Python's ``re`` can take for ever, and nothing interrupts it.

In the daemon, a pattern such as ``(a+)+$`` on the wrong answer would stop the event loop, and with it the
device.
"""

import asyncio
import contextlib
import sys
from typing import Literal

import msgspec

PATTERN_TIMEOUT_S = 5.0
"""Longest time of one search; any sane pattern takes milliseconds on an answer."""

Found = Literal["found", "absent", "wrong_pattern", "too_slow"]

_FOUND, _ABSENT, _WRONG = 10, 11, 12
_RESULTS: dict[int | None, Found] = {_FOUND: "found", _ABSENT: "absent", _WRONG: "wrong_pattern"}
_SCRIPT = f"""
import json, re, signal, sys
signal.alarm(30)  # should its parent end first
pattern, text = json.load(sys.stdin)
try:
    compiled = re.compile(pattern)
except (re.error, RecursionError, OverflowError):
    sys.exit({_WRONG})
sys.exit({_FOUND} if compiled.search(text) else {_ABSENT})
"""


async def search(pattern: str, text: str, *, timeout_s: float = PATTERN_TIMEOUT_S) -> Found:
    """Whether ``pattern`` is found in ``text`` (``re.search``).

    Raises:
        OSError: No process can be started.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _SCRIPT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(timeout_s):
            await process.communicate(msgspec.json.encode([pattern, text]))
    except TimeoutError:
        return "too_slow"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _RESULTS.get(process.returncode, "too_slow")
