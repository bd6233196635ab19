"""SQL for times: what a sync point or a meter's counter in one batch means for the others."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from wattlog_host.ingest import Series, series_of
from wattlog_host.placing import (
    ARRIVAL,
    METER,
    SYNC,
    Clock,
    Counted,
    clock_by_sync,
    offset_by_arrival,
    offset_by_meter,
)
from wattlog_host.store import tables
from wattlog_host.store.lookup import as_bits, batch_from, clock_of, pack_steps, rows_of

# A boot that runs for years collects sync points; the few around a batch place all of it.
SYNCS_MAX = 1_000
# More than a week at one reading a second: further away no counter is believed.
BATCHES_MAX = 20_000

_UNPLACED = (METER, ARRIVAL)


class Move(NamedTuple):
    """A stored batch that gets another clock."""

    first_seq: int
    clock: Clock
    source: str
    before: Clock


def syncs_from(
    connection: sa.Connection, log_id: int, boot: int, uptime_ms: int
) -> list[tuple[int, int]]:
    """Return a boot's sync points from the last one at or before this uptime onwards."""
    sync = tables.sync_point.c
    of_boot = sa.and_(sync.log_id == log_id, sync.boot == boot)
    before = sa.select(sa.func.max(sync.uptime_ms)).where(of_boot, sync.uptime_ms <= uptime_ms)
    rows = connection.execute(
        sa.select(sync.uptime_ms, sync.epoch_ms)
        .where(of_boot, sync.uptime_ms >= sa.func.coalesce(before.scalar_subquery(), 0))
        .order_by(sync.uptime_ms)
        .limit(SYNCS_MAX)
    )
    return [(row.uptime_ms, row.epoch_ms) for row in rows]


def moves_by_sync(
    connection: sa.Connection, log_id: int, boot: int, uptimes: Sequence[int]
) -> list[Move]:
    """Return how new sync points at these uptimes move the boot's batches.

    One moves what lies between it and the next; the first of a boot also what came before.
    """
    batch, sync = tables.batch.c, tables.sync_point.c
    of_boot = sa.and_(sync.log_id == log_id, sync.boot == boot)
    first_ms, last_ms = connection.execute(
        sa.select(
            sa.select(sa.func.min(sync.uptime_ms)).where(of_boot).scalar_subquery(),
            sa.select(sa.func.min(sync.uptime_ms))
            .where(of_boot, sync.uptime_ms > max(uptimes))
            .scalar_subquery(),
        )
    ).one()
    query = sa.select(
        batch.first_seq, batch.first_uptime_ms, batch.last_uptime_ms, batch.offset_ms,
        batch.steps, batch.time_source, batch.received_ms,
    ).where(batch.log_id == log_id, batch.boot == boot)  # fmt: skip
    if first_ms < min(uptimes):
        query = query.where(batch.last_uptime_ms >= min(uptimes))
    if last_ms is not None:
        query = query.where(batch.first_uptime_ms <= last_ms)
    rows = connection.execute(query).all()
    if not rows:
        return []
    syncs = syncs_from(connection, log_id, boot, min(row.first_uptime_ms for row in rows))
    moves = []
    for row in rows:
        clock = clock_by_sync(syncs, row.first_uptime_ms, row.last_uptime_ms, row.received_ms)
        source, before = SYNC, clock_of(row.offset_ms, row.steps)
        if clock is None:
            if row.time_source != SYNC:
                continue
            clock = Clock(offset_by_arrival(row.received_ms, row.last_uptime_ms, None))
            source = ARRIVAL
        if (clock, source) != (before, row.time_source):
            moves.append(Move(row.first_seq, clock, source, before))
    return moves


def moves_by_meter(
    connection: sa.Connection, log_id: int, placed: Sequence[int], others: Sequence[int]
) -> list[Move]:
    """Return how batches without a sync point are placed anew.

    A batch is placed by the nearest one before and after it that has one. Those with the seqs
    placed have got it now, which may move what lies beside them; others are new without one.
    """
    batch = tables.batch.c
    in_log = batch.log_id == log_id
    unplaced = sa.and_(in_log, batch.time_source.in_(_UNPLACED))
    if (
        not others
        and connection.execute(sa.select(batch.first_seq).where(unplaced).limit(1)).first() is None
    ):
        return []
    query = sa.select(
        batch.first_seq, batch.offset_ms, batch.time_source, batch.received_ms,
        batch.last_uptime_ms,
    ).where(unplaced)  # fmt: skip
    low = high = None
    if placed:
        low, high = _neighbours(connection, log_id, min(placed), max(placed))
    if low is not None or not placed:
        query = query.where(batch.first_seq >= min([*others, *([] if low is None else [low])]))
    if high is not None or not placed:
        query = query.where(batch.first_seq <= max([*others, *([] if high is None else [high])]))
    rows = connection.execute(query.order_by(batch.first_seq.desc()).limit(BATCHES_MAX)).all()
    moves = []
    before: dict[bytes, Counted] = {}
    after: dict[bytes, Counted] = {}
    reach: tuple[int | None, int | None] = (0, -1)
    for row in reversed(rows):
        if reach[1] is not None and reach[1] < row.first_seq:
            reach = _neighbours(connection, log_id, row.first_seq, row.first_seq)
            before = _counted(connection, log_id, reach[0])
            after = _counted(connection, log_id, reach[1])
        if not before and not after and row.time_source == ARRIVAL:
            continue
        move = _move_by_meter(row, _counted(connection, log_id, row.first_seq), before, after)
        if move is not None:
            moves.append(move)
    return moves


