"""The database as somebody who only asks sees it, also while a host writes to it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from wattlog_host.history.columns import History
from wattlog_host.store import database
from wattlog_host.store.history import SqlHistory
from wattlog_host.store.kinds import Place, kind_of
from wattlog_host.store.records import StoreError

T = TypeVar("T")


class Reader:
    """Asks; each question sees one state of the database and keeps no writer waiting."""

    def __init__(self, place: Place) -> None:
        """Open what is there; raise StoreError where there is none, or of another version."""
        if isinstance(place, Path) and not place.exists():
            raise StoreError(f"there is no database {place} yet")
        kind = kind_of(place)
        self._engine = kind.engine(place, None)
        try:
            self.look(lambda connection: database.require_newest(connection, kind.name(place)))
        except BaseException:
            self.close()
            raise

    def look(self, question: Callable[[sa.Connection], T]) -> T:
        """Return what the question finds."""
        try:
            with self._engine.begin() as connection:
                return question(connection)
        except sa.exc.DBAPIError as err:
            why = database.words_of(err)
            raise StoreError(f"cannot read the database: {why}") from err

    def ask(self, question: Callable[[History], T]) -> T:
        """Return what the question finds out of the past."""
        return self.look(lambda connection: question(SqlHistory(connection)))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()
