"""The bounded subset of MessagePack that wattlog speaks: no floats, no extensions.

Encodes None, bool, int (64 bits), bytes, str, list or tuple, and dict with its keys sorted,
so that equal values always give equal bytes. Decodes the same, and checks every length,
the depth and the number of elements before anything is allocated.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BYTES_MAX = 16_384
DEPTH_MAX = 5
ELEMENTS_MAX = 4_096


class MsgpackError(Exception):
    """Bytes that are not MessagePack, or outside the subset; `reason` is a counter key."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def pack(value: object) -> bytes:
    """Return the value as MessagePack, in its shortest form."""
    return bytes(pack_long(value))


def pack_long(value: object) -> bytearray:
    """Return the same without a last copy: a small heap may not have room for two."""
    out = bytearray()
    _write(out, value)
    return out


def pack_into(view: memoryview, value: object) -> int:
    """Write the value into memory that is there already; return how many bytes it has.

    Raises IndexError where it does not fit; what is in the memory is then anything.
    """
    out = _Into(view)
    _write(out, value)
    return out.size


class _Into:
    """What of a bytearray is used here, over memory that does not grow."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.size = 0

    def append(self, byte: int) -> None:
        self._view[self.size] = byte
        self.size += 1

    def extend(self, data: "bytes | bytearray") -> None:
        end = self.size + len(data)
        if end > len(self._view):
            raise IndexError
        self._view[self.size : end] = data
        self.size = end


def pack_bytes_head(size: int) -> bytes:
    """Return what stands before so many bytes that the caller adds himself."""
    out = bytearray()
    if size < 256:
        out.append(0xC4)
        out.append(size)
    else:
        _write_head(out, size, 0, 0, 0xC5)
    return bytes(out)


def _write_uint(out: "bytearray | _Into", value: int, width: int) -> None:
    for shift in range(8 * (width - 1), -8, -8):
        out.append(value >> shift & 0xFF)


def _write_head(
    out: "bytearray | _Into", size: int, short: int, short_max: int, long_code: int
) -> None:
    """Write a length: fixed form below short_max, else 16 or 32 bits at long_code, +1."""
    assert size < 1 << 32
    if size < short_max:
        out.append(short | size)
    elif size < 1 << 16:
        out.append(long_code)
        _write_uint(out, size, 2)
    else:
        out.append(long_code + 1)
        _write_uint(out, size, 4)


def _write_int(out: "bytearray | _Into", value: int) -> None:
    if -32 <= value < 128:
        out.append(value & 0xFF)
        return
    # A signed width of 1, 2, 4, 8 bytes holds -2**(bits-1)..; an unsigned one twice as far up.
    code, width = (0xCC, 1) if value >= 0 else (0xD0, 1)
    limit = 1 << 8 if value >= 0 else 1 << 7
    size = value if value >= 0 else -value - 1
    while size >= limit:
        assert width < 8
        code += 1
        width *= 2
        limit = limit * limit if value >= 0 else 2 * limit * limit
    out.append(code)
    _write_uint(out, value, width)


def _write(out: "bytearray | _Into", value: object) -> None:
    if value is None:
        out.append(0xC0)
    elif value is False or value is True:
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        _write_int(out, value)
    elif isinstance(value, str):
        data = value.encode()
        if 32 <= len(data) < 256:
            out.append(0xD9)
            out.append(len(data))
        else:
            _write_head(out, len(data), 0xA0, 32, 0xDA)
        out.extend(data)
    elif isinstance(value, (bytes, bytearray)):
        out.extend(pack_bytes_head(len(value)))
        out.extend(value)
    else:
        _write_container(out, value)


def _write_container(out: "bytearray | _Into", value: object) -> None:
    if isinstance(value, (list, tuple)):
        _write_head(out, len(value), 0x90, 16, 0xDC)
        for element in value:
            _write(out, element)
    else:
        assert isinstance(value, dict), "this type has no place on the wire"
        _write_head(out, len(value), 0x80, 16, 0xDE)
        for key in sorted(value):
            _write(out, key)
            _write(out, value[key])


def unpack(data: bytes) -> "Any":
    """Return the one value that data holds; raises MsgpackError."""
    if len(data) > BYTES_MAX:
        raise MsgpackError("too_long")
    reader = _Reader(data)
    value = reader.read(0)
    if reader.at != len(data):
        raise MsgpackError("surplus")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.elements = 0

    def uint(self, width: int) -> int:
        end = self.at + width
        if end > len(self.data):
            raise MsgpackError("truncated")
        value = int.from_bytes(self.data[self.at : end], "big")
        self.at = end
        return value

    def octets(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise MsgpackError("truncated")
        value = self.data[self.at : end]
        self.at = end
        return value

    def read(self, depth: int) -> "Any":
        if depth > DEPTH_MAX:
            raise MsgpackError("depth")
        self.elements += 1
        if self.elements > ELEMENTS_MAX:
            raise MsgpackError("elements")
        code = self.uint(1)
        if code < 0x80:
            return code
        if code >= 0xE0:
            return code - 256
        if code in _FIXED:
            return _FIXED[code]
        if code in _INTEGERS:
            return self.integer(code)
        return self.sized(code, depth)

    def sized(self, code: int, depth: int) -> "Any":
        """Return the text, bytes, array or map whose first byte is code."""
        if code < 0xC0:  # the length is in the code itself: map 8x, array 9x, text ax and bx
            method, size = ("map", "array", "str", "str")[code >> 4 & 3], code & 31
            if method != "str":
                size &= 15
        elif code in _SIZED:
            method, width = _SIZED[code]
            size = self.uint(width)
        else:
            raise MsgpackError("type")
        if method == "bin":
            return self.octets(size)
        if method == "str":
            return self.text(size)
        return self.array(size, depth) if method == "array" else self.table(size, depth)

    def integer(self, code: int) -> int:
        width = _INTEGERS[code]
        value = self.uint(width)
        if code >= 0xD0 and value >> 8 * width - 1:
            value -= 1 << 8 * width
        return value

    def text(self, size: int) -> str:
        data = self.octets(size)
        try:
            return data.decode()
        except ValueError:  # UnicodeError is one
            raise MsgpackError("utf8") from None

    def room(self, count: int) -> None:
        # Every element takes at least a byte: a length that cannot be true allocates nothing.
        if count > len(self.data) - self.at:
            raise MsgpackError("truncated")
        if self.elements + count > ELEMENTS_MAX:
            raise MsgpackError("elements")

    def array(self, count: int, depth: int) -> "list[Any]":
        self.room(count)
        return [self.read(depth + 1) for _ in range(count)]

    def table(self, count: int, depth: int) -> "dict[str, Any]":
        self.room(2 * count)
        out: dict[str, object] = {}
        for _ in range(count):
            key = self.read(depth + 1)
            if not isinstance(key, str) or key in out:
                raise MsgpackError("key")
            out[key] = self.read(depth + 1)
        return out


_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_INTEGERS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZED = {
    0xC4: ("bin", 1),
    0xC5: ("bin", 2),
    0xC6: ("bin", 4),
    0xD9: ("str", 1),
    0xDA: ("str", 2),
    0xDB: ("str", 4),
    0xDC: ("array", 2),
    0xDD: ("array", 4),
    0xDE: ("map", 2),
    0xDF: ("map", 4),
}
