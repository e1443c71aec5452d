"""Counts the tokens of a tokenizer's file without any of the packages that use it."""

import json
from pathlib import Path
from typing import Any, Final

from skerry_controller.errors import PeerError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECES: Final = 1
"""Number of the field ``pieces`` in SentencePiece's ``ModelProto``."""
_MORE: Final = 0x80
_MAX_SHIFT: Final = 63


def count_tokens(file: Path) -> int | None:
    """How many tokens a tokenizer has; None for a file that does not say.

    Raises:
        PeerError: The file is damaged.
        OSError: The disk refused.
    """
    if file.name == "tokenizer.model":
        return _count_pieces(file)
    if file.name != "tokenizer.json":
        return None
    try:
        read = json.loads(file.read_bytes())
        return _count_vocabulary(read)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PeerError(f"{file} is damaged: it is no tokenizer ({error})") from error


def _count_vocabulary(read: dict[str, Any]) -> int | None:
    """The highest id decides: a vocabulary may have gaps."""
    vocabulary = read["model"].get("vocab")
    added = [int(token["id"]) for token in read.get("added_tokens") or ()]
    if isinstance(vocabulary, dict):
        ids = [int(number) for number in vocabulary.values()]
    elif isinstance(vocabulary, list):
        ids = [len(vocabulary) - 1]
    else:
        return None
    return max([*ids, *added], default=-1) + 1


def _count_pieces(file: Path) -> int:
    data = file.read_bytes()
    position = count = 0
    try:
        while position < len(data):
            tag, position = _varint(data, position)
            number, wire = tag >> 3, tag & 7
            if wire == _BYTES:
                length, position = _varint(data, position)
                position += length
            elif wire == _VARINT:
                _, position = _varint(data, position)
            elif wire in (_FIXED32, _FIXED64):
                position += 4 if wire == _FIXED32 else 8
            else:
                raise PeerError(f"{file} is damaged: it is no SentencePiece model")
            count += number == _PIECES
    except IndexError as error:
        raise PeerError(f"{file} is damaged: it is cut short") from error
    if position != len(data) or not count:
        raise PeerError(f"{file} is damaged: it is cut short, or no SentencePiece model")
    return count


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & _MORE:
            return value, position
        shift += 7
        if shift > _MAX_SHIFT:
            raise IndexError("a number without end")
