"""The device daemon: serves a local model, keeps a registry, follows a signed desired state."""

__version__ = "0.1.0"
