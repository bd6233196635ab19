"""A meter's serial port through pyserial: never waited for, opened again when it is gone."""

import errno
import re

import serial

from wattlog.ports import Randrange
from wattlog.uplink import Backoff

READ_BYTES_MAX = 4096
RETRY_MS_MIN = 1_000
RETRY_MS_MAX = 30_000


class SerialSource:
    """A ByteSource over one serial device, 8N1."""

    def __init__(self, port: str, baud: int, randrange: Randrange) -> None:
        self.name = port
        self._baud = baud
        self._port: serial.Serial | None = None
        self._trouble: str | None = None
        self._backoff = Backoff(RETRY_MS_MIN, RETRY_MS_MAX, randrange)
        self._due_ms = 0

    def read(self, now_ms: int) -> bytes:
        """Return what has arrived, b"" for nothing; opens the port when that is due."""
        if self._port is None and now_ms >= self._due_ms:
            self._open(now_ms)
        if self._port is None:
            return b""
        try:
            return self._port.read(READ_BYTES_MAX)
        except (serial.SerialException, OSError) as err:
            self._lost(now_ms, f"the port is gone ({_words(err)})")
            return b""

    def trouble(self) -> str | None:
        """Return what is wrong in words, None while the port is open."""
        return self._trouble

    def close(self) -> None:
        """Give the port back."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def _open(self, now_ms: int) -> None:
        try:
            # The lock keeps a second reader out: two that share a line get half the bytes each.
            self._port = serial.Serial(self.name, self._baud, timeout=0, exclusive=True)
            self._port.reset_input_buffer()  # what was queued before we came has no known time
        except (serial.SerialException, OSError, ValueError) as err:
            self._lost(now_ms, _words(err))
        else:
            self._trouble = None
            self._backoff.reset()

    def _lost(self, now_ms: int, trouble: str) -> None:
        self.close()
        self._trouble = trouble + "; trying again"
        self._due_ms = now_ms + self._backoff.next_ms()


_WORDS = {
    errno.ENOENT: "there is no such port",
    errno.EACCES: "no permission: add this user to the group dialout, then log in again",
    errno.EAGAIN: "the port is used by another program",
    errno.EBUSY: "the port is used by another program",
    errno.EIO: "input/output error",
    errno.ENXIO: "no such device",
    errno.ENODEV: "no such device",
    errno.ENOTTY: "this is not a serial port",
    errno.EISDIR: "this is not a serial port",
    errno.EINVAL: "this is not a serial port",
}
# pyserial wraps its causes; their number is then only in the text, as "[Errno 11]" or "(25, '".
_ERRNO_IN_TEXT = re.compile(r"(?:\[Errno |\()(\d+)[\],]")


def _words(err: Exception) -> str:
    """Return pyserial's error in words; its own texts repeat themselves."""
    found = _ERRNO_IN_TEXT.search(str(err))
    number = int(found[1]) if found else getattr(err, "errno", None)
    if number in _WORDS:
        return _WORDS[number]
    # A line whose other end is gone can be read at once and holds nothing.
    return "the line hung up" if "returned no data" in str(err) else str(err)
