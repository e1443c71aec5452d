"""Bundles: what goes to devices without a network on a stick, and what comes back on it."""

from skerry_controller.bundles.carried import CarriedBack
from skerry_controller.bundles.service import Bundle, BundleRequest, Bundles

__all__ = ["Bundle", "BundleRequest", "Bundles", "CarriedBack"]
