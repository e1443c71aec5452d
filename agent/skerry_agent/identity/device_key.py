"""The device's private key: P-256, made here, and never anywhere else."""

import stat
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from skerry_agent.durable import write_atomic
from skerry_agent.errors import WorldError

log = structlog.get_logger(__name__)


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the key; takes away other users' right to read it, should they have one.

    Raises:
        OSError: It cannot be read.
        WorldError: It is not a P-256 key in PEM form.
    """
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        log.warning("key_was_readable_by_others", path=str(path))
        path.chmod(0o600)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise WorldError(f"{path} is damaged: it is no private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise WorldError(f"{path} is not a P-256 key")
    return key


def load_or_make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key of an enrollment that was interrupted, or a new one that is written before it is used.

    Raises:
        OSError: The disk refused.
    """
    try:
        return load_key(path)
    except (FileNotFoundError, WorldError):
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_atomic(path, pem, mode=0o600)
        return key


def signing_request(key: ec.EllipticCurvePrivateKey) -> str:
    """A certificate signing request (PEM). Its subject is empty: the controller assigns the name."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode("ascii")
