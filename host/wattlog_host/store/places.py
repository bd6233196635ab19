"""SQL for times: what a sync point or a meter's counter in one batch means for the others."""

from collections.abc import Iterator, Sequence, Set
from typing import Any, NamedTuple

import sqlalchemy as sa

from wattlog_host.bounds import INT64
from wattlog_host.ingest import Series, series_of
from wattlog_host.placing import (
    ARRIVAL,
    CLOCK,
    CLOCK_AHEAD_MS_MAX,
    METER,
    SURE_AHEAD_MS_MAX,
    SYNC,
    Clock,
    Counted,
    SyncPoint,
    clock_by_sync,
    offset_by_arrival,
    offset_by_meter,
)
from wattlog_host.store import days, many, tables
from wattlog_host.store.days import FROM_DAY, since
from wattlog_host.store.due import Span
from wattlog_host.store.logs import Log
from wattlog_host.store.lookup import as_bits, batch_from, clock_of, pack_steps, rows_of

# No batch has more records, so that none begins further before what it reaches into.
RECORDS_MAX = 64
# A boot that runs for years collects sync points; the few around a batch place all of it.
SYNCS_MAX = 1_000
# So many logs' batches may be moved at once: some have many that nobody has told the time.
LOGS_AT_ONCE = 64
# More than a week at one reading a second: further away no counter is believed.
BATCHES_MAX = 20_000

# Bounds that bound nothing.
_LEAST, _GREATEST = -INT64, INT64 - 1

_BATCH, _SERIES = tables.batch.c, tables.series.c
_METER, _SYNC_POINT = tables.meter.c, tables.sync_point.c

_SYNC_OF_BOOT = sa.and_(
    _SYNC_POINT.log_id == sa.bindparam("log_id"), _SYNC_POINT.boot == sa.bindparam("boot")
)
# All that is asked is about the best grade that the boot has; of the others there may be many.
_BEST = sa.select(sa.func.max(_SYNC_POINT.grade).label("grade")).where(_SYNC_OF_BOOT)
_IS_BEST = sa.and_(_SYNC_OF_BOOT, _SYNC_POINT.grade == _BEST.scalar_subquery())
_SYNC_BEFORE = sa.select(sa.func.max(_SYNC_POINT.uptime_ms)).where(
    _IS_BEST, _SYNC_POINT.uptime_ms <= sa.bindparam("uptime_ms")
)
_SYNCS_FROM = (
    sa.select(_SYNC_POINT.uptime_ms, _SYNC_POINT.epoch_ms, _SYNC_POINT.grade)
    .where(_IS_BEST, _SYNC_POINT.uptime_ms >= sa.func.coalesce(_SYNC_BEFORE.scalar_subquery(), 0))
    .order_by(_SYNC_POINT.uptime_ms)
    .limit(SYNCS_MAX)
)
_SYNC_EARLIEST = sa.select(sa.func.min(_SYNC_POINT.uptime_ms)).where(_IS_BEST)
_SYNC_FIRST_AND_NEXT = sa.select(
    _SYNC_EARLIEST.scalar_subquery().label("first_ms"),
    _SYNC_EARLIEST.where(_SYNC_POINT.uptime_ms > sa.bindparam("uptime_ms"))
    .scalar_subquery()
    .label("next_ms"),
)
_OF_BOOT = sa.select(
    _BATCH.first_seq, _BATCH.first_uptime_ms, _BATCH.last_uptime_ms, _BATCH.offset_ms,
    _BATCH.steps, _BATCH.time_source, _BATCH.received_ms, _BATCH.received_trust,
).where(
    _BATCH.log_id == sa.bindparam("log_id"),
    _BATCH.boot == sa.bindparam("boot"),
    _BATCH.last_uptime_ms >= sa.bindparam("from_ms"),
    _BATCH.first_uptime_ms <= sa.bindparam("until_ms"),
    since(_BATCH.day, FROM_DAY),
)  # fmt: skip

