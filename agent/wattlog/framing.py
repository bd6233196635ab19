"""SML transport version 1: any chunks of bytes in, checked payloads out.

    1b1b1b1b 01010101 | payload, a literal 1b1b1b1b doubled | 0..4 zeros | 1b1b1b1b 1a PP CC CC

PP is the number of zeros that fill the payload up; CC CC the checksum over everything
before it. Nothing that arrives makes `push` raise: what is not a good frame is counted.
"""

from wattlog.crc import crc16_kermit, crc16_x25

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
FEED_BYTES = 512  # how much of a large read is looked at at once: bounds the memory

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
        self._escaped = False  # does the open frame hold a doubled escape?
        self._kermit = False  # has this meter proven to use the other checksum?

    def push(self, data: "Buffer") -> list[bytes]:
        """Take the next bytes of the stream; return the payloads they complete, in order."""
        payloads: list[bytes] = []
        for at in range(0, len(data), FEED_BYTES):
            self._buf.extend(data[at : at + FEED_BYTES])
            while self._advance(payloads):
                continue
        return payloads

    def finish(self) -> None:
        """Say that the stream has ended here: an open frame counts as truncated."""
        if self._open:
            self._count(TRUNCATED)
        self._open = False
        self._forget(len(self._buf))

    def _advance(self, payloads: list[bytes]) -> bool:
        """Settle one thing in the buffer; False when that takes more bytes."""
        buf = self._buf
        if not self._open:
            return self._find_start()
        at = buf.find(ESCAPE, self._scanned)
        if at < 0 or at + END_BYTES > len(buf):
            # An escape may be cut anywhere, but never reach back into what has been settled.
            self._scanned = max(self._scanned, len(buf) - 3) if at < 0 else at
            return self._refuse_overlong(len(buf))
        mark = buf[at + 4]
        if mark == 0x1B:
            # Eight are a literal four; five to seven end in the escape that counts.
            literal = buf[at + 4 : at + 8] == ESCAPE
            self._escaped = self._escaped or literal
            self._scanned = at + 8 if literal else at + 1
        elif mark == 0x1A:
            if not self._refuse_overlong(at + END_BYTES):
                self._close(at + END_BYTES, payloads)
        elif buf[at + 4 : at + 8] == VERSION_1:
            # The end of the open frame was lost; the new one is as good as any.
            self._count(TRUNCATED)
            self._begin(at)
        else:
            self._drop(ESCAPED)
        return True

    def _find_start(self) -> bool:
        at = self._buf.find(START)
        if at < 0:
            # A start may be cut anywhere, so its first seven bytes may stand at the end.
            unseen = max(0, len(self._buf) - START_BYTES + 1)
            self.junk_bytes += unseen
            self._forget(unseen)
            return False
        self.junk_bytes += at
        self._begin(at)
        return True

    def _begin(self, at: int) -> None:
        self._forget(at)
        self._open = True
        self._scanned = START_BYTES
        self._escaped = False

    def _refuse_overlong(self, size: int) -> bool:
        if size <= self._frame_bytes_max:
            return False
        self._drop(OVERLONG)
        return True

    def _close(self, size: int, payloads: list[bytes]) -> None:
        """Judge the frame in the first size bytes of the buffer."""
        frame = bytes(self._buf[:size])
        pad = frame[-3]
        end = size - END_BYTES - pad
        if size % 4 or end <= START_BYTES:
            self._drop(LENGTH)
        elif pad > PAD_MAX:
            self._drop(PAD)
        elif not self._is_checked(frame):
            self._drop(CRC)
        else:
            self.frames += 1
            payload = frame[START_BYTES:end]
            if self._escaped:
                payload = payload.replace(ESCAPE + ESCAPE, ESCAPE)
            payloads.append(payload)
            self._open = False
            self._forget(size)

    def _is_checked(self, frame: bytes) -> bool:
        checked = memoryview(frame)[:-2]
        if crc16_x25(checked) == frame[-2] | frame[-1] << 8:
            return True
        # Some Holley meters use Kermit. Trying it on every broken frame would double the
        # chance that one passes, so the frame has to name the maker.
        if (self._kermit or b"HLY" in frame) and crc16_kermit(checked) == (
            frame[-2] << 8 | frame[-1]
        ):
            self._kermit = True
            return True
        return False

    def _drop(self, reason: str) -> None:
        # Lost bytes may hide a start inside, so the search resumes one byte behind the old one.
        self._count(reason)
        self._open = False
        self.junk_bytes += 1
        self._forget(1)

    def _count(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def _forget(self, count: int) -> None:
        # MicroPython has no `del buf[:count]`.
        self._buf[:count] = b""
