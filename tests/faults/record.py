"""What the layer wrote down: every operation on the disk, in order, with its bytes."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

Kind = Literal[
    "create",
    "mkdir",
    "write",
    "truncate",
    "allocate",
    "sync",
    "rename",
    "unlink",
    "rmdir",
    "link",
    "mode",
]
_KINDS: Final[tuple[Kind, ...]] = (
    "create",
    "mkdir",
    "write",
    "truncate",
    "allocate",
    "sync",
    "rename",
    "unlink",
    "rmdir",
    "link",
    "mode",
)
_HEAD: Final = struct.Struct("=IiQqqIIII")


class Operation(NamedTuple):
    """One operation.

    Attributes:
        error: The errno with which it failed, or 0.
        inode: Of the open file; 0 for what changes names only.
        path: Absolute, as of the moment.
        other: The new name of a rename or a link.
        data: What was written.
    """

    kind: Kind
    error: int
    inode: int
    offset: int
    length: int
    path: str
    other: str
    data: bytes

    def told(self, root: Path) -> str:
        """In words, with names below ``root``."""
        name = self.path.removeprefix(f"{root}/")
        other = f" -> {self.other.removeprefix(f'{root}/')}" if self.other else ""
        return f"{self.kind} {name}{other}"


def read(path: Path) -> Iterator[Operation]:
    """The operations of a record."""
    data = path.read_bytes()
    position = 0
    while position < len(data):
        kind, error, inode, offset, length, *sizes = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        parts = []
        for size in sizes[:3]:
            parts.append(data[position : position + size])
            position += size
        yield Operation(
            _KINDS[kind - 1], error, inode, offset, length, parts[0].decode(), parts[1].decode(), parts[2]
        )
