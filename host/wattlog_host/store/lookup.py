"""Reading what is stored: a batch's readings, a meter's newest one, what was lost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgpack
import sqlalchemy as sa

from wattlog.recordreader import RecordError, Row, split
from wattlog_host.gaps import Span, uncovered
from wattlog_host.ingest import stored_values
from wattlog_host.placing import Clock
from wattlog_host.store import days, tables
from wattlog_host.store.days import FROM_DAY, SERIES_OF_BATCH, SINCE_IN_BOTH, since
from wattlog_host.store.records import Latest, Losses, LostRun, StoredReading
from wattlog_host.wire import Batch, batch_of

LOSSES_SHOWN = 5

# What decoding bytes that were good once may raise when they are not any more.
ROT = (RecordError, ArithmeticError, LookupError, TypeError, ValueError, msgpack.UnpackException)

_INT64 = 2**63

_BATCH, _EDGE, _GAP, _LOG = tables.batch.c, tables.edge.c, tables.gap.c, tables.edge_log.c
_METER, _SERIES = tables.meter.c, tables.series.c

_READINGS = (
    sa.select(tables.batch, _EDGE.name, _LOG.log)
    .select_from(tables.batch.join(tables.edge_log).join(tables.edge))
    .order_by(_BATCH.log_id, _BATCH.first_seq)
)
_LATEST = (
    sa.select(
        _BATCH.log_id, _BATCH.first_seq, _BATCH.boot, _BATCH.readings, _BATCH.skipped,
        _BATCH.offset_ms, _BATCH.steps, _BATCH.time_source, _BATCH.packed, _EDGE.name, _LOG.log,
        _SERIES.last_ms, _METER.server_id, _METER.label,
    )
    .select_from(
        SERIES_OF_BATCH.join(tables.edge_log, _LOG.id == _BATCH.log_id)
        .join(tables.edge)
        .join(tables.meter, _METER.id == _SERIES.meter_id)
    )
    .where(_SERIES.meter_id == sa.bindparam("meter_id"), SINCE_IN_BOTH)
    .order_by(_SERIES.last_ms.desc(), _BATCH.first_seq.desc())
    .limit(1)
)  # fmt: skip
_LOST_IN_ALL = sa.select(sa.func.count(), sa.func.sum(_GAP.last_seq - _GAP.first_seq + 1))
_LOST_LAST = (
    sa.select(tables.gap, _EDGE.name, _LOG.log)
    .select_from(tables.gap.join(tables.edge_log).join(tables.edge))
    .order_by(_GAP.noted_ms.desc(), _GAP.id.desc())
    .limit(sa.bindparam("count_max", type_=sa.Integer))
)
_WITH_READINGS = sa.select(
    _BATCH.first_seq,
    _BATCH.readings,
    _BATCH.skipped,
    _BATCH.offset_ms,
    _BATCH.steps,
    _BATCH.packed,
).where(_BATCH.log_id == sa.bindparam("log_id"), _BATCH.readings > 0)
_BEFORE = (
    _WITH_READINGS.where(_BATCH.first_seq < sa.bindparam("first"))
    .order_by(_BATCH.first_seq.desc())
    .limit(1)
)
_AFTER = (
    _WITH_READINGS.where(_BATCH.first_seq + _BATCH.records - 1 > sa.bindparam("last"))
    .where(_BATCH.first_seq > sa.bindparam("after"))
    .order_by(_BATCH.first_seq)
    .limit(2)
)
_STORED = (
    sa.select(_BATCH.first_seq, _BATCH.first_seq + _BATCH.records - 1)
    .where(
        _BATCH.log_id == sa.bindparam("log_id"),
        _BATCH.first_seq > sa.bindparam("after"),
        _BATCH.first_seq <= sa.bindparam("last"),
        since(_BATCH.day, FROM_DAY),
    )
    .order_by(_BATCH.first_seq)
)


def as_int64(bits: int) -> int:
    """Return 64 bits as the database's signed integer."""
    return bits - 2 * _INT64 if bits >= _INT64 else bits


def as_bits(number: int) -> int:
    """Return the bits of the database's signed integer."""
    return number % (2 * _INT64)


def pack_steps(clock: Clock) -> bytes | None:
    """Return a clock's steps as the table keeps them."""
    flat = [number for step in clock.steps for number in step]
    return bytes(msgpack.packb(flat)) if flat else None


def clock_of(offset_ms: int, steps: bytes | None) -> Clock:
    """Return the clock of a row of batch."""
    if steps is None:
        return Clock(offset_ms)
    flat = msgpack.unpackb(steps)
    return Clock(offset_ms, tuple(zip(flat[::2], flat[1::2], strict=True)))


def batch_from(edge: str, log: int, first_seq: int, packed: bytes) -> Batch:
    """Return the batch of a stored row."""
    return batch_of(edge, log, first_seq, split(packed), packed)


