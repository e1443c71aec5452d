"""The library folder: model files under their digests, a record for each name and version, figures."""

from skerry_controller.workshop.library.entry import Entry, Licence, Lineage, Origin
from skerry_controller.workshop.library.figures import Figure, Figures, Machine

__all__ = ["Entry", "Figure", "Figures", "Licence", "Lineage", "Machine", "Origin"]
