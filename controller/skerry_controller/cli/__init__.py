"""``skerry``: the operator's command line, one client over the operator API."""

from skerry_controller.cli.app import main

__all__ = ["main"]
