"""SQL for imports: which meters there are, what is stored of a time, where a log goes on."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from wattlog_host.history.blocks import BUCKETS, Block, BlockError
from wattlog_host.history.columns import HOLD_MS
from wattlog_host.history.rollup import HOUR_MS
from wattlog_host.store import due, rollups, tables
from wattlog_host.store.days import FROM_DAY, from_day_of, since

PREFIX = "import-"
"""With it begin the names of edges that are no agents, but imports."""

_BATCH, _EDGE, _LOG = tables.batch.c, tables.edge.c, tables.edge_log.c
_METER, _SERIES, _ROLLUP = tables.meter.c, tables.series.c, tables.rollup.c

_METERS = sa.select(_METER.id, _METER.server_id, _METER.label).order_by(_METER.id)
_OF_LOG = sa.and_(_EDGE.name == sa.bindparam("edge"), _LOG.log == sa.bindparam("log"))
_NEXT_SEQ = (
    sa.select(sa.func.max(_BATCH.first_seq + _BATCH.records))
    .select_from(tables.batch.join(tables.edge_log).join(tables.edge))
    .where(_OF_LOG)
)
_SYNCS = (
    sa.select(sa.func.count())
    .select_from(tables.sync_point.join(tables.edge_log).join(tables.edge))
    .where(_OF_LOG)
)
_LIVE = (
    sa.select(_SERIES.first_ms, _SERIES.last_ms)
    .select_from(tables.series.join(tables.edge_log, _LOG.id == _SERIES.log_id).join(tables.edge))
    .where(
        _SERIES.meter_id == sa.bindparam("meter_id"),
        _SERIES.last_ms >= sa.bindparam("start_ms"),
        # Longer ones are of a meter that is hardly ever read: between its readings is room.
        _SERIES.last_ms < sa.bindparam("end_ms") + tables.SERIES_MS_MAX,
        _SERIES.first_ms < sa.bindparam("end_ms"),
        since(_SERIES.day, FROM_DAY),
        ~_EDGE.name.startswith(PREFIX, autoescape=True),
    )
)
_MINUTES = sa.select(_ROLLUP.start_ms, _ROLLUP.packed).where(
    _ROLLUP.meter_id == sa.bindparam("meter_id"),
    _ROLLUP.step_s == 60,
    _ROLLUP.start_ms >= sa.bindparam("start_ms"),
    _ROLLUP.start_ms < sa.bindparam("end_ms"),
)


class KnownMeter(NamedTuple):
    """A meter that the store knows."""

    id: int
    server_id: bytes
    label: str


class Stored(NamedTuple):
    """What is stored of a meter in some time.

    values  by time: a hash of the values that are stored, integers by channel
    live    times from when to when its own agents have read it, rising, apart from each other
    tails   by hour that was let go: up to when its buckets go
    """

    values: dict[int, int]
    live: Sequence[tuple[int, int]]
    tails: dict[int, int]


def meters(connection: sa.Connection) -> list[KnownMeter]:
    """Return all meters."""
    return [KnownMeter(*row) for row in connection.execute(_METERS)]


def next_seq(connection: sa.Connection, edge: str, log: int) -> tuple[int, bool]:
    """Return with which number a log goes on, and whether it is new: nobody told it the time."""
    name = {"edge": edge, "log": log}
    number = connection.execute(_NEXT_SEQ, name).scalar()
    return int(number or 1), not connection.execute(_SYNCS, name).scalar_one()


def stored(connection: sa.Connection, meter_id: int, start_ms: int, end_ms: int) -> Stored:
    """Return what is stored of a meter in start_ms <= t < end_ms."""
    values = {
        one.time_ms: fingerprint(one.values)
        for one in rollups.samples(connection, meter_id, start_ms, end_ms).rows
    }
    bounds = {"meter_id": meter_id, "start_ms": start_ms, "end_ms": end_ms}
    around = bounds | {"start_ms": start_ms - HOLD_MS, "end_ms": end_ms + HOLD_MS}
    around["from_day"] = from_day_of(start_ms - HOLD_MS)
    live: list[tuple[int, int]] = []
    for first_ms, last_ms in sorted(tuple(row) for row in connection.execute(_LIVE, around)):
        if live and first_ms - HOLD_MS <= live[-1][1]:
            live[-1] = (live[-1][0], max(live[-1][1], last_ms + HOLD_MS))
        else:
            live.append((first_ms - HOLD_MS, last_ms + HOLD_MS))
    tails: dict[int, int] = {}
    if start_ms < due.watermark(connection):
        hours = bounds | {"start_ms": start_ms - start_ms % HOUR_MS}
        for row in connection.execute(_MINUTES, hours):
            try:
                tail_ms = Block.unpack(row.packed, BUCKETS[60]).tail_ms
            except BlockError:
                continue
            tails[row.start_ms] = max(tails.get(row.start_ms, 0), tail_ms)
    return Stored(values, live, tails)


def fingerprint(values: dict[int, int]) -> int:
    """Return a number that tells values apart, within this process."""
    return hash(tuple(sorted(values.items())))
