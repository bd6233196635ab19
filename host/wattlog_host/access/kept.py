"""A small JSON file that commands change and the running host reads again when it has changed."""

import fcntl
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from wattlog_host.private_file import write_private

LOG = logging.getLogger(__name__)

T = TypeVar("T")
FILE_BYTES_MAX = 1_000_000


class KeptBroken(Exception):
    """A file that cannot be used; str() is one line that names it."""


class AccessRefused(Exception):
    """A change that cannot be; str() is one line that says why."""


class Kept(Generic[T]):
    """What the file holds; one that is not there holds nothing.

    parse makes a value of the file's object, and raises whatever its mistakes lead to:
    ValueError, KeyError, TypeError or AttributeError.
    """

    def __init__(self, path: Path, parse: Callable[[dict[str, Any]], T]) -> None:
        """Take where it is; nothing is read yet."""
        self.path = path
        self._parse = parse
        self._seen: tuple[int, int, int] | None = None
        self._value: T | None = None
        self._trouble = ""

    def now(self) -> T:
        """Return what the file says; raise KeptBroken where it cannot be used.

        One that breaks while the host runs changes nothing: what was read before stays, and it
        is said once. Asked for each visitor: that is a look at the file's date, not at the disk.
        """
        try:
            seen = self._look()
            if self._value is None or seen != self._seen:
                self._value = self._checked(self._read())
                self._seen = seen
            self._trouble = ""
        except KeptBroken as err:
            if self._value is None:
                raise
            if str(err) != self._trouble:
                LOG.warning("%s; what was known before stays in force", err)
            self._trouble = str(err)
        return self._value

    def change(self, act: Callable[[dict[str, Any]], None]) -> None:
        """Have act change the file's object; two commands at once take turns.

        Raises KeptBroken, and what act raises: then nothing is changed.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError as err:
            raise KeptBroken(f"cannot write {self.path}: {err.strerror}") from err
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            data = self._read()
            self._checked(data)
            act(data)
            self._checked(data)
            write_private(self.path, json.dumps(data, indent=1, sort_keys=True) + "\n")
        except OSError as err:
            raise KeptBroken(f"cannot write {self.path}: {err.strerror}") from err
        finally:
            os.close(folder)

    def _checked(self, data: dict[str, Any]) -> T:
        try:
            return self._parse(data)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KeptBroken(f"{self.path} is not as wattlog-host writes it") from None

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            raise KeptBroken(f"cannot read {self.path}: {err.strerror}") from err
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                data = json.loads(file.read(FILE_BYTES_MAX))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as err:
            raise KeptBroken(f"cannot read {self.path}: {err.strerror}") from err
        except (ValueError, RecursionError):
            raise KeptBroken(f"{self.path} is not as wattlog-host writes it") from None
        if not isinstance(data, dict):
            raise KeptBroken(f"{self.path} is not as wattlog-host writes it")
        return data


def add_row(kept: Kept[Any], table: str, name: str, row: dict[str, Any], count_max: int) -> None:
    """Add a row to one of the file's tables; raise AccessRefused, KeptBroken."""

    def act(data: dict[str, Any]) -> None:
        rows = data.setdefault(table, {})
        if name in rows:
            raise AccessRefused(f"{name} is there already: remove it first, or take another name")
        if len(rows) >= count_max:
            raise AccessRefused(f"there are {count_max} {table}: remove one that nobody uses")
        rows[name] = row

    kept.change(act)


def remove_row(kept: Kept[Any], table: str, name: str) -> None:
    """Remove it; raise AccessRefused where there is none, KeptBroken."""

    def act(data: dict[str, Any]) -> None:
        if data.get(table, {}).pop(name, None) is None:
            raise AccessRefused(f"there is no {name} among the {table}")

    kept.change(act)
