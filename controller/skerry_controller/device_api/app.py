"""The application behind the devices' HTTPS listener. It has no route of the operators'."""

import asyncio
from dataclasses import dataclass

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from skerry_controller.authorities import Authorities
from skerry_controller.blobs import BlobStore, blob_pieces
from skerry_controller.clock import Clock
from skerry_controller.device_api.capabilities import Capabilities, CapabilityRefusedError
from skerry_controller.device_api.ranges import RangeNotSatisfiableError, parse_range
from skerry_controller.device_api.settings import DeviceApiLimits
from skerry_controller.enrollment import EnrollmentRefusedError, EnrollmentService
from skerry_controller.errors import WorldError
from skerry_controller.http_guard import BodyLimit, RequestLog
from skerry_protocol.codec import encode
from skerry_protocol.enrollment import (
    AUTHORITY_PATH,
    ENROLL_PATH,
    ErrorResponse,
    decode_enrollment_request,
    encode_enrollment_response,
)
from skerry_protocol.errors import ProtocolError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceServices:
    """What the routes work with."""

    authorities: Authorities
    enrollment: EnrollmentService
    blobs: BlobStore
    capabilities: Capabilities
    clock: Clock
    limits: DeviceApiLimits


def create_device_app(services: DeviceServices) -> FastAPI:
    """The application; undocumented over HTTP, since ``docs/reference/protocol.md`` specifies it."""
    app = FastAPI(title="Skerry devices", openapi_url=None, docs_url=None, redoc_url=None)
    routes = _Routes(services)
    app.add_api_route(AUTHORITY_PATH, routes.authority, methods=["GET"])
    app.add_api_route(ENROLL_PATH, routes.enroll, methods=["POST"])
    app.add_api_route("/v1/blobs/{sha256}", routes.blob, methods=["GET", "HEAD"])
    app.add_api_route("/health", routes.health, methods=["GET"])
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(WorldError, _unavailable)
    app.add_exception_handler(Exception, _unforeseen)
    app.add_middleware(BodyLimit, max_bytes=services.limits.max_enroll_bytes)
    app.add_middleware(RequestLog)
    return app


class _Routes:
    def __init__(self, services: DeviceServices) -> None:
        self._services = services
        self._enrolling = asyncio.Semaphore(services.limits.max_enrollments)

    async def authority(self) -> Response:
        """The servers' authority; a device believes it by the fingerprint in its token alone."""
        pem = self._services.authorities.servers.certificate_pem
        return Response(pem, media_type="application/x-pem-file")

    async def enroll(self, request: Request) -> Response:
        """Enroll one device."""
        try:
            # Before a place is taken: who sends slowly must not take one from those who do not.
            async with asyncio.timeout(self._services.limits.body_timeout_s):
                body = await request.body()
        except TimeoutError:
            return _error(408, "too_slow", "the request's body did not come in time: try again")
        except ClientDisconnect:
            return _error(400, "malformed", "the request broke off")
        if self._enrolling.locked():
            return _error(503, "busy", "the controller is busy with other enrollments: try again in a minute")
        async with self._enrolling:
            try:
                enrollment = decode_enrollment_request(body)
            except ProtocolError as error:
                return _error(400, "malformed", str(error))
            try:
                response = await self._services.enrollment.enroll(enrollment)
            except EnrollmentRefusedError as error:
                log.warning("enrollment_refused", code=error.refusal, message=str(error))
                return _error(400 if error.refusal == "csr_invalid" else 403, error.refusal, str(error))
        return Response(encode_enrollment_response(response), media_type="application/json")

    async def blob(self, sha256: str, request: Request, capability: str = "") -> Response:
        """A blob, or a range of it."""
        services = self._services
        try:
            device = services.capabilities.check(capability, sha256, services.clock())
        except CapabilityRefusedError as error:
            return _error(403, "capability_refused", str(error))
        size = await services.blobs.size(sha256)
        if size is None:
            return _error(404, "not_found", f"there is no blob {sha256} here")
        try:
            span = parse_range(request.headers.get("range"), size)
        except RangeNotSatisfiableError:
            refusal = _error(416, "range_not_satisfiable", f"the blob has {size} bytes")
            refusal.headers["Content-Range"] = f"bytes */{size}"
            return refusal
        structlog.contextvars.bind_contextvars(device=device)
        offset, length = span or (0, size)
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(length), "ETag": f'"{sha256}"'}
        if span is not None:
            headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{size}"
        status = 200 if span is None else 206
        media_type = "application/octet-stream"
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=media_type)
        pieces = blob_pieces(services.blobs, sha256, offset, length)
        return StreamingResponse(pieces, status, headers, media_type)

    async def health(self) -> dict[str, str]:
        """Whether the listener answers."""
        return {"status": "ok"}


def _error(status: int, code: str, message: str) -> Response:
    body = encode(ErrorResponse(code=code, message=message))
    return Response(body, status, media_type="application/json")


async def _http(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http")
    return _error(error.status_code, code, str(error.detail))


async def _unavailable(_: Request, error: Exception) -> Response:
    log.error("device_request_failed", message=str(error))
    return _error(503, "unavailable", "the controller has a problem of its own: try again later")


async def _unforeseen(_: Request, error: Exception) -> Response:
    log.error("device_request_failed", exc_info=error)
    return _error(500, "internal", "the controller failed on this request")
