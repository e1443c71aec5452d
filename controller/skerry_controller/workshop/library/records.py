"""The library's JSON records: one file each, written whole, read one by one."""

from pathlib import Path
from typing import TypeVar

import msgspec

from skerry_controller.durable_files import read_file, write_durably

T = TypeVar("T", bound=msgspec.Struct)
_SUFFIX = ".json"


class Records:
    """The records below a folder.

    Attributes:
        unreadable: What :meth:`read_all` could not read, with the reason: a person can repair or remove it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.unreadable: dict[Path, str] = {}

    def path(self, name: str) -> Path:
        """Where the record of that name lies."""
        return self._folder / f"{name}{_SUFFIX}"

    def write(self, name: str, record: msgspec.Struct) -> None:
        """Write or replace a record; afterwards it is durable.

        Raises:
            WorldError: The disk refused.
        """
        content = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
        write_durably(self.path(name), content, mode=0o644)

    def read_all(self, kind: type[T]) -> list[T]:
        """All records that can be read.

        Raises:
            WorldError: The disk refused.
        """
        self.unreadable = {}
        records = []
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            content = read_file(path)
            if content is None:  # removed meanwhile
                continue
            try:
                records.append(msgspec.json.decode(content, type=kind))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self.unreadable[path] = str(error)
        return records
