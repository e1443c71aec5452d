"""Certificate signing requests as devices make them."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from skerry_protocol.enrollment import EnrollmentRequest


def signing_request(key: ec.EllipticCurvePrivateKey | None = None, name: str = "whatever") -> str:
    """A request (PEM) for a fresh or given key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def enrollment_request(secret: str, key: ec.EllipticCurvePrivateKey | None = None) -> EnrollmentRequest:
    """What a device with this token's secret sends."""
    return EnrollmentRequest(token_secret=secret, csr_pem=signing_request(key))
