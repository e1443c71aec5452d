"""One grammar for choosing models: ``find``, ``list`` and ``advise`` share it."""

import re
from typing import Final, Self, get_args

import msgspec

from skerry_controller.errors import UsageError
from skerry_controller.workshop.library.entry import Entry
from skerry_controller.workshop.library.families import family_key
from skerry_protocol.model_description import ParameterClass, parameter_class

CLASSES: Final[tuple[str, ...]] = get_args(ParameterClass)
_COUNT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMBT]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


class Facts(msgspec.Struct, frozen=True):
    """What a filter looks at; None where nobody told."""

    parameters: int | None = None
    family: str | None = None
    license: str | None = None
    quantization: tuple[str, ...] = ()
    context: int | None = None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Those of a model in the library."""
        described = entry.description
        return cls(
            parameters=described.parameters,
            family=entry.family,
            license=entry.licence.id,
            quantization=(described.quantization, described.dominant_tensor_type),
            context=described.context_length,
        )


class EntryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted; None does not matter. A model that does not tell what is asked for is left out.

    Attributes:
        params_from: Least number of parameters.
        params_to: Largest number of parameters.
        size_class: ``below``, ``micro``, ``small``, ``medium`` or ``above``.
        family: ``Gemma 3``, also written ``gemma3``.
        license: Its id, in any case.
        quantization: As the file names itself, or as most of its bytes are: ``Q4_K_M`` or ``Q4_K``.
        context_from: Least trained context in tokens.
    """

    params_from: int | None = None
    params_to: int | None = None
    size_class: ParameterClass | None = None
    family: str | None = None
    license: str | None = None
    quantization: str | None = None
    context_from: int | None = None

    @classmethod
    def parse(
        cls,
        *,
        params: str | None = None,
        size_class: str | None = None,
        family: str | None = None,
        license_id: str | None = None,
        quantization: str | None = None,
        context: int | None = None,
    ) -> Self:
        """The filter of a command's options or of a query.

        Raises:
            UsageError: A range is none, or there is no such class.
        """
        low, high = (None, None) if params is None else parse_range(params)
        if size_class is not None and size_class not in CLASSES:
            raise UsageError(f"{size_class!r} is not a class: say {', '.join(CLASSES)}")
        return cls(
            params_from=low,
            params_to=high,
            size_class=size_class,  # type: ignore[arg-type]  # checked above
            family=family,
            license=license_id,
            quantization=quantization,
            context_from=context,
        )

    def matches(self, entry: Entry) -> bool:
        """Whether a model of the library is wanted."""
        return self.matches_facts(Facts.of(entry))

    def matches_facts(self, facts: Facts) -> bool:
        """Whether a model of which these facts are known is wanted."""
        return (
            self._matches_size(facts.parameters)
            and _same(self.family, facts.family)
            and _same_text(self.license, facts.license)
            and (
                self.quantization is None or any(_same_text(self.quantization, q) for q in facts.quantization)
            )
            and (self.context_from is None or (facts.context or 0) >= self.context_from)
        )

    def _matches_quantization(self, found: tuple[str, ...]) -> bool:
        return self.quantization is None or any(_same_text(self.quantization, each) for each in found)

    def _matches_size(self, parameters: int | None) -> bool:
        if self.params_from is None and self.params_to is None and self.size_class is None:
            return True
        if parameters is None:
            return False
        return (
            (self.params_from is None or parameters >= self.params_from)
            and (self.params_to is None or parameters <= self.params_to)
            and (self.size_class is None or parameter_class(parameters) == self.size_class)
        )


def _same(wanted: str | None, found: str | None) -> bool:
    return wanted is None or (found is not None and family_key(wanted) == family_key(found))


def _same_text(wanted: str | None, found: str | None) -> bool:
    return wanted is None or (found is not None and wanted.lower() == found.lower())


def parse_range(text: str) -> tuple[int | None, int | None]:
    """The two ends of ``0.1B-1.4B``, ``500M-`` or ``-3B``.

    Raises:
        UsageError: It has another form, or its ends are the wrong way round.
    """
    low_text, dash, high_text = (part.strip() for part in text.partition("-"))
    if not dash or not (low_text or high_text):
        raise UsageError(f"{text!r} is not a range of parameters: write 0.1B-1.4B, 500M- or -3B")
    low = parse_count(low_text) if low_text else None
    high = parse_count(high_text) if high_text else None
    if low is not None and high is not None and low > high:
        raise UsageError(f"{text!r} is empty: write the smaller number of parameters first")
    return low, high


def parse_count(text: str) -> int:
    """The number of parameters that ``135M``, ``0.6B`` or ``100000000`` means.

    Raises:
        UsageError: It has another form.
    """
    match = _COUNT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a number of parameters: write 135M, 0.6B or 100000000")
    return round(float(match[1]) * _UNITS[match[2].upper()])


def format_count(parameters: int | None) -> str | None:
    """``135M``, ``1.4B``; None as it is."""
    if parameters is None:
        return None
    for unit in ("B", "M", "K"):
        if parameters >= 0.9995 * _UNITS[unit]:  # so that three digits never read 1000M
            return f"{parameters / _UNITS[unit]:.3g}{unit}"
    return str(parameters)
