"""A CSV file: what its columns are, how it writes numbers and times, and its rows.

What the file does not say is asked for, not guessed: an unknown unit or a column with two meanings
is an error that names the option.
"""

import csv
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from wattlog_host.history.zone import NoSuchTime, Zone
from wattlog_host.importing.local_time import LocalTimes
from wattlog_host.importing.rows import (
    UNITS,
    Column,
    Good,
    ImportFailed,
    Wrong,
    column_of,
    value_of,
)
from wattlog_host.units import BY_KEY

_DELIMITERS = ";,\t|"
_SAMPLE_ROWS = 200
_TELL_ROWS = 2_000
_CELL_MAX = 40

# By how a column is headed, in small letters and without its unit: what it is.
_TIMES = ("time", "timestamp", "date", "datetime", "zeit", "zeitstempel", "datum", "t")
_METERS = ("meter", "meter_id", "zähler", "server_id")
_UNIT = re.compile(r"\s*[\[(]\s*([^\])]+?)\s*[\])]\s*$")
_GERMAN = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y")
_SECONDS, _MILLISECONDS = range(10**9, 10**10), range(10**12, 10**13)


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """What the person says of the file; None is for us to find out."""

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str = "utf-8-sig"
    time: str | None = None
    time_format: str | None = None
    meter_column: str | None = None
    columns: Sequence[str] = ()
    """CHANNEL=COLUMN or CHANNEL:UNIT=COLUMN."""
    rounds: bool = False


