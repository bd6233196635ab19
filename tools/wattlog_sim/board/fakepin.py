"""The fake board's `machine.Pin`, in a file of its own: few tests need it."""

import os
import sys


class Pin:
    """An output, which BOARD_LED_FILE takes down: a character for each change."""

    OUT = 3

    def __init__(self, number: int, _mode: int) -> None:
        self.number = number
        self._level = -1
        self._path = os.getenv("BOARD_LED_FILE")

    def value(self, level: int) -> None:
        """Set the level."""
        if level != self._level:
            self._level = level
            if self._path:
                with open(self._path, "a") as file:
                    file.write("1" if level else "0")


def deepsleep(time_ms: int) -> None:
    """End the process, as a reset later would begin it anew."""
    print("asleep for %d ms" % time_ms)
    sys.exit(77)
