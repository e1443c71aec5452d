"""Signing keys: the operator's offline keyring, and the online keys of the server."""

from skerry_controller.keyring.offline import OFFLINE_ROLES, Keyring, OfflineRole
from skerry_controller.keyring.online import ONLINE_ROLES, OnlineKeys, OnlineRole
from skerry_controller.keyring.sealing import KeyringSettings

__all__ = [
    "OFFLINE_ROLES",
    "ONLINE_ROLES",
    "Keyring",
    "KeyringSettings",
    "OfflineRole",
    "OnlineKeys",
    "OnlineRole",
]
