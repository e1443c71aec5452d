"""The two endpoints of enrollment over real HTTPS in a thread, with authorities made on the spot."""

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from skerry_controller.authorities.certificates import (
    Issuer,
    Validity,
    certificate_pem,
    client_certificate,
    key_pem,
    new_key,
    self_signed_authority,
    server_certificate,
)
from skerry_protocol.enrollment import (
    AUTHORITY_PATH,
    ENROLL_PATH,
    EnrollmentRequest,
    EnrollmentResponse,
    EnrollmentToken,
    decode_enrollment_request,
    encode_enrollment_response,
)
from skerry_protocol.names import TRUST_TARGET
from support.tuf_repository import START, TufRepository, trust_document

Answer = tuple[int, bytes]
AuthorityAnswer = Callable[[], Answer]
EnrollAnswer = Callable[[EnrollmentRequest], Answer]
DEVICE = "d-abcdefgh23456723"


def validity(begins: datetime = START, days: float = 90) -> Validity:
    return Validity(begins - timedelta(minutes=5), begins + timedelta(days=days))


def pem(certificate: x509.Certificate) -> str:
    return certificate_pem(certificate).decode("ascii")


@dataclass
class Fleet:
    """Authorities and a repository whose trust document names them."""

    servers: Issuer = field(default_factory=lambda: self_signed_authority("servers", validity(days=3650)))
    devices: Issuer = field(default_factory=lambda: self_signed_authority("devices", validity(days=3650)))
    repository: TufRepository = field(default_factory=TufRepository)

    def __post_init__(self) -> None:
        self.publish_trust_document()

    def publish_trust_document(self, *, servers: Issuer | None = None) -> None:
        document = trust_document(
            self.repository.director,
            servers=[pem((servers or self.servers).certificate)],
            devices=[pem(self.devices.certificate)],
        )
        self.repository.put_target(TRUST_TARGET, document)
        self.repository.publish("targets")

    def token(self) -> EnrollmentToken:
        return EnrollmentToken(
            secret="s3cret",  # noqa: S106 - made up
            authority_sha256=self.servers.certificate.fingerprint(hashes.SHA256()).hex(),
            root_sha256=self.repository.initial_root_sha256,
        )

    def server_files(self, folder: Path, names: list[str], valid: Validity) -> tuple[Path, Path]:
        key = new_key()
        certificate = server_certificate(self.servers, key.public_key(), names, valid)
        (folder / "server.crt").write_bytes(certificate_pem(certificate))
        (folder / "server.key").write_bytes(key_pem(key))
        return folder / "server.crt", folder / "server.key"

    def issue(self, csr_pem: str, device: str = DEVICE, valid: Validity | None = None) -> str:
        key = x509.load_pem_x509_csr(csr_pem.encode()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return pem(client_certificate(self.devices, key, device, valid or validity()))

    def response(self, request: EnrollmentRequest) -> EnrollmentResponse:
        return EnrollmentResponse(
            device=DEVICE,
            certificate_pem=self.issue(request.csr_pem),
            files=dict(self.repository.files),
        )


class EnrollmentController:
    """Answers on 127.0.0.1. What it answers can be replaced."""

    def __init__(
        self,
        folder: Path,
        fleet: Fleet,
        *,
        names: list[str] | None = None,
        valid: Validity | None = None,
    ) -> None:
        self.fleet = fleet
        self.requests: list[EnrollmentRequest] = []
        self.authority: AuthorityAnswer = lambda: (200, certificate_pem(fleet.servers.certificate))
        self.enroll: EnrollAnswer = lambda request: (
            200,
            encode_enrollment_response(fleet.response(request)),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*fleet.server_files(folder, names or ["127.0.0.1"], valid or validity()))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(timeout=5)
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        controller = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                self._answer(*(controller.authority() if self.path == AUTHORITY_PATH else (404, b"")))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path != ENROLL_PATH:
                    self._answer(404, b"")
                    return
                request = decode_enrollment_request(body)
                controller.requests.append(request)
                self._answer(*controller.enroll(request))

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                if status // 100 == 3:
                    self.send_header("Location", "https://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                pass

        return Handler