_IS_UNPLACED = sa.and_(
    _BATCH.log_id == sa.bindparam("log_id"), _BATCH.time_source.in_((METER, CLOCK, ARRIVAL))
)
_ANY_UNPLACED = sa.select(_BATCH.first_seq).where(_IS_UNPLACED).limit(1)
_UNPLACED = (
    sa.select(
        _BATCH.first_seq, _BATCH.offset_ms, _BATCH.steps, _BATCH.time_source, _BATCH.received_ms,
        _BATCH.received_trust, _BATCH.boot, _BATCH.first_uptime_ms, _BATCH.last_uptime_ms,
    )
    .where(
        _IS_UNPLACED,
        _BATCH.first_seq >= sa.bindparam("low"),
        _BATCH.first_seq <= sa.bindparam("high"),
        since(_BATCH.day, FROM_DAY),
    )
    .order_by(_BATCH.first_seq.desc())
    .limit(BATCHES_MAX)
)  # fmt: skip
_IS_PLACED = sa.and_(
    _BATCH.log_id == sa.bindparam("log_id"),
    _BATCH.time_source == SYNC,
    since(_BATCH.day, FROM_DAY),
)
_NEIGHBOURS = sa.select(
    sa.select(sa.func.max(_BATCH.first_seq))
    .where(_IS_PLACED, _BATCH.first_seq < sa.bindparam("low"))
    .scalar_subquery()
    .label("before"),
    sa.select(sa.func.min(_BATCH.first_seq))
    .where(_IS_PLACED, _BATCH.first_seq > sa.bindparam("high"))
    .scalar_subquery()
    .label("behind"),
)
_COUNTED = (
    sa.select(_METER.server_id, _SERIES.zero_ms, _SERIES.first_ms, _SERIES.last_ms)
    .select_from(tables.series.join(tables.meter))
    .where(
        _SERIES.log_id == sa.bindparam("log_id"),
        _SERIES.first_seq == sa.bindparam("first_seq"),
        _SERIES.zero_ms.is_not(None),
        since(_SERIES.day, FROM_DAY),
    )
    .order_by(_METER.server_id)
)

# What an update looks for must not be called as a column that it sets may be.
_MOVE_BATCH = (
    sa.update(tables.batch)
    .where(
        _BATCH.log_id == sa.bindparam("in_log"),
        _BATCH.first_seq == sa.bindparam("seq"),
        since(_BATCH.day, FROM_DAY),
    )
    .values(
        offset_ms=sa.bindparam("new_ms"),
        steps=sa.bindparam("new_steps"),
        time_source=sa.bindparam("source"),
    )
)
_OF_BATCH = sa.and_(
    _SERIES.log_id == sa.bindparam("in_log"),
    _SERIES.first_seq == sa.bindparam("seq"),
    since(_SERIES.day, FROM_DAY),
)
_BY_MS = sa.bindparam("by_ms", type_=sa.BigInteger)
_SHIFT_SERIES = (
    sa.update(tables.series)
    .where(_OF_BATCH)
    .values(
        first_ms=_SERIES.first_ms + _BY_MS,
        last_ms=_SERIES.last_ms + _BY_MS,
        zero_ms=_SERIES.zero_ms + _BY_MS,
    )
)
_METER_ID = sa.select(_METER.id).where(_METER.server_id == sa.bindparam("server_id"))
_REPLACE_SERIES = (
    sa.update(tables.series)
    .where(_OF_BATCH, _SERIES.meter_id == _METER_ID.scalar_subquery())
    .values({name: sa.bindparam(name) for name in Series._fields})
)
_PACKED = sa.select(_BATCH.packed, _BATCH.skipped).where(
    _BATCH.log_id == sa.bindparam("log_id"),
    _BATCH.first_seq == sa.bindparam("first_seq"),
    since(_BATCH.day, FROM_DAY),
)
_SPANS = sa.select(_SERIES.first_seq, _SERIES.meter_id, _SERIES.first_ms, _SERIES.last_ms).where(
    _SERIES.log_id == sa.bindparam("log_id"),
    _SERIES.first_seq >= sa.bindparam("low"),
    _SERIES.first_seq <= sa.bindparam("high"),
    since(_SERIES.day, FROM_DAY),
)
# A batch that moves on to a later day goes there (days.py); a batch with all its parts.
_MOVED = sa.select(_SERIES.first_seq, sa.func.max(_SERIES.last_ms), _SERIES.day).where(
    _SERIES.log_id == sa.bindparam("log_id"),
    _SERIES.first_seq >= sa.bindparam("low"),
    _SERIES.first_seq <= sa.bindparam("high"),
    since(_SERIES.day, FROM_DAY),
).group_by(_SERIES.first_seq, _SERIES.day)  # fmt: skip
_TO_DAY = tuple(
    sa.update(table)
    .where(
        table.c.log_id == sa.bindparam("in_log"),
        table.c.first_seq == sa.bindparam("seq"),
        table.c.day == sa.bindparam("of_day"),
    )
    .values(day=sa.bindparam("new_day"))
    for table in (tables.series, tables.batch)
)


