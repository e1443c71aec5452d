"""The library folder: model files under their digests, a record for each name and version, figures."""

from skerry_controller.workshop.library.entry import Entry, Licence, Lineage, Origin
from skerry_controller.workshop.library.errors import LibraryBusyError
from skerry_controller.workshop.library.figures import Figure, Figures, Machine
from skerry_controller.workshop.library.filters import EntryFilter, Facts
from skerry_controller.workshop.library.library import Library

__all__ = [
    "Entry",
    "EntryFilter",
    "Facts",
    "Figure",
    "Figures",
    "Library",
    "LibraryBusyError",
    "Licence",
    "Lineage",
    "Machine",
    "Origin",
]
