"""The two requests of an enrollment, over HTTPS. Everything here blocks: run it in a thread."""

import socket
import ssl
import time as clocks
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from skerry_agent.errors import PeerError, UsageError, WorldError
from skerry_agent.identity.certificates import fingerprint, parse_certificate, to_pem
from skerry_agent.identity.errors import EnrollmentRefusedError
from skerry_agent.identity.limits import EnrollmentLimits
from skerry_agent.identity.pinned_https import pinned_session
from skerry_agent.identity.tls import check_peer_dates, client_context, unverified_context
from skerry_agent.trust import TrustedTime
from skerry_protocol.codec import decode
from skerry_protocol.enrollment import (
    AUTHORITY_PATH,
    ENROLL_PATH,
    EnrollmentRequest,
    EnrollmentResponse,
    ErrorResponse,
    decode_enrollment_response,
    encode_enrollment_request,
)
from skerry_protocol.errors import ProtocolError

_OK = 200
_PIECE_BYTES = 64 * 1024
_MAX_MESSAGE_CHARACTERS = 300


class ControllerClient:
    """Talks to a controller's device listener."""

    def __init__(self, url: str, time: TrustedTime, limits: EnrollmentLimits) -> None:
        """Check the address.

        Raises:
            UsageError: It is not of the form ``https://HOST[:PORT]``.
        """
        self.url = check_controller_url(url)
        self._time = time
        self._limits = limits

    def fetch_authority(self, expected_sha256: str) -> str:
        """The controller's server authority (PEM), believed because of its fingerprint.

        Raises:
            PeerError: It has another fingerprint, or the server is no controller.
            WorldError: The server cannot be reached.
        """
        with pinned_session(unverified_context(), None) as session:
            status, body = self._exchange(session, "GET", AUTHORITY_PATH, self._limits.max_authority_bytes)
        if status != _OK:
            raise self._not_a_controller(status)
        try:
            authority = parse_certificate(body.decode("ascii"))
        except (UnicodeDecodeError, PeerError) as error:
            raise PeerError(
                f"{self.url} does not answer as a controller does: give the address of its device listener"
            ) from error
        if fingerprint(authority) != expected_sha256:
            raise PeerError(
                f"the token is not for the controller at {self.url}: it belongs to another, or somebody is"
                " in between; check the address, and get a new token from the operator"
            )
        return to_pem(authority)  # and not what else the server sent: all of it would be believed

    def enroll(self, request: EnrollmentRequest, authority_pem: str) -> EnrollmentResponse:
        """Use up the token.

        Raises:
            EnrollmentRefusedError: The controller says no.
            PeerError: The server's certificate is not of this authority, not for this host, or expired;
                or the answer is malformed.
            WorldError: The server cannot be reached.
        """
        context = client_context([authority_pem])
        with pinned_session(context, lambda peer: check_peer_dates(peer, self._time)) as session:
            status, body = self._exchange(
                session,
                "POST",
                ENROLL_PATH,
                self._limits.max_response_bytes,
                encode_enrollment_request(request),
            )
        if status != _OK:
            raise self._refusal(status, body)
        try:
            return decode_enrollment_response(body)
        except ProtocolError as error:
            raise PeerError(f"the controller's answer cannot be used: {error}") from error

    def _exchange(
        self, session: requests.Session, method: str, path: str, max_bytes: int, body: bytes | None = None
    ) -> tuple[int, bytes]:
        deadline = clocks.monotonic() + self._limits.answer_timeout_s
        try:
            with session.request(
                method,
                self.url + path,
                data=body,
                headers={"Content-Type": "application/json"} if body else {},
                timeout=(self._limits.connect_timeout_s, self._limits.read_timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                return response.status_code, self._read(response, max_bytes, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._failure(error) from error

    def _read(self, response: requests.Response, max_bytes: int, deadline: float) -> bytes:
        body = bytearray()
        for piece in response.iter_content(_PIECE_BYTES):
            body += piece
            if len(body) > max_bytes:
                raise PeerError(f"the answer of {self.url} exceeds the limit of {max_bytes} bytes")
            if clocks.monotonic() > deadline:
                raise self._too_slow()
        return bytes(body)

    def _failure(self, error: Exception) -> PeerError | WorldError:
        """One line for a person, from the many layers of a failed request."""
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return PeerError(
                    f"the server at {self.url} has no certificate of the token's controller for this name"
                    f" ({cause.verify_message}): use a name or address that the controller was set up with"
                )
            if isinstance(cause, ssl.SSLError):
                return PeerError(
                    f"{self.url} does not speak TLS as a controller does: check host and port"
                    f" ({cause.reason or 'no reason given'})"
                )
            if isinstance(cause, socket.gaierror):
                host = urlsplit(self.url).hostname
                return WorldError(
                    f"the name {host} cannot be resolved: check the address and this device's DNS"
                )
            if isinstance(cause, ConnectionRefusedError):
                return WorldError(
                    f"nothing listens at {self.url}: check that the controller runs, and the address"
                )
        if any(isinstance(cause, TimeoutError | requests.Timeout) for cause in _causes(error)):
            return self._too_slow()
        return WorldError(
            f"the connection to {self.url} failed ({_one_line(str(error))}): check the network and try again"
        )

    def _too_slow(self) -> WorldError:
        return WorldError(
            f"{self.url} does not answer in time: check the network, a firewall, and the address"
        )

    def _refusal(self, status: int, body: bytes) -> PeerError:
        try:
            answer = decode(body, ErrorResponse, limit_bytes=self._limits.max_authority_bytes)
        except ProtocolError:
            return self._not_a_controller(status)
        return EnrollmentRefusedError(
            _one_line(answer.code), f"the controller did not enroll this device: {_one_line(answer.message)}"
        )

    def _not_a_controller(self, status: int) -> PeerError:
        return PeerError(
            f"{self.url} answered with status {status}: give the address of the controller's device listener"
        )


def check_controller_url(url: str) -> str:
    """Return the address without a slash at its end.

    Raises:
        UsageError: It is not of the form ``https://HOST[:PORT]``.
    """
    wanted = "write it as https://HOST:PORT, such as https://fleet.example:8601"
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is not the address of a controller ({error}): {wanted}") from error
    if parts.scheme != "https":
        raise UsageError(f"{url!r} does not start with https://: {wanted}")
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise UsageError(f"{url!r} is not the address of a controller: {wanted}")
    return f"https://{parts.netloc}{parts.path.rstrip('/')}"


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all that is behind it; requests and urllib3 nest them in arguments and attributes."""
    found: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting:
        cause = waiting.pop(0)
        if any(cause is seen for seen in found):
            continue
        found.append(cause)
        nested = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        waiting += [item for item in nested if isinstance(item, BaseException)]
    return found


def _one_line(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:_MAX_MESSAGE_CHARACTERS]
