"""SML transport version 1: any chunks of bytes in, checked payloads out.

    1b1b1b1b 01010101 | payload, a literal 1b1b1b1b doubled | 0..4 zeros | 1b1b1b1b 1a PP CC CC

PP is the number of zeros that fill the payload up; CC CC the checksum over everything
before it. Nothing that arrives makes `push` raise: what is not a good frame is counted.
"""

from wattlog.crc import ends_in_kermit, ends_in_x25

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Buffer = bytes | bytearray | memoryview

ESCAPE = b"\x1b\x1b\x1b\x1b"
VERSION_1 = b"\x01\x01\x01\x01"
START = ESCAPE + VERSION_1
START_BYTES = 8
END_BYTES = 8

FRAME_BYTES_MAX = 2048  # the longest frame seen is 684 bytes (Holley DTZ541, 30 entries)
PAD_MAX = 4  # DZG sends 4 where 0 would do; its checksum is right, so it means it
FEED_BYTES_MIN = 64  # room for new bytes beside the longest frame

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

    All memory that it ever needs beside its results is taken at the start: frame_bytes_max for
    the longest frame, and feed_bytes for what may be looked at at once.
    """

    def __init__(
        self, frame_bytes_max: int = FRAME_BYTES_MAX, feed_bytes: int = FEED_BYTES_MIN
    ) -> None:
        self.drops: dict[str, int] = {}
        self.junk_bytes = 0
        self.frames = 0
        self._frame_bytes_max = frame_bytes_max
        self._size = frame_bytes_max + max(feed_bytes, FEED_BYTES_MIN)
        self._buf = bytearray(self._size)
        self._view = memoryview(self._buf)
        self._fill = 0  # how much of _buf is in use
        self._open = False  # does _buf begin with a start sequence?
        self._scanned = 0  # where the search for the next escape goes on
        self._calm = 0  # up to this fill, bytes that complete no escape settle nothing
        self._escaped = False  # does the open frame hold a doubled escape?
        self._known_bytes = 0  # see _take_known
        self._kermit = False  # has this meter proven to use the other checksum?

    def push(self, data: "Buffer") -> "Sequence[bytes]":
        """Take the next bytes of the stream; return the payloads they complete, in order."""
        start = self._fill
        if len(data) == 1 and start < self._calm:  # some ports give nothing else
            byte = data[0]
            self._buf[start] = byte
            self._fill = start + 1
            if byte == 0x1B and self._buf[start - 3] == 0x1B:
                # Maybe the fourth of an escape: what that means is told by the four behind it.
                self._calm = min(start + 4, self._calm)
            return ()
        fill = start + len(data)
        if fill <= self._size:
            self._buf[start:fill] = data
            self._fill = fill
            if fill <= self._calm and self._buf.find(ESCAPE, start - 3, fill) < 0:
                return ()
            return self._settle([])
        payloads: list[Any] = []
        at = 0
        while at < len(data):
            count = min(len(data) - at, self._size - self._fill)
            assert count > 0, "an open frame is never longer than the longest"
            self._buf[self._fill : self._fill + count] = data[at : at + count]
            self._fill += count
            at += count
            self._settle(payloads)
        return payloads

    def finish(self) -> None:
        """Say that the stream has ended here: an open frame counts as truncated."""
        if self._open:
            self._count(TRUNCATED)
        else:
            self.junk_bytes += self._fill
        self._open = False
        self._fill = 0
        self._calm = 0

    # One loop on purpose: as calls, its parts would cost more than they do.
    def _settle(self, payloads: "list[Any]") -> "list[Any]":  # noqa: C901, PLR0915
        """Settle everything in the buffer that takes no more bytes; return payloads."""
        buf = self._buf
        fill = self._fill
        self._fill = 0  # should a defect raise, these bytes go with it, and the next are read
        base = 0  # where the open frame begins, or what is not settled
        while True:
            if not self._open:
                if self._known_bytes:
                    base = self._take_known(base, fill, payloads)
                at = buf.find(START, base, fill)
                if at < 0:
                    # A start may be cut anywhere: its first seven bytes may stand at the end.
                    at = max(base, fill - START_BYTES + 1)
                    self.junk_bytes += at - base
                    base = at
                    break
                self.junk_bytes += at - base
                base = self._begin(at)
            at = buf.find(ESCAPE, self._scanned, fill)
            # An escape beyond the longest frame is not looked at, however much has been read.
            if at < 0 or at + END_BYTES > min(fill, base + self._frame_bytes_max):
                if fill - base <= self._frame_bytes_max:
                    # An escape may be cut anywhere, but never reach back into what is settled.
                    self._scanned = at if at >= 0 else max(self._scanned, fill - 3)
                    break
                base = self._drop(OVERLONG, base)
                continue
            mark = buf[at + 4]
            if mark == 0x1A:
                end = at + END_BYTES
                reason = self._take(base, end, payloads)
                if reason is None:
                    self._open = False
                    base = end
                else:
                    base = self._drop(reason, base)
            elif mark == 0x1B:
                # Eight are a literal four; five to seven end in the escape that counts.
                literal = buf[at + 4 : at + 8] == ESCAPE
                self._escaped = self._escaped or literal
                self._scanned = at + 8 if literal else at + 1
            elif buf[at + 4 : at + 8] == VERSION_1:
                # The end of the open frame was lost; the new one is as good as any.
                self._count(TRUNCATED)
                base = self._begin(at)
            else:
                base = self._drop(ESCAPED, base)
        self._wait(base, fill)
        return payloads

    def _wait(self, base: int, fill: int) -> None:
        """Keep what is not settled, and note what it takes to go on.

        Most calls bring a few bytes from the middle of a frame: they cost next to nothing,
        because without an escape nothing can begin or end, and what one means is told by the
        four bytes behind it.
        """
        self._fill = fill - base
        if base:
            self._view[: fill - base] = self._view[base:fill]
            self._scanned -= base
        if self._open:
            at = self._buf.find(ESCAPE, self._scanned, self._fill)
            self._calm = self._frame_bytes_max
            if at >= 0:
                self._calm = min(at + END_BYTES - 1, self._calm)
        else:
            self._calm = START_BYTES - 1

    def _begin(self, at: int) -> int:
        self._open = True
        self._escaped = False
        self._scanned = at + START_BYTES
        return at

    def _take(self, base: int, end: int, payloads: "list[Any]") -> str | None:
        """Add the payload of the frame in base..end; return the reason why there is none."""
        reason = self._reason(base, end)
        if reason is None:
            payloads.append(self._payload(base, end))
            self.frames += 1
        return reason

    def _take_known(self, base: int, fill: int, payloads: "list[Any]") -> int:
        """Add what is known without a search; return where to go on. See decoder.SmlDecoder."""
        return base

    def _payload(self, base: int, end: int) -> bytes:
        pad = self._buf[end - 3]
        payload = bytes(self._view[base + START_BYTES : end - END_BYTES - pad])
        return payload.replace(ESCAPE + ESCAPE, ESCAPE) if self._escaped else payload

    def _reason(self, base: int, end: int) -> str | None:
        """Return why the frame in base..end is none, or None for a good one."""
        size = end - base
        pad = self._buf[end - 3]
        if size > self._frame_bytes_max:
            return OVERLONG
        if size & 3 or size <= START_BYTES + END_BYTES + pad:
            return LENGTH
        if pad > PAD_MAX:
            return PAD
        if ends_in_x25(self._view[base:end]) or self._ends_in_kermit(base, end):
            return None
        return CRC

    def _ends_in_kermit(self, base: int, end: int) -> bool:
        # Some Holley meters use Kermit, high byte first. Believing it of every broken frame would
        # double the chance that one passes, so there has to be evidence, once.
        if not ends_in_kermit(self._view[base:end]):
            return False
        self._kermit = self._kermit or self._is_kermit_likely(base, end)
        return self._kermit

    def _is_kermit_likely(self, base: int, end: int) -> bool:
        """Tell whether something beside its checksum says so: the frame names the maker."""
        return self._buf.find(b"HLY", base, end) >= 0

    def _drop(self, reason: str, base: int) -> int:
        # Lost bytes may hide a start inside, so the search resumes one byte behind the old one.
        self._count(reason)
        self._open = False
        self.junk_bytes += 1
        return base + 1

    def _count(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1
