"""Keys and signatures of messages: Ed25519 (director) and ECDSA P-256 with SHA-256 (devices).

A key id is the SHA-256 of the key's DER SubjectPublicKeyInfo, so it cannot be chosen. Thresholds
count distinct public keys, never ids.
"""

import hashlib
from collections.abc import Iterable
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from skerry_protocol.errors import MalformedError

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class Signer(Protocol):
    """Something that signs; the key may live elsewhere (a file, a TPM, a token)."""

    @property
    def key_id(self) -> str:
        """Id of the public half, lower-case hex."""

    def sign(self, message: bytes) -> bytes:
        """A signature over ``message``."""


def key_id(key: PublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo, lower-case hex."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def public_pem(key: PublicKey) -> str:
    """The key as PEM text."""
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode("ascii")


def load_public(pem: str) -> PublicKey:
    """Load a public key from PEM.

    Raises:
        MalformedError: It is no PEM key, or of a kind that this protocol does not use.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except ValueError as error:
        raise MalformedError("not a public key in PEM form") from error
    return check_public(key)


def check_public(key: object) -> PublicKey:
    """Return the key when it is Ed25519 or P-256.

    Raises:
        MalformedError: It is of another kind.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise MalformedError("only Ed25519 and P-256 keys sign messages here")


class KeySigner:
    """A signer whose private key is in memory."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.public_key: PublicKey = key.public_key()
        self._key_id = key_id(self.public_key)

    @property
    def key_id(self) -> str:
        """Id of the public half, lower-case hex."""
        return self._key_id

    def sign(self, message: bytes) -> bytes:
        """A signature over ``message``; ECDSA ones are DER-encoded."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))


def is_valid(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` over ``message`` was made by the key's private half."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        else:
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


class KeySet:
    """Public keys of which ``threshold`` distinct ones must have signed."""

    def __init__(self, keys: Iterable[PublicKey], threshold: int = 1) -> None:
        self._keys = {key_id(key): key for key in keys}
        if not 1 <= threshold <= len(self._keys):
            raise ValueError(f"a threshold of {threshold} cannot be met by {len(self._keys)} keys")
        self.threshold = threshold

    def valid_signers(self, signatures: Iterable[tuple[str, bytes]], message: bytes) -> set[str]:
        """Ids of the distinct keys of this set with a valid signature among ``signatures``."""
        return {
            claimed
            for claimed, signature in signatures
            if (key := self._keys.get(claimed)) is not None and is_valid(key, signature, message)
        }
