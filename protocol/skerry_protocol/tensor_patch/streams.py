"""A stream of small numbers, one a byte, mostly zero: written in several ways, of which the smallest wins.

* ``PLAIN``: as they are.
* ``NIBBLES``, ``CRUMBS``: two or four in a byte; those that do not fit are written again behind.
* ``GAPS``: the distances between those that are not zero, and then their values. For independent rare events
  this is close to the entropy, which no byte-wise coder reaches on the numbers themselves.

Each of the parts goes through zstd or raw LZMA (an adaptive binary range coder, which is what wins for bytes
without repetitions). Whoever decodes bounds everything by the length that is to come out.
"""

import lzma
import operator
from itertools import accumulate, compress

from skerry_protocol.errors import MalformedError

_ZEROS, _PLAIN, _NIBBLES, _CRUMBS, _GAPS = range(5)
_RAW, _ZSTD, _LZMA = range(3)
_QUICK_LEVEL, _LEVEL = 1, 19
"""Numbers without repetitions come out smaller where nobody looks for some."""
_CLOSE = 1.08
"""A form that is quickly written in at most this share of the shortest may turn out the shortest itself."""
_MAX_WINDOW_BYTES = 1 << 23
_LZMA_FILTER = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 0, "lp": 0, "pb": 0}
_LZMA_LEAST_BYTES = 8
_PER_BYTE = {_NIBBLES: 2, _CRUMBS: 4}
_NO_EVENT = 255
_STEPS = bytes(min(gap + 1, 255) for gap in range(256))
_GAP = [b"", *(bytes([gap]) for gap in range(_NO_EVENT))]
_IS_EVENT = bytes(gap != _NO_EVENT for gap in range(256))
_DENSE = 0.4
_SPARSE = 0.05


class Reader:
    """A position in bytes that came from elsewhere."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, length: int) -> bytes:
        """The next bytes.

        Raises:
            MalformedError: There are not so many.
        """
        end = self._position + length
        if end > len(self._data):
            raise MalformedError("a patch ends early")
        found = self._data[self._position : end]
        self._position = end
        return found

    def number(self) -> int:
        """A number in groups of seven bits, the lowest first (LEB128), below 2^35."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004 - the bit that says that more follows
                return value
        raise MalformedError("a number in a patch is too long")

    def end(self) -> None:
        """Check that nothing is left."""
        if self._position != len(self._data):
            raise MalformedError("a patch has bytes behind its end")


def write_number(value: int) -> bytes:
    """The form that :meth:`Reader.number` reads."""
    out = bytearray()
    while value > 127:  # noqa: PLR2004 - seven bits
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_stream(data: bytes) -> bytes:
    """The shortest form of the numbers that was found."""
    zeros = data.count(0)
    if zeros == len(data):
        return bytes([_ZEROS])
    density = 1 - zeros / len(data)
    forms: list[_Form] = []
    if density < _DENSE:
        forms += [_Form(_GAPS, *_gaps(data)), _Form(_CRUMBS, *_packed(data, 4))]
    if density > _SPARSE:
        forms += [_Form(_NIBBLES, *_packed(data, 2)), _Form(_PLAIN, data)]
    # Looking hard takes twenty times as long: only at what may win.
    likely = _CLOSE * min(form.likely_bytes for form in forms)
    return min((form.shortest() for form in forms if form.likely_bytes <= likely), key=len)


def read_stream(reader: Reader, length: int) -> bytes:
    """``length`` numbers.

    Raises:
        MalformedError: The stream is damaged, or has another length.
    """
    kind = reader.take(1)[0]
    if kind == _ZEROS:
        return bytes(length)
    if kind == _PLAIN:
        return _read_part(reader, length)
    if kind in _PER_BYTE:
        return _unpack(reader, length, _PER_BYTE[kind])
    if kind == _GAPS:
        return _read_gaps(reader, length)
    raise MalformedError(f"a patch has a stream of the unknown kind {kind}")


