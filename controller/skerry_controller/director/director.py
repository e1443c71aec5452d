import secrets
from collections.abc import Mapping, Sequence

import msgspec

from skerry_controller.clock import Clock
from skerry_controller.director.settings import DirectorSettings
from skerry_protocol.commands import Command, encode_command
from skerry_protocol.desired import DesiredSlot, DesiredState, TargetRef, encode_desired
from skerry_protocol.envelope import Kind, seal
from skerry_protocol.generation import Generation
from skerry_protocol.ranges import Range
from skerry_protocol.records import Acknowledgement, encode_acknowledgement
from skerry_protocol.requests import Capability, Certificate, encode_capability, encode_certificate
from skerry_protocol.signing import KeySigner, PrivateKey

_ID_BYTES = 12


class Director:
    """The controller's online key: it signs what devices are told, with issue and expiry times."""

    def __init__(self, key: PrivateKey, clock: Clock, settings: DirectorSettings | None = None) -> None:
        self._signer = KeySigner(key)
        self._clock = clock
        self._settings = settings or DirectorSettings()

    @property
    def key_id(self) -> str:
        """Id of the director's public key, as the trust document's keys give it."""
        return self._signer.key_id

    def seal(self, kind: Kind, payload: bytes) -> bytes:
        """The payload in an envelope of ``kind`` that this director signed."""
        return seal(kind, payload, [self._signer])

    def desired(
        self,
        device: str,
        generation: Generation,
        *,
        slots: Mapping[str, DesiredSlot],
        configs: Sequence[TargetRef],
        minimum_versions: Mapping[str, int],
        labels: Mapping[str, str] | None = None,
        life_s: int | None = None,
    ) -> tuple[bytes, bytes]:
        """A new desired state: its payload (whose SHA-256 the device reports) and its envelope."""
        issued_at = self._now()
        payload = encode_desired(
            DesiredState(
                device=device,
                id=_random_id(),
                generation=generation,
                issued_at=issued_at,
                expires_at=issued_at + (life_s or self._settings.desired_life_s),
                minimum_versions=dict(minimum_versions),
                slots=dict(slots),
                configs=tuple(configs),
                labels=dict(labels) if labels else msgspec.UNSET,
            )
        )
        return payload, self.seal("desired", payload)

    def command(
        self, device: str, name: str, arguments: Mapping[str, str], *, life_s: int | None = None
    ) -> tuple[str, bytes]:
        """A command: its id, which the reply will name, and its envelope."""
        issued_at = self._now()
        command = Command(
            device=device,
            id=_random_id(),
            issued_at=issued_at,
            expires_at=issued_at + (life_s or self._settings.command_life_s),
            name=name,
            arguments=dict(arguments),
        )
        return command.id, self.seal("command", encode_command(command))

    def acknowledge(
        self, device: str, streams: Mapping[str, Sequence[Range]], *, life_s: int | None = None
    ) -> bytes:
        """The envelope that tells a device which records are stored."""
        issued_at = self._now()
        acknowledgement = Acknowledgement(
            device=device,
            id=_random_id(),
            issued_at=issued_at,
            expires_at=issued_at + (life_s or self._settings.acknowledgement_life_s),
            streams={stream: list(ranges) for stream, ranges in streams.items()},
        )
        return self.seal("ack", encode_acknowledgement(acknowledgement))

    def capability(
        self,
        device: str,
        request: str,
        sha256: str,
        *,
        urls: Sequence[str],
        expires_at: int,
        authority_pem: str | None,
    ) -> bytes:
        """The envelope that answers a request for addresses of a blob.

        Args:
            device: Who asked.
            request: The request's id.
            sha256: The blob.
            urls: Addresses with their capabilities.
            expires_at: Until when they work, Unix seconds.
            authority_pem: The authority of these servers.
        """
        capability = Capability(
            device=device,
            request=request,
            issued_at=self._now(),
            expires_at=expires_at,
            sha256=sha256,
            urls=tuple(urls),
            authority_pem=authority_pem,
        )
        return self.seal("capability", encode_capability(capability))

    def certificate(self, device: str, request: str, certificate_pem: str) -> bytes:
        """The envelope that carries a renewed certificate."""
        issued_at = self._now()
        certificate = Certificate(
            device=device,
            request=request,
            issued_at=issued_at,
            expires_at=issued_at + self._settings.certificate_answer_life_s,
            certificate_pem=certificate_pem,
        )
        return self.seal("certificate", encode_certificate(certificate))

    def _now(self) -> int:
        return int(self._clock().timestamp())


def _random_id() -> str:
    return secrets.token_hex(_ID_BYTES)
