"""The devices' listener as it really runs: TLS on a port, spoken to with the standard library."""

import asyncio
import contextlib
import hashlib
import http.client
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from skerry_controller.clock import utc_now
from skerry_controller.device_api import DeviceApiLimits, create_device_app
from skerry_controller.device_api.app import DeviceServices
from skerry_controller.enrollment import EnrollmentService
from skerry_controller.serve.certificates import ServerCertificate, server_names
from skerry_controller.serve.connections import ConnectionLimits
from skerry_controller.serve.core import Core
from skerry_controller.serve.listeners import Listener, bind
from skerry_controller.setup import NewController
from skerry_protocol.codec import decode
from skerry_protocol.enrollment import (
    ErrorResponse,
    decode_enrollment_response,
    encode_enrollment_request,
)
from support.controller_data import opened_core
from support.signing_requests import enrollment_request

CONTENT = bytes(range(256)) * 8192
SHA256 = hashlib.sha256(CONTENT).hexdigest()
DEVICE = "d-abcdefgh23456727"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str:
        return decode(self.body, ErrorResponse, limit_bytes=10_000).code


@dataclass
class Running:
    made: NewController
    core: Core
    port: int

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        context = ssl.create_default_context(cadata=self.core.authorities.servers.certificate_pem.decode())
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        return await asyncio.to_thread(self.request, method, path, body, headers)

    def blob_path(self, sha256: str = SHA256, life_s: int = 60) -> str:
        capability = self.core.capabilities.make(SHA256, DEVICE, utc_now() + timedelta(seconds=life_s))
        return f"/v1/blobs/{sha256}?capability={capability}"


@asynccontextmanager
async def listening(
    folder: Path, connections: ConnectionLimits | None = None, *, body_timeout_s: float = 10.0
) -> AsyncIterator[Running]:
    async with opened_core(folder) as (made, core):
        trust = core.trust_document()
        certificate = ServerCertificate(core.data.certificates, core.authorities, server_names(trust, ()))
        certificate.ensure(utc_now())
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.load_into(tls)
        enrollment = EnrollmentService(core.database, core.authorities, core.repository, core.clock)
        bound = bind("127.0.0.1", 0, "device")
        app = create_device_app(
            DeviceServices(
                authorities=core.authorities,
                enrollment=enrollment,
                blobs=core.blobs,
                capabilities=core.capabilities,
                clock=core.clock,
                limits=DeviceApiLimits(body_timeout_s=body_timeout_s),
            )
        )
        listener = Listener(app, bound, stop_timeout_s=1, tls=tls, connections=connections)
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.run_until_stopped())
            await listener.ready.wait()
            try:
                yield Running(made, core, listener.port)
            finally:
                listener.stop()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with listening(tmp_path) as running:
        await running.core.blobs.write(SHA256, _pieces(), max_bytes=1 << 30)
        yield running


async def _pieces() -> AsyncIterator[bytes]:
    yield CONTENT


async def test_a_device_that_pins_the_authority_enrolls_over_tls(running: Running) -> None:
    pem = (await running.ask("GET", "/v1/authority")).body.decode()
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    assert fingerprint == running.made.authority_sha256
    token = await running.core.tokens.create(labels={}, uses=1, life_s=60, actor="admin:test")
    request = encode_enrollment_request(enrollment_request(token.secret))
    answer = await running.ask("POST", "/v1/enroll", request)
    assert answer.status == 200
    response = decode_enrollment_response(answer.body)
    assert hashlib.sha256(response.files["1.root.json"]).hexdigest() == running.made.root_sha256


async def test_refusals_have_stable_codes(running: Running) -> None:
    stranger = encode_enrollment_request(enrollment_request("guess"))
    for body, status, code in (
        (stranger, 403, "token_unknown"),
        (b"{}", 400, "malformed"),
        (b'{"v": 9}', 400, "malformed"),
        (b"x" * 70_000, 413, "too_large"),
    ):
        answer = await running.ask("POST", "/v1/enroll", body)
        assert (answer.status, answer.code) == (status, code)
    answer = await running.ask("GET", "/v1/enroll")
    assert (answer.status, answer.code) == (405, "method_not_allowed")


