"""A move: copied piece by piece, compared, and only then given free; it can always be killed."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from wattlog_host.moving.rows import TABLES, Difference, compared, pieces
from wattlog_host.moving.source import Source
from wattlog_host.moving.target import Target
from wattlog_host.store.records import StoreError

Tell = Callable[[int, int], None]
"""(rows done, rows in all)."""

_SHOWN = 5


class Move:
    """Holds the locks of both databases."""

    def __init__(self, source: Path, target: sa.URL) -> None:
        """Open both; raise StoreError, with both as they were, where they cannot be used."""
        self._source = Source(source)
        try:
            self._target = Target(target)
        except BaseException:
            self._source.close()
            raise
        try:
            self._target.begin(self._source.identity)
            self._at = self._target.position()
        except BaseException:
            self.close()
            raise

    @property
    def rows_there(self) -> int:
        """How many rows an interrupted move had copied; 0 for a new one."""
        return self._at[2]

    @property
    def rows_total(self) -> int:
        """How many rows all tables have."""
        return self._source.rows_total

    def copy(self, tell: Tell) -> None:
        """Copy what is not there yet."""
        name, behind, done = self._at
        names = [table.name for table in TABLES]
        for table in TABLES[0 if name is None else names.index(name) :]:
            rows = self._source.rows_of(table, behind if table.name == name else None)
            with closing(rows):
                for piece in pieces(table, rows):
                    self._target.add(table, piece)
                    done += len(piece)
                    tell(done, self.rows_total)

    def finish(self, now_ms: int, tell: Tell) -> None:
        """Read both again and compare; give the target free, if each row is the same.

        Raises StoreError with the first that are not; the next move begins anew then.
        """
        wrong: list[Difference] = []
        count = done = 0
        for table in TABLES:
            ours, theirs = self._source.rows_of(table), self._target.rows_of(table)
            with closing(ours), closing(theirs):
                for difference in compared(table, ours, theirs):
                    done += 1
                    tell(done, self.rows_total)
                    if difference is not None:
                        count += 1
                        wrong += [difference] if len(wrong) < _SHOWN else []
        if not wrong:
            self._target.finish(self._source.identity, now_ms)
            return
        self._target.spoil()
        more = f", and {count - len(wrong)} more" if count > len(wrong) else ""
        raise StoreError(
            f"{self._target.name} does not hold what {self._source.path} holds: "
            f"{', '.join(map(str, wrong))}{more}; run the command again, and it begins anew"
        )

    def close(self) -> None:
        """Let go of both."""
        self._target.close()
        self._source.close()
