"""A bucket store that gives objects only to requests with a valid signature (AWS Signature Version 4).

It works the signature out from the request as it came, apart from the code under test.
"""

import base64
import hashlib
import hmac
import urllib.parse
from datetime import UTC, datetime, timedelta

from support.web_files import FileHandler, FileServer

KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 - the one of AWS's own examples
_MOST_SKEW = timedelta(minutes=15)


class S3Store(FileServer):
    """Objects are ``files`` by ``/BUCKET/KEY``.

    Attributes:
        region: That signatures must name.
        checksums: Whether an answer states the object's SHA-256, as for objects uploaded with one.
    """

    def __init__(self, *, region: str = "us-east-1", checksums: bool = True) -> None:
        super().__init__(_S3Handler)
        self.region = region
        self.checksums = checksums


class _S3Handler(FileHandler):
    server: S3Store

    def answer(self) -> None:
        problem = self._problem()
        if problem is not None:
            self._error(403, problem)
            return
        content = self.server.files.get(urllib.parse.unquote(self.path))
        if content is None:
            self._error(404, "NoSuchKey")
            return
        headers = {
            "x-amz-request-id": "TEST",
            "ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"',
        }
        if self.server.checksums and self.headers.get("x-amz-checksum-mode") == "ENABLED":
            digest = hashlib.sha256(content).digest()
            headers["x-amz-checksum-sha256"] = base64.b64encode(digest).decode()
        self.send_file(content, headers)

    def _problem(self) -> str | None:
        fields = self.headers.get("Authorization", "").removeprefix("AWS4-HMAC-SHA256 ")
        given = dict(part.strip().split("=", 1) for part in fields.split(",") if "=" in part)
        if not given:
            return "AccessDenied"
        key_id, *scope = given["Credential"].split("/")
        if key_id != KEY_ID:
            return "InvalidAccessKeyId"
        if scope[1] != self.server.region:
            return "AuthorizationHeaderMalformed"
        sent = self.headers["x-amz-date"]
        at = datetime.strptime(sent, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(datetime.now(UTC) - at) > _MOST_SKEW:
            return "RequestTimeTooSkewed"
        good = hmac.compare_digest(given["Signature"], self._signature(given["SignedHeaders"], scope, sent))
        return None if good else "SignatureDoesNotMatch"

    def _signature(self, names: str, scope: list[str], sent: str) -> str:
        path, _, query = self.path.partition("?")
        lines = [self.command, path, query]
        lines += [f"{name}:{(self.headers[name] or '').strip()}" for name in names.split(";")]
        lines += ["", names, self.headers["x-amz-content-sha256"]]
        request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        key = b"AWS4" + SECRET.encode()
        for word in (*scope[:3], "aws4_request"):
            key = hmac.digest(key, word.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{sent}\n{'/'.join(scope)}\n{request}"
        return hmac.digest(key, text.encode(), "sha256").hex()

    def _error(self, status: int, code: str) -> None:
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'.encode()
        self.refuse(status, {"Content-Type": "application/xml", "x-amz-request-id": "TEST"}, body)
