"""Models as label selectors see them: ``class=micro,family=gemma3,quantization!=Q4_0``."""

from collections.abc import Callable

from skerry_controller.errors import UsageError
from skerry_controller.workshop.library.entry import Entry
from skerry_controller.workshop.library.families import family_key
from skerry_protocol.selectors import Selector

LABELS = ("name", "version", "class", "family", "quantization", "license", "architecture")


def model_labels(entry: Entry) -> dict[str, str]:
    """The labels of a model, all in lower case; one that nobody knows is missing."""
    stated = {
        "name": entry.name,
        "version": entry.version,
        "class": entry.size_class,
        "family": None if entry.family is None else family_key(entry.family),
        "quantization": entry.description.quantization,
        "license": entry.licence.id,
        "architecture": entry.description.architecture,
    }
    return {key: value.lower() for key, value in stated.items() if value}


def model_selector(text: str) -> Callable[[Entry], bool]:
    """What tells whether a model is selected.

    Raises:
        NameSyntaxError: The text is no selector.
        UsageError: It names a label that models do not have.
    """
    selector = Selector.parse(text)
    for term in selector.terms:
        if term.key not in LABELS:
            raise UsageError(f"models have no label {term.key!r}: theirs are {', '.join(LABELS)}")
    terms = [term._replace(value=_value(term.key, term.value)) for term in selector.terms]
    return lambda entry: all(term.matches(model_labels(entry)) for term in terms)


def _value(key: str, value: str) -> str:
    return family_key(value) if key == "family" else value.lower()
