"""Points in time as a visitor writes them: one meaning, or an error that says what is wrong."""

import re
from datetime import UTC, datetime, timedelta, timezone

from wattlog_host.history.zone import NoSuchTime, Zone

EXAMPLE = "2026-11-27T08:00:00+01:00"
SECONDS_BELOW = 100_000_000_000
"""A number below is a time in seconds (1973 in ms, the year 5138 in s)."""
TIME_MS_MIN, TIME_MS_MAX = -86_400_000, 32_503_680_000_000
"""The local year 1970, wherever that is, and 3000."""

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?) ?([Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
# In an address a "+" that was not escaped arrives as a space.
_LOST_PLUS = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d[\d:.,]*) (\d\d(?::?\d\d)?)", re.ASCII)


def parse_time(text: str, zone: Zone) -> int:
    """Return the instant in ms since 1970 UTC; raise ValueError with what is wrong.

    It is a number of ms, ISO-8601 with an offset or Z, or a local date with or without time.
    """
    if re.fullmatch(r"[+-]?\d{1,20}", text.strip(), re.ASCII):
        return _of_number(int(text))
    lost = _LOST_PLUS.fullmatch(text.strip())
    found = _ISO.fullmatch(f"{lost[1]}+{lost[2]}" if lost else text.strip())
    if found is None:
        raise ValueError(f'is no time; write ISO-8601 like "{EXAMPLE}", a date, or ms since 1970')
    day, clock, offset = found.groups()
    try:
        moment = datetime.fromisoformat(day if clock is None else f"{day} {_cut(clock)}")
        if clock is None:
            time_ms = zone.day_start(moment.date())
        elif offset is None:
            time_ms = zone.instant(moment)
        else:
            time_ms = _of_offset(moment, offset)
    except NoSuchTime:
        raise
    except (ValueError, OverflowError) as err:
        raise ValueError(f'is no time that exists; write one like "{EXAMPLE}"') from err
    return _bounded(time_ms)


def _cut(clock: str) -> str:
    """Return the time of day to the millisecond, which is what we keep."""
    whole, dot, fraction = clock.replace(",", ".").partition(".")
    return whole + dot + fraction[:3].ljust(3, "0") if dot else whole


def _of_number(number: int) -> int:
    if -SECONDS_BELOW < number < SECONDS_BELOW:
        raise ValueError("looks like seconds; a number is ms since 1970: multiply it by 1000")
    return _bounded(number)


def _of_offset(moment: datetime, offset: str) -> int:
    if offset in "Zz":
        aware = moment.replace(tzinfo=UTC)
    else:
        digits = offset[1:].replace(":", "").ljust(4, "0")
        hours, minutes = int(digits[:2]), int(digits[2:])
        if hours > 23 or minutes > 59:
            raise ValueError
        ahead = timedelta(hours=hours, minutes=minutes) * (-1 if offset[0] == "-" else 1)
        aware = moment.replace(tzinfo=timezone(ahead))
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _bounded(time_ms: int) -> int:
    if not TIME_MS_MIN <= time_ms < TIME_MS_MAX:
        raise ValueError("must lie between 1970 and 3000")
    return time_ms
