"""What a host may ask an agent on a board for from afar, and the answer. Format: agent/SPEC.md.

Nothing here is sent by itself: raw bytes and a restart are for a person who looks for a fault.
"""

import re
from dataclasses import dataclass

import msgpack

from wattlog_host import bounds
from wattlog_host.bounds import (
    FORMAT_WIRE,
    UINT32_MAX,
    UPTIME_MS_MAX,
    WireError,
    is_edge,
    is_format,
    is_uint,
)

RAW_BYTES_MAX = 4_096
PIECE_BYTES_MAX = 64
MESSAGE_BYTES_MAX = 2_048
PORT_MAX = 200

_HEX = re.compile(r"(?:[0-9a-f]{2})*")


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes as they came over a port; offset counts them since they were asked for."""

    edge: str
    boot: int
    uptime_ms: int
    port: str
    offset: int
    data: bytes


def pack_raw_wish(count: int) -> bytes:
    """Return the command to send so many of the bytes that come from now on."""
    assert 1 <= count <= RAW_BYTES_MAX
    return bytes(msgpack.packb([FORMAT_WIRE, "raw", count]))


def pack_restart(boot: int) -> bytes:
    """Return the command to restart, for the start with this number and no other."""
    assert 0 < boot <= UINT32_MAX
    return bytes(msgpack.packb([FORMAT_WIRE, "restart", boot]))


def decode_raw(data: bytes) -> Raw:
    """Return the bytes in a message; raise WireError for anything else."""
    message = bounds.decode(data, MESSAGE_BYTES_MAX)
    if not isinstance(message, list) or len(message) != 7 or not is_format(message[0]):
        raise WireError("raw is not an array of 7 in format 2")
    _, edge, boot, uptime_ms, port, offset, text = message
    if not is_edge(edge):
        raise WireError("edge is not an id")
    if not is_uint(boot, UINT32_MAX) or boot == 0:
        raise WireError("boot is not 1..2^32-1")
    if not is_uint(uptime_ms, UPTIME_MS_MAX):
        raise WireError("uptime_ms")
    if not isinstance(port, str) or not port.isprintable() or not 0 < len(port) <= PORT_MAX:
        raise WireError("port")
    if not is_uint(offset, RAW_BYTES_MAX):
        raise WireError("offset")
    if (
        not isinstance(text, str)
        or len(text) > 2 * PIECE_BYTES_MAX
        or _HEX.fullmatch(text) is None
    ):
        raise WireError("hex")
    return Raw(edge, boot, uptime_ms, port, offset, bytes.fromhex(text))
