"""The house's calendar: days of 23, 24 and 25 hours, weeks from Monday, months, years."""

import contextlib
import re
import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

HOUR_MS = 3_600_000
UNITS = ("hour", "day", "week", "month", "year")

_LINK = Path("/etc/localtime")
_DAYS_KEPT = 20_000


class NoSuchTime(ValueError):
    """A local time that the clock skips, or shows twice; str() says which."""


class Zone:
    """Local time of one place; instants are ms since 1970 UTC."""

    def __init__(self, info: tzinfo, name: str) -> None:
        """Take the zone's rules and the name to show."""
        self.info = info
        self.name = name
        self.day_start = lru_cache(_DAYS_KEPT)(self._day_start)

    def local(self, time_ms: int) -> datetime:
        """Return the local date and time with its offset."""
        seconds, milliseconds = divmod(time_ms, 1000)
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000)
        return moment.astimezone(self.info)

    def day(self, time_ms: int) -> date:
        """Return the local date."""
        return self.local(time_ms).date()

    def offset_ms(self, time_ms: int) -> int:
        """Return what to add to UTC for local time."""
        offset = self.local(time_ms).utcoffset()
        assert offset is not None, "made with a zone"
        return offset // timedelta(milliseconds=1)

    def local_ms(self, time_ms: int) -> int:
        """Return what the wall clock shows, as ms since it showed 1970."""
        return time_ms + self.offset_ms(time_ms)

    def iso(self, time_ms: int) -> str:
        """Return the time as ISO-8601 with its offset, to the second where it is a whole one."""
        exact = "milliseconds" if time_ms % 1000 else "seconds"
        return self.local(time_ms).isoformat(timespec=exact)

    def _day_start(self, day: date) -> int:
        # Where the clock skips midnight, the offset before the jump names the jump itself, which
        # is the first moment of the day; where it shows midnight twice, the day has the first.
        return self._instant(datetime(day.year, day.month, day.day), 0)  # noqa: DTZ001

    def instants(self, moment: datetime) -> Sequence[int]:
        """Return when the clock shows a local date and time, rising: never, once or twice."""
        first, second = self._instant(moment, 0), self._instant(moment, 1)
        if first == second:
            return (first,)
        # Where the clock skips it, what the offset before the jump makes of it comes later.
        return (first, second) if first < second else ()

    def instant(self, moment: datetime) -> int:
        """Return the instant of a local date and time without an offset.

        Raises NoSuchTime where the clock does not show it, or does so twice.
        """
        found = self.instants(moment)
        if len(found) == 1:
            return found[0]
        shown = moment.isoformat(sep=" ", timespec="minutes")
        if not found:
            raise NoSuchTime(f"{shown} does not exist in {self.name}: the clock skips it")
        either = " or ".join(self.iso(one) for one in found)
        raise NoSuchTime(f"{shown} comes twice in {self.name}: say {either}")

    def start(self, unit: str, time_ms: int) -> int:
        """Return when the unit of the calendar began that this instant is in."""
        if unit == "hour":
            full_ms = self._full_hour(time_ms)
            return self._clock_change(full_ms, time_ms + 1, full_ms)
        return self.day_start(_first_day(unit, self.day(time_ms)))

    def next(self, unit: str, time_ms: int) -> int:
        """Return when the unit after that of this instant begins."""
        if unit == "hour":
            end_ms = self._full_hour(time_ms) + HOUR_MS
            return self._clock_change(self.start("hour", time_ms), end_ms, end_ms)
        first = _first_day(unit, self.day(time_ms))
        return self.day_start(_next_first_day(unit, first))

    def cuts(self, unit: str, start_ms: int, end_ms: int, count_max: int) -> list[int]:
        """Return start_ms, each beginning of a unit after it and before end_ms, and end_ms.

        At most count_max of them: then the last one lies before end_ms.
        """
        cuts = [start_ms]
        while len(cuts) < count_max:
            after = self.next(unit, cuts[-1])
            if after >= end_ms:
                cuts.append(end_ms)
                break
            cuts.append(after)
        return cuts

    def shifted(self, time_ms: int, days: int) -> int:
        """Return the instant so many days later that the clock shows the same."""
        return self.later(time_ms, 24 * HOUR_MS * days)

    def later(self, time_ms: int, shown_ms: int) -> int:
        """Return the instant at which the wall clock has moved on by so much.

        Where it skips that time it is as much later, where it comes twice it is the first.
        """
        moment = self.local(time_ms).replace(tzinfo=None) + timedelta(milliseconds=shown_ms)
        return self._instant(moment, 0)

    def at(self, day: date, clock: time) -> int:
        """Return when the clock shows this time of a day; where it does so twice, the first."""
        return self._instant(datetime.combine(day, clock), 0)

    def _instant(self, moment: datetime, fold: int) -> int:
        aware = moment.replace(tzinfo=self.info, fold=fold)
        return (aware - _EPOCH) // timedelta(milliseconds=1)

    def _full_hour(self, time_ms: int) -> int:
        """Return the full hour before, as the wall clock shows it; some zones have it at :30."""
        return time_ms - (time_ms + self.offset_ms(time_ms)) % HOUR_MS

    def _clock_change(self, start_ms: int, end_ms: int, default_ms: int) -> int:
        """Return when the clock moves by no full hours within start < t < end, else default_ms."""
        before, after = self.offset_ms(start_ms), self.offset_ms(end_ms - 1)
        if (before - after) % HOUR_MS == 0:
            return default_ms
        # Only Lord Howe Island moves its clock by half an hour; on a quarter of an hour, as all.
        quarters = range(start_ms, end_ms, HOUR_MS // 4)
        index = bisect_right(quarters, False, key=lambda at: self.offset_ms(at) != before)
        return quarters[index] if index < len(quarters) else default_ms


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def named_zone(name: str) -> Zone:
    """Return the zone of this IANA name; raise ValueError, with a hint, where there is none."""
    try:
        # ZoneInfo takes names of files too; only a name that is one is given to it.
        if re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}", name):
            return Zone(ZoneInfo(name), name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise ValueError('is no time zone; write one like "Europe/Berlin"')


def zone_or_offset(name: str) -> Zone:
    """Return the zone of this IANA name, or of an offset all year; raise ValueError as above."""
    found = re.fullmatch(r"([+-])(0\d|1[0-4]):([0-5]\d)", name, re.ASCII)
    if found is not None:
        ahead = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return Zone(timezone(-ahead if found[1] == "-" else ahead), name)
    try:
        return named_zone(name)
    except ValueError as err:
        raise ValueError(f"{err}, or an offset like +01:00") from None


def machine_zone(environ: Mapping[str, str], link: Path = _LINK) -> Zone:
    """Return the zone that this machine is set to; UTC where it is set to none.

    TZ may be a name, a file's path, or rules as POSIX has them, like CET-1CEST,M3.5.0,M10.5.0/3.
    """
    try:
        target = str(link.resolve(strict=True)).partition("/zoneinfo/")[2]
    except OSError:
        target = ""
    wanted = environ.get("TZ", "").removeprefix(":")
    for name in (wanted, wanted.partition("/zoneinfo/")[2]):
        with contextlib.suppress(ValueError):
            return named_zone(name)
    if wanted:
        with contextlib.suppress(ValueError):
            return _zone_by_rules(wanted)
    with contextlib.suppress(ValueError):
        return named_zone(target)
    try:
        with link.open("rb") as file:
            return Zone(ZoneInfo.from_file(file), "local")
    except (OSError, ValueError):
        return Zone(UTC, "UTC")


def _zone_by_rules(text: str) -> Zone:
    """Return the zone of these rules; raise ValueError for anything else.

    They are read where a file of zones (RFC 9636) has them for the years beyond its table: so
    here is a file whose table says nothing.
    """
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("is no rule")
    table = struct.pack(">4sc15x6llbb4s", b"TZif", b"2", 0, 0, 0, 0, 1, 4, 0, 0, 0, b"UTC")
    file = BytesIO(table + table + f"\n{text}\n".encode())
    return Zone(ZoneInfo.from_file(file), "local")


def _first_day(unit: str, day: date) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    if unit == "month":
        return day.replace(day=1)
    if unit == "year":
        return day.replace(month=1, day=1)
    assert unit == "day", unit
    return day


def _next_first_day(unit: str, first: date) -> date:
    # 32 days from the first of a month, and 366 from that of a year, always reach the next one.
    longest = {"day": 1, "week": 7, "month": 32, "year": 366}[unit]
    return _first_day(unit, first + timedelta(days=longest))
