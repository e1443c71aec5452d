"""Where repository files come from. No source is trusted: every byte is verified afterwards."""

from collections.abc import Mapping
from typing import Protocol


class MetadataSource(Protocol):
    """Reads files of the repository by the name that a TUF client asks for."""

    async def fetch(self, name: str, max_bytes: int) -> bytes | None:
        """The file ``name``, such as ``timestamp.json`` or ``3.models.json``.

        Args:
            name: As it stands in the repository (consistent snapshots).
            max_bytes: The reader stops there; a longer file may be cut or answered by a longer
                result, and is refused either way.

        Returns:
            The bytes, or None when the repository has no such file.

        Raises:
            WorldError: The repository cannot be reached now.
        """


class FilesSource:
    """A source over files in memory, such as those of an enrollment response."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    async def fetch(self, name: str, max_bytes: int) -> bytes | None:  # noqa: ARG002 - the bytes are here already
        """The file, or None."""
        return self._files.get(name)
