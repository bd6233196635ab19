"""The fake board's `machine.Pin` and `Timer`, in a file of their own: few tests need them."""

import os
import struct
import sys
import time

import ffi
import micropython

_libc = ffi.open("libc.so.6")
_CLOCK_MONOTONIC = 1
_SIGNAL = 34  # the first that nobody else has
_SIGACTION_BYTES = 160  # the handler comes first; the rest is 0


class Pin:
    """An output, which BOARD_LED_FILE takes down: a character for each change.

    BOARD_PIN_FILE takes down those of a pin that was made with a value, as the IR head's light
    is: a line with the ticks in ms and the level.
    """

    OUT = 3

    def __init__(self, number: int, _mode: int, value: "int | None" = None) -> None:
        self.number = number
        self._level = -1
        self._path = os.getenv("BOARD_LED_FILE")
        self._file = None
        if value is not None:
            self._path = None
            path = os.getenv("BOARD_PIN_FILE")
            if path:
                self._file = open(path, "a")
            self.value(value)

    def value(self, level: int) -> None:
        """Set the level."""
        if level != self._level:
            self._level = level
            if self._path:
                with open(self._path, "a") as file:
                    file.write("1" if level else "0")
            if self._file:
                self._file.write("%d %d\n" % (time.ticks_ms(), level))
                self._file.flush()


class Timer:
    """A hardware timer with the ESP32's habits.

    Its callback comes between two instructions of the main program, or where that waits; not
    from inside a C function that blocks. What was switched off still knows whom it called.
    """

    ONE_SHOT = 0
    PERIODIC = 1
    kept = None  # the one callback of Timer(0): for tests

    def __init__(self, number: int) -> None:
        if number:
            raise ValueError("this fake has one timer")
        self._id = None

    def init(self, mode: int, period: int, callback: "object") -> None:
        """Start it."""
        if self._id is not None:
            self.deinit()
        Timer.kept = callback
        self._call = ffi.callback("v", self._on_signal, "i", lock=True)
        action = bytearray(_SIGACTION_BYTES)
        struct.pack_into("P", action, 0, self._call.cfun())
        _libc.func("i", "sigaction", "ipp")(_SIGNAL, action, None)
        event = bytearray(64)
        struct.pack_into("Pii", event, 0, 0, _SIGNAL, 0)
        name = bytearray(8)
        _libc.func("i", "timer_create", "ipp")(_CLOCK_MONOTONIC, event, name)
        self._id = struct.unpack_from("P", name)[0]
        once = (period // 1000, period % 1000 * 1_000_000)
        again = once if mode else (0, 0)
        times = struct.pack("llll", *(again + once))
        _libc.func("i", "timer_settime", "pipp")(self._id, 0, times, None)

    def deinit(self) -> None:
        """Stop it."""
        _libc.func("i", "timer_delete", "p")(self._id)
        self._id = None

    def _on_signal(self, _number: int) -> None:
        # In here nothing may be allocated.
        try:
            micropython.schedule(Timer.kept, self)
        except RuntimeError:
            pass  # the queue is full


def deepsleep(time_ms: int) -> None:
    """End the process, as a reset later would begin it anew."""
    print("asleep for %d ms" % time_ms)
    sys.exit(77)
