"""One SQLite file into another: copied while it is written to, verified, and put back.

A copy appears under its name only when it is whole: it is written beside it, flushed to the disk,
read back from there, checked, and renamed. What a kill leaves of it, the next copy removes.
"""

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from wattlog_host.store import database
from wattlog_host.store.records import StoreError

PART = ".wattlog-part"
# Copied at once: a stop, or a line of progress, waits for no more than this.
_STEP_PAGES = 1_024
# Flushed after so many steps, so that the last flush is short: a commit waits for the same disk.
_FLUSH_STEPS = 8
_CHECK_STEPS = 100_000
_HEADER = b"SQLite format 3\0"

Tell = Callable[[int, int], None]
"""(pages done, pages in all); may raise to end it."""


@dataclass(frozen=True, slots=True)
class Copy:
    """What a verified database file holds."""

    path: Path
    bytes: int
    revision: str
    rows: Mapping[str, int]
    """By table."""
    readings: int


def _quiet(_done: int, _total: int) -> None:
    pass


def copy(
    source: Path,
    target: Path,
    reserve_bytes: int,
    tell: Tell = _quiet,
    *,
    is_in_use: bool = True,
) -> Copy:
    """Copy the database at source to target; return what it holds.

    Writers of source are never kept waiting: it is read as it was at the start. Raises StoreError,
    and leaves target as it was, where it cannot be made, or less than reserve_bytes would be left.
    """
    if target.exists() and target.samefile(source):
        raise StoreError(f"{target} is the database itself; name another file")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_parts(target.parent)
        _require_room(source, target.parent, reserve_bytes)
        with _part_of(target) as (part, handle):
            # mode=rw makes no file, but takes part in the journal as a reader of it must.
            how = "mode=rw" if is_in_use else _how_alone(source)
            rows = _copy_pages(source, how, part, handle, tell)
            made = verify(part, lambda: tell(1, 1))
            if made.rows != rows:
                raise StoreError(f"the copy of {source} does not hold what was copied")
            os.replace(part, target)
            flush_folder(target.parent)
    except sqlite3.Error as err:
        raise StoreError(f"cannot copy {source}: {err}") from err
    except OSError as err:
        raise StoreError(f"cannot write the copy {target}: {err.strerror}") from err
    return Copy(target, made.bytes, made.revision, made.rows, made.readings)


def verify(path: Path, tell: Callable[[], None] = lambda: None) -> Copy:
    """Read the whole file, which nobody writes to; raise StoreError where it is not sound."""
    try:
        with path.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                raise StoreError(f"{path} is no SQLite database")
        with _opened(path, _how_alone(path)) as connection:
            connection.set_progress_handler(tell, _CHECK_STEPS)
            complaints = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
            if complaints != ["ok"]:
                raise StoreError(f"{path} is damaged: {complaints[0].splitlines()[0]}")
            rows = _count_rows(connection)
            if "alembic_version" not in rows or "counter" not in rows:
                raise StoreError(f"{path} is no database of wattlog")
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            (readings,) = connection.execute(
                "SELECT coalesce(sum(value), 0) FROM counter WHERE name = 'readings'"
            ).fetchone()
        return Copy(path, path.stat().st_size, str(revision), rows, readings)
    except sqlite3.Error as err:
        tell()  # SQLite says of its raising only that it was interrupted
        raise StoreError(f"{path} is damaged: {err}") from err
    except OSError as err:
        raise StoreError(f"cannot read {path}: {err.strerror}") from err


def remove_parts(folder: Path) -> None:
    """Remove what copies that were killed have left; one that is being written stays."""
    for part in folder.glob(f"*{PART}"):
        with contextlib.suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def uri_alone(path: Path) -> str:
    """Return how SQLite opens a file that nobody writes to, so that it stays as it is."""
    return f"file:{quote(str(path))}?{_how_alone(path)}"


def _require_room(source: Path, folder: Path, reserve_bytes: int) -> None:
    journal = source.with_name(source.name + "-wal")
    size = sum(file.stat().st_size for file in (source, journal) if file.exists())
    free = shutil.disk_usage(folder).free
    if free - size < reserve_bytes:
        raise StoreError(
            f"{folder} has {free // 2**20} MiB free, but a copy takes {-(-size // 2**20)} MiB and "
            f"{reserve_bytes // 2**20} MiB are to stay free"
        )


@contextlib.contextmanager
def _part_of(target: Path) -> Iterator[tuple[Path, int]]:
    """Give an empty file beside target that only its owner may read; gone afterwards."""
    part = target.with_name(target.name + PART)
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(handle, 0o600)
        yield part, handle
    finally:
        part.unlink(missing_ok=True)
        os.close(handle)


def _copy_pages(source: Path, how: str, part: Path, handle: int, tell: Tell) -> dict[str, int]:
    """Copy all pages and flush them; return how many rows the tables had."""
    steps = 0

    def step(_status: int, remaining: int, total: int) -> None:
        nonlocal steps
        steps += 1
        if steps % _FLUSH_STEPS == 0:
            os.fsync(handle)
        tell(total - remaining, total)

    with _opened(source, how) as reading, _opened(part, "mode=rw") as writing:
        for pragma in ("journal_mode=OFF", "synchronous=OFF"):
            writing.execute(f"PRAGMA {pragma}")
        # One transaction around all of it: what is committed meanwhile neither waits nor shows.
        reading.execute("BEGIN")
        rows = _count_rows(reading)
        reading.backup(writing, pages=_STEP_PAGES, progress=step)
    os.fsync(handle)
    # So that it is read back from the disk, and does not push what is in use out of memory.
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    return rows


def _how_alone(path: Path) -> str:
    """Return how to open what nobody writes to: a file alone is left alone."""
    journal = path.with_name(path.name + "-wal")
    has_journal = journal.exists() and journal.stat().st_size > 0
    return "mode=ro" if has_journal else "mode=ro&immutable=1"


@contextlib.contextmanager
def _opened(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(
        sqlite3.connect(
            f"file:{quote(str(path))}?{how}",
            uri=True,
            isolation_level=None,
            timeout=database.BUSY_TIMEOUT_MS / 1000,
        )
    ) as connection:
        yield connection


def _count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    names = [
        str(row[0])
        for row in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    ]
    return {
        name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names
    }
