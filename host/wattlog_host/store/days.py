"""SQL for days: in PostgreSQL batches lie in a partition for each day, in SQLite all in one table.

The day of a batch, and of its rows of series, is never before that of its newest reading, nor of
its arrival. So a day is let go by dropping its partitions, and who looks for readings from some
time on need not look into the days before it. Of a log two marks are kept (`Marks`): with them
nearly all that is looked up by number is in the newest day or two. All of this only saves work:
whoever looks into every day finds the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.functions import FunctionElement

from wattlog_host.store import many, tables

DAY_MS = 86_400_000
DAY_MAX = 10_000_000
"""Whatever says that it is of a later day, in 27 000 years, goes there."""
ASIDE = 0
"""The day of what is kept although its own day was let go."""
PARTED = (tables.batch, tables.series)
# Of the catalogue itself: to_regclass() may still know what was so before the lock was waited for.
_THERE = sa.text(
    "SELECT relname FROM pg_class"
    " WHERE relname = ANY(CAST(:names AS text[])) AND pg_table_is_visible(oid)"
)
# Held while a partition is made, so that two writers do not make the same one.
_LOCK_KEY = int.from_bytes(b"wattlogd", "big")

_BATCH = tables.batch.c
_GREATEST = sa.select(sa.func.max(_BATCH.first_seq).label("first_seq")).where(
    _BATCH.log_id == sa.bindparam("log_id"), _BATCH.day >= sa.bindparam(many.FROM_DAY)
)


class since(FunctionElement[bool]):  # noqa: N801 - reads like a function in a query
    """Whether a day is not before from_day; all days of SQLite are one."""

    inherit_cache = True
    type = sa.Boolean()


class same(FunctionElement[bool]):  # noqa: N801
    """Whether two rows are of one day."""

    inherit_cache = True
    type = sa.Boolean()


@compiles(since)
def _since(element: Any, compiler: Any, **options: Any) -> str:
    day, from_day = (compiler.process(one, **options) for one in element.clauses)
    return f"({day} >= {from_day} OR {day} = {ASIDE})"


@compiles(same)
def _same(element: Any, compiler: Any, **options: Any) -> str:
    one, other = (compiler.process(each, **options) for each in element.clauses)
    return f"{one} = {other}"


@compiles(since, "sqlite")
@compiles(same, "sqlite")
def _in_sqlite(_: Any, compiler: Any, **options: Any) -> str:
    return "1"


FROM_DAY = sa.bindparam(many.FROM_DAY, type_=sa.Integer)
SERIES_OF_BATCH = tables.series.join(
    tables.batch,
    sa.and_(
        tables.series.c.log_id == tables.batch.c.log_id,
        tables.series.c.first_seq == tables.batch.c.first_seq,
        same(tables.series.c.day, tables.batch.c.day),
    ),
)
"""Each part with its batch."""
SINCE_IN_BOTH = sa.and_(since(tables.series.c.day, FROM_DAY), since(tables.batch.c.day, FROM_DAY))
"""Of parts with their batches: where one side says it, the other one may be read as a whole."""


@dataclass(slots=True)
class Marks:
    """In which days a log's batches are: those that begin behind a mark's seq, from its day on.

    newest  of the newest day in which the log had a batch
    before  of the one before it
    """

    newest_day: int = 0
    newest_seq: int = 0
    before_day: int = 0
    before_seq: int = 0
    is_changed: bool = False

    def from_day(self, first_seq: int) -> int:
        """Return the earliest day that may have a batch which begins at this number, or later."""
        if first_seq > self.newest_seq:
            return self.newest_day
        return self.before_day if first_seq > self.before_seq else 0

    def note(self, written: Iterable[tuple[int, int]], stored_seq: int) -> None:
        """Note batches, as (day, first_seq), that are to be written.

        stored_seq is the greatest first_seq that is stored in the newest day or later; or in
        that of the earliest one of these, where that is before it.
        """
        greatest = stored_seq
        for day, first_seq in sorted(written):
            self._note(day, greatest)
            greatest = max(greatest, first_seq)

    def _note(self, day: int, greatest: int) -> None:
        """Note a batch of this day; greatest is the greatest number of those before it."""
        if day > self.newest_day:
            self.before_day, self.before_seq = self.newest_day, self.newest_seq
            self.newest_day, self.newest_seq = day, max(greatest, self.newest_seq)
            self.is_changed = True
        elif day < self.newest_day:
            # A clock of ours that was ahead has made the marks promise too much.
            self.newest_day, self.before_day = day, min(self.before_day, day)
            self.is_changed = True

    def columns(self) -> dict[str, int]:
        """Return them as the columns of edge_log."""
        return {name: getattr(self, name) for name in COLUMNS}


COLUMNS = ("newest_day", "newest_seq", "before_day", "before_seq")


class Written(NamedTuple):
    """Batches of a log, as (day, first_seq), that are to be written; no one is yet."""

    log_id: int
    marks: Marks
    batches: Sequence[tuple[int, int]]


def note(connection: sa.Connection, written: Sequence[Written]) -> None:
    """Have the marks of logs know these batches."""
    asked = {
        index: {"log_id": one.log_id, "from_day": min(one.marks.newest_day, min(one.batches)[0])}
        for index, one in enumerate(written)
        # Only a later day wants to know what was before it.
        if max(one.batches)[0] > one.marks.newest_day
    }
    found = many.one_of_each(connection, _GREATEST, list(asked.values()))
    stored = {index: row.first_seq or 0 for index, row in zip(asked, found, strict=True)}
    for index, one in enumerate(written):
        one.marks.note(one.batches, stored.get(index, 0))


def are_apart(connection: sa.Connection) -> bool:
    """Tell whether days lie in partitions of their own."""
    return connection.dialect.name == "postgresql"


def day_of(connection: sa.Connection, *times_ms: int) -> int:
    """Return the day that the latest of these times is in; always the same one in SQLite."""
    return _bounded(max(times_ms) // DAY_MS) if are_apart(connection) else 0


def from_day_of(time_ms: int) -> int:
    """Return before which day no batch has readings of this time or later."""
    return _bounded(time_ms // DAY_MS)


def columns(connection: sa.Connection, table: sa.Table) -> list[sa.ColumnElement[Any]]:
    """Return a table's columns, with the day that its rows have in PostgreSQL from SQLite, too."""
    if are_apart(connection) or table not in PARTED:
        return list(table.columns)
    name = (table.c.log_id, table.c.first_seq)
    part, batch = tables.series.alias(), tables.batch.alias()
    newest = [
        sa.select(column)
        .where(*(one == other for one, other in zip(of, name, strict=True)))
        .scalar_subquery()
        for column, of in (
            (sa.func.max(part.c.last_ms), (part.c.log_id, part.c.first_seq)),
            (batch.c.received_ms, (batch.c.log_id, batch.c.first_seq)),
        )
    ]
    found = sa.func.max(ASIDE + 1, *(sa.func.coalesce(ms, 0).op("/")(DAY_MS) for ms in newest))
    day = sa.func.min(found, DAY_MAX)
    return [day.label("day") if one is table.c.day else one for one in table.columns]