class Move(NamedTuple):
    """A stored batch that gets another clock."""

    first_seq: int
    clock: Clock
    source: str
    before: Clock


class NewSyncs(NamedTuple):
    """Sync points that a boot of a log has got now."""

    log: Log
    boot: int
    points: Sequence[SyncPoint]

    def of_boot(self) -> dict[str, int]:
        """Return what a query looks for the boot by."""
        return {"log_id": self.log.id, "boot": self.boot}


class Beside(NamedTuple):
    """Batches, by first_seq, that others of their log may be placed by, or that lie by others.

    by_sync  have got a sync point now
    others   are new, or again, without one
    """

    log: Log
    by_sync: Sequence[int]
    others: Sequence[int]


def syncs_from(
    connection: sa.Connection, wanted: Sequence[tuple[int, int, int]]
) -> list[list[SyncPoint]]:
    """Return boots' best sync points from the last one at or before this uptime onwards.

    Wanted are (log_id, boot, uptime_ms); the answer has a list for each.
    """
    names = ("log_id", "boot", "uptime_ms")
    asked = [dict(zip(names, one, strict=True)) for one in wanted]
    return [
        [SyncPoint(row.uptime_ms, row.epoch_ms, row.grade) for row in rows]
        for rows in many.of_each(connection, _SYNCS_FROM, asked)
    ]


def moves_by_sync(connection: sa.Connection, new: Sequence[NewSyncs]) -> list[list[Move]]:
    """Return how new sync points move batches, for each of these boots.

    One moves what lies between it and the next; the first of a boot also what came before. Those
    that are not of the best grade move nothing.
    """
    reach = _reach(connection, new)
    found = many.of_each(connection, _OF_BOOT, list(reach.values()))
    rows_of_boot = {one: rows for one, rows in zip(reach, found, strict=True) if rows}
    wanted = [
        (new[one].log.id, new[one].boot, min(row.first_uptime_ms for row in rows))
        for one, rows in rows_of_boot.items()
    ]
    moves: list[list[Move]] = [[] for _ in new]
    for one, syncs in zip(rows_of_boot, syncs_from(connection, wanted), strict=True):
        moves[one] = _moves_to(rows_of_boot[one], syncs)
    return moves


def _reach(connection: sa.Connection, new: Sequence[NewSyncs]) -> dict[int, dict[str, int]]:
    """Return what _OF_BOOT is asked for those boots, by index, whose new points mean something."""
    uptimes: dict[int, list[int]] = {}
    best = many.one_of_each(connection, _BEST, [one.of_boot() for one in new])
    for index, (one, row) in enumerate(zip(new, best, strict=True)):
        of_best = [point.uptime_ms for point in one.points if point.grade == row.grade]
        if of_best:
            uptimes[index] = of_best
    asked = [new[one].of_boot() | {"uptime_ms": max(of_best)} for one, of_best in uptimes.items()]
    found = many.one_of_each(connection, _SYNC_FIRST_AND_NEXT, asked)
    reach = {}
    for index, row in zip(uptimes, found, strict=True):
        log, boot, _ = new[index]
        least_ms = min(uptimes[index])
        from_ms = least_ms if row.first_ms < least_ms else _LEAST
        until_ms = _GREATEST if row.next_ms is None else row.next_ms
        # What reaches to a point, or behind it, begins no further before the batch that brings it.
        own = [seq for seq, one in log.fresh.items() if one.batch.boot == boot and one.syncs]
        from_seq = 0 if from_ms == _LEAST else min(own, default=0) - RECORDS_MAX
        bounds = {"from_ms": from_ms, "until_ms": until_ms}
        reach[index] = new[index].of_boot() | bounds | {"from_day": log.marks.from_day(from_seq)}
    return reach


def _moves_to(rows: Sequence[Any], syncs: Sequence[SyncPoint]) -> list[Move]:
    """Return how a boot's sync points move these batches of it."""
    moves = []
    for row in rows:
        placed = _by_sync(row, syncs)
        if placed is None:
            if row.time_source not in (SYNC, CLOCK):
                continue
            placed = _by_arrival(row)
        elif placed[1] == CLOCK and row.time_source == METER:
            continue  # the meter's counter is worth more
        before = clock_of(row.offset_ms, row.steps)
        if placed != (before, row.time_source):
            moves.append(Move(row.first_seq, *placed, before))
    return moves


