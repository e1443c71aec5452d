"""One private key, encrypted with a passphrase: scrypt, then ChaCha20-Poly1305.

PKCS#8 encryption as ``cryptography`` writes it derives its key with 2,048 rounds of PBKDF2, which a
stolen keyring would not withstand for long. scrypt (RFC 7914) needs 128 MiB for each guess instead.
"""

import secrets
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_FORMAT = "skerry-sealed-key"
_SALT_BYTES = 16
_NONCE_BYTES = 12
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyringSettings:
    """How the keyring is protected.

    Attributes:
        scrypt_n: Cost of one guess; memory is 128 · n · r bytes. A power of two.
        scrypt_r: Block size.
        scrypt_p: Parallelism.
        max_scrypt_memory_bytes: A key file that asks for more is refused.
        min_passphrase_characters: Shorter passphrases are refused when the keyring is made.
    """

    scrypt_n: int = 2**17
    scrypt_r: int = 8
    scrypt_p: int = 1
    max_scrypt_memory_bytes: int = 1024 * 1024 * 1024
    min_passphrase_characters: int = 8


class SealError(Exception):
    """The file is no sealed key, or is damaged."""


class WrongPassphraseError(Exception):
    """The passphrase does not open this key (or the file was altered)."""


class _Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: str = _FORMAT
    v: int = 1
    label: str
    kdf: str = "scrypt"
    n: int
    r: int
    p: int
    cipher: str = "chacha20-poly1305"
    salt: bytes
    nonce: bytes
    ciphertext: bytes


def seal(key: Ed25519PrivateKey, passphrase: str, label: str, settings: KeyringSettings) -> bytes:
    """Encrypt ``key``. The label (its role) is authenticated, so files cannot be swapped."""
    der = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    n, r, p = settings.scrypt_n, settings.scrypt_r, settings.scrypt_p
    cipher = ChaCha20Poly1305(_derive(passphrase, salt, n, r, p))
    sealed = _Sealed(
        label=label,
        n=n,
        r=r,
        p=p,
        salt=salt,
        nonce=nonce,
        ciphertext=cipher.encrypt(nonce, der, label.encode()),
    )
    return msgspec.json.format(msgspec.json.encode(sealed), indent=2) + b"\n"


def unseal(content: bytes, passphrase: str, label: str, settings: KeyringSettings) -> Ed25519PrivateKey:
    """Decrypt a key that ``seal`` wrote for the same label.

    Raises:
        SealError: The file is not a sealed key, or asks for absurd amounts of memory.
        WrongPassphraseError: The passphrase is wrong.
    """
    try:
        sealed = msgspec.json.decode(content, type=_Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SealError(str(error)) from error
    if (sealed.format, sealed.v, sealed.kdf, sealed.cipher) != (_FORMAT, 1, "scrypt", "chacha20-poly1305"):
        raise SealError(f"unknown format {sealed.format!r} version {sealed.v}")
    if 128 * sealed.n * sealed.r * max(sealed.p, 1) > settings.max_scrypt_memory_bytes:
        raise SealError(f"scrypt n={sealed.n} r={sealed.r} p={sealed.p} needs too much memory")
    try:
        secret = _derive(passphrase, sealed.salt, sealed.n, sealed.r, sealed.p)
        der = ChaCha20Poly1305(secret).decrypt(sealed.nonce, sealed.ciphertext, label.encode())
        key = serialization.load_der_private_key(der, None)
    except InvalidTag as error:
        raise WrongPassphraseError(label) from error
    except ValueError as error:
        raise SealError(str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SealError("not an Ed25519 key")
    return key


def _derive(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=_KEY_BYTES, n=n, r=r, p=p).derive(passphrase.encode())
