"""Readings become buckets of a minute, and these the longer ones: exact integers, no clock.

A reading speaks for the time since the one before it that has the channel, if that is at most
HOLD_MS ago: so the mean of a bucket is the integral over what is covered, divided by it, and
all of it adds up, whatever the bucket's length. Readings are taken in in the order of time: a
block is the same whether it was made in one go or grew.
"""

from collections.abc import Iterator
from itertools import pairwise

from wattlog_host.history.blocks import BUCKETS, Block
from wattlog_host.history.columns import HOLD_MS

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
MINUTES = BUCKETS[60]
QUARTER_MINUTES = 15

WOBBLE = 50 * 10**5
"""A counter that falls by no more, 50 Wh, was read by two heads whose clocks differ."""


class Fold:
    """Takes one channel's readings of one hour into a block of minutes.

    Readings must come in the order of time; those up to the block's tail are passed over. What
    lies before the hour says since when the first reading speaks, and what lies behind it, who
    speaks for its end.
    """

    def __init__(self, block: Block, hour_ms: int) -> None:
        """Go on with a block, which may be an empty one."""
        self._block = block
        self._columns = block.columns
        self._hour_ms = hour_ms

    def take(self, time_ms: int, value: int) -> None:
        """Take in one reading."""
        block = self._block
        before_ms = block.tail_ms
        if time_ms <= before_ms or before_ms >= self._hour_ms + HOUR_MS:
            return
        block.tail_ms = time_ms
        at_ms = time_ms - self._hour_ms
        speaks = before_ms > 0 and time_ms - before_ms <= HOLD_MS
        if block.is_counter:
            if speaks:
                for minute, covered_ms in _minutes(before_ms - self._hour_ms, at_ms):
                    self._columns["covered_ms"][minute] += covered_ms
            self._count(at_ms, value, before_ms > 0)
            return
        if speaks:
            for minute, covered_ms in _minutes(before_ms - self._hour_ms, at_ms):
                self._extend(minute, value)
                self._columns["covered_ms"][minute] += covered_ms
                self._columns["integral"][minute] += value * covered_ms
        if 0 <= at_ms < HOUR_MS:
            minute = at_ms // MINUTE_MS
            self._extend(minute, value)
            self._columns["readings"][minute] += 1

    def _extend(self, minute: int, value: int) -> None:
        columns = self._columns
        if not self._block.is_used(minute):
            columns["minimum"][minute] = columns["maximum"][minute] = value
        elif value < columns["minimum"][minute]:
            columns["minimum"][minute] = value
        elif value > columns["maximum"][minute]:
            columns["maximum"][minute] = value

    def _count(self, at_ms: int, value: int, has_high: bool) -> None:
        """Take in what a counter stands at."""
        block = self._block
        high = block.high
        if has_high and high - WOBBLE <= value < high:
            value = high
        block.high = value
        if not 0 <= at_ms < HOUR_MS:
            return
        minute = at_ms // MINUTE_MS
        columns = self._columns
        rest_ms = at_ms % MINUTE_MS
        if not columns["readings"][minute]:
            columns["first_ms"][minute], columns["first"][minute] = rest_ms, value
        elif value >= high:
            columns["rise"][minute] += value - high
        else:
            columns["falls"][minute] += 1
        columns["last_ms"][minute], columns["last"][minute] = rest_ms, value
        columns["readings"][minute] += 1


def _minutes(from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
    """Yield (minute, ms of it) of the hour for what lies within it from from_ms to to_ms."""
    from_ms, to_ms = max(from_ms, 0), min(to_ms, HOUR_MS)
    while from_ms < to_ms:
        minute = from_ms // MINUTE_MS
        end_ms = min((minute + 1) * MINUTE_MS, to_ms)
        yield minute, end_ms - from_ms
        from_ms = end_ms


def joined(block: Block, first: int, count: int, step_ms: int = MINUTE_MS) -> tuple[int, ...]:
    """Return so many buckets of a block as one, in the order of the columns.

    All zeros where there is nothing in them.
    """
    used = [at for at in range(first, first + count) if block.is_used(at)]
    if not used:
        return (0,) * len(block.columns)
    columns = block.columns
    covered_ms = sum(columns["covered_ms"][at] for at in used)
    readings = sum(columns["readings"][at] for at in used)
    if not block.is_counter:
        return (
            min(columns["minimum"][at] for at in used),
            max(columns["maximum"][at] for at in used),
            sum(columns["integral"][at] for at in used),
            covered_ms,
            readings,
        )
    counted = [at for at in used if columns["readings"][at]]
    if not counted:
        return (0,) * 6 + (covered_ms, 0)
    begin, end = counted[0], counted[-1]
    rise = sum(columns["rise"][at] for at in counted)
    falls = sum(columns["falls"][at] for at in counted)
    for at, following in pairwise(counted):
        step = columns["first"][following] - columns["last"][at]
        rise += max(0, step)
        falls += step < 0
    return (
        columns["first_ms"][begin] + (begin - first) * step_ms,
        columns["first"][begin],
        columns["last_ms"][end] + (end - first) * step_ms,
        columns["last"][end],
        rise,
        falls,
        covered_ms,
        readings,
    )
