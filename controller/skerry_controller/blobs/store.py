"""What a store of blobs must do; a folder does it now, an object store can later."""

from collections.abc import AsyncIterator
from typing import Protocol

from skerry_controller.errors import NotFoundError, PeerError

PIECE_BYTES = 1024 * 1024
MAX_READ_BYTES = 16 * 1024 * 1024
"""The longest range that an operator reads at once."""


class BlobNotFoundError(NotFoundError):
    """No blob has this hash."""


class BlobRefusedError(PeerError):
    """The bytes that came do not have the promised hash or length, or exceed the limit."""


class BlobStore(Protocol):
    """Immutable bytes by their SHA-256 (lower-case hex). Safe to use from many tasks at once."""

    async def size(self, sha256: str) -> int | None:
        """Length in bytes, or None when there is no such blob."""

    async def write(self, sha256: str, pieces: AsyncIterator[bytes], *, max_bytes: int) -> int:
        """Store the pieces, one after the other, as this blob; durable when it returns.

        Returns:
            The blob's length in bytes.

        Raises:
            BlobRefusedError: The hash is another one, or there are more than ``max_bytes``; nothing is kept.
            WorldError: The storage failed (full); nothing is kept.
        """

    async def read_range(self, sha256: str, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``; less at the end, none beyond it.

        Raises:
            BlobNotFoundError: There is no such blob.
            WorldError: The storage failed.
        """

    async def verify(self, sha256: str) -> bool:
        """Whether the stored bytes still have their hash; reads all of them.

        Raises:
            BlobNotFoundError: There is no such blob.
        """

    async def remove(self, sha256: str) -> None:
        """Remove the blob; one that is not there is no error."""


async def blob_pieces(store: BlobStore, sha256: str, offset: int, length: int) -> AsyncIterator[bytes]:
    """A range of a blob in pieces of bounded size, for streaming."""
    end = offset + length
    while offset < end:
        piece = await store.read_range(sha256, offset, min(PIECE_BYTES, end - offset))
        if not piece:
            return
        yield piece
        offset += len(piece)
