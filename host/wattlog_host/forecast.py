"""How large the database will be, from how it grew: no clock, no database.

Single readings are let go after some days, their buckets stay for ever. So it grows at the pace
that was measured until the oldest single readings are so old; from then on each day that comes
takes the place of one that goes, and only its buckets are more.
"""

from typing import NamedTuple

DAY_MS = 86_400_000
SPAN_MS_MIN = DAY_MS
"""What grew in less time says too little of a day."""


class Measured(NamedTuple):
    """What a store says of its size; None where it does not know.

    used_bytes     without what lies free in its files
    before         the oldest of the last weeks' sizes: (time_ms, used_bytes)
    raw_from_ms    from when on single readings are there
    raw_bytes      what single readings of the last week take, before the database's own books
    bucket_bytes   what their buckets take, likewise: only the two's relation counts
    free_bytes     what is free on its disk
    """

    now_ms: int
    used_bytes: int
    before: tuple[int, int] | None
    raw_from_ms: int | None
    raw_bytes: int
    bucket_bytes: int
    free_bytes: int | None


class Forecast(NamedTuple):
    """What will be; None where it cannot be told yet.

    day_bytes         how much it grows in a day now, as measured
    settled_bytes     how large it is once the first single readings are let go
    settled_days      in how many days that is; 0: they are
    settled_day_bytes how much it grows in a day from then on
    free_bytes        what is free on its disk now
    full_days         for how many days that lasts
    """

    day_bytes: int | None = None
    settled_bytes: int | None = None
    settled_days: int | None = None
    settled_day_bytes: int | None = None
    free_bytes: int | None = None
    full_days: int | None = None


def forecast(of: Measured, raw_days: int) -> Forecast:
    """Return what becomes of a store whose single readings stay so many days, 0: for ever."""
    day_bytes = _growth(of)
    left_days = None
    if raw_days and of.raw_from_ms is not None:
        left_days = max(0, raw_days - (of.now_ms - of.raw_from_ms) // DAY_MS)
    if day_bytes is None:
        return Forecast(settled_days=left_days, free_bytes=of.free_bytes)
    if left_days is None:
        full_days = _days(of.free_bytes, day_bytes)
        return Forecast(day_bytes, free_bytes=of.free_bytes, full_days=full_days)
    until_bytes = day_bytes * left_days
    after_bytes = _later_growth(of, day_bytes, left_days)
    return Forecast(
        day_bytes,
        of.used_bytes + until_bytes,
        left_days,
        after_bytes,
        of.free_bytes,
        _full_days(of.free_bytes, day_bytes, left_days, after_bytes),
    )


def _growth(of: Measured) -> int | None:
    if of.before is None or of.now_ms - of.before[0] < SPAN_MS_MIN:
        return None
    return (of.used_bytes - of.before[1]) * DAY_MS // (of.now_ms - of.before[0])


def _later_growth(of: Measured, day_bytes: int, left_days: int) -> int | None:
    if not left_days:
        return day_bytes
    both = of.raw_bytes + of.bucket_bytes
    return day_bytes * of.bucket_bytes // both if both else None


def _full_days(
    free_bytes: int | None, day_bytes: int, left_days: int, after_bytes: int | None
) -> int | None:
    first = _days(free_bytes, day_bytes)
    if first is None or first < left_days or after_bytes is None:
        return first if first is not None and first < left_days else None
    assert free_bytes is not None, "else nobody could tell how long it lasts"
    rest = _days(free_bytes - day_bytes * left_days, after_bytes)
    return None if rest is None else left_days + rest


def _days(free_bytes: int | None, day_bytes: int) -> int | None:
    """Return how long this lasts; None for ever, as far as anybody knows."""
    return None if free_bytes is None or day_bytes <= 0 else free_bytes // day_bytes
