"""The database that is filled: locked, and marked until it holds all that the source holds."""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from wattlog_host.moving.rows import TABLES, Row, day_place, in_order, key_of, key_text
from wattlog_host.moving.source import Identity
from wattlog_host.store import database, days, tables
from wattlog_host.store.kinds import kind_of
from wattlog_host.store.records import StoreError
from wattlog_host.store.role import Role
from wattlog_host.store.unfinished import mark, mark_of

EVENT = "move"
_ALEMBIC = "alembic_version"


class Target:
    """A database of PostgreSQL, to which nobody else writes as long as this has it."""

    def __init__(self, url: sa.URL) -> None:
        """Connect and take the lock; raise StoreError where that cannot be."""
        kind = kind_of(url)
        self.name = kind.name(url)
        self._what_then = ""
        self._engine = kind.engine(url, Role.ALONE)
        dbapi: Any = self._engine.dialect.loaded_dbapi
        self._errors = (sa.exc.DBAPIError, dbapi.Error)
        # What a row of its own can provoke.
        self._misfits = (dbapi.DataError, dbapi.IntegrityError)
        try:
            with self._changing() as connection:
                self._require_encoding(connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of it."""
        self._engine.dispose()

    # --- what is there -----------------------------------------------------------------------

    def begin(self, source: Identity) -> None:
        """Make an empty database ready for this source, or go on with it.

        Raises StoreError, with everything as it was, where it holds anything else. What was copied
        before the source was written to again is removed.
        """
        with self._changing() as connection:
            found = mark_of(connection)
            if found is None:
                self._require_empty(connection, source)
        if found is None:
            database.upgrade(self._engine, self.name)
            with self._changing() as connection:
                mark.create(connection)
                connection.execute(sa.insert(mark).values(**_values(source)))
        elif found.whose != source.whose:
            raise StoreError(
                f"{self.name} holds a part of {found.source}: finish that move, or name an empty "
                "database"
            )
        else:
            with self._changing() as connection:
                self._require_newest(connection)
            if found.state != source.state:
                self._clear(source)
        self._what_then = "; run the command again, and it goes on where it was"

    def _clear(self, source: Identity) -> None:
        """Remove what is there of a source that is no longer as it was."""
        with self._changing() as connection:
            parts = days.parts(connection)
        for day in parts:  # each apart: a server has only so many locks for a transaction
            with self._changing() as connection:
                days.drop(connection, day)
        with self._changing() as connection:
            connection.execute(sa.text(f"TRUNCATE {self._names()} RESTART IDENTITY"))
            connection.execute(sa.update(mark).values(**_values(source)))

    def position(self) -> tuple[str | None, Sequence[Any] | None, int]:
        """Return the table that is being copied, the key up to which it is there, rows in all."""
        with self._changing() as connection:
            found = mark_of(connection)
        assert found is not None, "it was begun"
        return found.table_name, found.behind_key, found.rows

    def _require_encoding(self, connection: sa.Connection) -> None:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise StoreError(
                f"{self.name} has the encoding {encoding}: name a database that has UTF8"
            )

    def _require_empty(self, connection: sa.Connection, source: Identity) -> None:
        names = sa.inspect(connection).get_table_names()
        if not names:
            return
        if _ALEMBIC not in names:
            raise StoreError(
                f"{self.name} has tables of something else, like {min(names)}: name an empty "
                "database"
            )
        self._require_newest(connection)
        is_used = [
            table
            for table in TABLES
            if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
        ]
        if not is_used:
            return
        text = sa.select(tables.event.c.text).where(tables.event.c.kind == EVENT)
        if _moved_from(source) in connection.execute(text).scalars().all():
            raise StoreError(
                f"the move from {source.name} into {self.name} is finished: put its url into "
                "[store], and start wattlog-host"
            )
        raise StoreError(
            f"{self.name} has readings of its own, or settings: name an empty database"
        )

    def _require_newest(self, connection: sa.Connection) -> None:
        try:
            database.require_revision(connection, self.name)
        except StoreError as err:
            raise StoreError(
                f"{self.name} has the tables of another wattlog: name an empty database"
            ) from err

    # --- copying -----------------------------------------------------------------------------

    def add(self, table: sa.Table, rows: Sequence[Row]) -> None:
        """Add rows that follow what is there, and note it, in one transaction.

        A row that PostgreSQL cannot hold is named; those before it stay.
        """
        try:
            self._add(table, rows)
        except self._misfits as err:
            if len(rows) == 1:
                raise StoreError(
                    f"{table.name} {key_text(key_of(table, rows[0]))} does not fit into "
                    f"{self.name}: {_first_line(err)}"
                ) from err
        else:
            return
        middle = len(rows) // 2
        self.add(table, rows[:middle])
        self.add(table, rows[middle:])

    def _add(self, table: sa.Table, rows: Sequence[Row]) -> None:
        with self._changing(passes=self._misfits) as connection:
            if table in days.PARTED:
                place = day_place(table)
                days.ensure(connection, {row[place] for row in rows})
            self._copy(connection, table, rows)
            connection.execute(
                sa.update(mark).values(
                    table_name=table.name,
                    behind_key=list(key_of(table, rows[-1])),
                    rows=mark.c.rows + len(rows),
                )
            )

    def _copy(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
        preparer = connection.dialect.identifier_preparer
        names = ", ".join(preparer.format_column(column) for column in table.columns)
        statement = f"COPY {preparer.format_table(table)} ({names}) FROM STDIN"
        cursor: Any = connection.connection.cursor()
        with contextlib.closing(cursor), cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    # --- the end -----------------------------------------------------------------------------

    def rows_of(self, table: sa.Table) -> Generator[Row]:
        """Yield the table's rows in the order of their keys."""
        with (
            self._changing() as connection,
            contextlib.closing(in_order(connection, table)) as rows,
        ):
            yield from rows

    def finish(self, source: Identity, now_ms: int) -> None:
        """Let numbers go on behind those that are there, and give the database free."""
        with self._changing() as connection:
            for table in TABLES:
                for column in table.columns:
                    _go_on(connection, table, column)
            text = {"kind": EVENT, "text": _moved_from(source)}
            connection.execute(sa.insert(tables.event).values(time_ms=now_ms, **text))
            mark.drop(connection)
        # The server knows by itself only later how much there is, and until then finds slow ways.
        with contextlib.suppress(sa.exc.SQLAlchemyError), self._engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.execute(sa.text(f"ANALYZE {self._names()}"))

    def spoil(self) -> None:
        """Have the next one begin anew."""
        with self._changing() as connection:
            connection.execute(sa.update(mark).values(state=""))

    def _names(self) -> str:
        preparer = self._engine.dialect.identifier_preparer
        return ", ".join(preparer.format_table(table) for table in TABLES)

    @contextlib.contextmanager
    def _changing(self, passes: tuple[type[Exception], ...] = ()) -> Iterator[sa.Connection]:
        """Give a transaction; what the database says of it is a StoreError, but for passes."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except passes:
            raise
        except self._errors as err:
            is_wrapped = isinstance(err, sa.exc.DBAPIError)
            said = database.words_of(err) if is_wrapped else _first_line(err)
            raise StoreError(f"cannot use {self.name}: {said}{self._what_then}") from err


def _values(source: Identity) -> dict[str, object]:
    """Return what the mark says of a source of which nothing is there yet."""
    return {
        "source": source.name, "whose": source.whose, "state": source.state,
        "table_name": None, "behind_key": None, "rows": 0,
    }  # fmt: skip


def _moved_from(source: Identity) -> str:
    return f"moved from {source.name}"


def _go_on(connection: sa.Connection, table: sa.Table, column: sa.Column[Any]) -> None:
    """Set the sequence of a column that numbers itself behind the greatest number there is."""
    sequence = connection.execute(
        sa.select(sa.func.pg_get_serial_sequence(table.name, column.name))
    ).scalar()
    greatest = None
    if sequence is not None:
        greatest = connection.execute(sa.select(sa.func.max(column))).scalar()
    if greatest is not None:
        connection.execute(sa.select(sa.func.setval(sequence, greatest)))


def _first_line(err: object) -> str:
    """Return what the server says, without the row that it says it of."""
    return str(err).strip().partition("\n")[0]
