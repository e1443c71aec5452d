"""What a source turned out to hold: files that can be fetched, and what it says of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from skerry_controller.workshop.library import Licence

Headers = Mapping[str, str]


def no_headers(url: str, extra: Headers) -> Headers:
    """Those that were asked for, and no more."""
    del url
    return extra


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file's bytes must hash to: lower-case hex."""

    algorithm: Literal["sha256", "md5"]
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file at a source.

    Attributes:
        name: Its name, without folders that could lead elsewhere.
        url: Where a GET finds it.
        length: In bytes; None when only the answer tells.
        digest: What the source says of its content.
        advice: What a person can do when the source refuses it.
        headers: Adds to the headers of a request for it what the source wants: a token, a signature.
    """

    name: str
    url: str
    length: int | None = None
    digest: Digest | None = None
    headers: Callable[[str, Headers], Headers] = no_headers
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a source holds.

    Attributes:
        files: What has to be fetched, in order.
        stem: What a name for it can be made of: a file's name without its ending.
        revision: The source's name of this very content.
        licence: As the source states it; None leaves it to the header.
        hints: Names that may tell the family.
        notes: What a reader has to know.
        checkpoint: Whether the files are a checkpoint, to be converted.
    """

    files: tuple[RemoteFile, ...]
    stem: str
    revision: str | None = None
    licence: Licence | None = None
    hints: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    checkpoint: bool = False
