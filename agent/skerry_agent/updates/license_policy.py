"""Which licences a device takes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from skerry_protocol.reported import Reason

UNKNOWN = "NOASSERTION"
"""SPDX's word for a licence that nobody stated."""


@dataclass(frozen=True, slots=True)
class LicensePolicy:
    """SPDX ids, or patterns such as ``CC-BY-NC-*``; capitals do not count.

    Attributes:
        allowed: When there are any, a licence must match one of them.
        refused: A licence that matches one of these is refused, allowed or not.
    """

    allowed: Sequence[str] = ()
    refused: Sequence[str] = ()

    def check(self, ref: object, stated: str | None) -> Reason | None:
        """Why an artifact under this licence is not taken. ``A OR B`` needs one that is, ``A AND B`` both."""
        words = (stated or UNKNOWN).replace("(", " ").replace(")", " ").split()
        nested = "(" in (stated or "")
        choices: list[list[str]] = [[]]
        for before, word in zip(["", *words], words, strict=False):
            if word == "OR" and not nested:
                choices.append([])
            elif word not in ("OR", "AND", "WITH") and before != "WITH":
                choices[-1].append(word)
        # In an expression with parentheses all ids have to be allowed: rather too strict than wrong.
        problems = [self._problem(choice) for choice in choices]
        if not all(problems):
            return None
        name = f"the licence {stated}" if stated else "no stated licence"
        return Reason("license_refused", f"{ref} has {name}: {problems[0]}")

    def _problem(self, ids: Sequence[str]) -> str | None:
        for one in ids or (UNKNOWN,):
            refusing = next((pattern for pattern in self.refused if _matches(one, pattern)), None)
            if refusing is not None:
                return f"{one} is refused here ({refusing} in updates.refused_licenses)"
            if self.allowed and not any(_matches(one, pattern) for pattern in self.allowed):
                return f"{one} is not among updates.allowed_licenses ({', '.join(self.allowed)})"
        return None


def _matches(one: str, pattern: str) -> bool:
    return fnmatchcase(one.lower(), pattern.lower())
