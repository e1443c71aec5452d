"""Bounds of the identity room, with units."""

from dataclasses import dataclass

from skerry_protocol.limits import DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class EnrollmentLimits:
    """How long and how large the talk with the controller may be.

    Attributes:
        connect_timeout_s: For the connection and its TLS handshake.
        read_timeout_s: Between two pieces of an answer.
        answer_timeout_s: For a whole answer.
        max_authority_bytes: The authority's certificate.
        max_response_bytes: The answer to an enrollment, with the repository's metadata in it.
    """

    connect_timeout_s: float = 15.0
    read_timeout_s: float = 30.0
    answer_timeout_s: float = 120.0
    max_authority_bytes: int = 64 * 1024
    max_response_bytes: int = 4 * DEFAULT_LIMITS.max_metadata_bytes
