"""Label selectors: ``site=lab,ring!=canary``. All terms must hold; the empty selector matches all."""

import re
from collections.abc import Mapping
from typing import NamedTuple, Self

from skerry_protocol.errors import NameSyntaxError

_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class Term(NamedTuple):
    """One comparison of a label with a value."""

    key: str
    equal: bool
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy this term; a missing label satisfies only ``!=``."""
        return (labels.get(self.key) == self.value) is self.equal


class Selector(NamedTuple):
    """A conjunction of terms."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``key=value,key!=value``; blanks around terms are allowed.

        Raises:
            NameSyntaxError: A term has another form.
        """
        if not text.strip():
            return cls(())
        return cls(tuple(_parse_term(part.strip()) for part in text.split(",")))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy every term."""
        return all(term.matches(labels) for term in self.terms)

    def __str__(self) -> str:
        return ",".join(f"{t.key}{'=' if t.equal else '!='}{t.value}" for t in self.terms)


def parse_label(text: str) -> tuple[str, str]:
    """Parse one ``key=value`` label.

    Raises:
        NameSyntaxError: The text has another form.
    """
    key, separator, value = text.partition("=")
    if not separator or key.endswith("!"):
        raise NameSyntaxError(f"{text!r} is not a label: write key=value")
    return check_label(key, value)


def check_label(key: str, value: str) -> tuple[str, str]:
    """Return the label when both parts keep the grammar.

    Raises:
        NameSyntaxError: One does not.
    """
    if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
        raise NameSyntaxError(
            f"label {key}={value}: keys and values are letters, digits, '.', '_' and '-', 63 at most"
        )
    return key, value


def _parse_term(part: str) -> Term:
    negated = "!=" in part
    key, separator, value = part.partition("!=" if negated else "=")
    if not separator:
        raise NameSyntaxError(f"{part!r} is not a selector term: write key=value or key!=value")
    check_label(key.strip(), value.strip())
    return Term(key.strip(), not negated, value.strip())
