"""SQL for sizes: one is kept of each day, so that it is known how the database grows."""

import sqlalchemy as sa

from wattlog_host.forecast import DAY_MS, Measured
from wattlog_host.store import tables
from wattlog_host.store.days import SERIES_OF_BATCH

DAYS_KEPT = 30
WEEK_MS = 7 * DAY_MS
METERS_MEASURED = 100
"""So many stand for all: those that came first."""

_SIZE, _SERIES, _BATCH = tables.size.c, tables.series.c, tables.batch.c
_ROLLUP, _METER = tables.rollup.c, tables.meter.c

_NEWEST = sa.select(sa.func.max(_SIZE.time_ms))
_FIRST = (
    sa.select(_SIZE.time_ms, _SIZE.bytes)
    .where(_SIZE.time_ms >= sa.bindparam("from_ms"), _SIZE.time_ms <= sa.bindparam("now_ms"))
    .order_by(_SIZE.time_ms)
    .limit(1)
)
_NEW = sa.insert(tables.size)
_OLD = sa.delete(tables.size).where(_SIZE.time_ms < sa.bindparam("from_ms"))
_METERS = sa.select(_METER.id).order_by(_METER.id)
_RAW_FROM = sa.select(sa.func.min(_SERIES.last_ms)).where(
    _SERIES.meter_id == sa.bindparam("meter_id")
)
# Of a batch that several meters share each has its part.
_RAW = (
    sa.select(sa.func.sum(sa.func.length(_BATCH.packed) * _SERIES.readings // _BATCH.readings))
    .select_from(SERIES_OF_BATCH)
    .where(
        _SERIES.meter_id == sa.bindparam("meter_id"),
        _SERIES.last_ms >= sa.bindparam("from_ms"),
        _SERIES.last_ms < sa.bindparam("until_ms"),
    )
)
_CHANNELS = (
    sa.select(_ROLLUP.channel)
    .distinct()
    .where(_ROLLUP.meter_id == sa.bindparam("meter_id"), _ROLLUP.step_s == 3600)
)
_BUCKETS = sa.select(sa.func.sum(sa.func.length(_ROLLUP.packed))).where(
    _ROLLUP.meter_id == sa.bindparam("meter_id"),
    _ROLLUP.channel.in_(sa.bindparam("channels", expanding=True)),
    _ROLLUP.step_s.in_((60, 900, 3600)),
    _ROLLUP.start_ms >= sa.bindparam("from_ms"),
    _ROLLUP.start_ms < sa.bindparam("until_ms"),
)


def is_due(connection: sa.Connection, now_ms: int) -> bool:
    """Tell whether this day's size is still to be noted."""
    newest_ms = connection.execute(_NEWEST).scalar()
    # One of the future is of a clock that ran ahead.
    return newest_ms is None or not 0 <= now_ms - newest_ms < DAY_MS


def note(connection: sa.Connection, now_ms: int, used_bytes: int) -> None:
    """Keep this size, and forget those that are too old."""
    if is_due(connection, now_ms):
        connection.execute(_OLD, {"from_ms": now_ms - DAYS_KEPT * DAY_MS})
        connection.execute(sa.delete(tables.size).where(_SIZE.time_ms >= now_ms))
        connection.execute(_NEW, {"time_ms": now_ms, "bytes": used_bytes})


def measured(
    connection: sa.Connection, now_ms: int, used_bytes: int, free_bytes: int | None
) -> Measured:
    """Return what is known of the database's size and of how it grew."""
    bounds = {"from_ms": now_ms - DAYS_KEPT * DAY_MS, "now_ms": now_ms}
    before = connection.execute(_FIRST, bounds).one_or_none()
    begins, raw, buckets = [], 0, 0
    meter_ids = connection.execute(_METERS).scalars().all()
    some = meter_ids[:METERS_MEASURED]
    for meter_id in some:
        name = {"meter_id": meter_id}
        begins.append(connection.execute(_RAW_FROM, name).scalar())
        week = name | {"from_ms": now_ms - WEEK_MS, "until_ms": now_ms}
        raw += int(connection.execute(_RAW, week).scalar() or 0)
        channels = connection.execute(_CHANNELS, name).scalars().all()
        buckets += int(connection.execute(_BUCKETS, week | {"channels": channels}).scalar() or 0)
    return Measured(
        now_ms,
        used_bytes,
        None if before is None else (before.time_ms, before.bytes),
        min((one for one in begins if one is not None), default=None),
        raw * len(meter_ids) // max(1, len(some)),
        buckets * len(meter_ids) // max(1, len(some)),
        free_bytes,
    )
