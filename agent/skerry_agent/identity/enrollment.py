"""Becoming a device of a fleet, with a one-time token.

The token pins two things: the controller's server authority, so that nobody in between can take the token,
and the fleet's initial root, so that not even a stolen controller can take the device. Everything is verified
before anything is kept; the identity appears last. After a kill at any point the device is enrolled or it is
not, and enrolling again goes on with the key that was made.
"""

import asyncio
import shutil
from pathlib import Path

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from skerry_agent.durable import fsync_folder, make_folder, write_atomic
from skerry_agent.errors import PeerError, UsageError, WorldError
from skerry_agent.identity.certificates import check_device_certificate, is_among, parse_certificate, to_pem
from skerry_agent.identity.device_identity import (
    CERTIFICATE_FILE,
    ENROLLMENT_FILE,
    KEY_FILE,
    Enrollment,
    Identity,
    replaced_folder,
    staging_folder,
)
from skerry_agent.identity.device_key import load_or_make_key, signing_request
from skerry_agent.identity.limits import EnrollmentLimits
from skerry_agent.trust import FilesSource, TrustedTime, TrustStore
from skerry_protocol.enrollment import EnrollmentRequest, EnrollmentResponse, EnrollmentToken, parse_token
from skerry_protocol.errors import NameSyntaxError, ProtocolError
from skerry_protocol.names import check_device
from skerry_protocol.reported import Inventory
from skerry_protocol.trust_document import TrustDocument

log = structlog.get_logger(__name__)

_INITIAL_ROOT = "1.root.json"


async def enroll(
    token_text: str,
    controller_url: str,
    *,
    folder: Path,
    trust: TrustStore,
    time: TrustedTime,
    inventory: Inventory | None = None,
    limits: EnrollmentLimits | None = None,
    again: bool = False,
) -> Identity:
    """Enroll this device.

    Args:
        token_text: The token as the operator gave it.
        controller_url: ``https://HOST:PORT`` of the controller's device listener.
        folder: Where the identity is kept (``STATE/identity``).
        trust: The trust store, empty or of the same fleet.
        time: Trusted time.
        inventory: Facts of the device, for the operator.
        limits: Deadlines and sizes.
        again: Replace an identity that still holds. One whose certificate ended is replaced anyway.

    Returns:
        The new identity.

    Raises:
        UsageError: The token or the address is malformed, the device is enrolled already, or it trusts
            another fleet.
        PeerError: The server is not the token's controller, or its answer does not hold together.
        EnrollmentRefusedError: The controller says no: a token that is expired, used up or unknown.
        WorldError: The controller cannot be reached, or the disk refused.
    """
    from skerry_agent.identity.controller_client import ControllerClient  # noqa: PLC0415 - imports requests

    token = _parse(token_text)
    client = ControllerClient(controller_url, time, limits or EnrollmentLimits())
    await asyncio.to_thread(_check_not_enrolled, folder, time.now(), again=again)
    await trust.check_root(token.root_sha256)
    key = await asyncio.to_thread(_prepare_key, folder)

    authority_pem = await asyncio.to_thread(client.fetch_authority, token.authority_sha256)
    request = EnrollmentRequest(
        token_secret=token.secret, csr_pem=signing_request(key), inventory=inventory or Inventory()
    )
    response = await asyncio.to_thread(client.enroll, request, authority_pem)
    certificate_pem = await _begin_to_trust(response, token, key, trust, time)

    enrollment = Enrollment(
        device=response.device,
        controller_url=client.url,
        authority_sha256=token.authority_sha256,
        root_sha256=token.root_sha256,
        enrolled_at=time.now(),
    )
    identity = await asyncio.to_thread(_keep, folder, enrollment, certificate_pem)
    log.info("enrolled", device=identity.device, controller=client.url)
    return identity


def _parse(token_text: str) -> EnrollmentToken:
    try:
        return parse_token(token_text)
    except ProtocolError as error:
        raise UsageError(str(error)) from error


def _check_not_enrolled(folder: Path, now: float, *, again: bool) -> None:
    held = None if again else Identity.load(folder)
    if held is not None and not held.is_expired(now):
        raise UsageError(
            f"this device is enrolled already, as {held.device} with {held.enrollment.controller_url}:"
            f" to enroll it anew, stop the agent and move {folder} away"
        )


def _prepare_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    staging = staging_folder(folder)
    try:
        make_folder(staging, mode=0o700)
        return load_or_make_key(staging / KEY_FILE)
    except OSError as error:
        raise _disk_error(staging, error) from error


async def _begin_to_trust(
    response: EnrollmentResponse,
    token: EnrollmentToken,
    key: ec.EllipticCurvePrivateKey,
    trust: TrustStore,
    time: TrustedTime,
) -> str:
    """Verify the answer and keep the trust state; returns the device's certificate (PEM)."""
    root = response.files.get(_INITIAL_ROOT)
    if root is None:
        raise PeerError(f"the controller's answer has no {_INITIAL_ROOT}: its repository is incomplete")
    try:
        check_device(response.device)
    except NameSyntaxError as error:
        raise PeerError(f"the controller's answer cannot be used: {error}") from error

    def check(document: TrustDocument) -> None:
        if not is_among(token.authority_sha256, document.authorities.servers):
            raise PeerError(
                "the fleet's trust document does not name the authority of this controller: it is not the"
                " fleet's controller, or its operator has to publish the trust document again"
            )
        check_device_certificate(
            response.certificate_pem,
            key=key,
            device=response.device,
            issuers_pem=document.authorities.devices,
            now=time.now(),
        )

    await trust.bootstrap(root, token.root_sha256, FilesSource(response.files), check=check)
    certificate = parse_certificate(response.certificate_pem)
    time.raise_floor(certificate.not_valid_before_utc.timestamp(), "certificate")
    return to_pem(certificate)


def _keep(folder: Path, enrollment: Enrollment, certificate_pem: str) -> Identity:
    staging, old = staging_folder(folder), replaced_folder(folder)
    try:
        write_atomic(staging / CERTIFICATE_FILE, certificate_pem.encode())
        write_atomic(staging / ENROLLMENT_FILE, msgspec.json.encode(enrollment))
        if folder.exists():
            if old.exists():
                shutil.rmtree(old)
            folder.rename(old)
            fsync_folder(folder.parent)
        staging.rename(folder)
        fsync_folder(folder.parent)
        if old.exists():
            shutil.rmtree(old)
    except OSError as error:
        raise _disk_error(folder, error) from error
    identity = Identity.load(folder)
    if identity is None:
        raise WorldError(f"{folder} vanished while this device enrolled")
    return identity


def _disk_error(folder: Path, error: OSError) -> WorldError:
    return WorldError(f"cannot write {folder}: {error.strerror}; check free space and permissions")
