"""``skerry-agent``: the device's command line."""

from skerry_agent.cli.app import main

__all__ = ["main"]
