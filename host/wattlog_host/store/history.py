"""The past over SQL: wattlog_host.history.columns says what is asked and answered."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import add
from typing import Any

import sqlalchemy as sa

from wattlog_host.history.blocks import BUCKETS, Block, BlockError
from wattlog_host.history.columns import Gauges, Lost, MeterInfo, Reading, Registers
from wattlog_host.store import lookup, tables
from wattlog_host.store.days import FROM_DAY, from_day_of, since
from wattlog_host.store.rollups import block_start_ms, samples

INT64_MAX = 2**63 - 1
_ID_DIGITS_MAX = 18
_PIECE_MS = 6 * 3_600_000
"""So much of the raw readings is in memory at once."""

_METER, _ROLLUP, _SERIES = tables.meter.c, tables.rollup.c, tables.series.c

_METERS = sa.select(_METER.id, _METER.server_id, _METER.label).order_by(_METER.id)
# A look at each meter's first bucket until there are enough; a join might look at all buckets.
_BUCKET = sa.select(_ROLLUP.channel).where(_ROLLUP.meter_id == _METER.id).limit(1)
_METER_BEYOND = (
    sa.select(_METER.id)
    .where(_BUCKET.scalar_subquery().is_not(None))
    .offset(sa.bindparam("count"))
    .limit(1)
)


def _called(label: sa.ColumnElement[str]) -> sa.Select[Any]:
    return _METERS.where(
        sa.or_(
            _METER.id == sa.bindparam("id"),
            _METER.server_id == sa.bindparam("server_id"),
            sa.func.lower(label) == sa.bindparam("label"),
        )
    )


# PostgreSQL's letters are those of its locale, where in Turkish another i belongs to I.
_METERS_CALLED = {
    "sqlite": _called(_METER.label),
    "postgresql": _called(sa.collate(_METER.label, "C")),
}
_CHANNELS = (
    sa.select(_ROLLUP.channel)
    .distinct()
    .where(_ROLLUP.meter_id == sa.bindparam("meter_id"), _ROLLUP.step_s == 3600)
    .order_by(_ROLLUP.channel)
)
_FIRST_BLOCK = (
    sa.select(_ROLLUP.start_ms, _ROLLUP.packed)
    .where(
        _ROLLUP.meter_id == sa.bindparam("meter_id"),
        _ROLLUP.channel == sa.bindparam("channel"),
        _ROLLUP.step_s == 3600,
    )
    .order_by(_ROLLUP.start_ms)
    .limit(1)
)
_LAST_MS = sa.select(sa.func.max(_SERIES.last_ms)).where(
    _SERIES.meter_id == sa.bindparam("meter_id")
)
_OF_CHANNEL = sa.select(_ROLLUP.start_ms, _ROLLUP.packed).where(
    _ROLLUP.meter_id == sa.bindparam("meter_id"),
    _ROLLUP.channel == sa.bindparam("channel"),
    _ROLLUP.step_s == sa.bindparam("step_s"),
)
_BLOCKS = _OF_CHANNEL.where(
    _ROLLUP.start_ms >= sa.bindparam("low_ms"), _ROLLUP.start_ms < sa.bindparam("high_ms")
).order_by(_ROLLUP.start_ms)
_BEFORE = _OF_CHANNEL.where(_ROLLUP.start_ms < sa.bindparam("low_ms")).order_by(
    _ROLLUP.start_ms.desc()
)
_BEHIND = _OF_CHANNEL.where(_ROLLUP.start_ms >= sa.bindparam("high_ms")).order_by(_ROLLUP.start_ms)


_NEXT_LAST = (
    sa.select(_SERIES.last_ms)
    .where(
        _SERIES.meter_id == sa.bindparam("meter_id"),
        _SERIES.last_ms >= sa.bindparam("time_ms"),
        since(_SERIES.day, FROM_DAY),
    )
    .order_by(_SERIES.last_ms)
    .limit(1)
)
_ANY_LONG = _NEXT_LAST.where(
    _SERIES.last_ms - _SERIES.first_ms > sa.text(str(tables.SERIES_MS_MAX))
).order_by(None)


class SqlHistory:
    """Answers over one connection; see columns.History."""

    def __init__(
        self, connection: sa.Connection, let_pass: Callable[[], None] = lambda: None
    ) -> None:
        """Ask over this connection, which sees one state; call let_pass between two blocks."""
        self._connection = connection
        self._let_pass = let_pass

    def meters(self) -> list[MeterInfo]:
        """Return all meters that have readings, in order of their ids."""
        return list(self._known(self._connection.execute(_METERS).all()))

    def meter(self, name: str) -> MeterInfo | None:
        """Return the first of them that is called so, without a look at the others."""
        query = _METERS_CALLED[self._connection.dialect.name]
        found = self._known(self._connection.execute(query, _names(name)).all())
        return next((one for one in found if one.is_called(name)), None)

    def has_more_meters_than(self, count: int) -> bool:
        """Tell whether more meters have readings; as cheaply for thousands as for two."""
        return self._connection.execute(_METER_BEYOND, {"count": count}).first() is not None

    def _known(self, rows: Iterable[Any]) -> Iterator[MeterInfo]:
        """Yield what there is of each meter, of those that have readings."""
        for row in rows:
            name = {"meter_id": row.id}
            channels = self._connection.execute(_CHANNELS, name).scalars().all()
            firsts = [first for one in channels if (first := self._first_ms(row.id, one))]
            if firsts:
                last_ms = self._connection.execute(_LAST_MS, name).scalar()
                last_ms = last_ms or self._last_ms(row.id, channels)
                yield MeterInfo(row.id, row.server_id, row.label, min(firsts), last_ms, channels)

    def gauges(
        self, meter_id: int, channel: int, start_ms: int, end_ms: int, step_s: int
    ) -> Gauges:
        """Return the buckets that overlap start_ms <= t < end_ms."""
        columns: list[list[int]] = [[] for _ in Gauges._fields]
        step_ms = step_s * 1_000
        for block_ms, block in self._blocks(meter_id, channel, start_ms, end_ms, step_s):
            places = _within(block.used(), block_ms, start_ms, end_ms, step_ms)
            _append(columns, block_ms, block, places, step_ms)
        return Gauges(*columns)

    def registers(
        self, meter_id: int, channel: int, start_ms: int, end_ms: int, step_s: int
    ) -> Registers:
        """Return as gauges() does, and with it the nearest bucket on either side."""
        columns: list[list[int]] = [[] for _ in Registers._fields]
        step_ms = step_s * 1_000
        before = behind = None
        for block_ms, block in self._blocks(meter_id, channel, start_ms, end_ms, step_s):
            counted = block.counted()
            places = _within(counted, block_ms, start_ms, end_ms, step_ms)
            if not columns[0]:  # those before it lie in the first block that is asked for
                early = [at for at in counted if block_ms + (at + 1) * step_ms <= start_ms]
                if early:
                    before = (block_ms, block, early[-1:])
            _append(columns, block_ms, block, places, step_ms)
            late = [at for at in counted if block_ms + at * step_ms >= end_ms]
            if late:
                behind = (block_ms, block, late[:1])
        before = before or self._neighbour(meter_id, channel, start_ms, step_s, is_before=True)
        behind = behind or self._neighbour(meter_id, channel, end_ms, step_s, is_before=False)
        out: list[list[int]] = [[] for _ in Registers._fields]
        if before is not None:
            _append(out, *before, step_ms)
        for column, own in zip(out, columns, strict=True):
            column.extend(own)
        if behind is not None:
            _append(out, *behind, step_ms)
        return Registers(*out)

    def readings(self, meter_id: int, start_ms: int, end_ms: int, count_max: int) -> list[Reading]:
        """Return the first readings in start_ms <= t < end_ms, rising, at most so many."""
        found: list[Reading] = []
        while start_ms < end_ms and len(found) < count_max:
            piece_ms = min(end_ms, start_ms + _PIECE_MS)
            self._let_pass()
            for one in samples(self._connection, meter_id, start_ms, piece_ms).rows:
                found.append(Reading(one.time_ms, one.source, one.values))
            start_ms = piece_ms
            if start_ms < end_ms and len(found) < count_max:
                start_ms = self._next_ms(meter_id, start_ms)
        return found[:count_max]

    def losses(self, start_ms: int, end_ms: int, count_max: int) -> list[Lost]:
        """Return what is lost in this time, newest first."""
        found = []
        for run in lookup.losses(self._connection, count_max).newest:
            first_ms, last_ms = run.from_ms, run.to_ms
            if (first_ms or start_ms) < end_ms and (last_ms or end_ms) >= start_ms:
                found.append(Lost(run.edge, first_ms, last_ms, run.count, run.reason))
        return found

    # --- blocks ------------------------------------------------------------------------------

    def _blocks(
        self, meter_id: int, channel: int, start_ms: int, end_ms: int, step_s: int
    ) -> Iterator[tuple[int, Block]]:
        name = {"meter_id": meter_id, "channel": channel, "step_s": step_s}
        low_ms = block_start_ms(step_s, start_ms)
        rows = self._connection.execute(_BLOCKS, name | {"low_ms": low_ms, "high_ms": end_ms})
        for found in _unpacked(rows, step_s):
            yield found
            self._let_pass()

    def _neighbour(
        self, meter_id: int, channel: int, time_ms: int, step_s: int, *, is_before: bool
    ) -> tuple[int, Block, list[int]] | None:
        """Return block and bucket of the nearest reading outside the blocks of the range."""
        name = {"meter_id": meter_id, "channel": channel, "step_s": step_s}
        if is_before:
            query, bound = _BEFORE, {"low_ms": block_start_ms(step_s, time_ms)}
        else:
            query, bound = _BEHIND, {"high_ms": time_ms}
        rows = self._connection.execution_options(yield_per=2).execute(query, name | bound)
        with rows:
            for block_ms, block in _unpacked(rows, step_s):
                counted = block.counted()
                if counted:
                    return block_ms, block, counted[-1:] if is_before else counted[:1]
        return None

    def _first_ms(self, meter_id: int, channel: int) -> int | None:
        row = self._connection.execute(
            _FIRST_BLOCK, {"meter_id": meter_id, "channel": channel}
        ).one_or_none()
        if row is None:
            return None
        for start_ms, block in _unpacked([row], 3600):
            for at in block.used():
                return start_ms + at * 3_600_000
        return None

    def _last_ms(self, meter_id: int, channels: Sequence[int]) -> int:
        """Return the end of the newest bucket, where all batches were let go."""
        last_ms = 0
        for channel in channels:
            name = {"meter_id": meter_id, "channel": channel, "step_s": 3600}
            rows = self._connection.execute(_BEFORE, name | {"low_ms": INT64_MAX})
            with rows:
                row = rows.first()
            for start_ms, block in _unpacked([] if row is None else [row], 3600):
                last_ms = max(last_ms, start_ms + (block.used()[-1] + 1) * 3_600_000)
        return last_ms

    def _next_ms(self, meter_id: int, time_ms: int) -> int:
        """Return a time at or behind this one, before which the meter has no further reading."""
        bounds = {"meter_id": meter_id, "time_ms": time_ms, "from_day": from_day_of(time_ms)}
        if self._connection.execute(_ANY_LONG, bounds).first() is not None:
            return time_ms
        last_ms = self._connection.execute(_NEXT_LAST, bounds).scalar()
        # All others end behind it, and none of them is longer.
        return INT64_MAX if last_ms is None else max(time_ms, last_ms - tables.SERIES_MS_MAX)


def _names(text: str) -> dict[str, Any]:
    """Return what a meter may have that is called so; MeterInfo.is_called() decides."""
    text = text.strip().lower()
    try:
        server_id = bytes.fromhex(text)
    except ValueError:
        server_id = b""
    return {
        "id": int(text) if text.isdecimal() and len(text) <= _ID_DIGITS_MAX else -1,
        "server_id": server_id,
        # A label is ASCII and printable; not all databases know other letters.
        "label": text if text.isascii() and text.isprintable() else "",
    }


def _unpacked(rows: Any, step_s: int) -> Iterator[tuple[int, Block]]:
    for row in rows:
        try:
            yield row.start_ms, Block.unpack(row.packed, BUCKETS[step_s])
        except BlockError:
            continue  # it is made again when its hours are due; until then nothing is known of it


def _within(
    places: Sequence[int], block_ms: int, start_ms: int, end_ms: int, step_ms: int
) -> Sequence[int]:
    """Return those of the places whose bucket overlaps the time; they rise."""
    low = (start_ms - block_ms) // step_ms
    high = -(-(end_ms - block_ms) // step_ms)
    return [at for at in places if low <= at < high]


def _append(
    columns: Sequence[list[int]],
    block_ms: int,
    block: Block,
    places: Sequence[int],
    step_ms: int,
) -> None:
    """Append these buckets: where each begins, then what is in it, by column."""
    if not places:
        return
    starts = [block_ms + at * step_ms for at in places]
    columns[0].extend(starts)
    # Mostly none between them is empty: a slice takes a tenth of the time of so many places.
    has_all = places[-1] - places[0] == len(places) - 1
    for column, (name, values) in zip(columns[1:], block.columns.items(), strict=True):
        own = values[places[0] : places[-1] + 1] if has_all else [values[at] for at in places]
        column.extend(map(add, own, starts) if name in ("first_ms", "last_ms") else own)
