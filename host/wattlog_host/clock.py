"""The only place of the host that reads a clock; everything else takes now_ms."""

import time
from datetime import datetime


def now_ms() -> int:
    """Return the wall clock in ms since 1970 UTC; it may step."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Return a clock for durations: it never steps, its zero means nothing."""
    return time.monotonic_ns() // 1_000_000


def local_iso(time_ms: int) -> str:
    """Return the time as ISO-8601 in the host's zone with its offset, to the millisecond."""
    seconds, milliseconds = divmod(time_ms, 1000)
    moment = datetime.fromtimestamp(seconds).astimezone()
    return moment.replace(microsecond=milliseconds * 1000).isoformat(timespec="milliseconds")


def local_text(time_ms: int, now_ms: int) -> str:
    """Return the time for a person: the clock, and the date where it is not today's."""
    moment = datetime.fromtimestamp(time_ms // 1000).astimezone()
    today = datetime.fromtimestamp(now_ms // 1000).astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M:%S")