def _bounded(day: int) -> int:
    return min(max(day, ASIDE + 1), DAY_MAX)


def partition(connection: sa.Connection) -> None:
    """Part the tables by day, with all that is in them; once, when they are made or upgraded."""
    if not are_apart(connection):
        return
    for table in PARTED:
        whole = f"{table.name}_whole"
        for statement in (
            f"ALTER TABLE {table.name} RENAME TO {whole}",
            # Without its foreign keys: a new partition would wait for whoever writes what they
            # point to, and of that nothing ever goes.
            f"CREATE TABLE {table.name} (LIKE {whole} INCLUDING DEFAULTS)"
            " PARTITION BY RANGE (day)",
        ):
            connection.exec_driver_sql(statement)
        days = connection.exec_driver_sql(f"SELECT DISTINCT day FROM {whole}").scalars().all()
        _make(connection, table.name, days)
        connection.exec_driver_sql(f"INSERT INTO {table.name} SELECT * FROM {whole}")
    # Of both, last: one refers to the other.
    for table in reversed(PARTED):
        connection.exec_driver_sql(f"DROP TABLE {table.name}_whole")
    for table in PARTED:
        key = ", ".join(column.name for column in (*table.primary_key, table.c.day))
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD PRIMARY KEY ({key})")
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            connection.execute(CreateIndex(index))


def ensure(connection: sa.Connection, days: Iterable[int]) -> None:
    """Have partitions for these days."""
    if not are_apart(connection):
        return
    missing = _missing(connection, set(days))
    if not missing:
        return
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))
    for table in PARTED:
        _make(connection, table.name, _missing(connection, missing, table.name))


def parts(connection: sa.Connection) -> list[int]:
    """Return the days that have partitions, rising."""
    names = connection.exec_driver_sql(
        "SELECT relid::regclass::text FROM pg_partition_tree('batch') WHERE isleaf"
    ).scalars()
    return sorted(_day_of_name(name) for name in names)


def drop(connection: sa.Connection, day: int) -> None:
    """Let go of all that is in a day."""
    for table in PARTED:
        connection.exec_driver_sql(f"DROP TABLE {_name(table.name, day)}")


def _missing(connection: sa.Connection, days: set[int], table: str = "batch") -> set[int]:
    names = {_name(table, day): day for day in days}
    found = connection.execute(_THERE, {"names": sorted(names)}).scalars()
    return set(names.values()) - {names[name] for name in found}


def _make(connection: sa.Connection, table: str, days: Iterable[int]) -> None:
    for day in sorted(days):
        name = _name(table, day)
        # Attached, because to make it as a partition would wait for all who read or write.
        connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
        connection.exec_driver_sql(
            f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({day}) TO ({day + 1})"
        )


def _name(table: str, day: int) -> str:
    return f"{table}_day_{day}"


def _day_of_name(name: str) -> int:
    return int(name.rpartition("_")[2])
