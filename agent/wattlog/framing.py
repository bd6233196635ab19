"""SML transport version 1: any chunks of bytes in, checked payloads out.

    1b1b1b1b 01010101 | payload, a literal 1b1b1b1b doubled | 0..4 zeros | 1b1b1b1b 1a PP CC CC

PP is the number of zeros that fill the payload up; CC CC the checksum over everything
before it. Nothing that arrives makes `push` raise: what is not a good frame is counted.
"""

from wattlog.crc import crc16_kermit, ends_in_x25

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

ESCAPE = b"\x1b\x1b\x1b\x1b"
VERSION_1 = b"\x01\x01\x01\x01"
START = ESCAPE + VERSION_1
START_BYTES = 8
END_BYTES = 8

FRAME_BYTES_MAX = 2048  # the longest frame seen is 684 bytes (Holley DTZ541, 30 entries)
PAD_MAX = 4  # DZG sends 4 where 0 would do; its checksum is right, so it means it
FEED_BYTES = 4096  # how much of a large read is looked at at once: bounds the memory

# Why a frame was dropped; the keys of FrameDecoder.drops.
CRC = "crc"
TRUNCATED = "truncated"
OVERLONG = "overlong"
ESCAPED = "escape"
LENGTH = "length"
PAD = "pad"


class FrameDecoder:
    """Finds SML frames in a stream of bytes.

    drops       dict reason -> number of frames dropped for it
    junk_bytes  bytes that belonged to no frame
    frames      good frames
    """

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.drops: dict[str, int] = {}
        self.junk_bytes = 0
        self.frames = 0
        self._frame_bytes_max = frame_bytes_max
        self._buf = bytearray()
        self._open = False  # does _buf begin with a start sequence?
        self._scanned = 0  # where the search for the next escape goes on
        self._needed = START_BYTES  # nothing can be settled in a shorter buffer
        self._escaped = False  # does the open frame hold a doubled escape?
        self._kermit = False  # has this meter proven to use the other checksum?

    def push(self, data: "Buffer") -> "list[bytes]":
        """Take the next bytes of the stream; return the payloads they complete, in order."""
        buf = self._buf
        if len(data) <= FEED_BYTES:
            buf.extend(data)
            if len(buf) < self._needed:
                return []
            return self._settle([])
        payloads: list[bytes] = []
        for at in range(0, len(data), FEED_BYTES):
            buf.extend(data[at : at + FEED_BYTES])
            self._settle(payloads)
        return payloads

    def finish(self) -> None:
        """Say that the stream has ended here: an open frame counts as truncated."""
        if self._open:
            self._count(TRUNCATED)
        self._open = False
        self._buf[:] = b""
        self._needed = START_BYTES

    def _settle(self, payloads: "list[bytes]") -> "list[bytes]":
        """Settle everything in the buffer that takes no more bytes."""
        buf = self._buf
        while self._open or self._find_start():
            at = buf.find(ESCAPE, self._scanned)
            if at < 0 or at + END_BYTES > len(buf):
                if len(buf) > self._frame_bytes_max:
                    self._drop(OVERLONG)
                    continue
                self._wait(at)
                break
            mark = buf[at + 4]
            if mark == 0x1A:
                self._close(at + END_BYTES, payloads)
            elif mark == 0x1B:
                # Eight are a literal four; five to seven end in the escape that counts.
                literal = buf[at + 4 : at + 8] == ESCAPE
                self._escaped = self._escaped or literal
                self._scanned = at + 8 if literal else at + 1
            elif buf[at + 4 : at + 8] == VERSION_1:
                # The end of the open frame was lost; the new one is as good as any.
                self._count(TRUNCATED)
                buf[:at] = b""
                self._begin()
            else:
                self._drop(ESCAPED)
        return payloads

    def _wait(self, at: int) -> None:
        """Note how far the open frame is settled, and how many bytes it takes to go on."""
        buf = self._buf
        if at < 0:
            # An escape may be cut anywhere, but only if the last byte is one of its four; and
            # it never reaches back into what is settled.
            at = len(buf) - 3 if buf[-1] == 0x1B else len(buf)
            at = max(self._scanned, at)
        self._scanned = at
        self._needed = at + END_BYTES

    def _find_start(self) -> bool:
        buf = self._buf
        at = buf.find(START)
        if at < 0:
            # A start may be cut anywhere, so its first seven bytes may stand at the end.
            at = max(0, len(buf) - START_BYTES + 1)
            self._needed = START_BYTES
        else:
            self._begin()
        if at:
            self.junk_bytes += at
            # MicroPython has no `del buf[:at]`.
            buf[:at] = b""
        return self._open

    def _begin(self) -> None:
        self._open = True
        self._scanned = START_BYTES
        self._escaped = False

    def _close(self, size: int, payloads: "list[bytes]") -> None:
        """Judge the frame in the first size bytes of the buffer."""
        buf = self._buf
        pad = buf[size - 3]
        end = size - END_BYTES - pad
        if size > self._frame_bytes_max:
            self._drop(OVERLONG)
        elif size & 3 or end <= START_BYTES:
            self._drop(LENGTH)
        elif pad > PAD_MAX:
            self._drop(PAD)
        elif ends_in_x25(buf, size) or self._ends_in_kermit(size):
            self.frames += 1
            payload = bytes(memoryview(buf)[START_BYTES:end])
            if self._escaped:
                payload = payload.replace(ESCAPE + ESCAPE, ESCAPE)
            payloads.append(payload)
            self._open = False
            buf[:size] = b""
        else:
            self._drop(CRC)

    def _ends_in_kermit(self, size: int) -> bool:
        # Some Holley meters use Kermit, high byte first. Trying it on every broken frame would
        # double the chance that one passes, so the frame has to name the maker.
        buf = self._buf
        if not self._kermit and not 0 < buf.find(b"HLY") < size:
            return False
        crc = crc16_kermit(memoryview(buf)[: size - 2])
        if crc != buf[size - 2] << 8 | buf[size - 1]:
            return False
        self._kermit = True
        return True

    def _drop(self, reason: str) -> None:
        # Lost bytes may hide a start inside, so the search resumes one byte behind the old one.
        self._count(reason)
        self._open = False
        self.junk_bytes += 1
        self._buf[:1] = b""

    def _count(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1
