"""The service: opens the data folder, starts everything, and stops it in order."""

from skerry_controller.serve.core import Core, open_core
from skerry_controller.serve.serve import serve

__all__ = ["Core", "open_core", "serve"]
