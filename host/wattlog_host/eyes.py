"""What a person may ask an agent on a board for from afar, and the answers. Format: agent/SPEC.md.

Nothing here is sent by itself, nor by the host: raw bytes and a restart are for whoever looks for
a fault, the PIN by light for whoever sets up a meter. `wattlog-tools` sends it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack

from wattlog_host import bounds
from wattlog_host.bounds import FORMAT_WIRE, UINT32_MAX, WireError, is_uint

RAW_BYTES_MAX = 4_096
PIECE_BYTES_MAX = 64
MESSAGE_BYTES_MAX = 2_048
PORT_MAX = 200
STATE_MAX = 120

# What a head says of a PIN by light; "digit n of 4" and "failed: why" beside these.
OFF = "off"
DONE = "done"
ABORTED = "aborted"
FAILED = "failed: "

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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a head is with the PIN of this request."""

    edge: str
    boot: int
    uptime_ms: int
    request: int
    state: str

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.state in (OFF, DONE, ABORTED) or self.state.startswith(FAILED)


def pack_raw_wish(count: int) -> bytes:
    """Return the command to send so many of the bytes that come from now on."""
    assert 1 <= count <= RAW_BYTES_MAX
    return bytes(msgpack.packb([FORMAT_WIRE, "raw", count]))


def pack_restart(boot: int) -> bytes:
    """Return the command to restart, for the start with this number and no other."""
    assert 0 < boot <= UINT32_MAX
    return bytes(msgpack.packb([FORMAT_WIRE, "restart", boot]))


def pack_pin(boot: int, request: int, port: str, pin: str, timings: Sequence[int | None]) -> bytes:
    """Return the command to enter a meter's PIN; timings as in SPEC.md.

    The head follows a request once; who sends another PIN needs another number.
    """
    assert 0 < boot <= UINT32_MAX
    assert 0 < request <= UINT32_MAX
    return bytes(msgpack.packb([FORMAT_WIRE, "pin", boot, request, port, pin, list(timings)]))


def pack_pin_abort(boot: int, request: int = 0) -> bytes:
    """Return the command to end the request with this number; 0 means whichever is followed."""
    assert 0 < boot <= UINT32_MAX
    return bytes(msgpack.packb([FORMAT_WIRE, "pin", boot, request]))


def decode_progress(data: bytes) -> Progress:
    """Return how far a head is; raise WireError for anything else."""
    edge, boot, uptime_ms, others = bounds.decode_of_agent(data, MESSAGE_BYTES_MAX, 6, "progress")
    request, state = others
    if not is_uint(request, UINT32_MAX) or request == 0:
        raise WireError("request is not 1..2^32-1")
    if not isinstance(state, str) or not state.isprintable() or not 0 < len(state) <= STATE_MAX:
        raise WireError("state")
    return Progress(edge, boot, uptime_ms, request, state)


def decode_raw(data: bytes) -> Raw:
    """Return the bytes in a message; raise WireError for anything else."""
    edge, boot, uptime_ms, others = bounds.decode_of_agent(data, MESSAGE_BYTES_MAX, 7, "raw")
    port, offset, text = others
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