async def test_no_route_of_the_operators_answers_here(running: Running) -> None:
    for path in ("/api/v1/artifacts", "/docs", "/openapi.json", "/v1/blobs"):
        assert (await running.ask("GET", path)).status == 404


async def test_a_blob_is_read_whole_and_in_ranges(running: Running) -> None:
    path = running.blob_path()
    whole = await running.ask("GET", path)
    assert (whole.status, whole.body) == (200, CONTENT)
    part = await running.ask("GET", path, headers={"Range": "bytes=1000-1999"})
    assert (part.status, part.body) == (206, CONTENT[1000:2000])
    assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(CONTENT)}"
    rest = await running.ask("GET", path, headers={"Range": f"bytes={len(CONTENT) - 5}-"})
    assert rest.body == CONTENT[-5:]
    head = await running.ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(CONTENT)))
    beyond = await running.ask("GET", path, headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


async def test_a_blob_needs_a_capability_of_its_own(running: Running) -> None:
    for path in (
        f"/v1/blobs/{SHA256}",
        f"/v1/blobs/{SHA256}?capability=v1.x.y.z",
        running.blob_path(sha256="b" * 64),
        running.blob_path(life_s=-1),
    ):
        answer = await running.ask("GET", path)
        assert (answer.status, answer.code) == (403, "capability_refused")


async def test_a_blob_that_was_removed_is_not_found(running: Running) -> None:
    await running.core.blobs.remove(SHA256)
    answer = await running.ask("GET", running.blob_path())
    assert (answer.status, answer.code) == (404, "not_found")


async def test_a_stranger_who_speaks_no_tls_harms_nobody(running: Running) -> None:
    def babble() -> None:
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            connection.recv(1000)

    await asyncio.to_thread(babble)
    assert (await running.ask("GET", "/health")).status == 200


def tls_connection(running: Running) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=running.core.authorities.servers.certificate_pem.decode())
    plain = socket.create_connection(("127.0.0.1", running.port), timeout=10)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def begin_enrollment(running: Running) -> ssl.SSLSocket:
    connection = tls_connection(running)
    connection.sendall(b"POST /v1/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    return connection


async def test_strangers_who_never_end_their_requests_keep_nobody_from_enrolling(running: Running) -> None:
    token = await running.core.tokens.create(labels={}, uses=1, life_s=60, actor="admin:test")
    request = encode_enrollment_request(enrollment_request(token.secret))
    with contextlib.ExitStack() as held:
        for _ in range(DeviceApiLimits().max_enrollments + 2):
            held.enter_context(await asyncio.to_thread(begin_enrollment, running))
        assert (await running.ask("POST", "/v1/enroll", request)).status == 200


@pytest.mark.parametrize("begun", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_connection_without_a_whole_request_is_closed(tmp_path: Path, begun: bytes) -> None:
    async with listening(tmp_path, ConnectionLimits(request_deadline_s=0.3)) as running:

        def wait_for_the_end() -> bytes:
            with tls_connection(running) as connection:
                connection.sendall(begun)
                return connection.recv(1000)

        assert await asyncio.to_thread(wait_for_the_end) == b""


async def test_more_connections_than_allowed_are_closed_at_once(tmp_path: Path) -> None:
    async with listening(tmp_path, ConnectionLimits(max_connections=2)) as running:

        def one_too_many() -> bytes:
            with tls_connection(running), tls_connection(running), tls_connection(running) as last:
                last.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                return last.recv(1000)

        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert await asyncio.to_thread(one_too_many) == b""


async def test_a_slow_body_is_answered_with_a_code(tmp_path: Path) -> None:
    async with listening(tmp_path, body_timeout_s=0.2) as running:

        def slow() -> bytes:
            with begin_enrollment(running) as connection:
                return connection.recv(1000)

        assert (await asyncio.to_thread(slow)).startswith(b"HTTP/1.1 408 ")
