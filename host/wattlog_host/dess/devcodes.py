"""What each protocol (devcode) calls things: one TOML file each, checked when it is loaded."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wattlog.config import ConfigError
from wattlog_host.dess import units
from wattlog_host.dess.sensors import BY_ID, MODE_CLASSES

FILE_BYTES_MAX = 200_000
ENTRIES_MAX = 500

_FILE = re.compile(r"([1-9][0-9]{0,6})\.toml")
_PRIORITY = re.compile(r"[a-z][a-z_]{1,40}")
_HERE = Path(__file__).parent / "devcodes"


@dataclass(frozen=True, slots=True)
class Words:
    """What a text of the cloud is called, and our own class for it."""

    shown: str
    name: str


@dataclass(frozen=True, slots=True)
class Devcode:
    """One protocol; titles are as in the reply, without outer blanks."""

    number: int
    is_known: bool = True
    models: tuple[str, ...] = ()
    note: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, Words] = field(default_factory=dict)
    output_priorities: Mapping[str, Words] = field(default_factory=dict)
    charger_priorities: Mapping[str, Words] = field(default_factory=dict)


# Where the state of charge is, if it is among the parameters only; tried where nothing is known.
_UNKNOWN_PARAMETERS = {"Battery percentage": "state_of_charge"}


class Catalogue:
    """All protocols that we know, the user's own included."""

    def __init__(self, rows: Mapping[int, Devcode]) -> None:
        """Take what load() read."""
        self._rows = rows

    def of(self, number: int) -> Devcode:
        """Return the protocol, a bare one where there is no file for it."""
        found = self._rows.get(number)
        return found or Devcode(number, is_known=False, parameters=_UNKNOWN_PARAMETERS)

    def __iter__(self) -> Iterator[Devcode]:
        """Go through all by number."""
        return iter([self._rows[number] for number in sorted(self._rows)])


def load(own: Path | None = None) -> Catalogue:
    """Return our files and those of the user's folder, which add to ours and win over them.

    Raises ConfigError with one line that names file, key and what would be right.
    """
    rows: dict[int, Devcode] = {}
    for folder in [_HERE, *([own] if own is not None else [])]:
        try:
            paths = sorted(folder.glob("*.toml"))
        except OSError as err:
            raise ConfigError(f"{folder}: cannot read the devcodes: {err.strerror}") from err
        for path in paths:
            if path.name.startswith("_"):
                continue
            match = _FILE.fullmatch(path.name)
            if match is None:
                raise ConfigError(f"{path}: name it after the devcode's number, like 2376.toml")
            number = int(match[1])
            read = parse(number, _read(path), str(path))
            rows[number] = _merged(rows[number], read) if number in rows else read
    return Catalogue(rows)


def parse(number: int, text: str, name: str) -> Devcode:
    """Return what a file says; raise ConfigError where it cannot be used."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{name}: not valid TOML: {str(err)[:200]}") from None
    for key in data:
        if key not in ("models", "note", *_TABLES):
            known = ", ".join(("models", "note", *_TABLES))
            raise ConfigError(f"{name}: unknown key {key!r:.60}; known here: {known}")
    models = data.get("models", [])
    if not isinstance(models, list) or not all(isinstance(one, str) for one in models):
        raise ConfigError(f'{name}: models must be a list of texts, like ["EASUN 8KW"]')
    note = data.get("note", "")
    if not isinstance(note, str):
        raise ConfigError(f"{name}: note must be a text in quotes")
    tables: dict[str, Any] = {key: _table(data.get(key, {}), key, name) for key in _TABLES}
    for title in tables["units"]:
        if title not in tables["titles"]:
            raise ConfigError(f"{name}: units: {title!r:.60} is not among the titles")
    return Devcode(number, models=tuple(models), note=note, **tables)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
        return data.decode()
    except OSError as err:
        raise ConfigError(f"{path}: cannot read it: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: not UTF-8 text") from err


def _merged(ours: Devcode, theirs: Devcode) -> Devcode:
    tables: dict[str, Any] = {
        key: {**getattr(ours, key), **getattr(theirs, key)} for key in _TABLES
    }
    return Devcode(
        ours.number, models=theirs.models or ours.models, note=theirs.note or ours.note, **tables
    )


def _sensor(value: Any) -> str:
    if isinstance(value, str) and value in BY_ID:
        return value
    near = sorted(BY_ID, key=lambda name: (not name.startswith(str(value)[:6]), name))[:3]
    raise ValueError(f"must be a sensor, such as {', '.join(near)}")


def _unit(value: Any) -> str:
    if isinstance(value, str) and units.known(value):
        return value
    raise ValueError(f"must be one of {', '.join(units.UNITS)}")


def _mode(value: Any) -> Words:
    words = _words(value)
    if words.name not in MODE_CLASSES:
        raise ValueError(f"its class must be one of {', '.join(MODE_CLASSES)}")
    return words


def _words(value: Any) -> Words:
    match value:
        case [str(shown), str(name)] if shown and _PRIORITY.fullmatch(name):
            return Words(shown, name)
    raise ValueError('must be two texts: what to show and its class, like ["Grid", "grid"]')


# Key of the file: what checks and reads one entry of it.
_TABLES: Mapping[str, Callable[[Any], Any]] = {
    "titles": _sensor,
    "units": _unit,
    "parameters": _sensor,
    "modes": _mode,
    "output_priorities": _words,
    "charger_priorities": _words,
}


def _table(data: Any, key: str, name: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: {key} must be a table: write [{key}]")
    if len(data) > ENTRIES_MAX:
        raise ConfigError(f"{name}: {key} has more than {ENTRIES_MAX} entries")
    out = {}
    for entry, value in data.items():
        try:
            out[entry.strip()] = _TABLES[key](value)
        except ValueError as err:
            raise ConfigError(f"{name}: {key}: {entry!r:.60} {err}") from None
    return out
