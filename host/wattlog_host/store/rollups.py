"""SQL for buckets: making them from the batches that hold the readings.

Whatever changes a row of series notes the hours it touches as due (`due.py`) in the same
transaction; the buckets are made in another one, right after it, so that no acknowledgement waits
for them. An hour is made again from its readings alone, or goes on where its block ends if all
that is new lies behind it: both give the same bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from wattlog.channels import COUNTER
from wattlog.recordreader import Row
from wattlog_host.history.blocks import BUCKETS, Block, BlockError
from wattlog_host.history.columns import HOLD_MS
from wattlog_host.history.rollup import HOUR_MS, MINUTE_MS, QUARTER_MINUTES, fold, joined
from wattlog_host.ingest import stored_values
from wattlog_host.store import due, many, sharing, tables
from wattlog_host.store.days import (
    FROM_DAY,
    SERIES_OF_BATCH,
    SINCE_IN_BOTH,
    from_day_of,
    since,
)
from wattlog_host.store.due import Due, Span
from wattlog_host.store.lookup import own
from wattlog_host.units import BY_ID

READINGS_MAX = 4_000
"""No further hour is begun in a transaction after so many: batches that come wait for it."""
HOURS_MAX = 200
_HOURS_AT_ONCE = 50
"""Of a database that is asked for them at once; else there is nothing to gain."""
QUARTERS = 4

_SERIES, _BATCH, _METER = tables.series.c, tables.batch.c, tables.meter.c
_ROLLUP = tables.rollup.c

_OF_METER = _SERIES.meter_id == sa.bindparam("meter_id")
_END_MS = sa.bindparam("end_ms", type_=sa.BigInteger)
_PACKED = (
    sa.select(
        _BATCH.log_id, _BATCH.first_seq, _BATCH.readings, _BATCH.skipped, _BATCH.offset_ms,
        _BATCH.steps, _BATCH.time_source, _BATCH.packed, _METER.server_id,
    )
    .select_from(SERIES_OF_BATCH.join(tables.meter, _METER.id == _SERIES.meter_id))
    .where(
        _OF_METER, _SERIES.first_ms < _END_MS, SINCE_IN_BOTH
    )
)  # fmt: skip
_IN_TIME = _PACKED.where(
    _SERIES.last_ms >= sa.bindparam("start_ms"),
    _SERIES.last_ms < _END_MS + tables.SERIES_MS_MAX,
    _SERIES.last_ms - _SERIES.first_ms <= tables.SERIES_MS_MAX,
)
_COUNT_IN_TIME = sa.select(sa.func.sum(_SERIES.readings).label("readings")).where(
    _OF_METER,
    _SERIES.first_ms < _END_MS,
    _SERIES.last_ms >= sa.bindparam("start_ms"),
    _SERIES.last_ms < _END_MS + tables.SERIES_MS_MAX,
    since(_SERIES.day, FROM_DAY),
)
_LONG = _PACKED.where(
    _SERIES.last_ms >= sa.bindparam("start_ms"),
    _SERIES.last_ms - _SERIES.first_ms > sa.text(str(tables.SERIES_MS_MAX)),
)

_BLOCKS = sa.select(_ROLLUP.channel, _ROLLUP.packed).where(
    _ROLLUP.meter_id == sa.bindparam("meter_id"),
    # All there are, for the sake of the index.
    _ROLLUP.channel.in_(sorted(BY_ID)),
    _ROLLUP.step_s == sa.bindparam("step_s"),
    _ROLLUP.start_ms == sa.bindparam("start_ms"),
)
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
    left = _newest(connection, hours_max)
    raw_from_ms = due.watermark(connection)
    while left and readings <= readings_max:
        count = _fitting(connection, left, readings_max - readings)
        hours = due.take(connection, left[:count], raw_from_ms)
        left = left[count:]
        for hour, took in zip(hours, _roll_hours(connection, longer, hours), strict=True):
            readings += took.readings
            done.append(hour)
            if not took.is_whole:
                aside.append(hour)
    longer.write()
    due.set_aside(connection, aside)
    return done


def set_aside(connection: sa.Connection) -> list[Due]:
    """Set the newest due hour aside, whose buckets cannot be made; return it."""
    found = due.take(connection, _newest(connection, 1), due.watermark(connection))
    due.set_aside(connection, found)
    return found


def _newest(connection: sa.Connection, hours_max: int) -> list[tuple[int, int]]:
    """Return (meter_id, hour_ms) of the newest due hours, of meters that nobody else is at."""
    return due.newest(connection, hours_max, sharing.take_due_meters(connection, hours_max))


def _fitting(
    connection: sa.Connection, hours: Sequence[tuple[int, int]], readings_max: int
) -> int:
    """Return how many of these hours, (meter_id, hour_ms), have so many readings; at least one."""
    if not many.is_far(connection):
        return 1
    asked = [_bounds(*_around(*hour)) for hour in hours[:_HOURS_AT_ONCE]]
    readings = 0
    for count, row in enumerate(many.one_of_each(connection, _COUNT_IN_TIME, asked)):
        readings += row.readings or 0
        if readings > readings_max:
            return max(1, count)
    return len(asked)


def _around(meter_id: int, hour_ms: int) -> Span:
    """Return of what time readings have to do with an hour's buckets."""
    return Span(meter_id, hour_ms - HOLD_MS, hour_ms + HOUR_MS + HOLD_MS)


