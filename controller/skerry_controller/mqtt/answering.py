"""Answers what devices ask on ``up/request``: one request, one response frame."""

from typing import assert_never

import msgspec
import structlog

from skerry_controller.errors import ControllerError, NotFoundError, PeerError, WorldError
from skerry_controller.fleet import DeviceKeys, WrongDeviceError
from skerry_controller.mqtt.capability_answers import CapabilityAnswers
from skerry_controller.mqtt.renewals import Renewals
from skerry_controller.mqtt.sources import BlobReader, MetadataCache, PublishedBlobs
from skerry_protocol.requests import (
    AnyRequest,
    CapabilityRequest,
    MetadataRequest,
    RangeRequest,
    RenewalRequest,
    ResponseFrame,
    ResponseStatus,
    decode_request,
    encode_response,
)

log = structlog.get_logger(__name__)


class _Peek(msgspec.Struct):
    """Tells an envelope from a plain request."""

    kind: str | None = None


class RequestAnswers:
    """Turns a request into a response frame."""

    def __init__(
        self,
        *,
        metadata: MetadataCache,
        published: PublishedBlobs,
        blobs: BlobReader,
        keys: DeviceKeys,
        capabilities: CapabilityAnswers,
        renewals: Renewals,
        max_body_bytes: int,
    ) -> None:
        self._metadata = metadata
        self._published = published
        self._blobs = blobs
        self._keys = keys
        self._capabilities = capabilities
        self._renewals = renewals
        self._max_body_bytes = max_body_bytes

    async def answer(self, device: str, data: bytes) -> bytes:
        """The response frame for one request.

        Args:
            device: Whose topic it came by.
            data: The message.

        Raises:
            ProtocolError: It is malformed, too large, or an envelope that the device did not sign.
            PeerError: It names another device, or this one is unknown or revoked.
        """
        signed = _is_envelope(data)
        request = decode_request(await self._keys.open(device, "request", data) if signed else data)
        if request.device != device:
            raise WrongDeviceError(f"a request of {request.device} came by the topic of {device}")
        if not signed:
            await self._keys.admit(device)
        body = request.body
        try:
            return encode_response(await self._frame(device, body, signed=signed))
        except NotFoundError as error:
            return _problem(body.id, "not_found", error)
        except PeerError as error:
            return _problem(body.id, "bad_request", error)
        except WorldError as error:
            log.error("request_failed", device=device, error=str(error))  # noqa: TRY400 - the message says it all
            return _problem(
                body.id, "unavailable", WorldError("the controller has a problem: ask again later")
            )

    async def _frame(self, device: str, body: AnyRequest, *, signed: bool) -> ResponseFrame:
        match body:
            case RangeRequest():
                return await self._range(body)
            case MetadataRequest():
                return await self._file(body)
            case CapabilityRequest():
                if await self._published.length(body.sha256) is None:
                    raise NotFoundError(f"no published artifact has the file {body.sha256}")
                return _whole(body.id, await self._capabilities.seal(device, body.id, body.sha256))
            case RenewalRequest():
                if not signed:
                    raise PeerError("a renewal has to come in an envelope that the device signed")
                return _whole(body.id, await self._renewals.renew(device, body.id, body.csr_pem))
            case _ as unreachable:
                assert_never(unreachable)

    async def _range(self, body: RangeRequest) -> ResponseFrame:
        total = await self._published.length(body.sha256)
        if total is None:
            raise NotFoundError(f"no published artifact has the file {body.sha256}")
        length = min(body.length, self._max_body_bytes, max(0, total - body.offset))
        content = await self._blobs.read_range(body.sha256, body.offset, length) if length else b""
        return ResponseFrame(1, body.id, "ok", total, body.offset, content)

    async def _file(self, body: MetadataRequest) -> ResponseFrame:
        if body.packed:
            content = await self._metadata.packed(body.name, body.base)
        else:
            content = await self._metadata.get(body.name)
        if content is None:
            raise NotFoundError(f"the repository has no {body.name[:200]!r}")
        end = body.offset + min(body.length, self._max_body_bytes)
        return ResponseFrame(1, body.id, "ok", len(content), body.offset, content[body.offset : end])


def _is_envelope(data: bytes) -> bool:
    try:
        return msgspec.json.decode(data, type=_Peek).kind is not None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # decode_request says what is wrong with it


def _whole(request: str, content: bytes) -> ResponseFrame:
    return ResponseFrame(1, request, "ok", len(content), 0, content)


def _problem(request: str, status: ResponseStatus, error: ControllerError) -> bytes:
    text = str(error).encode()
    return encode_response(ResponseFrame(1, request, status, 0, 0, text))
