"""A gauge over time, of one meter or summed over a house: curves, means, what is always on."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import time, timedelta
from operator import attrgetter
from typing import NamedTuple

from wattlog_host.history.columns import STEPS_S, Gauges, History
from wattlog_host.history.energy import FINEST_S, Power, joined, power
from wattlog_host.history.house import Member
from wattlog_host.history.zone import HOUR_MS, Zone
from wattlog_host.units import BY_KEY

POWER_KEY = "power_w"
POWER_KEYS = (POWER_KEY, "power_avg_w")
"""What tells a meter's power: what it measures, else what we work out from its counters."""

QUARTER_S = 900
QUARTER_MS = 1000 * QUARTER_S
MINUTES_MS_MAX = 6 * HOUR_MS
"""A shorter time is summed up from minutes, a longer one from hours and minutes at its ends."""

NIGHT_HOURS = range(1, 5)
BASE_PERCENT = 10
BASE_QUARTERS_MIN = 16
"""A night has 16 of them: base load is told from a whole night on."""
SPOKEN_MIN = 0.5
"""The part of a quarter of an hour that readings must speak for, to be a peak or a base load."""
PEAKS = 5
PEAK_APART_MS = HOUR_MS

WIDTHS_S = (
    60, 120, 180, 300, 600, 900, 1800, 3600,
    2 * 3600, 3 * 3600, 4 * 3600, 6 * 3600, 12 * 3600, 24 * 3600,
)  # fmt: skip
"""The buckets of a curve; each begins at a multiple of its length since 1970 UTC."""


class Quarter(NamedTuple):
    """A quarter of an hour and its mean in stored units."""

    start_ms: int
    mean: float


class Curve(NamedTuple):
    """Merged buckets, rising; a run of missing ones is one row of None."""

    start_ms: list[int]
    minimum: list[int | None]
    mean: list[float | None]
    maximum: list[int | None]
    covered_ms: list[int]


def channel_of(member: Member, key: str) -> int | None:
    """Return the channel of this key that the meter has; None for none."""
    for one in POWER_KEYS if key == POWER_KEY else (key,):
        channel: int = BY_KEY[one].id
        if channel in member.meter.channels:
            return channel
    return None


