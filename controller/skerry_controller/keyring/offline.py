"""The operator's keyring: a folder with the fleet's offline keys, apart from the controller's data.

``keyring.json`` is readable and written last: a folder without it is an unfinished keyring. Each
private key has a file of its own, so the root key can be taken to another medium and locked away.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal, Self, get_args

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, SSlibKey

from skerry_controller.durable_files import make_private_folder, read_file, write_durably
from skerry_controller.errors import UsageError, WorldError
from skerry_controller.keyring.sealing import KeyringSettings, SealError, WrongPassphraseError, seal, unseal

OfflineRole = Literal["root", "targets", "models", "configs"]
OFFLINE_ROLES: tuple[OfflineRole, ...] = get_args(OfflineRole)

_INDEX = "keyring.json"
_PINNED_ROOT = "1.root.json"


class _PublicPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key_id: str
    public_ed25519: str


class _Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: int = 1
    created: datetime
    keys: dict[str, _PublicPart]


class Keyring:
    """An opened keyring. Private keys are decrypted when first asked for, and kept in memory only."""

    def __init__(self, folder: Path, passphrase: str, index: _Index, settings: KeyringSettings) -> None:
        self._folder = folder
        self._passphrase = passphrase
        self._index = index
        self._settings = settings
        self._signers: dict[OfflineRole, CryptoSigner] = {}

    @classmethod
    def create(
        cls,
        folder: Path,
        passphrase: str,
        *,
        data_folder: Path,
        now: datetime,
        settings: KeyringSettings | None = None,
    ) -> Self:
        """Make a new keyring with one fresh key for each role.

        Args:
            folder: New or empty folder; gets mode 0700.
            passphrase: Encrypts all keys.
            data_folder: The controller's data, which the keyring must stay apart from.
            now: Time of creation, with a time zone.
            settings: Protection of the keys.

        Raises:
            UsageError: The folder is not empty or not apart, or the passphrase is too short.
            WorldError: The disk refused; what was written before is removed.
        """
        settings = settings or KeyringSettings()
        _check_apart(folder, data_folder)
        _check_empty(folder)
        if len(passphrase) < settings.min_passphrase_characters:
            raise UsageError(
                "the keyring's passphrase is too short: "
                f"use at least {settings.min_passphrase_characters} characters"
            )
        make_private_folder(folder)
        parts: dict[str, _PublicPart] = {}
        files: dict[str, bytes] = {}
        for role in OFFLINE_ROLES:
            key = Ed25519PrivateKey.generate()
            parts[role] = _PublicPart(
                key_id=CryptoSigner(key).public_key.keyid,
                public_ed25519=key.public_key().public_bytes_raw().hex(),
            )
            files[_key_file(role)] = seal(key, passphrase, role, settings)
        index = _Index(created=now, keys=parts)
        files[_INDEX] = msgspec.json.format(msgspec.json.encode(index), indent=2) + b"\n"
        _write_all(folder, files)
        return cls(folder, passphrase, index, settings)

    @classmethod
    def open(cls, folder: Path, passphrase: str, *, settings: KeyringSettings | None = None) -> Self:
        """Open an existing keyring; no key is decrypted yet.

        Raises:
            UsageError: There is no (finished) keyring at that place.
        """
        content = read_file(folder / _INDEX)
        if content is None:
            raise UsageError(
                f"there is no keyring in {folder}: give the folder that 'skerry init --keys' made"
            )
        try:
            index = msgspec.json.decode(content, type=_Index)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{folder / _INDEX} is damaged ({error}): use your backup of the keyring"
            ) from error
        if index.v != 1 or set(index.keys) != set(OFFLINE_ROLES):
            raise UsageError(f"{folder / _INDEX} has an unknown format: a newer skerry wrote it")
        return cls(folder, passphrase, index, settings or KeyringSettings())

    @property
    def folder(self) -> Path:
        """Where the keyring lives."""
        return self._folder

    @property
    def created(self) -> datetime:
        """When it was made."""
        return self._index.created

    @property
    def key_ids(self) -> Mapping[OfflineRole, str]:
        """TUF key id of each role; needs no passphrase."""
        return {role: self._index.keys[role].key_id for role in OFFLINE_ROLES}

    def signer(self, role: OfflineRole) -> CryptoSigner:
        """The role's key, ready to sign. The first call takes about a third of a second (scrypt).

        Raises:
            UsageError: The passphrase is wrong, or the key's file is elsewhere.
        """
        if role not in self._signers:
            self._signers[role] = self._load(role)
        return self._signers[role]

    def _load(self, role: OfflineRole) -> CryptoSigner:
        part = self._index.keys[role]
        path = self._folder / _key_file(role)
        content = read_file(path)
        if content is None:
            raise UsageError(
                f"the {role} key is not in {self._folder}: bring the medium that holds {path.name}"
            )
        try:
            key = unseal(content, self._passphrase, role, self._settings)
        except WrongPassphraseError as error:
            raise UsageError(
                f"the passphrase does not open the {role} key in {self._folder}: type it again, or correct"
                " SKERRY_KEYRING_PASSPHRASE"
            ) from error
        except SealError as error:
            raise UsageError(f"{path} is damaged ({error}): use your backup of the keyring") from error
        public = key.public_key()
        if public.public_bytes_raw().hex() != part.public_ed25519:
            raise UsageError(f"{path} and {_INDEX} do not belong together: use your backup of the keyring")
        return CryptoSigner(key, SSlibKey.from_crypto(public, part.key_id))

    def pin_root(self, root: bytes) -> None:
        """Keep the fleet's first root metadata here, where a stolen controller cannot replace it.

        Raises:
            UsageError: Another root is pinned already.
        """
        pinned = self.pinned_root()
        if pinned is not None and pinned != root:
            raise UsageError(f"the keyring in {self._folder} belongs to another fleet: make a new one")
        if pinned is None:
            write_durably(self._folder / _PINNED_ROOT, root)

    def pinned_root(self) -> bytes | None:
        """The fleet's first root metadata, or None before the repository was made."""
        return read_file(self._folder / _PINNED_ROOT)

    def pinned_root_sha256(self) -> str:
        """What an enrollment token carries, so that devices accept this fleet's root only.

        Raises:
            UsageError: No repository was made with this keyring.
        """
        root = self.pinned_root()
        if root is None:
            raise UsageError(f"the keyring in {self._folder} has no root yet: run 'skerry init' with it")
        return hashlib.sha256(root).hexdigest()


def _key_file(role: OfflineRole) -> str:
    return f"{role}.key"


def _check_apart(folder: Path, data_folder: Path) -> None:
    keys, data = folder.resolve(), data_folder.resolve()
    if keys.is_relative_to(data) or data.is_relative_to(keys):
        raise UsageError(
            f"the keyring ({folder}) and the controller's data ({data_folder}) must be apart: "
            "choose a folder for the keys that you can take offline"
        )


def _check_empty(folder: Path) -> None:
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty: choose a new folder for the keyring")
    except NotADirectoryError as error:
        raise UsageError(f"{folder} is a file: choose a new folder for the keyring") from error
    except OSError as error:
        raise WorldError(f"cannot look into {folder}: {error.strerror}") from error


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        for name, content in files.items():
            write_durably(folder / name, content)
    except WorldError:
        for name in files:
            (folder / name).unlink(missing_ok=True)
        raise
