"""A fake of the ESP32's `machine` on MicroPython's unix port: what the firmware uses, no more.

BOARD_UART1 names the terminal behind UART(1). BOARD_WDT_MS shortens the watchdog's time, so that
a test can show that no step takes as long. BOARD_RESET_CAUSE is what reset_cause() says.
"""

import io
import os
import struct
import sys
import termios

import ffi

_libc = ffi.open("libc.so.6")
_ioctl = _libc.func("i", "ioctl", "iip")
_setitimer = _libc.func("i", "setitimer", "ipp")
_FIONREAD = 0x541B
_POLL_FILENO = 10  # how MicroPython's poll() asks a stream for the descriptor behind it


def reset_cause() -> int:
    """Return why the board started: 1 for power, 3 for the watchdog."""
    return int(os.getenv("BOARD_RESET_CAUSE") or 1)


def reset() -> None:
    """End the process; whoever started it starts it again."""
    sys.exit(76)


class UART(io.IOBase):
    """A terminal as a UART: read() gives None where nothing is there, as the real one does."""

    INV_RX = 4
    INV_TX = 32

    def __init__(
        self,
        number: int,
        baud: int,
        rx: int,
        tx: int,
        rxbuf: int = 256,
        timeout: int = 0,
        invert: int = 0,
    ) -> None:
        path = os.getenv("BOARD_UART%d" % number)
        if path is None or timeout:
            raise ValueError("UART(%d) does not exist" % number)
        self.made = (number, baud, rx, tx, rxbuf, invert)  # for tests
        self._file = open(path, "r+b")
        self._fd = self._file.fileno()
        termios.setraw(self._fd)
        self._count = bytearray(4)

    def any(self) -> int:
        """Return how many bytes wait."""
        _ioctl(self._fd, _FIONREAD, self._count)
        return struct.unpack("i", self._count)[0]

    def read(self, count: int) -> "bytes | None":
        """Return the bytes that wait, count at most; None for none."""
        count = min(count, self.any())
        return self._file.read(count) if count else None

    def ioctl(self, request: int, _argument: int) -> int:
        """Let poll() wait on the terminal."""
        return self._fd if request == _POLL_FILENO else 0


class WDT:
    """A watchdog that bites: SIGALRM ends the process even where it hangs inside a C function."""

    def __init__(self, timeout: int) -> None:
        time_ms = int(os.getenv("BOARD_WDT_MS") or timeout)
        self._timer = struct.pack("llll", 0, 0, time_ms // 1000, time_ms % 1000 * 1000)
        self.feed()

    def feed(self) -> None:
        """Start the time again."""
        _setitimer(0, self._timer, None)


def __getattr__(name: str) -> object:
    """Bring the rest only where it is used: it takes heap that no board needs for it."""
    return getattr(__import__("fakepin"), name)
