"""Why no frame comes, in words for a person: what the bytes on a port look like."""

from wattlog.compat import const
from wattlog.framing import START

_SAMPLE_BYTES = const(1_024)  # judged together; real frames are 200 to 700 bytes long
_PATIENCE_MS = const(10_000)  # nearly all meters send every one to four seconds
_SILENT_MS = const(60_000)  # of a meter that has worked: one sends every 30 s


class Diagnosis:
    """Looks at a port's bytes while no good frame comes; after a good one it waits a while.

    text  what is wrong, or None
    """

    def __init__(self) -> None:
        self.text: str | None = None
        self._frames = -1
        self._begin_ms = 0  # from then on we look
        self._heard_ms = 0
        self._begin(0)

    def feed(self, data: bytes, now_ms: int, frames: int, damaged: int) -> None:
        """Take what a read has returned, b"" too.

        frames and damaged (bad checksums) are the decoder's counts, these bytes included.
        """
        if frames != self._frames:
            self.text = None
            self._frames = frames
            self._heard_ms = now_ms
            self._begin_ms = now_ms + _PATIENCE_MS if frames else now_ms
            self._begin(damaged)
        if data:
            self._heard_ms = now_ms
        if now_ms >= self._begin_ms:
            self._size += len(data)
            self._starts += data.count(START)
            self._halves += data.count(START[2:6])  # also where every second byte is missing
            # The ends of lines, with and without the parity of 7E1.
            self._lines += data.count(b"\x8d\n") + data.count(b"\r\n")
            for byte in data:
                # What a terminal that is not raw keeps for itself (VINTR, VEOF, VSTART, VSTOP,
                # VKILL, VSUSP, VQUIT); every frame ends with a 1a.
                self._raw += byte in b"\x03\x04\x11\x13\x15\x1a\x1c"
            if self._size >= _SAMPLE_BYTES or now_ms - self._begin_ms >= _PATIENCE_MS:
                self.conclude(now_ms, damaged)

    def pause(self) -> None:
        """Forget what was seen: the port is closed."""
        self.text = None
        self._frames = -1

    def conclude(self, now_ms: int, damaged: int) -> None:
        """Judge by what has been seen so far."""
        starts = self._starts
        halves = self._halves - starts
        size = self._size
        text = self.text
        if starts and size >= _SAMPLE_BYTES and not self._raw:
            text = "the port is not raw: it swallows bytes, so no frame ends"
        elif halves > 2 and halves > starts:
            text = "every second byte is missing: does another program read this port?"
        elif damaged - self._damaged > 1:
            text = "frames come damaged: is it 8N1, not inverted, too much light?"
        elif self._lines > 2:
            text = "the meter speaks ASCII (D0, 7E1), not SML: can it be switched?"
        elif not starts and (size >= _SAMPLE_BYTES or (size and not text)):
            # What was said of a whole sample holds until the next.
            text = "bytes come, but no SML: head straight, speed right, too much light?"
        elif not text and now_ms >= self._heard_ms + (
            _SILENT_MS if self._frames else _PATIENCE_MS
        ):
            text = "no byte comes: is the head on the LED, the right way up?"
        self.text = text
        if size >= _SAMPLE_BYTES:
            self._begin_ms = now_ms
            self._begin(damaged)

    def _begin(self, damaged: int) -> None:
        self._damaged = damaged
        self._size = self._starts = self._halves = self._lines = self._raw = 0
