"""Repository files as they travel: compressed, also against a similar file that the reader holds.

Most of a manifest is hashes, which do not compress; but nearly all of them are in the manifest of the version
before. A packed file is one byte that says how (0 as it is, 1 zstd, 2 zstd with the reader's file as a
dictionary of raw content), and the rest. It is only a way to carry bytes: what is signed and checked is the
file itself.

Importing this module imports zstandard: on a device do it late.
"""

from typing import Final

import zstandard

from skerry_protocol.errors import MalformedError, TooLargeError

PLAIN: Final = b"\0"
COMPRESSED: Final = b"\1"
COMPRESSED_WITH_BASE: Final = b"\2"

_LEVEL: Final = 9
_MIN_WINDOW_LOG: Final = 17
_MAX_WINDOW_LOG: Final = 25
"""32 MiB: more than a base and a file of ``max_manifest_bytes`` each, so all of the base stays in sight."""


def pack(content: bytes, base: bytes | None = None) -> bytes:
    """Make a packed file, at most one byte longer than ``content``.

    Args:
        content: The file.
        base: A similar file that the reader has too; None for none.
    """
    if not content:
        return PLAIN
    window_log = (len(content) + len(base or b"")).bit_length()
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        window_log=min(max(window_log, _MIN_WINDOW_LOG), _MAX_WINDOW_LOG),
        write_checksum=True,
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(base))
    compressed = compressor.compress(content)
    if len(compressed) >= len(content):
        return PLAIN + content
    return (COMPRESSED_WITH_BASE if base else COMPRESSED) + compressed


def unpack(packed: bytes, *, max_bytes: int, base: bytes | None = None) -> bytes:
    """The file in a packed file.

    Args:
        packed: What ``pack`` made.
        max_bytes: The longest file that is accepted; room for a longer one is never taken.
        base: The same as in ``pack``; it does no harm where it was not used.

    Raises:
        TooLargeError: The file is longer.
        MalformedError: This is no packed file, or it was made with another base.
    """
    how, data = packed[:1], packed[1:]
    if how == PLAIN:
        return _bounded(data, len(data), max_bytes)
    if how not in (COMPRESSED, COMPRESSED_WITH_BASE):
        raise MalformedError(f"a packed file cannot begin with {how!r}")
    try:
        length = zstandard.frame_content_size(data)
        if length < 0:
            raise MalformedError("a packed file does not say how long its content is")
        _bounded(data, length, max_bytes)
        decompressor = zstandard.ZstdDecompressor(
            dict_data=_dictionary(base if how == COMPRESSED_WITH_BASE else None),
            max_window_size=1 << _MAX_WINDOW_LOG,
        )
        return decompressor.decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise MalformedError(f"a packed file cannot be read: {error}") from error


def _bounded(data: bytes, length: int, max_bytes: int) -> bytes:
    if length > max_bytes:
        raise TooLargeError(f"a packed file of {length} bytes exceeds the limit of {max_bytes}")
    return data


def _dictionary(base: bytes | None) -> zstandard.ZstdCompressionDict | None:
    return zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if base else None
