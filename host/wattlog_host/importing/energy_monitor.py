"""The SQLite file of energy-monitor: table energy_readings, clock readings without an offset."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from wattlog_host.history.zone import NoSuchTime, Zone
from wattlog_host.importing.local_time import LocalTimes
from wattlog_host.importing.rows import Column, Good, ImportFailed, Wrong, column_of, value_of

TABLE = "energy_readings"
_HEADER = b"SQLite format 3\0"
_TELL_ROWS = 2_000

# What it calls a quantity, which channel that is, and in which unit. Its counters are 0 where
# the meter did not tell.
COLUMNS = (
    ("energy_in_kwh", "import_wh", "kWh", False),
    ("energy_out_kwh", "export_wh", "kWh", False),
    ("power_watts", "power_w", "W", True),
    ("power_phase_1_watts", "power_l1_w", "W", True),
    ("power_phase_2_watts", "power_l2_w", "W", True),
    ("power_phase_3_watts", "power_l3_w", "W", True),
)


def is_one(path: Path) -> bool:
    """Tell whether the file is an SQLite database; raise ImportFailed where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_HEADER)) == _HEADER
    except OSError as err:
        raise ImportFailed(f"cannot read {path}: {err.strerror}") from err


class EnergyMonitor:
    """A file of energy-monitor, read in the order in which its rows were written."""

    what = "row"

    def __init__(self, path: Path, zone: Zone, *, rounds: bool) -> None:
        """Look at the file; raise ImportFailed where it is none of energy-monitor."""
        self._path = path
        self._rounds = rounds
        self._times = LocalTimes(zone)
        self._never = 0
        with self._opened() as connection:
            names = {row[1] for row in connection.execute(f"PRAGMA table_info({TABLE})")}
            if not {"timestamp", "meter_id"} <= names:
                raise ImportFailed(f"{path} has no table {TABLE} of energy-monitor")
            self._columns = [row for row in COLUMNS if row[0] in names]
            ids = connection.execute(f"SELECT DISTINCT meter_id FROM {TABLE}")
            self.meters: Sequence[str] = sorted({_meter(row[0]) or "" for row in ids})
            (self._count,) = connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()

    def rows(self, tell: Callable[[int, int], None]) -> Iterator[Good | Wrong]:
        """Return all rows."""
        columns = []
        for _, key, unit, has_zero in self._columns:
            made = column_of(key, unit)
            columns.append(Column(made.channel, made.exponent, has_zero))
        names = ", ".join(("rowid", "timestamp", "meter_id", *(row[0] for row in self._columns)))
        with self._opened() as connection:
            found = connection.execute(f"SELECT {names} FROM {TABLE} ORDER BY rowid")
            for index, (number, stamp, meter, *numbers) in enumerate(found):
                if index % _TELL_ROWS == 0:
                    tell(index, self._count)
                try:
                    time_ms = self._times.ms(datetime.fromisoformat(stamp))
                except NoSuchTime:
                    self._never += 1
                    yield Wrong(number, "a time that the zone never had")
                    continue
                except (TypeError, ValueError):
                    yield Wrong(number, "not a time")
                    continue
                values, refused = [], []
                for column, one in zip(columns, numbers, strict=True):
                    if one is None:
                        continue
                    # repr() of a float is the shortest text that is it: as it was once sent.
                    value = value_of(column, str(one), rounds=self._rounds)
                    if isinstance(value, str):
                        refused.append(value)
                    elif value is not None:
                        values.append(value)
                yield Good(number, time_ms, _meter(meter), sorted(values), refused)

    def notes(self) -> list[str]:
        """Return what the zone has done."""
        notes = [f"clock readings taken as those of {self._times.zone.name}"]
        if self._times.doubled:
            notes.append(
                f"{self._times.doubled} rows lie in an hour that came twice, and were placed by "
                f"their order; for {self._times.unsure} of them that tells nothing"
            )
        if self._never:
            notes.append(
                "times that never were tell of a clock that kept one offset all year: "
                "try --zone +01:00"
            )
        return notes

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        address = f"file:{quote(str(self._path.absolute()))}?mode=ro"
        try:
            with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
                connection.text_factory = lambda data: data.decode(errors="replace")
                yield connection
        except sqlite3.Error as err:
            raise ImportFailed(f"cannot read {self._path}: {err}") from err


def _meter(text: object) -> str | None:
    """Return the meter's id, None for none; "None" is what it wrote where it had none."""
    return None if not isinstance(text, str) or text.strip() in ("", "None") else text.strip()