def moves_by_meter(
    connection: sa.Connection, beside: Sequence[Beside]
) -> Iterator[tuple[Log, list[Move]]]:
    """Yield how batches without a sync point are placed anew, for logs that have such.

    A batch is placed by the nearest one before and after it that has one: those that have got it
    now may move what lies beside them.
    """
    beside = [one for one in beside if one.others or _has_unplaced(connection, one.log)]
    with_sync = [one for one in beside if one.by_sync]
    ends = {one.log: list(one.others) for one in beside}
    found = _neighbours(
        connection, [(one.log, min(one.by_sync), max(one.by_sync)) for one in with_sync]
    )
    for one, (low, high) in zip(with_sync, found, strict=True):
        ends[one.log] += [_LEAST if low is None else low, _GREATEST if high is None else high]
    asked = [
        log.name_of(min(both)) | {"low": min(both), "high": max(both)}
        for log, both in ends.items()
    ]
    for log, rows in zip(ends, many.of_each(connection, _UNPLACED, asked), strict=True):
        if rows:
            yield log, _moves_by_counter(connection, log, rows)


def _moves_by_counter(connection: sa.Connection, log: Log, rows: Sequence[Any]) -> list[Move]:
    """Return how meters' counters move these batches, newest first, that have no sync point."""
    moves = []
    before: dict[bytes, Counted] = {}
    after: dict[bytes, Counted] = {}
    reach: tuple[int | None, int | None] = (0, -1)
    for row in reversed(rows):
        if reach[1] is not None and reach[1] < row.first_seq:
            (reach,) = _neighbours(connection, [(log, row.first_seq, row.first_seq)])
            before = _counted(connection, log, reach[0])
            after = _counted(connection, log, reach[1])
        if not before and not after and row.time_source != METER:
            continue
        own = _counted(connection, log, row.first_seq)
        move = _move_by_meter(row, own, before, after)
        if move is None and row.time_source == METER:
            (syncs,) = syncs_from(connection, [(log.id, row.boot, row.first_uptime_ms)])
            clock, source = _by_sync(row, syncs) or _by_arrival(row)
            move = Move(row.first_seq, clock, source, Clock(row.offset_ms))
        elif move is not None and (move.clock, move.source) == (move.before, row.time_source):
            move = None
        if move is not None:
            moves.append(move)
    return moves


def apply(connection: sa.Connection, log: Log, moves: Sequence[Move]) -> list[Span]:
    """Write new clocks and what follows from them; return when readings were, and are now."""
    if not moves:
        return []
    seqs = {move.first_seq for move in moves}
    before = spans_of(connection, log, seqs)
    connection.execute(
        _MOVE_BATCH,
        [
            {
                "in_log": log.id,
                "seq": move.first_seq,
                "from_day": log.marks.from_day(move.first_seq),
                "new_ms": move.clock.offset_ms,
                "new_steps": pack_steps(move.clock),
                "source": move.source,
            }
            for move in moves
        ],
    )
    shifts = [
        {
            "in_log": log.id,
            "seq": move.first_seq,
            "from_day": log.marks.from_day(move.first_seq),
            "by_ms": move.clock.offset_ms - move.before.offset_ms,
        }
        for move in moves
        if not move.clock.steps and not move.before.steps
    ]
    if shifts:
        connection.execute(_SHIFT_SERIES, shifts)
    for move in moves:
        if move.clock.steps or move.before.steps:
            _write_series(connection, log, move)
    _follow(connection, log, seqs)
    return before + spans_of(connection, log, seqs)


def spans_of(connection: sa.Connection, log: Log, first_seqs: Set[int]) -> list[Span]:
    """Return when each meter has readings in these batches."""
    low, high = min(first_seqs), max(first_seqs)
    bounds = log.name_of(low) | {"low": low, "high": high}
    rows = connection.execute(_SPANS, bounds)
    return [Span(*row[1:]) for row in rows if row.first_seq in first_seqs]


def series_values(meter_id: int, series: Series) -> dict[str, Any]:
    """Return the columns of one meter's part of a batch."""
    return {"meter_id": meter_id, **series._asdict()}