def _packed(data: bytes, per_byte: int) -> tuple[bytes, bytes]:
    width = 8 // per_byte
    largest = (1 << width) - 1
    small = data.translate(bytes(min(value, largest) for value in range(256)))
    small += bytes(-len(small) % per_byte)
    packed = 0
    for index in range(per_byte):
        packed |= int.from_bytes(small[index::per_byte], "little") << (width * index)
    return packed.to_bytes(len(small) // per_byte, "little"), data.translate(None, bytes(range(largest)))


def _unpack(reader: Reader, length: int, per_byte: int) -> bytes:
    width = 8 // per_byte
    largest = (1 << width) - 1
    packed = _read_part(reader, -(-length // per_byte))
    out = bytearray(len(packed) * per_byte)
    for index in range(per_byte):
        out[index::per_byte] = packed.translate(
            bytes(value >> (width * index) & largest for value in range(256))
        )
    if any(out[length:]):
        raise MalformedError("a stream in a patch has numbers behind its end")
    del out[length:]
    large = _read_part(reader, out.count(largest))
    position = -1
    for value in large:
        position = out.index(largest, position + 1)
        out[position] = value
    return bytes(out)


def _gaps(data: bytes) -> tuple[bytes, bytes]:
    positions = list(compress(range(len(data)), data))
    steps = list(map(operator.sub, positions, [-1, *positions[:-1]]))
    gaps = b"".join([_GAP[step] if step <= _NO_EVENT else _long_gap(step) for step in steps])
    return gaps, data.translate(None, b"\0")


def _long_gap(step: int) -> bytes:
    return b"\xff" * ((step - 1) // _NO_EVENT) + bytes([(step - 1) % _NO_EVENT])


def _read_gaps(reader: Reader, length: int) -> bytes:
    gaps = _read_part(reader, length, exact=False)
    flags = gaps.translate(_IS_EVENT)
    values = _read_part(reader, sum(flags))
    out = bytearray(length)
    positions = accumulate(gaps.translate(_STEPS), initial=-1)
    next(positions)
    try:
        for position, value in zip(compress(positions, flags), values, strict=True):
            out[position] = value
    except IndexError as error:
        raise MalformedError(f"a stream in a patch goes beyond its {length} numbers") from error
    return bytes(out)


class _Form:
    """One way to write numbers: quickly at first, and then as short as may be."""

    def __init__(self, kind: int, *parts: bytes) -> None:
        self._kind = kind
        self._parts = [_Part(part) for part in parts]
        self.likely_bytes = sum(part.likely_bytes for part in self._parts)

    def shortest(self) -> bytes:
        """The shortest that was found."""
        return bytes([self._kind]) + b"".join(part.shortest() for part in self._parts)


class _Part:
    """Bytes that are to be written, first quickly, and then as short as may be."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._forms = [(_RAW, data)]
        if len(data) >= _LZMA_LEAST_BYTES:
            self._forms.append((_ZSTD, _zstd(data, _QUICK_LEVEL)))

    @property
    def likely_bytes(self) -> int:
        """About how long it will be."""
        return min(len(body) for _, body in self._forms)

    def shortest(self) -> bytes:
        """The shortest form that was found."""
        data, forms = self._data, self._forms
        if len(data) >= _LZMA_LEAST_BYTES:
            lzma1 = lzma.compress(data, format=lzma.FORMAT_RAW, filters=[_LZMA_FILTER])
            forms = [*forms, (_ZSTD, _zstd(data, _LEVEL)), (_LZMA, lzma1)]
        coder, body = min(forms, key=lambda form: len(form[1]))
        return bytes([coder]) + write_number(len(data)) + write_number(len(body)) + body


def _read_part(reader: Reader, length: int, *, exact: bool = True) -> bytes:
    coder, raw_length = reader.take(1)[0], reader.number()
    if raw_length > length or (exact and raw_length != length):
        raise MalformedError(f"a part of a patch has {raw_length} bytes where {length} belong")
    body = reader.take(reader.number())
    if coder == _RAW:
        data = body
    elif coder == _ZSTD:
        data = unzstd(body, raw_length)
    elif coder == _LZMA:
        data = _unlzma(body, raw_length)
    else:
        raise MalformedError(f"a part of a patch is in the unknown coding {coder}")
    if len(data) != raw_length:
        raise MalformedError(f"a part of a patch gave {len(data)} bytes, not {raw_length}")
    return data


def _unlzma(body: bytes, length: int) -> bytes:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_LZMA_FILTER])
    try:
        return decoder.decompress(body, max_length=length)
    except (lzma.LZMAError, EOFError) as error:
        raise MalformedError(f"a part of a patch is damaged: {error}") from error


def _zstd(data: bytes, level: int) -> bytes:
    import zstandard  # noqa: PLC0415 - only where there are patches

    # A new one each time: threads must not share one.
    return zstandard.ZstdCompressor(level=level, write_content_size=False).compress(data)


def unzstd(body: bytes, length: int, base: bytes | None = None) -> bytes:
    """Decompress to at most ``length`` bytes; the frame's own claims reserve no memory.

    Raises:
        MalformedError: It is damaged, or longer than that.
    """
    import zstandard  # noqa: PLC0415 - the same

    dictionary = (
        None
        if base is None
        else zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    )
    decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=_MAX_WINDOW_BYTES)
    try:
        with decompressor.stream_reader(body) as stream:
            data = stream.read(length + 1)
    except zstandard.ZstdError as error:
        raise MalformedError(f"zstd: {error}") from error
    if len(data) > length:
        raise MalformedError(f"a part decompresses to more than its {length} bytes")
    return data