class CsvFile:
    """A CSV file with a reading in each row."""

    what = "line"
    meters: Sequence[str] = ()

    def __init__(self, path: Path, zone: Zone, options: CsvOptions) -> None:
        """Look at the beginning of the file; raise ImportFailed where it is not clear."""
        self._path = path
        self._options = options
        self._times = LocalTimes(zone)
        self._never = 0
        sample = list(itertools.islice(self._lines(), _SAMPLE_ROWS + 1))
        if not any(line.strip() for line in sample):
            raise ImportFailed(f"{path} is empty")
        self._delimiter = options.delimiter or _delimiter_of(path, sample)
        rows = [row for row in csv.reader(sample, delimiter=self._delimiter) if row]
        self._width = len(rows[0])
        self._has_header = not any(self._is_value(cell) for cell in rows[0])
        heads = [cell.strip() for cell in rows[0]] if self._has_header else []
        self._heads = heads
        self._time_at = self._find_time(heads)
        self._meter_at = self._find_meter(heads)
        self._columns = self._find_columns(heads)
        if not self._columns:
            raise ImportFailed(
                f"{path} line 1: no column is known to be a channel; say which, like "
                "--column import_wh:kWh=NAME"
            )
        cells = [row[at] for row in rows[self._has_header :] if len(row) == self._width
                 for at in self._columns]  # fmt: skip
        has_comma = self._delimiter != "," and any("," in cell for cell in cells)
        self._decimal = options.decimal or ("," if has_comma else ".")

    def rows(self, tell: Callable[[int, int], None]) -> Iterator[Good | Wrong]:
        """Return all rows."""
        size = self._path.stat().st_size
        done = 0

        def counted() -> Iterator[str]:
            nonlocal done
            for line in self._lines():
                done += len(line)
                yield line

        reader = csv.reader(counted(), delimiter=self._delimiter, strict=True)
        is_first = self._has_header
        for index in itertools.count():
            try:
                row = next(reader, None)
            except csv.Error as err:
                raise ImportFailed(f"{self._path} line {reader.line_num}: {err}") from err
            if row is None:
                return
            if index % _TELL_ROWS == 0:
                tell(done, size)
            if is_first or not any(cell.strip() for cell in row):
                is_first = is_first and not row
                continue
            yield self._row(reader.line_num, row)

    def notes(self) -> list[str]:
        """Return how the file was understood."""
        names = ", ".join(
            f"{self._name(at)} as {column.channel.key}" for at, column in self._columns.items()
        )
        notes = [f'read with delimiter "{self._delimiter}", decimal "{self._decimal}": {names}']
        notes.append(f"times without an offset taken as those of {self._times.zone.name}")
        if self._times.doubled:
            notes.append(
                f"{self._times.doubled} lines lie in an hour that came twice, and were placed by "
                f"their order; for {self._times.unsure} of them that tells nothing"
            )
        return notes

    def _row(self, number: int, row: Sequence[str]) -> Good | Wrong:
        if len(row) != self._width:
            return Wrong(number, f"{len(row)} columns instead of {self._width}")
        try:
            time_ms = self._time_ms(" ".join(row[at].strip() for at in self._time_at))
        except NoSuchTime:
            return Wrong(number, "a time that the zone never had")
        except ValueError:
            return Wrong(number, "not a time")
        values, refused = [], []
        for at, column in self._columns.items():
            text = row[at].strip()
            if not text:
                continue
            if self._decimal == ",":
                # What has a point here groups thousands, or is another kind of number.
                text = "not a number" if "." in text else text.replace(",", ".")
            value = value_of(column, text, rounds=self._options.rounds)
            if isinstance(value, str):
                refused.append(value)
            elif value is not None:
                values.append(value)
        meter = None if self._meter_at is None else row[self._meter_at].strip() or None
        return Good(number, time_ms, meter, sorted(values), refused)

    def _time_ms(self, text: str) -> int:
        if self._options.time_format is not None:
            return self._times.ms(datetime.strptime(text, self._options.time_format))  # noqa: DTZ007
        if text.isascii() and text.isdigit():
            number = int(text)
            if number in _SECONDS:
                return 1000 * number
            if number in _MILLISECONDS:
                return number
            raise ValueError(text)
        try:
            return self._times.ms(datetime.fromisoformat(text))
        except ValueError:
            for form in _GERMAN:
                try:
                    moment = datetime.strptime(text, form)  # noqa: DTZ007
                except ValueError:
                    continue
                return self._times.ms(moment)
            raise

    def _lines(self) -> Iterator[str]:
        encoding = self._options.encoding
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    try:
                        yield line.decode(
                            encoding if number == 1 else encoding.removesuffix("-sig")
                        )
                    except UnicodeDecodeError as err:
                        raise ImportFailed(
                            f"{self._path} line {number} is not {encoding} text; try "
                            "--encoding cp1252"
                        ) from err
        except LookupError as err:
            raise ImportFailed(f"there is no encoding {encoding}") from err
        except OSError as err:
            raise ImportFailed(f"cannot read {self._path}: {err.strerror}") from err

    # --- what the columns are --------------------------------------------------------------------

    def _find_time(self, heads: Sequence[str]) -> list[int]:
        if self._options.time is not None:
            return [self._place(name, heads) for name in self._options.time.split("+")]
        found = [at for at, head in enumerate(heads) if _bare(head) in _TIMES]
        if len(found) != 1:
            what = "no column is" if not found else "more than one column may be"
            raise ImportFailed(
                f"{self._path} line 1: {what} known to be the time; say which: --time NAME, or "
                "--time DATE+TIME for two"
            )
        return found

    def _find_meter(self, heads: Sequence[str]) -> int | None:
        if self._options.meter_column is not None:
            return self._place(self._options.meter_column, heads)
        found = [at for at, head in enumerate(heads) if head.lower() in _METERS]
        return found[0] if len(found) == 1 else None

    def _find_columns(self, heads: Sequence[str]) -> dict[int, Column]:
        columns = {}
        for text in self._options.columns:
            left, _, name = text.partition("=")
            key, _, unit = left.partition(":")
            if not name:
                raise ImportFailed(f"--column {text}: it is like import_wh:kWh=NAME")
            at = self._place(name, heads)
            told = unit or (_unit(heads[at]) if heads else None)
            if told is None and key in BY_KEY and not (heads and _bare(heads[at]) == key):
                raise ImportFailed(
                    f"--column {text}: in which unit? Write --column {key}:UNIT={name}"
                )
            columns[at] = column_of(key, told)
        if not columns:
            for at, head in enumerate(heads):
                known = _known_by_name(head)
                if known is not None:
                    columns[at] = known
        if len({column.channel for column in columns.values()}) < len(columns):
            raise ImportFailed(f"{self._path} line 1: two columns are the same channel")
        return columns

    def _place(self, name: str, heads: Sequence[str]) -> int:
        if name in heads:
            return heads.index(name)
        folded = [_bare(head) for head in heads]
        if folded.count(_bare(name)) == 1:
            return folded.index(_bare(name))
        if name.isascii() and name.isdigit() and 1 <= int(name) <= self._width:
            return int(name) - 1
        known = ", ".join(heads) if heads else f"1 to {self._width}, for it has no header"
        raise ImportFailed(f"{self._path} line 1: there is no column {name}; there are: {known}")

    def _name(self, at: int) -> str:
        return self._heads[at] if self._heads else f"column {at + 1}"

    def _is_value(self, cell: str) -> bool:
        """Tell whether a cell is a time or a number, as none of a header is."""
        text = cell.strip()
        if re.fullmatch(r"[+-]?[\d.,]*\d[\d.,]*", text):
            return True
        try:
            LocalTimes(self._times.zone).ms(datetime.fromisoformat(text))
        except NoSuchTime:
            return True
        except ValueError:
            return re.match(r"\d", text) is not None and not _UNIT.search(text)
        return True


def _delimiter_of(path: Path, sample: Sequence[str]) -> str:
    first = next(line for line in sample if line.strip())
    counts = {one: first.count(one) for one in _DELIMITERS}
    best = max(counts, key=lambda one: counts[one])
    if not counts[best]:
        raise ImportFailed(f"{path} line 1 has one column; say what parts them: --delimiter")
    return best


def _unit(head: str) -> str | None:
    match = _UNIT.search(head)
    return match[1] if match and match[1].lower() in UNITS else None


def _bare(head: str) -> str:
    return _UNIT.sub("", head).strip().lower()


def _known_by_name(head: str) -> Column | None:
    """Return the column whose name is a channel's, or a channel's with a k before its unit."""
    bare = _bare(head)
    if bare in BY_KEY:
        return column_of(bare, _unit(head))
    stem, _, unit = bare.rpartition("_")
    if unit.startswith("k") and f"{stem}_{unit[1:]}" in BY_KEY:
        return column_of(f"{stem}_{unit[1:]}", unit)
    return None
