"""The days of a house one by one, what is usual, and how a day compares with it."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate, pairwise

from wattlog_host.history.columns import HOLD_MS
from wattlog_host.history.figures import Counts
from wattlog_host.history.house import IMPORT

MONTH_DAYS = 30
YEAR_DAYS = 365


@dataclass(frozen=True, slots=True)
class Days:
    """All days of the book, rising: import in stored units, and whether a day tells what is usual.

    One does that is over, has readings, and whose counters were known at both its ends: today does
    not, nor does the day of the first reading.
    """

    days: Sequence[date]
    imported: Sequence[int]
    is_usual: Sequence[bool]
    _sums: Sequence[int]
    _counts: Sequence[int]

    def average(self, index: int, days: int) -> float | None:
        """Return the mean of the usual ones among so many calendar days, this one the last."""
        first = max(0, index + 1 - days)
        count = self._counts[index + 1] - self._counts[first]
        return (self._sums[index + 1] - self._sums[first]) / count if count else None

    def index(self, day: date) -> int | None:
        """Return where a day is, None for one that the book does not have."""
        index = bisect_right(self.days, day) - 1
        return index if index >= 0 and self.days[index] == day else None


def days_of(counts: Counts) -> Days:
    """Return the days of the book; without any import there is none that is usual."""
    lines = counts.lines
    days, places = lines.days, lines.day_line
    imported = [0] * len(days)
    is_usual = [counts.has(IMPORT)] * len(days)
    starts = lines.starts
    covered = [0] * len(days)
    for member in counts.members:
        for channel in member.channels(IMPORT):
            column = counts.column(member.meter.id, channel)
            climbs, spoken = column.climbs(), column.covered()
            for index, (place, after) in enumerate(pairwise(places)):
                imported[index] += climbs[after] - climbs[place]
                covered[index] += spoken[after] - spoken[place]
        first_ms, last_ms = member.meter.first_ms, member.meter.last_ms
        # Before a later meter, and after one that was exchanged, the house does without it.
        low_ms = first_ms if member.start_ms < first_ms else member.start_ms
        high_ms = last_ms if member.end_ms > counts.now_ms else member.end_ms
        for index, start_ms in enumerate(starts[:-1]):
            end_ms = starts[index + 1]
            if member.overlap_ms(start_ms, end_ms) and not (
                low_ms - HOLD_MS <= max(start_ms, member.start_ms)
                and min(end_ms, member.end_ms) <= high_ms + HOLD_MS
            ):
                is_usual[index] = False
    for index, end_ms in enumerate(starts[1:]):
        is_usual[index] = is_usual[index] and covered[index] > 0 and end_ms <= counts.now_ms
    kept = [amount if usual else 0 for amount, usual in zip(imported, is_usual, strict=True)]
    return Days(
        days, imported, is_usual, [0, *accumulate(kept)], [0, *accumulate(map(int, is_usual))]
    )