def rows_of(batch: Batch, skipped: int) -> Iterator[Row]:
    """Return a stored batch's own readings."""
    for record in batch.records:
        if isinstance(record, Row) and not skipped >> record.seq - batch.first_seq & 1:
            yield record


class Named(Protocol):
    """A log, as far as batches of it are looked up by their number."""

    def name_of(self, first_seq: int) -> dict[str, int]:
        """Return what to look for those by that begin there or behind it."""


class Own(NamedTuple):
    """A stored batch's own readings with their times; not whole where its bytes have rotted."""

    rows: Sequence[tuple[int, Row]]
    is_whole: bool


def own(row: Any, batch: Batch | None = None) -> Own:
    """Return the readings that count in a row of batch, as far as they can be read.

    batch need not be decoded once more. What has rotted costs its own readings: all others, and
    whoever asks for them, must not suffer.
    """
    try:
        clock = clock_of(row.offset_ms, row.steps)
        stored = batch or batch_from("", 0, row.first_seq, row.packed)
        rows = [(clock.at(one.uptime_ms), one) for one in rows_of(stored, as_bits(row.skipped))]
    except ROT:
        return Own((), False)
    return Own(rows, len(rows) >= row.readings)


def readings(connection: sa.Connection) -> Iterator[StoredReading]:
    """Return every reading, by log and batch; one batch at a time is in memory."""
    for row in connection.execution_options(yield_per=100).execute(_READINGS):
        for time_ms, one in own(row).rows:
            yield StoredReading(
                row.name, row.log, row.boot, one.seq, one.server_id, one.uptime_ms, one.sec_index,
                time_ms, row.time_source, stored_values(one.values),
            )  # fmt: skip


def latest(
    connection: sa.Connection,
    meter_ids: Sequence[int],
    fresh: Mapping[tuple[int, int], Batch] | None = None,
    likely_day: int = 0,
) -> list[Latest]:
    """Return the newest reading of each of these meters that has one.

    fresh are batches that need not be decoded once more, by (log_id, first_seq). Days before
    likely_day are only looked into where nothing is found from there on.
    """
    found = []
    for meter_id in meter_ids:
        row = None
        for from_day in dict.fromkeys((likely_day, 0)):
            name = {"meter_id": meter_id, "from_day": from_day}
            row = connection.execute(_LATEST, name).one_or_none()
            # What lies in earlier days is older than that.
            if row is not None and row.last_ms >= from_day * days.DAY_MS:
                break
        if row is None:
            continue
        rows = own(row, (fresh or {}).get((row.log_id, row.first_seq))).rows
        times = [(at_ms, one.seq, one) for at_ms, one in rows if one.server_id == row.server_id]
        if not times:
            continue  # rotten; the next batch says more
        time_ms, _, newest = max(times)
        values = stored_values(newest.values)
        found.append(
            Latest(
                row.server_id,
                row.label,
                row.name,
                time_ms,
                row.time_source,
                values,
                row.boot,
                newest.uptime_ms,
            )
        )
    return found


def losses(connection: sa.Connection, count_max: int = LOSSES_SHOWN) -> Losses:
    """Return what is lost in all, and the newest runs, newest first."""
    runs, records = connection.execute(_LOST_IN_ALL).one()
    newest = []
    for row in connection.execute(_LOST_LAST, {"count_max": count_max}).all():
        span = Span(row.first_seq, row.last_seq)
        times = _times_around(connection, row.log_id, span)
        newest.append(LostRun(row.name, row.log, *span, row.reason, row.noted_ms, *times))
    return Losses(runs, int(records or 0), tuple(newest))


def _times_around(
    connection: sa.Connection, log_id: int, span: Span
) -> tuple[int | None, int | None]:
    """Return the times of the readings before and after a gap, which may be inside a batch."""
    rows = connection.execute(_BEFORE, {"log_id": log_id, "first": span.first}).all()
    later = connection.execute(
        _AFTER, {"log_id": log_id, "after": span.first - 64, "last": span.last}
    ).all()
    before: list[tuple[int, int]] = []
    after: list[tuple[int, int]] = []
    for row in (*rows, *later):
        for time_ms, one in own(row).rows:
            (before if one.seq < span.first else after).append((one.seq, time_ms))
    after = [one for one in after if one[0] > span.last]
    return max(before)[1] if before else None, min(after)[1] if after else None


def missing(connection: sa.Connection, log: Named, span: Span) -> list[Span]:
    """Return what of this run of a log is in no batch."""
    after = span.first - 64
    bounds = {"after": after, "last": span.last}
    rows = connection.execute(_STORED, log.name_of(after + 1) | bounds)
    return uncovered(span, (Span(*row) for row in rows))
