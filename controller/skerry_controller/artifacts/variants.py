"""Variants of one version: which file for which devices, as a person writes it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from skerry_controller.errors import UsageError
from skerry_protocol.acceptance import Acceptance
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.manifest import MAX_VARIANTS
from skerry_protocol.selectors import Selector


@dataclass(frozen=True, slots=True)
class VariantFile:
    """A file for the devices that a selector matches, if no variant before it does.

    Attributes:
        selector: Over facts and labels of devices; empty is all of them.
        file: The model.
        acceptance: What it must show on these devices; None for what the version asks everywhere.
    """

    selector: str
    file: Path
    acceptance: Acceptance | None = None


def parse_variant(text: str) -> VariantFile:
    """``SELECTOR=FILE``, such as ``arch=aarch64,cpu.asimddp=yes=small.gguf``.

    Raises:
        UsageError: It has another form.
    """
    selector, file = _split(text, "=")
    return VariantFile(selector, Path(file))


def parse_entry_variant(text: str) -> tuple[str, str]:
    """``SELECTOR:NAME@VERSION`` of the workshop: the selector, and the model's name.

    Raises:
        UsageError: It has another form.
    """
    return _split(text, ":")


def _split(text: str, separator: str) -> tuple[str, str]:
    """At the first place where what stands before it is a selector."""
    wrong = ""
    places = [index for index, character in enumerate(text) if character == separator]
    for place in places:
        selector, rest = text[:place].strip(), text[place + 1 :].strip()
        try:
            if Selector.parse(selector).terms and rest:
                return selector, rest
        except NameSyntaxError as error:
            wrong = wrong or f" ({error})"
    what = "FILE" if separator == "=" else "NAME@VERSION"
    raise UsageError(
        f"{text!r} is no variant{wrong}: write SELECTOR{separator}{what}, the selector as key=value"
    )


def check_variants(selectors: Sequence[str]) -> None:
    """Refuse variants that no device could get.

    Args:
        selectors: In the order in which devices look at them.

    Raises:
        UsageError: There are too many, or one stands behind another that takes all its devices.
    """
    if len(selectors) > MAX_VARIANTS:
        raise UsageError(f"there are {len(selectors)} variants; {MAX_VARIANTS} are the most")
    for place, later in enumerate(selectors):
        hidden = _hidden_by(selectors[:place], later)
        if hidden is not None:
            before = f"{hidden!r} stands before it and takes all its devices"
            raise UsageError(f"no device would get the variant {later!r}: {before}; put it first")


def _hidden_by(before: Iterable[str], selector: str) -> str | None:
    """An earlier selector, all of whose terms the later one has too."""
    terms = set(Selector.parse(selector).terms)
    return next((each for each in before if set(Selector.parse(each).terms) <= terms), None)
