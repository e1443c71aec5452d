"""Models brought into the library: from files, the web, buckets, a model hub, registries."""

from skerry_controller.workshop.importing.service import (
    Unfinished,
    Wish,
    discard_unfinished,
    import_model,
    unfinished,
)
from skerry_controller.workshop.importing.sources import parse_source

__all__ = ["Unfinished", "Wish", "discard_unfinished", "import_model", "parse_source", "unfinished"]
