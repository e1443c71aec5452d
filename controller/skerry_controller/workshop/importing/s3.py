"""Objects in S3 and what speaks like it, with requests that are signed here (AWS Signature Version 4).

Source of the rules: "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

from skerry_controller.clock import Clock
from skerry_controller.errors import UsageError
from skerry_controller.workshop.importing.naming import stem_of
from skerry_controller.workshop.importing.offer import Headers, Offer, RemoteFile
from skerry_controller.workshop.importing.shards import shard_names
from skerry_controller.workshop.importing.sources import S3Source

EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SERVICE: Final = "s3"
_ADVICE: Final = (
    "check bucket and key, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL where "
    "the store is not Amazon's"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """Where the store is and who asks.

    Attributes:
        endpoint: None for Amazon's own.
        region: Part of the signature.
        key_id: None: requests are not signed, for public buckets.
        secret: Of that key.
        session_token: Of temporary credentials.
    """

    endpoint: str | None
    region: str
    key_id: str | None
    secret: str
    session_token: str | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "S3Access":
        """From the usual variables ``AWS_…``.

        Raises:
            UsageError: There is a key without its secret.
        """
        key_id = environment.get("AWS_ACCESS_KEY_ID") or None
        secret = environment.get("AWS_SECRET_ACCESS_KEY", "")
        if key_id and not secret:
            raise UsageError("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not: set both or none")
        return cls(
            endpoint=environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None,
            region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
            key_id=key_id,
            secret=secret,
            session_token=environment.get("AWS_SESSION_TOKEN") or None,
        )


def offer_s3(source: S3Source, access: S3Access, clock: Clock) -> Offer:
    """What a key names: an object, or all parts of the model that it is a part of."""
    folder, slash, last = source.key.rpartition("/")
    names = shard_names(last) or [last]

    def signed(url: str, extra: Headers) -> Headers:
        return sign_get(url, {**extra, "x-amz-checksum-mode": "ENABLED"}, access, clock())

    files = [
        RemoteFile(
            name=name,
            url=object_url(source.bucket, folder + slash + name, access),
            headers=signed,
            advice=_ADVICE,
        )
        for name in names
    ]
    return Offer(files=tuple(files), stem=stem_of(last), hints=(last,))


def object_url(bucket: str, key: str, access: S3Access) -> str:
    """Amazon wants the bucket in the host's name, others mostly in the path."""
    path = quote(key, safe="/-_.~")
    if access.endpoint is None:
        if "." in bucket:  # its certificate is for one label only
            return f"https://s3.{access.region}.amazonaws.com/{bucket}/{path}"
        return f"https://{bucket}.s3.{access.region}.amazonaws.com/{path}"
    return f"{access.endpoint.rstrip('/')}/{bucket}/{path}"


def sign_get(url: str, extra: Headers, access: S3Access, now: datetime) -> dict[str, str]:
    """Headers for a GET of ``url``: those given, and the signature over all of them."""
    if access.key_id is None:
        return dict(extra)
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {**extra, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": stamp}
    if access.session_token:
        headers["x-amz-security-token"] = access.session_token
    signed = {name.lower(): value.strip() for name, value in headers.items()} | {"host": parts.netloc}
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        (
            "GET",
            parts.path,
            parts.query,
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            EMPTY_SHA256,
        )
    )
    scope = f"{stamp[:8]}/{access.region}/{_SERVICE}/aws4_request"
    to_sign = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{access.secret}".encode()
    for part in (stamp[:8], access.region, _SERVICE, "aws4_request"):
        key = _hmac(key, part)
    signature = _hmac(key, to_sign).hex()
    headers["Authorization"] = (
        f"{_ALGORITHM} Credential={access.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
