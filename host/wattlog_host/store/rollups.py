"""SQL for buckets: making them from the batches that hold the readings.

Whatever changes a row of series notes the hours it touches as due (`due.py`) in the same
transaction; the buckets are made in another one, right after it, so that no acknowledgement waits
for them. An hour is made again from its readings alone, or goes on where its block ends if all
that is new lies behind it: both give the same bytes.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from wattlog.channels import COUNTER
from wattlog.recordreader import Row
from wattlog_host.history.blocks import BUCKETS, Block, BlockError
from wattlog_host.history.columns import HOLD_MS
from wattlog_host.history.rollup import HOUR_MS, MINUTE_MS, QUARTER_MINUTES, fold, joined
from wattlog_host.ingest import stored_values
from wattlog_host.store import due, sharing, tables
from wattlog_host.store.days import SERIES_OF_BATCH, SINCE_IN_BOTH, from_day_of
from wattlog_host.store.due import Due, Span
from wattlog_host.store.lookup import own
from wattlog_host.units import BY_ID

READINGS_MAX = 4_000
"""No further hour is begun in a transaction after so many: batches that come wait for it."""
HOURS_MAX = 200
QUARTERS = 4

_SERIES, _BATCH, _METER = tables.series.c, tables.batch.c, tables.meter.c
_ROLLUP = tables.rollup.c

_OF_METER = _SERIES.meter_id == sa.bindparam("meter_id")
_PACKED = (
    sa.select(
        _BATCH.log_id, _BATCH.first_seq, _BATCH.readings, _BATCH.skipped, _BATCH.offset_ms,
        _BATCH.steps, _BATCH.time_source, _BATCH.packed, _METER.server_id,
    )
    .select_from(SERIES_OF_BATCH.join(tables.meter, _METER.id == _SERIES.meter_id))
    .where(
        _OF_METER, _SERIES.first_ms < sa.bindparam("end_ms"), SINCE_IN_BOTH
    )
)  # fmt: skip
_IN_TIME = _PACKED.where(
    _SERIES.last_ms >= sa.bindparam("start_ms"),
    _SERIES.last_ms < sa.bindparam("end_ms") + tables.SERIES_MS_MAX,
    _SERIES.last_ms - _SERIES.first_ms <= tables.SERIES_MS_MAX,
)
_LONG = _PACKED.where(
    _SERIES.last_ms >= sa.bindparam("start_ms"),
    _SERIES.last_ms - _SERIES.first_ms > sa.text(str(tables.SERIES_MS_MAX)),
)

_BLOCKS = sa.select(_ROLLUP.channel, _ROLLUP.packed).where(
    _ROLLUP.meter_id == sa.bindparam("meter_id"),
    _ROLLUP.channel.in_(sa.bindparam("channels", expanding=True)),
    _ROLLUP.step_s == sa.bindparam("step_s"),
    _ROLLUP.start_ms == sa.bindparam("start_ms"),
)
_ALL_CHANNELS = sorted(BY_ID)
_COLUMNS = tuple(column.name for column in tables.rollup.c)
_NAMES = ("of_meter", "of_channel", "of_step", "of_start")
_NAME = (
    _ROLLUP.meter_id == sa.bindparam("of_meter"),
    _ROLLUP.channel == sa.bindparam("of_channel"),
    _ROLLUP.step_s == sa.bindparam("of_step"),
    _ROLLUP.start_ms == sa.bindparam("of_start"),
)
_UPDATE = sa.update(tables.rollup).where(*_NAME).values(packed=sa.bindparam("new_packed"))
_DELETE = sa.delete(tables.rollup).where(*_NAME)
_INSERT = sa.insert(tables.rollup)


class Sample(NamedTuple):
    """One reading of one meter; values by channel id, stored integers."""

    time_ms: int
    log_id: int
    seq: int
    source: str
    values: dict[int, int]


def block_start_ms(step_s: int, time_ms: int) -> int:
    """Return where the block begins that has this time."""
    return time_ms - time_ms % (step_s * 1_000 * BUCKETS[step_s])


def roll(
    connection: sa.Connection,
    readings_max: int = READINGS_MAX,
    hours_max: int = HOURS_MAX,
) -> list[Due]:
    """Make the buckets of the newest due hours; return these."""
    longer = _Longer(connection)
    done: list[Due] = []
    aside: list[Due] = []
    readings = 0
    for hour in _due(connection, hours_max):
        news = _roll_hour(connection, longer, hour)
        readings += len(news.rows)
        done.append(hour)
        if not news.is_whole:
            aside.append(hour)
        if readings > readings_max:
            break
    longer.write()
    due.set_aside(connection, aside)
    return done


def set_aside(connection: sa.Connection) -> list[Due]:
    """Set the newest due hour aside, whose buckets cannot be made; return it."""
    found = list(_due(connection, 1))
    due.set_aside(connection, found)
    return found


def _due(connection: sa.Connection, hours_max: int) -> Iterator[Due]:
    """Take the newest hours that are due, of meters that nobody else is at, one after another."""
    meter_ids = sharing.take_due_meters(connection, hours_max)
    raw_from_ms = due.watermark(connection)
    for name in due.newest(connection, hours_max, meter_ids):
        hour = due.take(connection, *name, raw_from_ms)
        if hour is not None:
            yield hour


class Samples(NamedTuple):
    """Readings in the order of time; not whole where not all of a batch could be read."""

    rows: Sequence[Sample]
    is_whole: bool = True


def samples(connection: sa.Connection, meter_id: int, start_ms: int, end_ms: int) -> Samples:
    """Return the readings of a meter in start_ms <= t < end_ms."""
    bounds = {"meter_id": meter_id, "start_ms": start_ms, "end_ms": end_ms}
    bounds["from_day"] = from_day_of(start_ms)
    found: list[Sample] = []
    is_whole = True
    for query in (_IN_TIME, _LONG):
        for row in connection.execute(query, bounds):
            batch = own(row)
            is_whole = is_whole and batch.is_whole
            found += _samples_of(row, batch.rows, start_ms, end_ms)
    found.sort()
    return Samples(found, is_whole)


def _samples_of(
    batch: Any, rows: Sequence[tuple[int, Row]], start_ms: int, end_ms: int
) -> Iterator[Sample]:
    for time_ms, one in rows:
        if start_ms <= time_ms < end_ms and one.server_id == batch.server_id:
            values = stored_values(one.values)
            yield Sample(time_ms, batch.log_id, one.seq, batch.time_source, values)


def _roll_hour(connection: sa.Connection, longer: "_Longer", hour: Due) -> Samples:
    """Make one hour's blocks: go on with them, or anew; return the readings that it took."""
    meter_id, hour_ms, from_ms, was_let_go = hour
    stored = {
        row.channel: row.packed
        for row in connection.execute(
            _BLOCKS,
            {
                "meter_id": meter_id,
                "channels": _ALL_CHANNELS,
                "step_s": 60,
                "start_ms": hour_ms,
            },
        )
    }
    end_ms = hour_ms + HOUR_MS + HOLD_MS
    blocks = {}
    for channel, packed in stored.items():
        block = _unpacked(packed, 60)
        if block is None:
            from_ms = 0
        else:
            blocks[channel] = block
    tails = [block.tail_ms for block in blocks.values()]
    if tails and from_ms > max(tails):
        news = samples(connection, meter_id, min(tails) + 1, end_ms)
        if all(channel in blocks for one in news.rows for channel in one.values):
            _fold(blocks, news.rows, hour_ms)
            longer.put(meter_id, hour_ms, blocks, stored)
            return news
    if stored and was_let_go:
        return Samples(())
    blocks = {}
    news = samples(connection, meter_id, hour_ms - HOLD_MS, end_ms)
    for channel in sorted({channel for one in news.rows for channel in one.values}):
        blocks[channel] = Block(BUCKETS[60], BY_ID[channel].kind == COUNTER)
    _fold(blocks, news.rows, hour_ms)
    blocks = {channel: block for channel, block in blocks.items() if block.used()}
    longer.put(meter_id, hour_ms, blocks, stored)
    return news


