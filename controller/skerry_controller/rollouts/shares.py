"""Counts and percentages, as ``--waves 1,10%,100%`` and ``--max-failures 5%`` write them."""

import itertools
import math
import re
from fractions import Fraction
from typing import NamedTuple, Self

from skerry_controller.errors import UsageError

_SHARE = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(%?)")
_WHOLE = 100
MAX_WAVES = 20


class Share(NamedTuple):
    """A number of devices, or a percentage of some."""

    number: Fraction
    percent: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``3`` or ``12.5%``.

        Raises:
            UsageError: The text is neither, or is over 100%.
        """
        match = _SHARE.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"{text!r} is neither a count such as 3 nor a percentage such as 10%")
        number, percent = Fraction(match[1]), bool(match[2])
        if percent and number > _WHOLE:
            raise UsageError(f"{text!r} is more than 100%")
        if not percent and number.denominator != 1:
            raise UsageError(f"{text!r} is no whole number of devices")
        return cls(number, percent)

    def at_least(self, total: int) -> int:
        """So many of ``total``, rounded up."""
        return min(total, math.ceil(total * self.number / _WHOLE) if self.percent else int(self.number))

    def at_most(self, total: int) -> int:
        """So many of ``total``, rounded down."""
        return min(total, math.floor(total * self.number / _WHOLE) if self.percent else int(self.number))

    def __str__(self) -> str:
        number = f"{float(self.number):g}" if self.number.denominator != 1 else str(self.number)
        return f"{number}%" if self.percent else number


EVERYTHING = Share(Fraction(_WHOLE), percent=True)


def parse_waves(text: str) -> tuple[Share, ...]:
    """Parse cumulative waves such as ``1,10%,100%``.

    Raises:
        UsageError: A wave is empty or smaller than the one before, or the last is not 100%.
    """
    waves = tuple(Share.parse(part) for part in text.split(","))
    if len(waves) > MAX_WAVES:
        raise UsageError(f"{len(waves)} waves; at most {MAX_WAVES} are allowed")
    if any(wave.number == 0 for wave in waves):
        raise UsageError(f"waves {text!r}: a wave of no devices proves nothing; leave it out")
    for former, later in itertools.pairwise(waves):
        if former.percent == later.percent and later.number <= former.number:
            raise UsageError(
                f"waves {text!r}: each counts all devices so far, so it is larger than the former"
            )
    if waves[-1] != EVERYTHING:
        raise UsageError(f"waves {text!r}: the last must be 100%, since the channel itself moves at the end")
    return waves
