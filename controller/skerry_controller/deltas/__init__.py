"""Deltas: cheaper ways to get a published version, built where the files are, checked and kept here."""

from skerry_controller.deltas.building import BuiltDelta, Version, build_delta

__all__ = ["BuiltDelta", "Version", "build_delta"]
