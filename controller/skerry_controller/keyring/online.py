"""The server's own keys: they lie unencrypted in its data, since it must start with nobody there.

What a thief can do with them is bounded by TUF and by the trust document: choose among signed
targets, never add one.
"""

import stat
from pathlib import Path
from typing import Literal, Self, get_args

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from skerry_controller.durable_files import make_private_folder, read_file, write_durably
from skerry_controller.errors import UsageError, WorldError

OnlineRole = Literal["snapshot", "timestamp", "director"]
ONLINE_ROLES: tuple[OnlineRole, ...] = get_args(OnlineRole)


class OnlineKeys:
    """The snapshot, timestamp and director keys."""

    def __init__(self, keys: dict[OnlineRole, Ed25519PrivateKey]) -> None:
        self._keys = keys

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make fresh keys in ``folder`` (``data/keys``), mode 0600.

        Raises:
            UsageError: There are keys already.
            WorldError: The disk refused.
        """
        make_private_folder(folder)
        paths = {role: _path(folder, role) for role in ONLINE_ROLES}
        if any(path.exists() for path in paths.values()):
            raise UsageError(f"{folder} has keys already: a controller was set up there")
        keys: dict[OnlineRole, Ed25519PrivateKey] = {}
        for role, path in paths.items():
            keys[role] = Ed25519PrivateKey.generate()
            write_durably(path, _pem(keys[role]))
        return cls(keys)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Load the keys.

        Raises:
            UsageError: They are missing, or others than the owner can read them.
            WorldError: They are damaged or unreadable.
        """
        return cls({role: _load(_path(folder, role)) for role in ONLINE_ROLES})

    def signer(self, role: OnlineRole) -> CryptoSigner:
        """The role's key as TUF uses it."""
        return CryptoSigner(self._keys[role])

    def private_key(self, role: OnlineRole) -> Ed25519PrivateKey:
        """The bare key, for the director's envelopes."""
        return self._keys[role]


def _path(folder: Path, role: OnlineRole) -> Path:
    return folder / f"{role}.pem"


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load(path: Path) -> Ed25519PrivateKey:
    content = read_file(path)
    if content is None:
        raise UsageError(f"{path} is missing: run 'skerry init', or restore the controller's data")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UsageError(f"others can read {path}: run 'chmod 600 {path}', and replace the key if they did")
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError) as error:
        raise WorldError(f"{path} is damaged: restore the controller's data from a backup") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise WorldError(f"{path} is not an Ed25519 key: restore the controller's data from a backup")
    return key
