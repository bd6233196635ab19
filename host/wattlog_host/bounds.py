"""MessagePack from outside: bounds first, then a typed value or WireError.

Whatever the bytes are, decode() never raises anything else and never allocates what a length
field merely claims. What of the format all messages share is here, too.
"""

import re
from typing import Any

import msgpack

FORMAT_WIRE = 2
MESSAGE_BYTES_MAX = 16_384
DEPTH_MAX = 5
ELEMENTS_MAX = 4_096
SERVER_ID_BYTES_MAX = 32
# Both leave room to add and subtract inside the database's 64 bits, and inside the years that
# a calendar can print: 2**40 ms are 34 years of one boot.
UPTIME_MS_MAX = 2**40
SEQ_MAX = 2**48
EPOCH_MS_MAX = 2**48
UINT32_MAX = 2**32 - 1
INT64 = 2**63

_EDGE = re.compile(r"[a-z0-9_-]{1,32}")


class WireError(Exception):
    """A message that is not what the format says.

    reason is a counter's key, one of a fixed few.
    edge, log and first_seq name the batch as far as it could be read; without all three nobody
    can be answered.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.edge: str | None = None
        self.log: int | None = None
        self.first_seq: int | None = None


def decode(data: bytes, bytes_max: int = MESSAGE_BYTES_MAX) -> Any:
    """Return the one value that data holds; raise WireError where it breaks a bound."""
    check_bounds(data, bytes_max)
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, TypeError) as err:
        # What is left after the walk: text that is not UTF-8, a map key that is no text.
        raise WireError("not MessagePack as we use it") from err


def decode_of_agent(
    data: bytes, bytes_max: int, count: int, name: str
) -> tuple[str, int, int, list[Any]]:
    """Return edge, boot and uptime_ms of a message of so many elements, and its others.

    Raises WireError where it does not begin as all but batch and status do; name is what the
    message is called.
    """
    message = decode(data, bytes_max)
    if not isinstance(message, list) or len(message) != count or not is_format(message[0]):
        raise WireError(f"{name} is not an array of {count} in format {FORMAT_WIRE}")
    _, edge, boot, uptime_ms, *others = message
    if not is_edge(edge):
        raise WireError("edge is not an id")
    if not is_uint(boot, UINT32_MAX) or boot == 0:
        raise WireError("boot is not 1..2^32-1")
    if not is_uint(uptime_ms, UPTIME_MS_MAX):
        raise WireError("uptime_ms")
    return edge, boot, uptime_ms, others


def is_edge(value: Any) -> bool:
    """Tell whether the value may name an agent."""
    return isinstance(value, str) and _EDGE.fullmatch(value) is not None


def is_int(value: Any) -> bool:
    """Tell whether the value is a number without places."""
    # bool is a subclass of int, and True is not the number 1 here.
    return isinstance(value, int) and not isinstance(value, bool)


def is_uint(value: Any, high: int) -> bool:
    """Tell whether the value is a number from 0 to high."""
    return is_int(value) and 0 <= value <= high


def is_format(value: Any) -> bool:
    """Tell whether the value is the number of our format."""
    return is_int(value) and value == FORMAT_WIRE


def is_server_id(value: Any) -> bool:
    """Tell whether the value may name a meter."""
    return isinstance(value, bytes) and 1 <= len(value) <= SERVER_ID_BYTES_MAX


# --- the bounds, before anything is allocated ---------------------------------------------

_SCALAR, _BLOB, _ARRAY, _MAP, _REFUSED = range(5)


def _tag_table() -> list[tuple[int, int, int]]:
    """Return one row per first byte: (kind, bytes of the size field, size where there is none)."""
    rows = [(_REFUSED, 0, 0)] * 256
    for tag in (*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3):
        rows[tag] = (_SCALAR, 0, 0)
    for size in range(16):
        rows[0x80 + size] = (_MAP, 0, size)
        rows[0x90 + size] = (_ARRAY, 0, size)
    for size in range(32):
        rows[0xA0 + size] = (_BLOB, 0, size)
    for power in range(3):
        rows[0xC4 + power] = rows[0xD9 + power] = (_BLOB, 1 << power, 0)
    for power in range(4):
        rows[0xCC + power] = rows[0xD0 + power] = (_SCALAR, 0, 1 << power)
    # Floats pass here so that a later status may carry one in a key we ignore; where we
    # read a number, only an integer will do. Extension types have no place in the format.
    rows[0xCA], rows[0xCB] = (_SCALAR, 0, 4), (_SCALAR, 0, 8)
    rows[0xDC], rows[0xDD] = (_ARRAY, 2, 0), (_ARRAY, 4, 0)
    rows[0xDE], rows[0xDF] = (_MAP, 2, 0), (_MAP, 4, 0)
    return rows


_TAGS = _tag_table()


def check_bounds(data: bytes, bytes_max: int) -> None:
    """Walk the tags of one message; raise WireError where it breaks a bound or its own sizes."""
    if len(data) > bytes_max:
        raise WireError("message too long")
    pending = [1]
    elements = pos = 0
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        pending[-1] -= 1
        children, pos = _step(data, pos)
        if children is None:
            continue
        elements += children
        if elements > ELEMENTS_MAX:
            raise WireError("too many elements")
        if len(pending) > DEPTH_MAX:
            raise WireError("nested too deep")
        pending.append(children)
    if pos != len(data):
        raise WireError("bytes after the message")


def _step(data: bytes, pos: int) -> tuple[int | None, int]:
    """Return how many elements the one at pos holds, None for no container, and the next pos."""
    if pos >= len(data):
        raise WireError("message cut short")
    kind, width, size = _TAGS[data[pos]]
    if kind == _REFUSED:
        raise WireError("type not in the format")
    pos += 1 + width
    if width:
        size = int.from_bytes(data[pos - width : pos])
    if kind in (_SCALAR, _BLOB):
        pos += size
    if pos > len(data):
        raise WireError("message cut short")
    return {_ARRAY: size, _MAP: 2 * size}.get(kind), pos
