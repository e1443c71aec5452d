"""A bundle's files as an import sees them, and repository files among them."""

from collections.abc import Mapping
from typing import Any, Protocol

from skerry_agent.errors import UsageError, WorldError
from skerry_protocol.bundle import repository_file

Progress = Mapping[str, Any]
"""What a person is shown meanwhile; as JSON."""

TORN = "copy the bundle again ('sha256sum -c SHA256SUMS' in its folder tells what is damaged)"


class StickError(WorldError):
    """The stick cannot be read or written, or whoever reads it went away."""


class BundleFiles(Protocol):
    """Reads and writes files of a bundle. Whoever implements it follows no links and no paths out of it."""

    async def read(self, name: str, offset: int, length: int) -> bytes | None:
        """At most ``length`` bytes from ``offset``, fewer at the end of the file; None: no such file.

        Raises:
            StickError: It cannot be read.
        """

    async def write(self, name: str, data: bytes, *, first: bool, last: bool) -> None:
        """Write the next bytes of a file; with the last ones it takes the place of what had its name.

        Raises:
            StickError: It cannot be written.
        """

    async def tell(self, progress: Progress) -> None:
        """Show how far things are."""


async def read_whole(files: BundleFiles, name: str, max_bytes: int) -> bytes | None:
    """A small file; None when there is none.

    Raises:
        UsageError: It is longer than ``max_bytes``.
        StickError: It cannot be read.
    """
    data = await files.read(name, 0, max_bytes + 1)
    if data is not None and len(data) > max_bytes:
        raise UsageError(f"{name} has more than the {max_bytes} bytes that are allowed: that is no bundle")
    return data


class BundleMetadata:
    """The repository in a bundle; implements ``trust.MetadataSource``."""

    def __init__(self, files: BundleFiles) -> None:
        self._files = files

    async def fetch(self, name: str, max_bytes: int) -> bytes | None:
        """One file of the repository, at most a byte longer than allowed."""
        place = repository_file(name)
        return None if place is None else await self._files.read(place, 0, max_bytes + 1)
