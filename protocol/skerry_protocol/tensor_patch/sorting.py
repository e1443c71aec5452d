"""Numbers sorted by class: those of like statistics come to stand together, and coders make use of it."""

import operator
from collections import Counter, deque

_PIECE = 1 << 15
"""Numbers that one call into C takes: meanwhile no other thread of this process runs."""


def sort_by_class(numbers: bytes, classes: bytes) -> bytes:
    """The numbers of the lowest class, then those of the next, each in their order."""
    streams = [bytearray() for _ in range(256)]
    appends = [stream.append for stream in streams]
    # All of it in C: a loop here would take twice as long.
    deque(map(operator.call, map(appends.__getitem__, classes), numbers), maxlen=0)
    return b"".join(streams)


def restore_order(ordered: bytes, classes: bytes) -> bytes:
    """What :func:`sort_by_class` was given."""
    if not any(ordered):
        return ordered
    counts: Counter[int] = Counter()
    for start in range(0, len(classes), _PIECE):
        counts.update(classes[start : start + _PIECE])
    streams = [iter(b"")] * 256
    position = 0
    for kind in sorted(counts):
        streams[kind] = iter(memoryview(ordered)[position : position + counts[kind]])
        position += counts[kind]
    out = bytearray()
    for start in range(0, len(classes), _PIECE):
        out += bytes(map(next, map(streams.__getitem__, classes[start : start + _PIECE])))
    return bytes(out)
