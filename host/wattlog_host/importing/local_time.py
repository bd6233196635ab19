"""When it was, of clock readings without an offset: an hour comes twice, another never."""

import os
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wattlog_host.importing.rows import ImportFailed

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what is counted is a clock's reading
_MS = timedelta(milliseconds=1)
_QUARTER_MS = 900_000
# Rows are further apart than this only where something was missing in between.
_PAUSE_MS = 900_000
_BACK_MS_MAX = 5_000


class NoSuchTime(Exception):
    """The clocks were set forward over this time: in this zone it never was."""


def zone_of(name: str | None) -> tzinfo:
    """Return the zone of this name, or offset like +01:00; the machine's own for None."""
    if name is None:
        return _own_zone()
    if name[:1] in "+-" and len(name) == 6 and name[3] == ":":
        digits = name[1:3] + name[4:]
        if digits.isascii() and digits.isdigit() and int(name[4:]) < 60 and int(name[1:3]) < 15:
            offset = timedelta(hours=int(name[1:3]), minutes=int(name[4:]))
            return timezone(-offset if name[0] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ImportFailed(
            f"there is no time zone {name}; it is like Europe/Berlin, or an offset like +01:00"
        ) from None


def _own_zone() -> tzinfo:
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        # Debian's link names the zone; a copy of its file is as good.
        target = Path("/etc/localtime").resolve()
        if "zoneinfo" in target.parts:
            return ZoneInfo("/".join(target.parts[target.parts.index("zoneinfo") + 1 :]))
        with target.open("rb") as file:
            return ZoneInfo.from_file(file, "the machine's own zone")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


class LocalTimes:
    """Turns clock readings, in the order in which they were taken, into ms since 1970 UTC.

    doubled  how many lay in an hour that came twice: the first, but behind a row that was later
    unsure   how many of those came after a pause, in which the clock may have been set back
    """

    def __init__(self, zone: tzinfo) -> None:
        """Take the zone that the clock showed."""
        self.zone = zone
        self.doubled = 0
        self.unsure = 0
        self._last_ms: int | None = None
        self._offsets: dict[int, tuple[int, ...]] = {}

    def ms(self, moment: datetime) -> int:
        """Return when it was; raise NoSuchTime. One that has an offset is taken at its word."""
        offset = moment.utcoffset()
        if offset is not None:
            self._last_ms = (moment.replace(tzinfo=None) - _EPOCH - offset) // _MS
            return self._last_ms
        wall_ms = (moment - _EPOCH) // _MS
        quarter = wall_ms // _QUARTER_MS
        offsets = self._offsets.get(quarter)
        if offsets is None:
            if len(self._offsets) > 1_000:
                self._offsets.clear()
            offsets = self._offsets[quarter] = self._offsets_of(moment)
        if not offsets:
            raise NoSuchTime
        time_ms = wall_ms - offsets[0]
        if len(offsets) == 2:
            time_ms = self._one_of(time_ms, wall_ms - offsets[1])
        self._last_ms = time_ms
        return time_ms

    def _one_of(self, first_ms: int, second_ms: int) -> int:
        self.doubled += 1
        last_ms = self._last_ms
        if last_ms is None:
            self.unsure += 1
            return first_ms
        # Rows come in the order of time, but for what a time server puts right.
        time_ms = first_ms if first_ms >= last_ms - _BACK_MS_MAX else second_ms
        self.unsure += abs(time_ms - last_ms) > _PAUSE_MS
        return time_ms

    def _offsets_of(self, moment: datetime) -> tuple[int, ...]:
        """Return the offsets that this clock reading may have had: none, one or two."""
        found = []
        for fold in (0, 1):
            local = moment.replace(tzinfo=self.zone, fold=fold)
            there = local.astimezone(UTC).astimezone(self.zone)
            if there.replace(tzinfo=None, fold=0) == moment.replace(fold=0):
                offset = local.utcoffset()
                assert offset is not None
                found.append(offset // _MS)
        return tuple(dict.fromkeys(found))
