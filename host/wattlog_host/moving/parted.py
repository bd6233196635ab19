"""What PostgreSQL keeps by day, and SQLite in one table: the day that a row goes to."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from wattlog_host.store import tables
from wattlog_host.store.days import ASIDE, DAY_MS

_BATCH, _SERIES = tables.batch.c, tables.series.c
_OTHER = tables.series.alias().c


def _newest_ms(named: Any) -> sa.ColumnElement[Any]:
    """Return when the newest reading was of the batch that a row names."""
    return (
        sa.select(sa.func.max(_OTHER.last_ms))
        .where(_OTHER.log_id == named.log_id, _OTHER.first_seq == named.first_seq)
        .scalar_subquery()
    )


def _day(received_ms: Any, newest_ms: Any) -> sa.ColumnElement[Any]:
    """Return what days.day_of says of these times, in the SQL of SQLite."""
    days = (sa.func.coalesce(one // DAY_MS, ASIDE) for one in (received_ms, newest_ms))
    return sa.func.max(ASIDE + 1, *days)


AS_MOVED: Mapping[sa.Column[Any], sa.ColumnElement[Any]] = {
    _BATCH.day: _day(_BATCH.received_ms, _newest_ms(_BATCH)),
    _SERIES.day: _day(
        sa.select(_BATCH.received_ms)
        .where(_BATCH.log_id == _SERIES.log_id, _BATCH.first_seq == _SERIES.first_seq)
        .scalar_subquery(),
        _newest_ms(_SERIES),
    ),
}
"""What a column of SQLite's tables is in PostgreSQL, where it is not what it says."""
