"""Rows of any table, in the order of its key, in pieces; and how two such streams differ."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import sqlalchemy as sa

from wattlog_host.store import days
from wattlog_host.store.tables import METADATA

Row = tuple[Any, ...]

TABLES: Sequence[sa.Table] = METADATA.sorted_tables
"""What is referred to comes before what refers to it."""

PIECE_ROWS = 5_000
PIECE_BYTES = 4 * 2**20
PIECE_DAYS = 64
"""A server has only so many locks for a transaction, and each day is several tables."""

_FETCHED_ROWS = 500


class Difference(NamedTuple):
    """A row that is not in both tables as it should be."""

    table: str
    key: Row
    what: str

    def __str__(self) -> str:
        return f"{self.table} {key_text(self.key)} {self.what}"


def key_text(key: Row) -> str:
    """Return a key as a person reads it."""
    return f"({', '.join(repr(part) for part in key)})"


def key_of(table: sa.Table, row: Row) -> Row:
    """Return the key of a row that has all columns of the table."""
    columns = list(table.columns)
    return tuple(row[columns.index(column)] for column in table.primary_key.columns)


def day_place(table: sa.Table) -> int:
    """Return where in a row of a parted table its day is."""
    return list(table.columns).index(table.c.day)


def count(connection: sa.Connection) -> int:
    """Return how many rows all tables have."""
    return sum(
        int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
        for table in TABLES
    )


def in_order(
    connection: sa.Connection, table: sa.Table, behind: Sequence[Any] | None = None
) -> Generator[Row]:
    """Yield all columns of each row behind this key, by the key, without having all in memory.

    A row of SQLite's has the day that it has in PostgreSQL.
    """
    key = [_ordered(column, connection.dialect.name) for column in table.primary_key.columns]
    query = sa.select(*days.columns(connection, table)).order_by(*key)
    if behind is not None:
        named = zip(behind, table.primary_key.columns, strict=True)
        query = query.where(
            sa.tuple_(*key) > sa.tuple_(*(sa.literal(part, one.type) for part, one in named))
        )
    how = {"stream_results": True, "yield_per": _FETCHED_ROWS}
    with closing(connection.execute(query, execution_options=how)) as result:
        for row in result:
            yield tuple(row)


def pieces(table: sa.Table, rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cut the stream into what is copied at once."""
    place = day_place(table) if table in days.PARTED else None
    piece: list[Row] = []
    size = 0
    seen: set[object] = set()
    for row in rows:
        piece.append(row)
        size += sum(len(value) for value in row if isinstance(value, bytes | str))
        if place is not None:
            seen.add(row[place])
        if len(piece) >= PIECE_ROWS or size >= PIECE_BYTES or len(seen) >= PIECE_DAYS:
            yield piece
            piece, size = [], 0
            seen.clear()
    if piece:
        yield piece


def compared(
    table: sa.Table, source: Iterator[Row], target: Iterator[Row]
) -> Iterator[Difference | None]:
    """Yield for each key of either stream what is wrong about it, None where both are the same."""
    places = [list(table.columns).index(column) for column in table.primary_key.columns]

    def following(rows: Iterator[Row]) -> tuple[Row, Row] | None:
        row = next(rows, None)
        return None if row is None else (tuple(row[place] for place in places), row)

    ours, theirs = following(source), following(target)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours[0] < theirs[0]):
            assert ours is not None, "one of the two goes on"
            yield Difference(table.name, ours[0], "is missing")
            ours = following(source)
        elif ours is None or theirs[0] < ours[0]:
            yield Difference(table.name, theirs[0], "is not of the source")
            theirs = following(target)
        else:
            same = ours[1] == theirs[1]
            yield None if same else Difference(table.name, ours[0], "has other values")
            ours, theirs = following(source), following(target)


def _ordered(column: sa.Column[Any], dialect: str) -> sa.ColumnElement[Any]:
    """Return what to order by: text as SQLite and Python have it, whatever the server's locale."""
    is_text = isinstance(column.type, sa.String)
    return column.collate("C") if is_text and dialect == "postgresql" else column
