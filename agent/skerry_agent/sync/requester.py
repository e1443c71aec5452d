"""Asks the controller over MQTT: files of the repository, bytes of blobs, capabilities, certificates.

One request gets one response frame; to read something long, several requests are under way, as flow control
allows. What comes back is not trusted here: TUF, hashes and the director's signature decide.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from functools import partial
from itertools import count

import structlog

from skerry_agent.backoff import full_jitter
from skerry_agent.sync.errors import BadAnswerError, BlobNotFoundError, NoAnswerError, NotConnectedError
from skerry_agent.sync.flow_gate import FlowGate, Passage
from skerry_agent.sync.limits import SyncLimits
from skerry_agent.sync.parallel_read import Pace, Unpaced, read_in_parallel
from skerry_agent.sync.ports import OpenDown, SimilarFile, TrustedClock, Uplink
from skerry_agent.sync.spans import Span
from skerry_protocol.envelope import seal
from skerry_protocol.errors import ProtocolError
from skerry_protocol.requests import (
    AnyRequest,
    Capability,
    CapabilityRequest,
    Certificate,
    MetadataRequest,
    RangeRequest,
    RenewalRequest,
    Request,
    ResponseFrame,
    decode_capability,
    decode_certificate,
    decode_response,
    encode_request,
)
from skerry_protocol.signing import Signer

log = structlog.get_logger(__name__)

Build = Callable[[str, int], AnyRequest]
"""Makes a request of an id and a length in bytes."""
_SMALL_ANSWER_BYTES = 4096
"""What a capability or a certificate is counted as in flow control."""
_MAX_RESTARTS = 3
_SMALL_AND_CHANGING = "timestamp.json"


class Requester:
    """The device's side of requests and responses; also a ``MetadataSource`` of the trust store.

    Args:
        uplink: The session.
        device: The device's id.
        signer: The device's key, for renewals.
        open_down: Opens the director's envelopes.
        clock: Trusted time.
        limits: Times and bounds.
        similar: Gives a held file of the repository that resembles the named one; None never does.

    Attributes:
        repository_bytes: Bytes of answers that were parts of files of the repository, as they came.
    """

    def __init__(
        self,
        uplink: Uplink,
        *,
        device: str,
        signer: Signer,
        open_down: OpenDown,
        clock: TrustedClock,
        limits: SyncLimits,
        similar: SimilarFile | None = None,
    ) -> None:
        self._uplink = uplink
        self._device = device
        self._signer = signer
        self._open_down = open_down
        self._clock = clock
        self._limits = limits
        self._similar = similar
        self.repository_bytes = 0
        self._gate = FlowGate(uplink.frame_bytes, limits.window)
        self._waiting: dict[str, asyncio.Future[ResponseFrame]] = {}
        # Random, so that an answer recorded earlier never fits a question of this start.
        self._prefix = secrets.token_hex(8)
        self._numbers = count()

    def session_started(self, frame_bytes: int) -> None:
        """Measure the new connection afresh."""
        self._gate.reset(frame_bytes)

    def session_ended(self) -> None:
        """Fail what is under way; it is asked again when there is a session."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(NotConnectedError("the session ended before the answer came"))

    def on_response(self, payload: bytes) -> None:
        """Take one ``down/response`` message; frames that nobody waits for are dropped."""
        try:
            frame = decode_response(payload)
        except ProtocolError as error:
            log.warning("response_refused", error=str(error))
            return
        future = self._waiting.get(frame.id)
        if future is not None and not future.done():
            future.set_result(frame)

    async def read_metadata(self, name: str, max_bytes: int) -> bytes | None:
        """One file of the TUF repository by the name that a TUF client asks for.

        Args:
            name: Such as ``timestamp.json`` or ``3.models.json``.
            max_bytes: A longer file is cut after one byte more.

        Returns:
            The file, or None when the controller does not have it.

        Raises:
            NotConnectedError, NoAnswerError: No session or no answer in time; try again later.
            BadAnswerError: The answers do not fit together.
        """
        return await self._read_file(name, max_bytes, lambda offset: _metadata(name, offset))

    async def fetch(self, name: str, max_bytes: int) -> bytes | None:
        """The same file, carried packed, and against a similar one that is held already.

        What cannot be unpacked is read once more as it is: nothing but the way depends on it.

        Raises:
            NotConnectedError, NoAnswerError, BadAnswerError: As :meth:`read_metadata`.
        """
        if name == _SMALL_AND_CHANGING:
            return await self.read_metadata(name, max_bytes)
        held = await self._similar(name) if self._similar else None
        build = partial(_packed_metadata, name, held.name if held else None)
        packed = await self._read_file(name, max_bytes + 1, build)
        if packed is None:
            return None
        try:
            return await asyncio.to_thread(_unpack, packed, max_bytes, held.content if held else None)
        except ProtocolError as error:
            log.warning("packed_file_refused", name=name, error=str(error))
            return await self.read_metadata(name, max_bytes)

    async def _read_file(self, name: str, max_bytes: int, build: Callable[[int], Build]) -> bytes | None:
        for _ in range(_MAX_RESTARTS):
            first = await self._ask(build(0), max_bytes + 1)
            if first.status == "not_found":
                return None
            _check_piece(first, Span(0, max_bytes + 1))
            total = min(first.total, max_bytes + 1)
            data = bytearray(total)
            data[: len(first.body)] = first.body
            changed = False
            rest = [(len(first.body), total - len(first.body))]
            async with aclosing(self._read(lambda span: build(span.offset), rest)) as pieces:
                async for offset, frame in pieces:
                    changed = changed or frame.total != first.total
                    data[offset : offset + len(frame.body)] = frame.body
            if not changed:
                return bytes(data)
        raise BadAnswerError(f"{name} changed again and again while it was read")

    async def read_ranges(
        self, sha256: str, spans: Iterable[tuple[int, int]], pace: Pace | None = None
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """Bytes of the blob with this SHA-256. Close the iterator when you leave early (``aclosing``).

        Args:
            sha256: Of the whole blob, lower-case hex.
            spans: (offset, length) in the order in which they are wanted.
            pace: Holds requests back; None asks as fast as flow control lets.

        Yields:
            (offset, bytes): together exactly the spans, in any order, cut anywhere; adjacent spans run
            into each other. Nothing is verified yet.

        Raises:
            BlobNotFoundError: The controller does not have it.
            NotConnectedError, NoAnswerError: No session or no answer in time; try again later.
            BadAnswerError: An answer does not fit its question.
        """
        reading = self._read(lambda span: _blob_range(sha256, span.offset), spans, pace)
        async with aclosing(reading) as pieces:
            async for offset, frame in pieces:
                yield offset, frame.body

    async def capability(self, sha256: str) -> Capability:
        """Short-lived addresses from which the blob can be read over HTTP.

        Raises:
            BlobNotFoundError: The controller does not have it.
            BadAnswerError: The answer is not the director's, is for something else, or has expired.
            NotConnectedError, NoAnswerError: No session or no answer in time; try again later.
        """
        frame = await self._ask(
            lambda request_id, _length: CapabilityRequest(request_id, sha256), _SMALL_ANSWER_BYTES
        )
        if frame.status == "not_found":
            raise BlobNotFoundError(f"the controller does not have the blob {sha256}")
        try:
            capability = decode_capability(self._open_down("capability", frame.body))
        except ProtocolError as error:
            raise BadAnswerError(f"the capability for {sha256} was refused: {error}") from error
        self._check_answer(capability, frame.id, "capability")
        if capability.sha256 != sha256:
            raise BadAnswerError(f"the capability is for {capability.sha256[:64]}, not for {sha256}")
        return capability

    async def renew(self, csr_pem: str) -> Certificate:
        """A new certificate for the device's key; the request goes signed with the current one.

        Raises:
            BadAnswerError: The controller refused, or the answer is not the director's.
            NotConnectedError, NoAnswerError: No session or no answer in time; try again later.
        """
        frame = await self._ask(
            lambda request_id, _length: RenewalRequest(request_id, csr_pem), _SMALL_ANSWER_BYTES
        )
        if frame.status == "not_found":
            raise BadAnswerError("the controller does not renew certificates")
        try:
            certificate = decode_certificate(self._open_down("certificate", frame.body))
        except ProtocolError as error:
            raise BadAnswerError(f"the renewed certificate was refused: {error}") from error
        self._check_answer(certificate, frame.id, "certificate")
        return certificate

    def _check_answer(self, answer: Capability | Certificate, request_id: str, what: str) -> None:
        if answer.device != self._device or answer.request != request_id:
            raise BadAnswerError(f"the {what} answers another request or another device")
        if answer.expires_at < self._clock.now():
            raise BadAnswerError(f"the {what} has expired already")

    def _read(
        self, build: Callable[[Span], Build], spans: Iterable[tuple[int, int]], pace: Pace | None = None
    ) -> AsyncGenerator[tuple[int, ResponseFrame], None]:
        async def ask(span: Span) -> ResponseFrame:
            frame = await self._ask(build(span), span.length)
            if frame.status == "not_found":
                raise BlobNotFoundError("the controller does not have it (any more)")
            _check_piece(frame, span)
            return frame

        return read_in_parallel(
            ask,
            spans,
            workers=self._limits.window.max_frames,
            piece_bytes=self._piece_bytes,
            pace=pace or Unpaced(),
        )

    def _piece_bytes(self) -> int:
        return self._gate.window.frame_bytes

    async def _ask(self, build: Build, most: int) -> ResponseFrame:
        """One question and its answer, asked again as often as ``max_attempts`` allows."""
        request_id = f"{self._prefix}-{next(self._numbers):x}"
        failure: Exception | None = None
        for attempt in range(self._limits.max_attempts):
            if attempt and self._uplink.connected:
                await asyncio.sleep(
                    full_jitter(attempt - 1, self._limits.retry_initial_s, self._limits.retry_max_s)
                )
            await self._uplink.wait_connected(self._limits.reconnect_wait_s)
            passage = await self._gate.enter(most)
            try:
                frame = await self._round_trip(build(request_id, passage.length), passage)
            except (NotConnectedError, NoAnswerError) as error:
                failure = error
                continue
            finally:
                passage.withdrawn()
            if frame.status == "bad_request":
                raise BadAnswerError(f"the controller refused the request: {_text(frame)}")
            if frame.status != "unavailable":
                return frame
            failure = NoAnswerError(f"the controller cannot answer now: {_text(frame)}")
        raise failure or NoAnswerError("no answer")

    async def _round_trip(self, body: AnyRequest, passage: Passage) -> ResponseFrame:
        payload = encode_request(Request(device=self._device, body=body))
        if isinstance(body, RenewalRequest):
            payload = seal("request", payload, [self._signer])
        future: asyncio.Future[ResponseFrame] = asyncio.get_running_loop().create_future()
        self._waiting[body.id] = future
        # Twice the expected time lets the link be slower than it was; no less than the floor.
        timeout_s = max(self._limits.request_timeout_s, 4 * passage.timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                # QoS 0: the response is the receipt.
                await self._uplink.publish("request", payload, qos=0)
                frame = await future
        except TimeoutError as error:
            passage.lost()
            raise NoAnswerError(f"the controller did not answer within {timeout_s:.0f} s") from error
        finally:
            self._waiting.pop(body.id, None)
            if future.done() and not future.cancelled():
                future.exception()
        passage.received(len(frame.body))
        if isinstance(body, MetadataRequest):
            self.repository_bytes += len(frame.body)
        return frame


def _metadata(name: str, offset: int) -> Build:
    def build(request_id: str, length: int) -> AnyRequest:
        return MetadataRequest(id=request_id, name=name, offset=offset, length=length)

    return build


def _packed_metadata(name: str, base: str | None, offset: int) -> Build:
    def build(request_id: str, length: int) -> AnyRequest:
        return MetadataRequest(id=request_id, name=name, offset=offset, length=length, packed=True, base=base)

    return build


def _unpack(packed: bytes, max_bytes: int, base: bytes | None) -> bytes:
    # Imports zstandard, which nothing needs before the first refresh.
    from skerry_protocol.packing import unpack  # noqa: PLC0415

    return unpack(packed, max_bytes=max_bytes, base=base)


def _blob_range(sha256: str, offset: int) -> Build:
    def build(request_id: str, length: int) -> AnyRequest:
        return RangeRequest(request_id, sha256, offset, length)

    return build


def _check_piece(frame: ResponseFrame, span: Span) -> None:
    body = len(frame.body)
    if frame.offset != span.offset or body > span.length or span.offset + body > frame.total:
        raise BadAnswerError(
            f"asked for {span.length} bytes at {span.offset}, got {body} at {frame.offset} of {frame.total}"
        )
    if not body and span.offset < frame.total:
        raise BadAnswerError(f"asked for {span.length} bytes at {span.offset}, got none")
    if not body and span.offset:
        raise BadAnswerError(f"asked for bytes at {span.offset}, beyond the end at {frame.total}")


def _text(frame: ResponseFrame) -> str:
    return frame.body[:500].decode("utf-8", errors="replace")