def _bounds(meter_id: int, start_ms: int, end_ms: int) -> dict[str, int]:
    """Return what queries for a meter's readings of this time ask for."""
    bounds = {"meter_id": meter_id, "start_ms": start_ms, "end_ms": end_ms}
    return bounds | {"from_day": from_day_of(start_ms)}


class Took(NamedTuple):
    """From how many readings an hour's blocks were made, and whether these were all it has."""

    readings: int = 0
    is_whole: bool = True


class Samples(NamedTuple):
    """Readings in the order of time; not whole where not all of a batch could be read."""

    rows: Sequence[Sample]
    is_whole: bool = True


def samples(connection: sa.Connection, meter_id: int, start_ms: int, end_ms: int) -> Samples:
    """Return the readings of a meter in start_ms <= t < end_ms."""
    (found,) = _samples_of_each(connection, [Span(meter_id, start_ms, end_ms)])
    return found


def _samples_of_each(connection: sa.Connection, spans: Sequence[Span]) -> Iterator[Samples]:
    """Yield the readings of meters in first_ms <= t < last_ms, decoded one after another."""
    asked = [_bounds(*span) for span in spans]
    found = (many.of_each(connection, query, asked) for query in (_IN_TIME, _LONG))
    for (_, start_ms, end_ms), in_time, long in zip(spans, *found, strict=True):
        rows: list[Sample] = []
        is_whole = True
        for row in (*in_time, *long):
            batch = own(row)
            is_whole = is_whole and batch.is_whole
            rows += _samples_of(row, batch.rows, start_ms, end_ms)
        rows.sort()
        yield Samples(rows, is_whole)


def _samples_of(
    batch: Any, rows: Sequence[tuple[int, Row]], start_ms: int, end_ms: int
) -> Iterator[Sample]:
    for time_ms, one in rows:
        if start_ms <= time_ms < end_ms and one.server_id == batch.server_id:
            values = stored_values(one.values)
            yield Sample(time_ms, batch.log_id, one.seq, batch.time_source, values)


