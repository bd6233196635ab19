"""The base load of each night, and whether the last one was unusual. Pure."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, time, timedelta
from typing import NamedTuple

from wattlog_host.history.gauge import NIGHT_HOURS, QUARTER_MS, Quarter
from wattlog_host.history.zone import Zone

NIGHTS_MAX = 28
NIGHTS_MIN = 7
HOUR_QUARTERS = 4
WATTS_MIN = 50
"""A smaller difference is never unusual."""
SPREADS = 4
STILL = 0.7
"""What was unusual is so until the difference is smaller by this."""


class Night(NamedTuple):
    """A night, by the day on which it ended, and the mean power of its lowest hour."""

    day: date
    watts: float


def nights_of(found: Sequence[Quarter], zone: Zone) -> list[Night]:
    """Return the nights of which a whole hour is known; means are in mW, as they are stored."""
    made: list[Night] = []
    if not found:
        return made
    starts = [one.start_ms for one in found]
    day, last = zone.day(starts[0]), zone.day(starts[-1])
    while day <= last:
        low, high = (
            bisect_left(starts, zone.at(day, time(hour)))
            for hour in (NIGHT_HOURS.start, NIGHT_HOURS.stop)
        )
        means = [
            sum(one.mean for one in found[index : index + HOUR_QUARTERS]) / HOUR_QUARTERS
            for index in range(low, high - HOUR_QUARTERS + 1)
            if starts[index + HOUR_QUARTERS - 1] - starts[index]
            == (HOUR_QUARTERS - 1) * QUARTER_MS
        ]
        if means:
            made.append(Night(day, min(means) / 1000))
        day += timedelta(days=1)
    return made


class Compared(NamedTuple):
    """The last night beside what is usual, in W, and from which difference on it is unusual."""

    watts: float
    usual_watts: float
    limit_watts: float

    def is_unusual(self, *, was: bool) -> bool:
        """Tell whether it is; was, whether the night before was."""
        limit_watts = self.limit_watts * (STILL if was else 1)
        return abs(self.watts - self.usual_watts) > limit_watts


def compared(nights: Sequence[Night], today: date, percent: int) -> Compared | None:
    """Return the night that ended today beside those before; None where one is not known."""
    if not nights or nights[-1].day != today:
        return None
    before = [one.watts for one in nights if today - one.day <= timedelta(days=NIGHTS_MAX)][:-1]
    if len(before) < NIGHTS_MIN:
        return None
    usual = _middle(before)
    spread = _middle([abs(one - usual) for one in before])
    limit = max(WATTS_MIN, abs(usual) * percent / 100, SPREADS * spread)
    return Compared(nights[-1].watts, usual, limit)


def _middle(found: Sequence[float]) -> float:
    rising = sorted(found)
    half = len(rising) // 2
    return rising[half] if len(rising) % 2 else (rising[half - 1] + rising[half]) / 2
