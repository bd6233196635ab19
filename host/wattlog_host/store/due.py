"""Notes of hours whose buckets do not show yet what is in batches, and of what was let go.

An hour that cannot be made, or not from all of its readings, is set aside: its note stays, so
that it is counted and its batches are kept, but it waits for nobody and nobody waits for it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from wattlog_host.history.columns import HOLD_MS
from wattlog_host.history.rollup import HOUR_MS
from wattlog_host.store import tables

RAW_FROM = "raw_from_ms"
"""Name of the watermark: batches that end before it were let go."""
ASIDE_MS = -1
"""from_ms of a note whose hour is set aside, until something new is noted or it is retried."""
ALL_MS = 0
"""from_ms of a note whose hour is to be made from all of its readings."""

_DUE, _SERIES = tables.rollup_due.c, tables.series.c
_MARK = tables.watermark.c

_NEW = sa.insert(tables.rollup_due)
_NEXT = (
    sa.select(_DUE.meter_id, _DUE.hour_ms)
    .group_by(_DUE.hour_ms, _DUE.meter_id)
    # One that was set aside is tried again with what is new in it.
    .having(sa.func.max(_DUE.from_ms) > ASIDE_MS)
    .order_by(_DUE.hour_ms.desc(), _DUE.meter_id.desc())
    .limit(sa.bindparam("count_max", type_=sa.Integer))
)
_NEXT_OF_METERS = _NEXT.where(_DUE.meter_id.in_(sa.bindparam("meter_ids", expanding=True)))
_TAKE = (
    sa.delete(tables.rollup_due)
    .where(sa.tuple_(_DUE.hour_ms, _DUE.meter_id).in_(sa.bindparam("hours", expanding=True)))
    .returning(_DUE.meter_id, _DUE.hour_ms, _DUE.from_ms)
)
_COUNT = sa.select(sa.func.count()).where(_DUE.from_ms > ASIDE_MS)
_COUNT_ASIDE = sa.select(sa.func.count()).where(_DUE.from_ms == ASIDE_MS)
_IS_DUE = (
    sa.select(_DUE.id)
    .where(_DUE.hour_ms < sa.bindparam("before_ms"), _DUE.from_ms > ASIDE_MS)
    .limit(1)
)
_RETRY = sa.update(tables.rollup_due).where(_DUE.from_ms == ASIDE_MS).values(from_ms=ALL_MS)
# The hours that _hours() gives for each row, walked by the database in its own files: a fleet's
# years have millions of them.
_NEW_ALL = sa.text(
    """
    INSERT INTO rollup_due (meter_id, hour_ms, from_ms)
    WITH RECURSIVE walk (meter_id, hour_ms, last_ms) AS (
        SELECT meter_id, first_ms - :hold - (first_ms - :hold) % :hour,
            last_ms + :hold - (last_ms + :hold) % :hour
        FROM series
        UNION
        SELECT meter_id, hour_ms + :hour, last_ms FROM walk WHERE hour_ms < last_ms
    )
    SELECT meter_id, hour_ms, 0 FROM walk WHERE hour_ms >= :raw_from
    UNION
    SELECT meter_id, start_ms, 0 FROM rollup WHERE step_s = 60 AND start_ms >= :raw_from
    """
).bindparams(*(sa.bindparam(name, type_=sa.BigInteger) for name in ("hold", "hour", "raw_from")))
_WATERMARK = sa.select(_MARK.value).where(_MARK.name == sa.bindparam("name"))
_RAISE = sa.update(tables.watermark).where(_MARK.name == RAW_FROM)

SPEAKS_IN_HOUR_ASIDE = sa.exists().where(
    _DUE.meter_id == _SERIES.meter_id,
    _DUE.from_ms == ASIDE_MS,
    _DUE.hour_ms > _SERIES.first_ms - (HOUR_MS + HOLD_MS),
    _DUE.hour_ms <= _SERIES.last_ms + HOLD_MS,
)
"""A row of series without which an hour that is set aside could never be made whole."""


class Span(NamedTuple):
    """A time in which readings of a meter came, went or moved."""

    meter_id: int
    first_ms: int
    last_ms: int


class Due(NamedTuple):
    """An hour whose buckets are to be made.

    from_ms      since when something has changed in it; at most ALL_MS: anything may have
    was_let_go   its buckets know of readings that are not there any more
    """

    meter_id: int
    hour_ms: int
    from_ms: int
    was_let_go: bool


def watermark(connection: sa.Connection) -> int:
    """Return the time before which batches were let go, 0 where none ever was."""
    return int(connection.execute(_WATERMARK, {"name": RAW_FROM}).scalar() or 0)


def raise_watermark(connection: sa.Connection, before_ms: int) -> None:
    """Note that batches before this time were let go."""
    if watermark(connection) >= before_ms:
        return
    if not connection.execute(_RAISE.values(value=before_ms)).rowcount:
        row = {"name": RAW_FROM, "value": before_ms}
        connection.execute(sa.insert(tables.watermark), row)


def mark(connection: sa.Connection, spans: Iterable[Span]) -> None:
    """Note the hours that these spans touch as due."""
    due: dict[tuple[int, int], int] = {}
    for meter_id, first_ms, last_ms in spans:
        for hour_ms in _hours(first_ms, last_ms):
            key = meter_id, hour_ms
            due[key] = min(due.get(key, first_ms), max(first_ms, ALL_MS))
    rows = [
        {"meter_id": meter_id, "hour_ms": hour_ms, "from_ms": from_ms}
        for (meter_id, hour_ms), from_ms in sorted(due.items())
    ]
    if rows:
        connection.execute(_NEW, rows)


def mark_all(connection: sa.Connection) -> int:
    """Note all hours that have batches, or buckets, as due, to be made anew; return how many."""
    retry(connection)
    bounds = {"hold": HOLD_MS, "hour": HOUR_MS, "raw_from": watermark(connection)}
    return connection.execute(_NEW_ALL, bounds).rowcount


def _hours(first_ms: int, last_ms: int) -> range:
    """Return where the hours begin that have to do with readings of this time."""
    # A reading says for how long the one behind it speaks, and may speak before its hour.
    first, last = first_ms - HOLD_MS, last_ms + HOLD_MS
    return range(first - first % HOUR_MS, last + 1, HOUR_MS)


def count(connection: sa.Connection) -> int:
    """Return how many notes of hours wait, about."""
    return int(connection.execute(_COUNT).scalar_one())


def is_any_before(connection: sa.Connection, before_ms: int) -> bool:
    """Tell whether buckets of a time before this one are still to be made."""
    return connection.execute(_IS_DUE, {"before_ms": before_ms}).first() is not None


def newest(
    connection: sa.Connection, count_max: int, meter_ids: Sequence[int] | None = None
) -> list[tuple[int, int]]:
    """Return (meter_id, hour_ms) of the newest hours that are due, of all meters or of these."""
    query = _NEXT
    bounds: dict[str, object] = {"count_max": count_max}
    if meter_ids is not None:
        query = _NEXT_OF_METERS
        bounds["meter_ids"] = list(meter_ids)
    return [(row.meter_id, row.hour_ms) for row in connection.execute(query, bounds)]


def take(
    connection: sa.Connection, hours: Sequence[tuple[int, int]], raw_from_ms: int
) -> list[Due]:
    """Take the notes of hours, (meter_id, hour_ms), away; return what they say, if there are any.

    Before the hours' readings are looked at: a note that somebody else commits meanwhile stays.
    raw_from_ms is the watermark.
    """
    since_ms: dict[tuple[int, int], int] = {}
    swapped = [(hour_ms, meter_id) for meter_id, hour_ms in hours]
    for meter_id, hour_ms, from_ms in connection.execute(_TAKE, {"hours": swapped}):
        name = meter_id, hour_ms
        since_ms[name] = min(since_ms.get(name, from_ms), from_ms)
    return [
        Due(*name, since_ms[name], name[1] < raw_from_ms and since_ms[name] > ALL_MS)
        for name in hours
        if name in since_ms
    ]


def set_aside(connection: sa.Connection, hours: Sequence[Due]) -> None:
    """Leave one note of each of these hours, which waits for nobody.

    Nothing waits for an hour that was let go: it keeps what its buckets know.
    """
    rows = [
        {"meter_id": one.meter_id, "hour_ms": one.hour_ms, "from_ms": ASIDE_MS}
        for one in hours
        if not one.was_let_go
    ]
    if rows:
        connection.execute(_NEW, rows)


def aside_count(connection: sa.Connection) -> int:
    """Return how many hours are set aside."""
    return int(connection.execute(_COUNT_ASIDE).scalar_one())


def retry(connection: sa.Connection) -> None:
    """Note what was set aside as due again."""
    connection.execute(_RETRY)
