"""A fake of the ESP32's `machine` in virtual time; its meter plays frames out of a file.

BOARD_FRAMES names the file: each frame behind its length, two bytes.
"""

import os
import time

_RX_BYTES_MAX = 4_096


def reset_cause() -> int:
    """Return 1: power."""
    return 1


def reset() -> None:
    """Be no part of any test here."""
    raise SystemExit("reset")


class UART:
    """Has a frame every `every_ms`; what its buffer does not hold is lost, and counted."""

    INV_RX = 4
    every_ms = 10_000
    played = 0
    lost_bytes = 0

    def __init__(self, _number: int, _baud: int, **_more: int) -> None:
        self._file = open(os.getenv("BOARD_FRAMES"), "rb")  # noqa: SIM115 - for as long as it is
        # Made once: a chip's buffer is no part of the heap, which must not be cut up by ours.
        self._ring = memoryview(bytearray(_RX_BYTES_MAX))
        self._start = self._count = 0
        self._due_ms = time.now_ms()

    def any(self) -> int:
        """Return how many bytes wait."""
        while time.now_ms() >= self._due_ms:
            self._due_ms += self.every_ms
            size = int.from_bytes(self._file.read(2), "big")
            if self._count + size > _RX_BYTES_MAX:
                UART.lost_bytes += size
                self._file.seek(size, 1)
            else:
                first = (self._start + self._count) % _RX_BYTES_MAX
                end = min(first + size, _RX_BYTES_MAX)
                self._file.readinto(self._ring[first:end])
                self._file.readinto(self._ring[: first + size - end])
                self._count += size
            UART.played += 1
        return self._count

    def read(self, count: int) -> "bytes | None":
        """Return the bytes that wait, count at most; None for none."""
        count = min(count, self._count)
        end = min(self._start + count, _RX_BYTES_MAX)
        data = bytes(self._ring[self._start : end])
        if end < self._start + count:
            data += bytes(self._ring[: self._start + count - end])
        self._start = (self._start + count) % _RX_BYTES_MAX
        self._count -= count
        return data or None


class WDT:
    """A watchdog that bites by an exception which nobody catches."""

    def __init__(self, timeout: int) -> None:
        self._time_ms = timeout
        self._fed_ms = time.now_ms()
        time.on_sleep.append(self._look)

    def feed(self) -> None:
        """Start the time again."""
        self._fed_ms = time.now_ms()

    def _look(self, now_ms: int) -> None:
        if now_ms - self._fed_ms > self._time_ms:
            raise SystemExit("bitten")
