"""Opening the database: its lock, its engine's settings, our revision; and small writes."""

import fcntl
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event

from wattlog_host.store import days, sharing, tables
from wattlog_host.store.records import StoreError
from wattlog_host.store.unfinished import require_finished

BUSY_TIMEOUT_MS = 2_000
READERS = 4
"""So many threads read, at most."""

_MIGRATIONS = Path(__file__).parent / "migrations"

_COUNTER = tables.counter.c
_ADD_COUNT = (
    sa.update(tables.counter)
    .where(
        _COUNTER.name == sa.bindparam("of_name"),
        _COUNTER.reason == sa.bindparam("of_reason"),
        _COUNTER.slot == sa.bindparam("of_slot"),
    )
    .values(value=_COUNTER.value + sa.bindparam("count"))
)
_COUNTERS = sa.select(_COUNTER.name, _COUNTER.reason).where(
    _COUNTER.slot == sa.bindparam("of_slot")
)
_NEW_COUNT = sa.insert(tables.counter).values(
    name=sa.bindparam("of_name"),
    reason=sa.bindparam("of_reason"),
    slot=sa.bindparam("of_slot"),
    value=sa.bindparam("count"),
)
_TOTALS = sa.select(_COUNTER.name, _COUNTER.reason, sa.func.sum(_COUNTER.value)).group_by(
    _COUNTER.name, _COUNTER.reason
)

_PRAGMAS = (
    # Readers never wait for the writer. FULL: an acknowledged batch survives a power cut.
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
)


def lock(path: Path) -> int:
    """Take the lock beside the database for as long as this process lives; return its handle.

    Two hosts on one file would each take the other's readings for their own; the kernel gives
    the lock back however we end. Raises StoreError where it is held or cannot be made.
    """
    file = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as err:
        raise StoreError(f"cannot write to the data folder {path.parent}: {err.strerror}") from err
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        os.close(handle)
        raise StoreError(
            f"another wattlog-host uses {path.parent}; stop it or set another data folder"
        ) from err
    return handle


class Files:
    """The files that were opened; the kernel lets us write on after their names are gone."""

    def __init__(self, path: Path) -> None:
        """Remember which files have the names now; the journal exists from the first write on."""
        self._paths = (path, path.with_name(path.name + "-wal"))
        self._opened = [_identity(name) for name in self._paths]

    def require(self) -> None:
        """Raise StoreError where a name is gone or is another file's: what we write is lost."""
        for name, opened in zip(self._paths, self._opened, strict=True):
            if _identity(name) != opened:
                raise StoreError(
                    f"{name} was removed or replaced; stop wattlog-host, put the right files "
                    "back if they still exist, and start it again"
                )

    def size_bytes(self) -> int:
        """Return what they take on disk."""
        return sum(name.stat().st_size for name in self._paths if name.exists())

    def used_bytes(self, connection: sa.Connection) -> int:
        """Return what is in use: pages that were freed wait in the file for what comes."""
        count, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((count - free) * size)

    def free_bytes(self) -> int | None:
        """Return what is free on their disk."""
        try:
            return shutil.disk_usage(self._paths[0].parent).free
        except OSError:
            return None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def engine(path: Path, *, writes: bool) -> sa.Engine:
    """Return an engine for the file; a writing one takes the write lock when it begins."""
    made = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
        pool_size=1 if writes else READERS,
        max_overflow=0,
    )
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    @event.listens_for(made, "connect")
    def _configure(dbapi: sqlite3.Connection, _: Any) -> None:
        # The driver's own idea of when to begin leaves SELECTs outside the transaction.
        dbapi.isolation_level = None
        try:
            for pragma in _PRAGMAS:
                # What is not read to its end stays open, where nothing counts references.
                dbapi.execute(pragma).close()
        except sqlite3.Error:
            dbapi.close()  # the pool has not taken it yet, and nobody else will close it
            raise

    @event.listens_for(made, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return made


def upgrade(made: sa.Engine, name: object, target: str = "head") -> None:
    """Bring the database to this program's revision; raise StoreError where it is newer.

    A new one gets today's tables at once: what the first revisions did, only SQLite can.
    """
    config = _config()
    try:
        with made.begin() as connection:
            require_finished(connection, name)
            revision = MigrationContext.configure(connection).get_current_revision()
            if revision is not None and revision not in revisions():
                raise StoreError(
                    f"the database {name} is of a newer wattlog (revision {revision}); "
                    "install that version or use another data folder"
                )
            config.attributes["connection"] = connection
            if (
                revision is None
                and target == "head"
                and not sa.inspect(connection).get_table_names()
            ):
                tables.METADATA.create_all(connection)
                days.partition(connection)
                command.stamp(config, target)
            else:
                if revision != ScriptDirectory.from_config(config).get_current_head():
                    sharing.require_alone(connection, name)
                command.upgrade(config, target)
    except sa.exc.DatabaseError as err:
        raise StoreError(f"cannot use the database {name}: {words_of(err)}") from err


def require_newest(connection: sa.Connection, name: str) -> None:
    """Raise StoreError where the tables are not those of this program, or not all is there."""
    require_finished(connection, name)
    require_revision(connection, name)


def require_revision(connection: sa.Connection, name: str) -> None:
    """Raise StoreError where the tables are not those of this program."""
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision != ScriptDirectory.from_config(_config()).get_current_head():
        raise StoreError(
            f"the database {name} is of another wattlog (revision {revision}); an older one is "
            "brought up to date by starting wattlog-host"
        )


def revisions() -> set[str]:
    """Return the revisions that this program knows."""
    scripts = ScriptDirectory.from_config(_config())
    return {script.revision for script in scripts.walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    # Without this alembic warns that it must guess how paths are separated.
    config.set_main_option("path_separator", "os")
    return config


def words_of(err: sa.exc.DBAPIError) -> str:
    """Return what the database says, in one line."""
    return " ".join(str(err.orig).split())


def add_counts(connection: sa.Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to the totals that outlive the process."""
    slot = sharing.slot_of(connection)
    rows = [
        {"of_name": name, "of_reason": reason, "of_slot": slot, "count": count}
        for (name, reason), count in sorted(counts.items())
        if count
    ]
    if not rows or connection.execute(_ADD_COUNT, rows).rowcount == len(rows):
        return
    # What was never counted before has no row yet, and was passed over.
    known = {(row.name, row.reason) for row in connection.execute(_COUNTERS, {"of_slot": slot})}
    new = [row for row in rows if (row["of_name"], row["of_reason"]) not in known]
    if new:
        connection.execute(_NEW_COUNT, new)


def totals(connection: sa.Connection) -> Counter[tuple[str, str]]:
    """Return the totals of all writers since the database exists."""
    rows = connection.execute(_TOTALS)
    return Counter({(name, reason): int(value) for name, reason, value in rows})


def inserted_id(result: sa.CursorResult[Any]) -> int:
    """Return the number that the database gave the row just inserted."""
    key = result.inserted_primary_key
    assert key is not None, "only for inserts of one row"
    return int(key[0])
