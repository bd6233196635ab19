"""Readings become buckets of a minute, and these the longer ones: exact integers, no clock.

A reading speaks for the time since the one before it that has the channel, if that is at most
HOLD_MS ago: so the mean of a bucket is the integral over what is covered, divided by it, and
all of it adds up, whatever the bucket's length. Readings are taken in in the order of time: a
block is the same whether it was made in one go or grew.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise

from wattlog_host.history.blocks import BUCKETS, Block
from wattlog_host.history.columns import HOLD_MS

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
MINUTES = BUCKETS[60]
QUARTER_MINUTES = 15

WOBBLE = 50 * 10**5
"""A counter that falls by no more, 50 Wh, was read by two heads whose clocks differ."""


Points = Sequence[tuple[int, int]]


def fold(block: Block, hour_ms: int, points: Points) -> None:
    """Take one channel's readings (time_ms, value) of one hour into its block of minutes.

    They come in the order of time; those up to the block's tail are passed over. What lies before
    the hour says since when the first reading in it speaks, and the first one behind it speaks for
    its end.
    """
    # A tail of 0 is never near enough to speak since then.
    before = block.tail_ms - hour_ms
    own = [(time_ms - hour_ms, value) for time_ms, value in points if time_ms - hour_ms > before]
    closing = next((at for at, (at_ms, _) in enumerate(own) if at_ms >= HOUR_MS), len(own))
    del own[closing + 1 :]
    if not own or before >= HOUR_MS:
        return
    if block.is_counter:
        _fold_counter(block, before, own)
    else:
        _fold_gauge(block, before, own)
    block.tail_ms = hour_ms + own[-1][0]


def _spoken(before: int, points: Points) -> Iterator[tuple[int, int, Sequence[tuple[int, int]]]]:
    """Yield each reading with the minutes of the hour that it speaks for, and for how many ms."""
    for at_ms, value in points:
        minutes = []
        if at_ms - before <= HOLD_MS and at_ms > 0:
            at, end = max(before, 0), min(at_ms, HOUR_MS)
            while at < end:
                minute = at // MINUTE_MS
                length = min((minute + 1) * MINUTE_MS, end) - at
                at += length
                minutes.append((minute, length))
        yield at_ms, value, minutes
        before = at_ms


def _fold_gauge(block: Block, before: int, points: Points) -> None:
    columns = block.columns
    readings, integral, covered_ms = (columns[k] for k in ("readings", "integral", "covered_ms"))
    for at_ms, value, minutes in _spoken(before, points):
        for minute, length in minutes:
            _reach(columns, minute, value)
            covered_ms[minute] += length
            integral[minute] += value * length
        if 0 <= at_ms < HOUR_MS:
            minute = at_ms // MINUTE_MS
            _reach(columns, minute, value)
            readings[minute] += 1


def _reach(columns: dict[str, "array[int]"], minute: int, value: int) -> None:
    """Let the minute's extremes reach to a value that speaks in it."""
    if not (columns["covered_ms"][minute] or columns["readings"][minute]):
        columns["minimum"][minute] = columns["maximum"][minute] = value
    elif value < columns["minimum"][minute]:
        columns["minimum"][minute] = value
    elif value > columns["maximum"][minute]:
        columns["maximum"][minute] = value


def _fold_counter(block: Block, before: int, points: Points) -> None:
    columns = block.columns
    first_ms, first, last_ms = columns["first_ms"], columns["first"], columns["last_ms"]
    last, rise, readings = columns["last"], columns["rise"], columns["readings"]
    covered_ms = columns["covered_ms"]
    high = block.high if block.tail_ms else None
    for at_ms, value, minutes in _spoken(before, points):
        for minute, length in minutes:
            covered_ms[minute] += length
        stands = value
        if high is not None and high - WOBBLE <= value < high:
            stands = high
        if 0 <= at_ms < HOUR_MS:
            minute, rest_ms = divmod(at_ms, MINUTE_MS)
            if not readings[minute]:
                first_ms[minute], first[minute] = rest_ms, stands
            elif stands >= last[minute]:
                rise[minute] += stands - last[minute]
            else:
                columns["falls"][minute] += 1
            last_ms[minute], last[minute] = rest_ms, stands
            readings[minute] += 1
        high = stands
    block.high = high or 0


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
