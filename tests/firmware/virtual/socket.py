"""A fake of `socket` with a broker and a host behind it, both scripted, in virtual time.

script[0](now_ms) says how they are: OPEN, GONE (nobody listens, and connections end), MUTE
(connections are taken, and nothing is said or read), DEAF (a host that acknowledges nothing), or
SLOW: whatever is done takes SLOW_MS, which is just within the deadline.
"""

import errno
import time
from binascii import crc32

from wattlog import msgpack

OPEN = 0
GONE = 1
MUTE = 2
DEAF = 3
SLOW = 4
SLOW_MS = [2_900]
IPPROTO_TCP = 6
TCP_NODELAY = 1
_POLLIN = 1
script = [lambda _now_ms: OPEN]
taken = [0, 0]  # batches that were acknowledged, status messages that came


def getaddrinfo(host: str, port: int) -> "list[object]":
    """Return an address at once."""
    return [(0, 0, 0, "", (host, port))]


class socket:
    """The one connection."""

    def __init__(self) -> None:
        self._in = b""  # for the head
        self._in_ms = 0  # when it is there
        self._out = b""  # of the head, until a packet is whole
        self._out_ms = 0  # when more is taken
        self._is_closed = False

    def settimeout(self, _seconds: float) -> None:
        """Wait in poll() only."""

    def setsockopt(self, *_: int) -> None:
        """Have no options."""

    def connect(self, _address: object) -> None:
        """Connect."""
        if _mood() == GONE:
            raise OSError(errno.ECONNREFUSED)

    def close(self) -> None:
        """Close."""
        self._is_closed = True

    def is_ready(self, event: int) -> bool:
        """Tell what poll() wants to know."""
        mood = _mood()
        if mood == GONE:
            return True
        if event == _POLLIN:
            return bool(self._in) and mood != MUTE and time.now_ms() >= self._in_ms
        return mood != MUTE and time.now_ms() >= self._out_ms

    def readinto(self, view: memoryview) -> "int | None":
        """Read what is there; None for nothing, 0 for the end."""
        if _mood() == GONE:
            return 0
        if not self.is_ready(_POLLIN):
            return None
        count = min(len(view), len(self._in))
        view[:count] = self._in[:count]
        self._in = self._in[count:]
        return count

    def write(self, view: memoryview) -> "int | None":
        """Take all of it, or nothing."""
        if _mood() == GONE:
            raise OSError(errno.ECONNRESET)
        if not self.is_ready(0):
            return None
        if _mood() == SLOW:
            self._out_ms = time.now_ms() + SLOW_MS[0]
        self._out += bytes(view)
        while self._take_packet():
            pass
        return len(view)

    def greet(self) -> "int | None":
        """Take what the fake `tls` says, and have an answer of a byte ready."""
        if _mood() == GONE:
            raise OSError(errno.ECONNRESET)
        if not self.is_ready(0):
            return None
        if _mood() == SLOW:
            self._out_ms = time.now_ms() + SLOW_MS[0]
        self._answer(b"!")
        return 1

    def _take_packet(self) -> bool:
        out = self._out
        size = 0
        for at in range(1, 5):
            if at >= len(out):
                return False
            size |= (out[at] & 0x7F) << 7 * (at - 1)
            if out[at] < 0x80:
                break
        start = at + 1
        if len(out) < start + size:
            return False
        packet = out[start : start + size]
        self._out = out[start + size :]
        kind = out[0] & 0xF0
        if kind == 0x10:
            self._answer(b"\x20\x02\0\0")
        elif kind == 0x80:
            self._answer(b"\x90\x03" + packet[:2] + b"\0")
        elif kind == 0xC0:
            self._answer(b"\xd0\0")
        elif kind == 0x30:
            size = int.from_bytes(packet[:2], "big")
            self._publish(packet[2 : 2 + size], packet[2 + size :])
        return True

    def _publish(self, topic: bytes, payload: bytes) -> None:
        if topic.endswith(b"/s"):
            taken[1] += 1
            self._send(topic, payload)  # a head hears its own status
        elif topic.endswith(b"/b") and _mood() != DEAF:
            taken[0] += 1
            version, _, log, first_seq, _ = msgpack.unpack(payload)
            ack = msgpack.pack([version, log, first_seq, crc32(payload), None])
            self._send(topic[:-1] + b"a", ack)

    def _send(self, topic: bytes, payload: bytes) -> None:
        size = 2 + len(topic) + len(payload)
        head = bytes([0x30, size]) if size < 0x80 else bytes([0x30, size & 0x7F | 0x80, size >> 7])
        self._answer(head + len(topic).to_bytes(2, "big") + topic + payload)

    def _answer(self, data: bytes) -> None:
        if not self._in and _mood() == SLOW:
            self._in_ms = time.now_ms() + SLOW_MS[0]
        self._in += data


def _mood() -> int:
    return script[0](time.now_ms())
