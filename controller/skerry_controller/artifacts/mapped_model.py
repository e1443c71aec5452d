"""A model file as bytes in memory, with what goes wrong said in a person's words."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skerry_controller.errors import PeerError, UsageError, WorldError
from skerry_protocol.errors import ModelFileError


@contextmanager
def mapped_model(file: Path) -> Iterator[mmap.mmap]:
    """The file's bytes while the block runs. What the block says of the model is told with the file's name.

    Raises:
        PeerError: The file is empty, or the block found that it is no model.
        UsageError: There is no such file.
        WorldError: The disk refused.
    """
    try:
        with file.open("rb") as stream:
            if not file.stat().st_size:
                raise PeerError(f"{file} is empty: get the model again")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except ModelFileError as error:
        raise PeerError(f"{file}: {error}") from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"there is no file {file}") from error
    except OSError as error:
        raise WorldError(f"cannot read {file}: {error.strerror}") from error
