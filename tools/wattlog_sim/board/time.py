"""A fake of the ESP32's `time` over the unix port's own.

Seconds count from 2000 and are whole, gmtime() has eight fields, and until somebody sets the
clock it is the first of January 2000. Ticks and sleeping are the host's.
"""

import sys as _sys

# With no search path, the name finds the module that is built in.
_path = _sys.path
_sys.path = ()
try:
    from time import *  # noqa: F403
    from time import gmtime as _gmtime
    from time import time as _time
finally:
    _sys.path = _path

_EPOCH_2000_S = 946684800
_offset_s = -int(_time())


def time() -> int:
    """Return seconds since 2000."""
    return int(_time()) + _offset_s


def gmtime(second: int) -> "tuple[int, ...]":
    """Return the eight fields of a second since 2000."""
    return tuple(_gmtime(second + _EPOCH_2000_S))[:8]


def set_from_host() -> None:
    """Set the clock; only the fake ntptime knows this function."""
    global _offset_s
    _offset_s = -_EPOCH_2000_S
