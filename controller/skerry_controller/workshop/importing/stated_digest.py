"""What a server's headers say of a whole file's digest."""

import base64
import binascii
import re

from skerry_controller.workshop.importing.offer import Digest, Headers

_SHA256_BYTES = 32
_FIELDS = (
    ("Repr-Digest", re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")),  # RFC 9530
    ("Digest", re.compile(r"sha-256=([A-Za-z0-9+/=]+)", re.IGNORECASE)),  # RFC 3230
    ("x-amz-checksum-sha256", re.compile(r"([A-Za-z0-9+/=]+)")),  # not the "…-3" of an upload in parts
)
_MD5_ETAG = re.compile(r'"([0-9a-f]{32})"')


def stated_digest(headers: Headers) -> Digest | None:
    """The digest of the file that an answer belongs to; None when none is stated.

    S3's ETag is the MD5 of what was uploaded in one piece and is not encrypted with a key of KMS.
    """
    for name, pattern in _FIELDS:
        match = pattern.fullmatch(headers.get(name, "").strip())
        if match is not None:
            digest = _decoded(match[1])
            if digest is not None:
                return Digest("sha256", digest)
    md5 = _MD5_ETAG.fullmatch(headers.get("ETag", ""))
    if md5 and "x-amz-request-id" in headers and "kms" not in headers.get("x-amz-server-side-encryption", ""):
        return Digest("md5", md5[1])
    return None


def _decoded(text: str) -> str | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return raw.hex() if len(raw) == _SHA256_BYTES else None
