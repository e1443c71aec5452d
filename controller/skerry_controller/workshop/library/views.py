"""What the command line and the API show of the library, as JSON."""

from typing import Any

import msgspec

from skerry_controller.workshop.library.entry import Entry
from skerry_controller.workshop.library.figures import Figures


def entry_view(entry: Entry) -> dict[str, Any]:
    """A model: its record, and what a program would otherwise have to work out."""
    described = entry.description
    view: dict[str, Any] = {
        "ref": str(entry.ref),
        "size_class": entry.size_class,
        "parameters": described.parameters,
        "quantization": described.quantization,
        "context_length": described.context_length,
        "family": entry.family,
        "license": entry.licence.id,
    }
    record: dict[str, Any] = msgspec.to_builtins(entry)
    return view | record


def figures_view(figures: Figures) -> dict[str, Any]:
    """A set of figures."""
    view: dict[str, Any] = msgspec.to_builtins(figures)
    return view