def _fold(blocks: dict[int, Block], news: Sequence[Sample], hour_ms: int) -> None:
    points: dict[int, list[tuple[int, int]]] = {channel: [] for channel in blocks}
    for one in news:
        for channel, value in one.values.items():
            points[channel].append((one.time_ms, value))
    for channel, block in blocks.items():
        fold(block, hour_ms, points[channel])


def _unpacked(packed: bytes, step_s: int) -> Block | None:
    """Return a stored block, None where it cannot be read."""
    try:
        return Block.unpack(packed, BUCKETS[step_s])
    except BlockError:
        return None


class _Longer:
    """The blocks of a transaction: minutes are written, quarters and hours follow from them."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._blocks: dict[tuple[int, int, int, int], Block] = {}
        self._stored: dict[tuple[int, int, int, int], bytes] = {}
        self._loaded: set[tuple[int, int, int]] = set()

    def put(
        self, meter_id: int, hour_ms: int, blocks: dict[int, Block], stored: dict[int, bytes]
    ) -> None:
        """Take over an hour's blocks of minutes; stored are those that are there now."""
        for step_s in (900, 3600):
            self._load(meter_id, step_s, block_start_ms(step_s, hour_ms))
        for channel in sorted(blocks.keys() | stored.keys()):
            name = (meter_id, channel, 60, hour_ms)
            if channel in stored:
                self._stored[name] = stored[channel]
            block = blocks.get(channel)
            if block is None:
                block = Block(BUCKETS[60], BY_ID[channel].kind == COUNTER)
            self._blocks[name] = block
            self._put_longer(name, block)

    def write(self) -> None:
        """Write what is not there yet."""
        new: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        gone: list[dict[str, Any]] = []
        for name, block in self._blocks.items():
            before = self._stored.get(name)
            packed = block.pack() if block.used() else None
            if packed == before:
                continue
            if before is None:
                new.append(dict(zip(_COLUMNS, (*name, packed), strict=True)))
                continue
            row = dict(zip(_NAMES, name, strict=True))
            if packed is None:
                gone.append(row)
            else:
                changed.append(row | {"new_packed": packed})
        for statement, rows in ((_INSERT, new), (_UPDATE, changed), (_DELETE, gone)):
            if rows:
                self._connection.execute(statement, rows)

    def _load(self, meter_id: int, step_s: int, start_ms: int) -> None:
        if (meter_id, step_s, start_ms) in self._loaded:
            return
        self._loaded.add((meter_id, step_s, start_ms))
        name = {"meter_id": meter_id, "channels": _ALL_CHANNELS}
        rows = self._connection.execute(_BLOCKS, name | {"step_s": step_s, "start_ms": start_ms})
        for row in rows:
            key = (meter_id, row.channel, step_s, start_ms)
            self._stored[key] = row.packed
            block = _unpacked(row.packed, step_s)
            if block is None:  # all of it is to be made again
                end_ms = start_ms + step_s * 1_000 * BUCKETS[step_s] - 1
                due.mark(self._connection, [Span(meter_id, start_ms, end_ms)])
            else:
                self._blocks[key] = block

    def _put_longer(self, name: tuple[int, int, int, int], block: Block) -> None:
        hour_ms = name[-1]
        quarter, hour = self._longer(name, 900), self._longer(name, 3600)
        start_ms = block_start_ms(900, hour_ms)
        at = (hour_ms - start_ms) // (MINUTE_MS * QUARTER_MINUTES)
        for index in range(QUARTERS):
            quarter.put(at + index, joined(block, QUARTER_MINUTES * index, QUARTER_MINUTES))
        start_ms = block_start_ms(3600, hour_ms)
        hour.put((hour_ms - start_ms) // HOUR_MS, joined(block, 0, BUCKETS[60]))

    def _longer(self, name: tuple[int, int, int, int], step_s: int) -> Block:
        meter_id, channel, _, hour_ms = name
        key = (meter_id, channel, step_s, block_start_ms(step_s, hour_ms))
        if key not in self._blocks:
            self._blocks[key] = Block(BUCKETS[step_s], BY_ID[channel].kind == COUNTER)
        return self._blocks[key]
