"""A meter's serial port through pyserial: never waited for, opened again when it is gone."""

import errno

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
    errno.EBUSY: "the port is used by another program",
    errno.EAGAIN: "the port is used by another program",
    errno.EIO: "input/output error",
    errno.ENXIO: "no such device",
    errno.ENOTTY: "this is not a serial port",
    errno.EINVAL: "this is not a serial port",
}


def _words(err: Exception) -> str:
    """Return pyserial's error in words; its own texts repeat themselves."""
    number = getattr(err, "errno", None)
    if number is None:
        # pyserial hides the cause of a failed lock and of a line that hung up in its text.
        text = str(err)
        for code in (errno.EAGAIN, errno.EIO, errno.ENXIO, errno.ENOTTY):
            if f"[Errno {code}]" in text:
                number = code
        if number is None:
            return "the line hung up" if "returned no data" in text else text
    return _WORDS.get(number, str(err))