class _Hour:
    """An hour whose blocks of minutes are to be made: from those that are there, or anew."""

    def __init__(self, hour: Due, stored: dict[int, bytes]) -> None:
        """Take what the notes say, and what is there, by channel."""
        self.meter_id, self.hour_ms, from_ms, self._was_let_go = hour
        self._around = _around(self.meter_id, self.hour_ms)
        self.stored = stored
        unpacked = {channel: _unpacked(packed, 60) for channel, packed in stored.items()}
        self._blocks = {channel: block for channel, block in unpacked.items() if block is not None}
        tails = [block.tail_ms for block in self._blocks.values()]
        goes_on = tails and len(tails) == len(stored) and from_ms > max(tails)
        self._tail_ms = min(tails) if goes_on else None

    def rest(self) -> Span | None:
        """Return of what time readings are needed to go on, None where it has to be made anew."""
        if self._tail_ms is None:
            return None
        return self._around._replace(first_ms=self._tail_ms + 1)

    def whole(self) -> Span | None:
        """Return of what time readings are needed to make it anew.

        None where what is there knows more than the readings that are left.
        """
        if self.stored and self._was_let_go:
            return None
        return self._around

    def with_rest(self, news: Samples) -> dict[int, Block] | None:
        """Return the blocks that go on, None where one of these readings has another channel."""
        if any(channel not in self._blocks for one in news.rows for channel in one.values):
            return None
        _fold(self._blocks, news.rows, self.hour_ms)
        return self._blocks

    def anew(self, news: Samples) -> dict[int, Block]:
        """Return blocks that are made from these readings alone."""
        channels = sorted({channel for one in news.rows for channel in one.values})
        blocks = {one: Block(BUCKETS[60], BY_ID[one].kind == COUNTER) for one in channels}
        _fold(blocks, news.rows, self.hour_ms)
        return {channel: block for channel, block in blocks.items() if block.used()}


def _roll_hours(connection: sa.Connection, longer: "_Longer", dues: Sequence[Due]) -> list[Took]:
    """Make these hours' blocks."""
    names = [_name_of(one.meter_id, 60, one.hour_ms) for one in dues]
    found = many.of_each(connection, _BLOCKS, names)
    hours = [
        _Hour(one, {row.channel: row.packed for row in rows})
        for one, rows in zip(dues, found, strict=True)
    ]
    longer.load([(one.meter_id, one.hour_ms) for one in dues])
    took = [Took()] * len(hours)
    left = dict(enumerate(hours))
    for needed, made in ((_Hour.rest, _Hour.with_rest), (_Hour.whole, _Hour.anew)):
        spans = {at: span for at, hour in left.items() if (span := needed(hour)) is not None}
        all_news = _samples_of_each(connection, list(spans.values()))
        for at, news in zip(spans, all_news, strict=True):
            blocks = made(hours[at], news)
            if blocks is not None:
                longer.put(hours[at], blocks)
                took[at] = Took(len(news.rows), news.is_whole)
                del left[at]
    return took


def _name_of(meter_id: int, step_s: int, start_ms: int) -> dict[str, int]:
    return {"meter_id": meter_id, "step_s": step_s, "start_ms": start_ms}


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

    def load(self, hours: Iterable[tuple[int, int]]) -> None:
        """Load the blocks that these hours, (meter_id, hour_ms), are part of."""
        wanted = {
            (meter_id, step_s, block_start_ms(step_s, hour_ms))
            for meter_id, hour_ms in hours
            for step_s in (900, 3600)
        }
        names = sorted(wanted - self._loaded)
        self._loaded.update(names)
        found = many.of_each(self._connection, _BLOCKS, [_name_of(*name) for name in names])
        for (meter_id, step_s, start_ms), rows in zip(names, found, strict=True):
            for row in rows:
                self._take(meter_id, row, step_s, start_ms)

    def put(self, hour: _Hour, blocks: dict[int, Block]) -> None:
        """Take over the blocks of an hour that was loaded."""
        meter_id, hour_ms, stored = hour.meter_id, hour.hour_ms, hour.stored
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

    def _take(self, meter_id: int, row: Any, step_s: int, start_ms: int) -> None:
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
