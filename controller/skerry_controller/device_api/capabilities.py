"""Short-lived permissions to read one blob over HTTPS: ``v1.DEVICE.EXPIRY.MAC``.

The MAC is HMAC-SHA256 over blob, device and expiry with a key that only this controller has. What is
read is checked by hash on the device, so a capability protects the file's secrecy, not its integrity.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from pathlib import Path
from typing import Self

from skerry_controller.durable_files import read_file, write_durably
from skerry_controller.errors import PeerError, WorldError
from skerry_protocol.errors import NameSyntaxError
from skerry_protocol.names import check_device, check_sha256

_KEY_BYTES = 32
_VERSION = "v1"
_PARTS = 4
_MAX_CHARACTERS = 200


class CapabilityRefusedError(PeerError):
    """The capability is malformed, expired, or was not made for this blob here."""


class Capabilities:
    """Makes and checks capabilities with one secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Load the key from ``folder`` (``data/keys``), or make it there.

        Raises:
            WorldError: The disk refused, or the key is damaged.
        """
        path = folder / "capability.key"
        key = read_file(path)
        if key is None:
            key = secrets.token_bytes(_KEY_BYTES)
            write_durably(path, key)
        if len(key) != _KEY_BYTES:
            raise WorldError(f"{path} is damaged: remove it, and a new one is made")
        return cls(key)

    def make(self, sha256: str, device: str, expires_at: datetime) -> str:
        """The permission for ``device`` to read the blob ``sha256`` until then."""
        check_sha256(sha256)
        expiry = int(expires_at.timestamp())
        mac = self._mac(sha256, check_device(device), expiry)
        return f"{_VERSION}.{device}.{expiry}.{mac}"

    def check(self, capability: str, sha256: str, now: datetime) -> str:
        """The device that may read the blob.

        Raises:
            CapabilityRefusedError: It may not.
        """
        parts = capability[:_MAX_CHARACTERS].split(".")
        if len(parts) != _PARTS or parts[0] != _VERSION or not parts[2].isascii() or not parts[2].isdigit():
            raise CapabilityRefusedError("malformed capability: ask for a new one over MQTT")
        _, device, expiry, mac = parts
        try:
            expected = self._mac(check_sha256(sha256), check_device(device), int(expiry))
        except NameSyntaxError as error:
            raise CapabilityRefusedError("malformed capability: ask for a new one over MQTT") from error
        if not hmac.compare_digest(expected.encode(), mac.encode()):
            raise CapabilityRefusedError("the capability is not for this blob: ask for one over MQTT")
        if now.timestamp() >= int(expiry):
            raise CapabilityRefusedError("the capability expired: ask for a new one over MQTT")
        return device

    def _mac(self, sha256: str, device: str, expiry: int) -> str:
        message = f"skerry-capability-{_VERSION}|{sha256}|{device}|{expiry}".encode()
        digest = hmac.digest(self._key, message, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
