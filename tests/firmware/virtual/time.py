"""A fake of the ESP32's `time` whose time passes only while somebody waits for it.

Ticks have an ESP32's period; seconds count from 2000, and until somebody sets the clock it is the
first of January 2000.
"""

import sys as _sys

# With no search path, the name finds the module that is built in.
_path = _sys.path
_sys.path = ()
try:
    from time import gmtime as _gmtime
    from time import ticks_add as ticks_add
    from time import ticks_diff as ticks_diff
finally:
    _sys.path = _path

_EPOCH_2000_S = 946684800
_TICKS_MASK = 0x3FFFFFFF
_START_TICKS = 0x3FF00000  # they wrap after 17 minutes
_state = [0, 0]  # ms since the start, seconds of the clock before it
SLEEP_MS_MIN = [0]  # a sleep takes as long at least: a day has too many steps of 50 ms
on_sleep = []  # called with ms since the start, after each sleep


def now_ms() -> int:
    """Return ms since the start."""
    return _state[0]


def advance(wait_ms: int) -> None:
    """Let time pass."""
    _state[0] += wait_ms


def ticks_ms() -> int:
    """Return what a board would."""
    return _START_TICKS + _state[0] & _TICKS_MASK


def sleep_ms(wait_ms: int) -> None:
    """Sleep."""
    advance(max(wait_ms, SLEEP_MS_MIN[0]))
    for call in on_sleep:
        call(_state[0])


def time() -> int:
    """Return seconds since 2000."""
    return _state[1] + _state[0] // 1000


def gmtime(second: int) -> "tuple[int, ...]":
    """Return the eight fields of a second since 2000."""
    return tuple(_gmtime(second + _EPOCH_2000_S))[:8]


def set_clock(second: int) -> None:
    """Set the clock; only the fake ntptime knows this function."""
    _state[1] = second - _state[0] // 1000
