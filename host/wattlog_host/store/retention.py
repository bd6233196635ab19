"""SQL for letting go of old readings; what was made of them, the buckets, stays for ever.

Hours whose batches are gone are never made anew: the watermark says so before the first batch
goes, in the same transaction. What comes late for a time before it still counts, where the hour
has nothing yet, or goes on.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from wattlog_host.history.columns import HOLD_MS
from wattlog_host.history.rollup import HOUR_MS
from wattlog_host.store import days, due, tables

BATCHES_MAX = 500
"""So many go in one transaction, so that batches which come wait no longer than for a commit."""

_BATCH, _SERIES = tables.batch.c, tables.series.c

_METERS = sa.select(tables.meter.c.id)
_OLD = (
    sa.select(_SERIES.log_id, _SERIES.first_seq)
    .where(
        _SERIES.meter_id == sa.bindparam("meter_id"),
        _SERIES.last_ms < sa.bindparam("before_ms"),
        ~due.SPEAKS_IN_HOUR_ASIDE,
    )
    .order_by(_SERIES.last_ms)
    .limit(sa.bindparam("count_max", type_=sa.Integer))
)
_OF_BATCH = (
    _SERIES.log_id == sa.bindparam("of_log"),
    _SERIES.first_seq == sa.bindparam("of_seq"),
)
_DROP_SERIES = sa.delete(tables.series).where(
    *_OF_BATCH, _SERIES.meter_id == sa.bindparam("of_meter")
)
_IS_LEFT = sa.exists().where(
    _SERIES.log_id == _BATCH.log_id, _SERIES.first_seq == _BATCH.first_seq
)
_DROP_BATCH = sa.delete(tables.batch).where(
    _BATCH.log_id == sa.bindparam("of_log"), _BATCH.first_seq == sa.bindparam("of_seq"), ~_IS_LEFT
)


# A batch stays as a whole: all its parts, and itself.
_STAYS = (
    sa.select(_SERIES.log_id, _SERIES.first_seq)
    .where(_SERIES.day == sa.bindparam("of_day"), due.SPEAKS_IN_HOUR_ASIDE)
    .distinct()
)
_TO_STAY = tuple(
    sa.update(table)
    .where(
        table.c.day == sa.bindparam("of_day"),
        sa.tuple_(table.c.log_id, table.c.first_seq).in_(_STAYS),
    )
    .values(day=days.ASIDE)
    # The batches first: which they are is told by their parts.
    for table in (tables.batch, tables.series)
)
_NO_LONGER_ASIDE = (
    sa.select(_SERIES.log_id, _SERIES.first_seq, _SERIES.meter_id)
    .where(
        _SERIES.day == sa.bindparam("aside"),
        _SERIES.last_ms < sa.bindparam("before_ms"),
        ~due.SPEAKS_IN_HOUR_ASIDE,
    )
    .limit(sa.bindparam("count_max", type_=sa.Integer))
)
_PARTS = sa.select(sa.func.count()).where(_SERIES.day == sa.bindparam("of_day"))


def let_go(connection: sa.Connection, before_ms: int) -> int:
    """Delete some batches that end before this time; return how many parts went, 0 for none left.

    Nothing goes whose buckets are not made yet, or lack some of it. In PostgreSQL a day goes at
    once, when all of it is before this time.
    """
    before_ms -= before_ms % HOUR_MS
    if due.is_any_before(connection, before_ms):
        return 0
    if not days.are_apart(connection):
        # The first hour that is kept needs to know who spoke when it began.
        bounds = {"before_ms": before_ms - HOLD_MS, "count_max": BATCHES_MAX}
        parts = [
            _part(row, meter_id)
            for meter_id in connection.execute(_METERS).scalars().all()
            for row in connection.execute(_OLD, bounds | {"meter_id": meter_id})
        ]
        if parts:
            due.raise_watermark(connection, before_ms)
    elif count := _let_go_of_day(connection, before_ms):
        return count
    else:
        bounds = {"count_max": BATCHES_MAX, "aside": days.ASIDE, "before_ms": before_ms}
        parts = [_part(row, row.meter_id) for row in connection.execute(_NO_LONGER_ASIDE, bounds)]
    if parts:
        connection.execute(_DROP_SERIES, parts)
        names = [{"of_log": part["of_log"], "of_seq": part["of_seq"]} for part in parts]
        connection.execute(_DROP_BATCH, _once(names))
    return len(parts)


def _part(row: Any, meter_id: int) -> dict[str, Any]:
    return {"of_log": row.log_id, "of_seq": row.first_seq, "of_meter": meter_id}


def _let_go_of_day(connection: sa.Connection, before_ms: int) -> int:
    """Let go of the oldest day if it is over by then; what is to stay of it goes aside."""
    day = next((one for one in days.parts(connection) if one != days.ASIDE), None)
    if day is None:
        return 0
    # The hour behind it needs to know who spoke when it began, so it is not made anew either.
    gone_ms = (day + 1) * days.DAY_MS + HOUR_MS
    if gone_ms > before_ms:
        return 0
    days.ensure(connection, {days.ASIDE})
    for statement in _TO_STAY:
        connection.execute(statement, {"of_day": day})
    parts = connection.execute(_PARTS, {"of_day": day}).scalar_one()
    days.drop(connection, day)
    due.raise_watermark(connection, gone_ms)
    # At least one, for this day is done.
    return max(1, int(parts))


def _once(names: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [dict(one) for one in {tuple(name.items()) for name in names}]
