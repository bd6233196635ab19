"""A fake of the ESP32's `ntptime` in virtual time: it waits for as long as it may."""

import errno
import time

host = ""
timeout = 1
answers = [True]
_NOON_S = 846_936_000  # 2026-11-02, since 2000


def settime() -> None:
    """Set the board's clock; where nobody answers, only after the timeout."""
    if not answers[0]:
        time.advance(timeout * 1000)
        raise OSError(errno.ETIMEDOUT)
    time.set_clock(_NOON_S + time.now_ms() // 1000)