def apply(connection: sa.Connection, log_id: int, moves: Sequence[Move]) -> set[int]:
    """Write new clocks and what follows from them; return the meters that are touched."""
    if not moves:
        return set()
    batch, series = tables.batch.c, tables.series.c
    connection.execute(
        sa.update(tables.batch)
        .where(batch.log_id == log_id, batch.first_seq == sa.bindparam("seq"))
        .values(
            offset_ms=sa.bindparam("new_ms"),
            steps=sa.bindparam("new_steps"),
            time_source=sa.bindparam("source"),
        ),
        [
            {
                "seq": move.first_seq,
                "new_ms": move.clock.offset_ms,
                "new_steps": pack_steps(move.clock),
                "source": move.source,
            }
            for move in moves
        ],
    )
    shifts = [
        {"seq": move.first_seq, "by_ms": move.clock.offset_ms - move.before.offset_ms}
        for move in moves
        if not move.clock.steps and not move.before.steps
    ]
    if shifts:
        by_ms = sa.bindparam("by_ms", type_=sa.BigInteger)
        connection.execute(
            sa.update(tables.series)
            .where(series.log_id == log_id, series.first_seq == sa.bindparam("seq"))
            .values(
                first_ms=series.first_ms + by_ms,
                last_ms=series.last_ms + by_ms,
                zero_ms=series.zero_ms + by_ms,
            ),
            shifts,
        )
    for move in moves:
        if move.clock.steps or move.before.steps:
            _write_series(connection, log_id, move)
    low, high = min(move.first_seq for move in moves), max(move.first_seq for move in moves)
    touched = (
        sa.select(series.meter_id)
        .distinct()
        .where(series.log_id == log_id, series.first_seq >= low, series.first_seq <= high)
    )
    return set(connection.execute(touched).scalars())


def series_values(meter_id: int, series: Series) -> dict[str, Any]:
    """Return the columns of one meter's part of a batch."""
    return {"meter_id": meter_id, **series._asdict()}


def _write_series(connection: sa.Connection, log_id: int, move: Move) -> None:
    """Count anew when each meter's readings of one batch began and ended."""
    batch, series, meter = tables.batch.c, tables.series.c, tables.meter.c
    row = connection.execute(
        sa.select(batch.packed, batch.skipped).where(
            batch.log_id == log_id, batch.first_seq == move.first_seq
        )
    ).one()
    stored = batch_from("", 0, move.first_seq, row.packed)
    found = series_of(list(rows_of(stored, as_bits(row.skipped))), move.clock)
    for server_id, one in found.items():
        meter_id = sa.select(meter.id).where(meter.server_id == server_id).scalar_subquery()
        connection.execute(
            sa.update(tables.series)
            .where(
                series.log_id == log_id,
                series.first_seq == move.first_seq,
                series.meter_id == meter_id,
            )
            .values(one._asdict())
        )


def _neighbours(
    connection: sa.Connection, log_id: int, first_seq: int, last_seq: int
) -> tuple[int | None, int | None]:
    """Return the nearest batches before and after these whose time a sync point gives."""
    batch = tables.batch.c
    placed = sa.and_(batch.log_id == log_id, batch.time_source == SYNC)
    before = sa.select(sa.func.max(batch.first_seq)).where(placed, batch.first_seq < first_seq)
    after = sa.select(sa.func.min(batch.first_seq)).where(placed, batch.first_seq > last_seq)
    row = connection.execute(sa.select(before.scalar_subquery(), after.scalar_subquery())).one()
    return row[0], row[1]


def _counted(
    connection: sa.Connection, log_id: int, first_seq: int | None
) -> dict[bytes, Counted]:
    """Return the seconds counters in one batch, by meter in order of their numbers."""
    if first_seq is None:
        return {}
    series, meter = tables.series.c, tables.meter.c
    rows = connection.execute(
        sa.select(meter.server_id, series.zero_ms, series.first_ms, series.last_ms)
        .select_from(tables.series.join(tables.meter))
        .where(series.log_id == log_id, series.first_seq == first_seq, series.zero_ms.is_not(None))
        .order_by(meter.server_id)
    )
    return {row.server_id: Counted(row.zero_ms, row.first_ms, row.last_ms) for row in rows}


def _move_by_meter(
    row: Any,
    own: dict[bytes, Counted],
    before: dict[bytes, Counted],
    after: dict[bytes, Counted],
) -> Move | None:
    old = Clock(row.offset_ms)
    for server_id, placed in own.items():
        counted = Counted(*(number - row.offset_ms for number in _numbers(placed)))
        offset_ms = offset_by_meter(
            counted, before.get(server_id), after.get(server_id), row.received_ms
        )
        if offset_ms is not None:
            if (offset_ms, METER) == (row.offset_ms, row.time_source):
                return None
            return Move(row.first_seq, Clock(offset_ms), METER, old)
    if row.time_source == ARRIVAL:
        return None
    clock = Clock(offset_by_arrival(row.received_ms, row.last_uptime_ms, None))
    return Move(row.first_seq, clock, ARRIVAL, old)


def _numbers(counted: Counted) -> tuple[int, int, int]:
    return counted.zero_ms, counted.first_ms, counted.last_ms
