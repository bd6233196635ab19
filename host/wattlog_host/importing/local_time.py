"""When it was, of clock readings without an offset: an hour comes twice, another never."""

from datetime import datetime, timedelta

from wattlog_host.history.zone import NoSuchTime, Zone

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what is counted is a clock's reading
_MS = timedelta(milliseconds=1)
_QUARTER_MS = 900_000
# Rows are further apart than this only where something was missing in between.
_PAUSE_MS = 900_000
_BACK_MS_MAX = 5_000


class LocalTimes:
    """Turns clock readings, in the order in which they were taken, into ms since 1970 UTC.

    doubled  how many lay in an hour that came twice: the first, but behind a row that was later
    unsure   how many of those came after a pause, in which the clock may have been set back
    """

    def __init__(self, zone: Zone) -> None:
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
            raise NoSuchTime(f"{moment} does not exist in {self.zone.name}")
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
        """Return the offsets that clock readings of this quarter of an hour may have had."""
        minute = moment.minute - moment.minute % 15
        begin = moment.replace(minute=minute, second=0, microsecond=0)
        return tuple((begin - _EPOCH) // _MS - at for at in self.zone.instants(begin))
