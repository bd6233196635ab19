"""The database that is moved: locked, and only read."""

import contextlib
import socket
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from wattlog_host.backup.copying import uri_alone
from wattlog_host.moving import rows
from wattlog_host.moving.rows import Row
from wattlog_host.store import database, tables
from wattlog_host.store.kinds import kind_of
from wattlog_host.store.records import StoreError

_RUN = tables.run


class Identity(NamedTuple):
    """Which database it is, and as of when: each program that writes to one notes its run."""

    name: str
    whose: str
    state: str


class Source:
    """A file of SQLite that nobody writes to, least of all this program."""

    def __init__(self, path: Path) -> None:
        """Take the host's lock and open it; raise StoreError where that cannot be."""
        if not path.exists():
            raise StoreError(f"there is no database {path}")
        self.path = path
        self._unlock = kind_of(path).lock(path)
        try:
            self._engine = sa.create_engine(
                "sqlite://", creator=self._connected, poolclass=sa.NullPool
            )
            with self._reading():
                self._connection = self._engine.connect()
        except BaseException:
            self._unlock()
            raise
        try:
            with self._reading():
                database.require_newest(self._connection, str(path))
                self.identity = self._identity()
                self.rows_total = rows.count(self._connection)
        except BaseException:
            self.close()
            raise

    def rows_of(self, table: sa.Table, behind: Sequence[Any] | None = None) -> Generator[Row]:
        """Yield the table's rows behind this key, in the order of their keys."""
        with self._reading():
            yield from rows.in_order(self._connection, table, behind)

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()
        self._unlock()

    def _connected(self) -> sqlite3.Connection:
        made = sqlite3.connect(uri_alone(self.path), uri=True, isolation_level=None)
        made.execute("BEGIN")
        return made

    def _identity(self) -> Identity:
        query = sa.select(_RUN).limit(1)
        ends = (query.order_by(_RUN.c.id), query.order_by(_RUN.c.id.desc()))
        first, last = (self._connection.execute(one).one_or_none() for one in ends)
        return Identity(
            f"{socket.gethostname()}:{self.path}",
            "" if first is None else f"{first.started_ms} {first.version}",
            "" if last is None else " ".join(str(value) for value in last),
        )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error) as err:
            words = database.words_of(err) if isinstance(err, sa.exc.DBAPIError) else err
            raise StoreError(f"cannot read {self.path}: {words}") from err