def _follow(connection: sa.Connection, log: Log, first_seqs: Set[int]) -> None:
    """Take batches to the day of their newest reading, where that has become a later one."""
    if not days.are_apart(connection):
        return
    low, high = min(first_seqs), max(first_seqs)
    newest: dict[tuple[int, int], int] = {}
    for first_seq, last_ms, day in connection.execute(
        _MOVED, log.name_of(low) | {"low": low, "high": high}
    ):
        if first_seq in first_seqs and day != days.ASIDE:
            newest[first_seq, day] = days.day_of(connection, last_ms)
    rows = [
        {"in_log": log.id, "seq": first_seq, "of_day": day, "new_day": new_day}
        for (first_seq, day), new_day in newest.items()
        if new_day > day
    ]
    if rows:
        days.ensure(connection, {row["new_day"] for row in rows})
        for statement in _TO_DAY:
            connection.execute(statement, rows)


def _write_series(connection: sa.Connection, log: Log, move: Move) -> None:
    """Count anew when each meter's readings of one batch began and ended."""
    row = connection.execute(_PACKED, log.name_of(move.first_seq)).one()
    stored = batch_from("", 0, move.first_seq, row.packed)
    found = series_of(list(rows_of(stored, as_bits(row.skipped))), move.clock)
    for server_id, one in found.items():
        name = {"in_log": log.id, "seq": move.first_seq, "server_id": server_id}
        name |= {"from_day": log.marks.from_day(move.first_seq)}
        connection.execute(_REPLACE_SERIES, name | one._asdict())


def _has_unplaced(connection: sa.Connection, log: Log) -> bool:
    """Tell whether a log may have batches without a sync point."""
    # To look for one in all days takes longer than what is saved by knowing that there is none.
    return (
        days.are_apart(connection)
        or connection.execute(_ANY_UNPLACED, {"log_id": log.id}).first() is not None
    )


def _neighbours(
    connection: sa.Connection, wanted: Sequence[tuple[Log, int, int]]
) -> list[tuple[int | None, int | None]]:
    """Return the nearest batches before and after these whose time a sync point gives.

    Wanted are (log, first_seq of the first one, and of the last one).
    """
    found: dict[int, tuple[int | None, int | None]] = {}
    for is_in_all_days in (False, True):
        asked = {}
        for index, (log, low, high) in enumerate(wanted):
            if index not in found:
                from_day = 0 if is_in_all_days else log.marks.before_day
                bounds = {"low": low, "high": high, "from_day": from_day}
                asked[index] = {"log_id": log.id} | bounds
        rows = many.one_of_each(connection, _NEIGHBOURS, list(asked.values()))
        for index, row in zip(asked, rows, strict=True):
            from_seq = wanted[index][0].marks.before_seq
            # All that begins behind that number is in these days.
            is_nearest = row.before is not None and row.before > from_seq
            if is_nearest or asked[index]["from_day"] == 0:
                found[index] = row.before, row.behind
    return [found[index] for index in range(len(wanted))]


def _counted(connection: sa.Connection, log: Log, first_seq: int | None) -> dict[bytes, Counted]:
    """Return the seconds counters in one batch, by meter in order of their numbers."""
    if first_seq is None:
        return {}
    rows = connection.execute(_COUNTED, log.name_of(first_seq))
    return {row.server_id: Counted(row.zero_ms, row.first_ms, row.last_ms) for row in rows}


def _move_by_meter(
    row: Any,
    own: dict[bytes, Counted],
    before: dict[bytes, Counted],
    after: dict[bytes, Counted],
) -> Move | None:
    """Return where a meter's counter puts a batch, None where no counter is to be believed."""
    if row.steps is not None:
        return None  # its own clock stepped in it: what its series say is no counter's zero
    received_ms = row.received_ms + SURE_AHEAD_MS_MAX[row.received_trust] - CLOCK_AHEAD_MS_MAX
    for server_id, placed in own.items():
        counted = Counted(*(number - row.offset_ms for number in _numbers(placed)))
        offset_ms = offset_by_meter(
            counted, before.get(server_id), after.get(server_id), received_ms
        )
        if offset_ms is not None:
            return Move(row.first_seq, Clock(offset_ms), METER, Clock(row.offset_ms))
    return None


def _by_sync(row: Any, syncs: Sequence[SyncPoint]) -> tuple[Clock, str] | None:
    """Return clock and source of a stored batch by the sync points of its boot."""
    return clock_by_sync(
        syncs, row.first_uptime_ms, row.last_uptime_ms, row.received_ms, row.received_trust
    )


def _by_arrival(row: Any) -> tuple[Clock, str]:
    """Return clock and source of a stored batch by its arrival."""
    return Clock(offset_by_arrival(row.received_ms, row.last_uptime_ms, None)), ARRIVAL


def _numbers(counted: Counted) -> tuple[int, int, int]:
    return counted.zero_ms, counted.first_ms, counted.last_ms
