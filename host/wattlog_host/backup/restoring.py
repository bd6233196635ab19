"""Putting a backup in the place of the database; the file that was there stays beside it."""

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

from wattlog_host.backup.copying import Copy, Tell, copy, flush_folder, verify
from wattlog_host.backup.rotation import name_of
from wattlog_host.store import database
from wattlog_host.store.records import StoreError


def restore(backup: Path, target: Path, now_ms: int, tell: Tell) -> tuple[Copy, Path | None]:
    """Put backup in the place of the database at target; return it and where the old one is.

    At each moment there is a whole database under target's name, or none where there was none.
    Raises StoreError, with target as it was, where a host runs on it, or the backup is not sound
    or of a newer wattlog.
    """
    if not backup.is_file():
        raise StoreError(f"there is no backup {backup}")
    lock = database.lock(target)
    try:
        found = verify(backup, lambda: tell(0, 1))
        if found.revision not in database.revisions():
            raise StoreError(
                f"{backup} is of a newer wattlog (revision {found.revision}); install that version"
            )
        if target.exists() and target.samefile(backup):
            raise StoreError(f"{backup} is the database itself; name a backup")
        fresh = target.with_name(target.name + ".restoring")
        made = copy(backup, fresh, 0, tell, is_in_use=False)
        try:
            aside = _put_aside(target, now_ms)
            os.replace(fresh, target)
            flush_folder(target.parent)
        except OSError as err:
            raise StoreError(f"cannot put {backup} in place: {err.strerror}") from err
        finally:
            fresh.unlink(missing_ok=True)
    finally:
        os.close(lock)
    return made, aside


def _put_aside(target: Path, now_ms: int) -> Path | None:
    """Keep the database under another name, with its journal, which must not meet the new one."""
    if not target.exists():
        return None
    with contextlib.suppress(sqlite3.Error):  # of a damaged one the journal is kept as it is
        _empty_journal(target)
    stamp = name_of(now_ms).removeprefix("wattlog-").removesuffix(".db")
    aside = target.with_name(f"{target.name}.before-{stamp}")
    for suffix in ("", "-wal"):
        old_file = target.with_name(target.name + suffix)
        if old_file.exists():
            _link(old_file, aside.with_name(aside.name + suffix))
    flush_folder(target.parent)
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    return aside


def _empty_journal(path: Path) -> None:
    """Move what the journal holds into the file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        shutil.copy2(file, name)
