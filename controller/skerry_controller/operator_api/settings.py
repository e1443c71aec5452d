from dataclasses import dataclass

MiB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class OperatorApiLimits:
    """Bounds of the operator API.

    Attributes:
        max_body_bytes: Largest body of a request other than a blob's upload.
    """

    max_body_bytes: int = 32 * MiB
