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
from wattlog_host.store import due, tables

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


def let_go(connection: sa.Connection, before_ms: int) -> int:
    """Delete some batches that end before this time; return how many parts went, 0 for none left.

    Nothing goes whose buckets are not made yet, or lack some of it.
    """
    before_ms -= before_ms % HOUR_MS
    if due.is_any_before(connection, before_ms):
        return 0
    parts: list[dict[str, Any]] = []
    for meter_id in connection.execute(_METERS).scalars().all():
        # The first hour that is kept needs to know who spoke when it began.
        bounds = {"meter_id": meter_id, "before_ms": before_ms - HOLD_MS}
        bounds |= {"count_max": BATCHES_MAX}
        for row in connection.execute(_OLD, bounds):
            name = {"of_log": row.log_id, "of_seq": row.first_seq}
            parts.append(name | {"of_meter": meter_id})
    if not parts:
        return 0
    due.raise_watermark(connection, before_ms)
    connection.execute(_DROP_SERIES, parts)
    names = [{"of_log": part["of_log"], "of_seq": part["of_seq"]} for part in parts]
    connection.execute(_DROP_BATCH, _once(names))
    return len(parts)


def _once(names: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [dict(one) for one in {tuple(name.items()) for name in names}]
