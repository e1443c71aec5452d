from dataclasses import dataclass

GiB = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """Limits of uploads.

    Attributes:
        max_blob_bytes: Largest accepted file.
    """

    max_blob_bytes: int = 64 * GiB
