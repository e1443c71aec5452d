"""The daemon: opens the rooms, wires them, and keeps them running."""

from skerry_agent.daemon.run import run_daemon

__all__ = ["run_daemon"]