def width_for(span_ms: int, points_max: int) -> tuple[int, int]:
    """Return (bucket of the curve, bucket to ask for) in seconds, for at most so many points.

    Ends that lie within buckets make one more of them.
    """
    least_s = -(-span_ms // (1000 * points_max))
    day_s = WIDTHS_S[-1]
    width_s = next((one for one in WIDTHS_S if one >= least_s), -(-least_s // day_s) * day_s)
    return width_s, max(step for step in STEPS_S if width_s % step == 0)


def gauges_of(
    history: History, members: Sequence[Member], key: str, span: tuple[int, int], step_s: int
) -> Gauges:
    """Return the buckets of a gauge, summed over the members; only where all of them have it.

    Of a sum the extremes are bounds: those of its parts need not have come at once.
    """
    empty = Gauges(*([] for _ in Gauges._fields))
    channels = [channel_of(member, key) for member in members]
    parts = []
    for member, channel in zip(members, channels, strict=True):
        if channel is not None:
            parts.append(history.gauges(member.meter.id, channel, *span, step_s))
        elif member.overlap_ms(*span):
            return empty
    if len(members) == 1:
        return parts[0] if parts else empty
    present = [member for member, one in zip(members, channels, strict=True) if one is not None]
    return _summed(present, parts, 1000 * step_s)


def _summed(members: Sequence[Member], parts: Sequence[Gauges], step_ms: int) -> Gauges:
    found = Gauges(*([] for _ in Gauges._fields))
    places = [{start: index for index, start in enumerate(part.start_ms)} for part in parts]
    for start_ms in sorted(set().union(*places)):
        rows = []
        for member, part, place in zip(members, parts, places, strict=True):
            index = place.get(start_ms)
            if index is not None:
                rows.append([column[index] for column in part])
            elif member.overlap_ms(start_ms, start_ms + step_ms):
                break
        else:
            _add_sum(found, start_ms, rows)
    return found


def _add_sum(found: Gauges, start_ms: int, rows: Sequence[Sequence[int]]) -> None:
    covered_ms = min(row[4] for row in rows)
    integral = sum(row[3] * covered_ms // row[4] for row in rows) if covered_ms else 0
    sums = (
        start_ms, sum(row[1] for row in rows), sum(row[2] for row in rows), integral, covered_ms,
        min(row[5] for row in rows),
    )  # fmt: skip
    for column, value in zip(found, sums, strict=True):
        assert isinstance(column, list), "made above"
        column.append(value)


def power_of(
    history: History, members: Sequence[Member], key: str, start_ms: int, end_ms: int
) -> Power:
    """Return a gauge over a time, weighted by time."""
    if end_ms - start_ms <= MINUTES_MS_MAX:
        pieces = [(start_ms, end_ms, FINEST_S)]
    else:
        low_ms, high_ms = -(-start_ms // HOUR_MS) * HOUR_MS, end_ms // HOUR_MS * HOUR_MS
        pieces = [
            (start_ms, low_ms, FINEST_S), (low_ms, high_ms, 3600), (high_ms, end_ms, FINEST_S),
        ]  # fmt: skip
    return joined(
        [
            power(gauges_of(history, members, key, (low, high), step_s), step_s, low, high)
            for low, high, step_s in pieces
            if low < high
        ]
    )


def curve(gauges: Gauges, step_ms: int, width_ms: int) -> Curve:
    """Merge buckets into longer ones."""
    out = Curve([], [], [], [], [])
    index, count = 0, len(gauges.start_ms)
    starts, low, high, integral, spoken, _ = gauges
    after_ms = None
    while index < count:
        start_ms = starts[index] - starts[index] % width_ms
        # Mostly none is missing: then it is known where the next one begins.
        end = index + (start_ms + width_ms - starts[index]) // step_ms
        if end > count or starts[end - 1] != start_ms + width_ms - step_ms:
            end = bisect_left(starts, start_ms + width_ms, index)
        if after_ms is not None and start_ms > after_ms:
            _add(out, after_ms, None, None, None, 0)
        minimum, maximum = min(low[index:end]), max(high[index:end])
        covered_ms = sum(spoken[index:end])
        mean = sum(integral[index:end]) / covered_ms if covered_ms else None
        if mean is None and minimum == maximum:
            mean = minimum  # lone readings that agree
        _add(out, start_ms, minimum, mean, maximum, covered_ms)
        after_ms, index = start_ms + width_ms, end
    return out


def _add(
    out: Curve,
    start_ms: int,
    minimum: int | None,
    mean: float | None,
    maximum: int | None,
    covered_ms: int,
) -> None:
    out.start_ms.append(start_ms)
    out.minimum.append(minimum)
    out.mean.append(mean)
    out.maximum.append(maximum)
    out.covered_ms.append(covered_ms)


def quarters(gauges: Gauges) -> list[Quarter]:
    """Return those quarters of an hour of which enough is known, with their means."""
    return [
        Quarter(start_ms, integral / covered_ms)
        for start_ms, integral, covered_ms in zip(
            gauges.start_ms, gauges.integral, gauges.covered_ms, strict=True
        )
        if covered_ms >= SPOKEN_MIN * QUARTER_MS
    ]


def base_load(found: Sequence[Quarter], zone: Zone) -> float | None:
    """Return what is always on: the tenth percentile of the means from 1 to 5 o'clock at night."""
    if not found:
        return None
    starts = [one.start_ms for one in found]
    nights: list[float] = []
    day, last = zone.day(starts[0]), zone.day(starts[-1])
    while day <= last:
        low, high = (
            bisect_left(starts, zone.at(day, time(hour)))
            for hour in (NIGHT_HOURS.start, NIGHT_HOURS.stop)
        )
        nights += [one.mean for one in found[low:high]]
        day += timedelta(days=1)
    if len(nights) < BASE_QUARTERS_MIN:
        return None
    return sorted(nights)[(len(nights) - 1) * BASE_PERCENT // 100]


def peaks(found: Sequence[Quarter]) -> list[Quarter]:
    """Return the highest means, each at least an hour from a higher one."""
    kept: list[Quarter] = []
    for one in sorted(found, key=attrgetter("mean"), reverse=True):
        if len(kept) == PEAKS:
            break
        if all(abs(one.start_ms - other.start_ms) >= PEAK_APART_MS for other in kept):
            kept.append(one)
    return kept
