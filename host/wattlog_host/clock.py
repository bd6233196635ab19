"""The only place of the host that reads a clock; everything else takes now_ms.

And the only one that knows, for the whole process, where the house is: what a state, a message
or an answer calls local is the time there, and not where the machine thinks it is (a container
thinks UTC).
"""

import time
from datetime import UTC, datetime, tzinfo

_zone: tzinfo | None = None
"""Until somebody says, the machine's."""


def show_times_of(zone: tzinfo) -> None:
    """Have local times be those of this zone from now on."""
    global _zone  # noqa: PLW0603
    _zone = zone


def now_ms() -> int:
    """Return the wall clock in ms since 1970 UTC; it may step."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Return a clock for durations: it never steps, its zero means nothing."""
    return time.monotonic_ns() // 1_000_000


def local_iso(time_ms: int) -> str:
    """Return the time as ISO-8601 in the zone of the house with its offset, to the millisecond."""
    moment = _local(time_ms // 1000)
    return moment.replace(microsecond=time_ms % 1000 * 1000).isoformat(timespec="milliseconds")


def local_text(time_ms: int, now_ms: int) -> str:
    """Return the time for a person: the clock, and the date where it is not today's."""
    moment = _local(time_ms // 1000)
    is_today = moment.date() == _local(now_ms // 1000).date()
    return moment.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def log_time(seconds: float | None = None) -> time.struct_time:
    """Return the local time as logging wants it."""
    return _local(int(time.time() if seconds is None else seconds)).timetuple()


def _local(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(_zone)
