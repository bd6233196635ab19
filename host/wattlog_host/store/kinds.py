"""Where a database lives, and all that differs by it: a table of the kinds that there are."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from wattlog_host.store import database, postgres
from wattlog_host.store.role import Role

Place = Path | sa.URL
"""A file of SQLite, or the address of a database in PostgreSQL."""


class Watch(Protocol):
    """An eye on what was opened."""

    def require(self) -> None:
        """Raise StoreError where what was written is lost."""

    def size_bytes(self) -> int:
        """Return what it takes on disk."""

    def used_bytes(self, connection: sa.Connection) -> int:
        """Return what of that is in use, as this connection sees it."""

    def free_bytes(self) -> int | None:
        """Return what is free on its disk, None where that cannot be seen from here."""


class Kind(NamedTuple):
    """What is done differently.

    name    what it is called before a person, without secrets
    lock    makes sure that nobody else writes; returns what gives that up
    engine  by the role of what writes, None for what only reads; a transaction of a reader sees
            one state
    watch   takes the engine that reads
    """

    name: Callable[[Any], str]
    lock: Callable[[Any], Callable[[], None]]
    engine: Callable[[Any, Role | None], sa.Engine]
    watch: Callable[[Any, sa.Engine], Watch]


def _lock_file(path: Path) -> Callable[[], None]:
    handle = database.lock(path)
    return lambda: os.close(handle)


_KINDS = {
    Path: Kind(
        str,
        _lock_file,
        lambda path, role: database.engine(path, writes=role is not None),
        lambda path, _: database.Files(path),
    ),
    sa.URL: Kind(
        postgres.name_of,
        # The session that writes takes the lock, and its end gives it back.
        lambda _: lambda: None,
        lambda url, role: postgres.engine(url, role, database.READERS),
        lambda _, engine: postgres.Space(engine),
    ),
}


def kind_of(place: Place) -> Kind:
    """Return the row for a place."""
    return _KINDS[sa.URL if isinstance(place, sa.URL) else Path]
