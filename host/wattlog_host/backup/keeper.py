"""The backups of a host: one an hour, in rotation, and what is known of them."""

import threading
from pathlib import Path

from wattlog_host.backup import rotation
from wattlog_host.backup.copying import Copy, Tell, copy
from wattlog_host.backup.rotation import Backups
from wattlog_host.settings import BackupSettings


class Stopped(Exception):
    """The host ends: the copy is given up."""


class Keeper:
    """Makes backups of one database and removes the old ones; calls block, one at a time."""

    def __init__(self, database: Path, settings: BackupSettings) -> None:
        """Look at what there is."""
        self._database = database
        self._settings = settings
        self._stopping = threading.Event()
        newest_ms = max(self._times(), default=None)
        newest = None if newest_ms is None else self._path(newest_ms)
        self.state = Backups(settings.folder, newest, newest_ms)

    def wait_ms(self, now_ms: int) -> int:
        """Return how long until the next one is due; a failure is repeated after an hour."""
        last_ms = max(self.state.newest_ms or 0, self.state.trouble_ms or 0)
        return rotation.wait_ms(last_ms or None, now_ms)

    def make(self, now_ms: int) -> Copy:
        """Make one and remove those that are not kept; where it raises StoreError, none is."""

        def tell(_done: int, _total: int) -> None:
            if self._stopping.is_set():
                raise Stopped

        made = make(self._database, self._settings, now_ms, tell)
        self.state = Backups(self._settings.folder, made.path, now_ms)
        return made

    def fail(self, why: str, now_ms: int) -> None:
        """Note that there is none of this hour, and why."""
        state = self.state
        self.state = Backups(state.folder, state.newest, state.newest_ms, why, now_ms)

    def stop(self) -> None:
        """Have a copy that is being made given up; may be called from any thread."""
        self._stopping.set()

    def _times(self) -> list[int]:
        return _times_in(self._settings.folder)

    def _path(self, time_ms: int) -> Path:
        return self._settings.folder / rotation.name_of(time_ms)


def make(database: Path, settings: BackupSettings, now_ms: int, tell: Tell) -> Copy:
    """Make a backup in the folder of the settings, and remove those that are not kept.

    The new one stays, whatever its time: a clock that fell back must not cost it.
    """
    folder = settings.folder
    made = copy(database, folder / rotation.name_of(now_ms), settings.reserve_bytes, tell)
    times = _times_in(folder)
    for time_ms in set(times) - rotation.kept(times, settings.keep):
        path = folder / rotation.name_of(time_ms)
        if path != made.path:
            path.unlink(missing_ok=True)
    return made


def _times_in(folder: Path) -> list[int]:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:  # not there yet; one that cannot be read says so when it is written to
        return []
    return [time_ms for name in names if (time_ms := rotation.time_of(name)) is not None]
