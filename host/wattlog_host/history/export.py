"""The past as rows: raw readings or buckets, a page at a time, and as lines of CSV and JSON.

A page is bounded and knows where the next one begins, so that whoever sends it on keeps neither
much memory nor the database while somebody reads slowly. Numbers are the store's integers with
their decimals until they are written, so that what is written is exact.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from wattlog.channels import COUNTER
from wattlog_host.history.columns import HOLD_MS, Gauges, History, MeterInfo, Reading, Registers
from wattlog_host.history.zone import Zone
from wattlog_host.units import BY_ID

RAW = "raw"
ROWS_MAX = 5_000
"""About so many rows are a page."""

_DAY_MS = 86_400_000
_DAY = "1d"

# By the name of a resolution: the step of its buckets in s, and how much time is a page.
_STEPS = {"1m": (60, 2 * _DAY_MS), "15m": (900, 31 * _DAY_MS), "1h": (3600, 124 * _DAY_MS)}
# Days begin at local midnight, which is a multiple of a quarter everywhere.
_DAY_STEP_S = 900
_DAYS_MAX = 31

RESOLUTIONS = (RAW, *_STEPS, _DAY)

TIME, NUMBER, TEXT = "time", "number", "text"
Cell = int | str | None
Row = Sequence[Cell]
Cells = Mapping[int, tuple[int | None, ...]]
"""Of a channel: its cells, three of them, by place of the row."""


class Column(NamedTuple):
    """A column of an export: times are ms since 1970 UTC, numbers have so many decimals."""

    name: str
    kind: str
    decimals: int = 0


class Page(NamedTuple):
    """Some rows, and from when on there may be more; None at the end."""

    rows: Sequence[Row]
    next_ms: int | None


@dataclass(frozen=True, slots=True)
class Selection:
    """What is exported: of one meter, start_ms <= t < end_ms, at one of RESOLUTIONS."""

    meter: MeterInfo
    start_ms: int
    end_ms: int
    resolution: str
    zone: Zone

    def columns(self) -> list[Column]:
        """Return the columns of all rows."""
        found = [Column("time", TIME)]
        if self.resolution != RAW:
            found.append(Column("end", TIME))
        for number in self.meter.channels:
            channel = BY_ID[number]
            key, decimals = channel.key, channel.decimals
            if self.resolution == RAW:
                found.append(Column(key, NUMBER, decimals))
            elif channel.kind == COUNTER:
                parts = ("first", "last", "rise")
                found += [Column(f"{key}_{part}", NUMBER, decimals) for part in parts]
            else:
                parts = ("min", "mean", "max")
                found += [Column(f"{key}_{part}", NUMBER, decimals) for part in parts]
        if self.resolution == RAW:
            return [*found, Column("time_source", TEXT)]
        return [*found, Column("covered_s", NUMBER, 3)]

    def page(self, history: History, from_ms: int) -> Page:
        """Return the rows from this time on, the first of which is start_ms."""
        if self.resolution == RAW:
            return _raw_page(self, history, from_ms)
        if self.resolution == _DAY:
            return _day_page(self, history, from_ms)
        step_s, page_ms = _STEPS[self.resolution]
        from_ms -= from_ms % (1000 * step_s)
        until_ms = min(self.end_ms, from_ms + page_ms)
        edges = range(from_ms, until_ms + 1000 * step_s, 1000 * step_s)
        rows = _bucket_rows(self, history, step_s, edges, until_ms)
        return Page(rows, None if until_ms >= self.end_ms else until_ms)


def pages(history: History, selection: Selection) -> Iterator[Page]:
    """Return all pages, over one history."""
    from_ms: int | None = selection.start_ms
    while from_ms is not None and from_ms < selection.end_ms:
        page = selection.page(history, from_ms)
        yield page
        from_ms = page.next_ms


# --- as text ------------------------------------------------------------------------------------


def csv_text(
    selection: Selection, rows: Sequence[Row], delimiter: str = ",", decimal: str = "."
) -> str:
    """Return the rows as CSV lines; without rows the header."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    columns = selection.columns()
    if not rows:
        writer.writerow([column.name for column in columns])
        return out.getvalue()
    texts = _texts(columns, selection.zone)
    for row in rows:
        cells = ["" if cell is None else text(cell) for text, cell in zip(texts, row, strict=True)]
        if decimal != ".":
            cells = [
                cell.replace(".", decimal) if column.kind == NUMBER else cell
                for column, cell in zip(columns, cells, strict=True)
            ]
        writer.writerow(cells)
    return out.getvalue()


def json_text(selection: Selection, rows: Sequence[Row]) -> str:
    """Return the rows as lines of JSON objects; numbers are exact, what is missing is null."""
    columns = selection.columns()
    texts = _texts(columns, selection.zone)
    names = [json.dumps(column.name) for column in columns]
    is_number = [column.kind == NUMBER for column in columns]
    lines = []
    for row in rows:
        parts = []
        for name, text, plain, cell in zip(names, texts, is_number, row, strict=True):
            value = "null" if cell is None else text(cell)
            parts.append(f"{name}:{value if plain or cell is None else json.dumps(value)}")
        lines.append("{" + ",".join(parts) + "}\n")
    return "".join(lines)


def number_text(value: int, decimals: int) -> str:
    """Return value / 10**decimals with the digits it has and no more."""
    sign, digits = ("-", -value) if value < 0 else ("", value)
    whole, rest = divmod(digits, 10**decimals)
    if not rest:
        return f"{sign}{whole}"
    return f"{sign}{whole}." + f"{rest:0{decimals}}".rstrip("0")


def _texts(columns: Sequence[Column], zone: Zone) -> list[Callable[[Cell], str]]:
    is_raw = not any(column.name == "end" for column in columns)
    return [_text_of(column, zone, is_raw) for column in columns]


def _text_of(column: Column, zone: Zone, is_raw: bool) -> Callable[[Cell], str]:
    def time(cell: Cell) -> str:
        assert isinstance(cell, int)
        return zone.local(cell).isoformat(timespec="milliseconds" if is_raw else "seconds")

    def number(cell: Cell) -> str:
        assert isinstance(cell, int)
        return number_text(cell, column.decimals)

    texts: dict[str, Callable[[Cell], str]] = {TIME: time, NUMBER: number, TEXT: str}
    return texts[column.kind]


# --- rows ---------------------------------------------------------------------------------------


def _raw_page(selection: Selection, history: History, from_ms: int) -> Page:
    count = ROWS_MAX
    while True:
        found = history.readings(selection.meter.id, from_ms, selection.end_ms, count)
        if len(found) < count:
            return Page([_raw_row(selection, one) for one in found], None)
        # There may be more at the time of the last one: they begin the next page.
        last_ms = found[-1].time_ms
        whole = [one for one in found if one.time_ms < last_ms]
        if whole:
            return Page([_raw_row(selection, one) for one in whole], last_ms)
        count *= 2


def _raw_row(selection: Selection, one: Reading) -> Row:
    values: Mapping[int, int] = one.values
    channels = selection.meter.channels
    return (one.time_ms, *(values.get(channel) for channel in channels), one.source)


def _day_page(selection: Selection, history: History, from_ms: int) -> Page:
    day = selection.zone.day(from_ms)
    edges = [selection.zone.day_start(day)]
    while edges[-1] < selection.end_ms and len(edges) <= _DAYS_MAX:
        day += timedelta(days=1)
        edges.append(selection.zone.day_start(day))
    rows = _bucket_rows(selection, history, _DAY_STEP_S, edges, edges[-1])
    return Page(rows, None if edges[-1] >= selection.end_ms else edges[-1])


def _bucket_rows(
    selection: Selection, history: History, step_s: int, edges: Sequence[int], until_ms: int
) -> list[Row]:
    """Return a row for each time between two edges that has any reading."""
    parts: list[Cells] = []
    covered: dict[int, int] = {}
    for number in selection.meter.channels:
        bounds = (selection.meter.id, number, edges[0], until_ms, step_s)
        if BY_ID[number].kind == COUNTER:
            parts.append(_counter_cells(history.registers(*bounds), edges, covered))
        else:
            parts.append(_gauge_cells(history.gauges(*bounds), edges, covered))
    rows: list[Row] = []
    for at in range(len(edges) - 1):
        if any(at in found for found in parts):
            row: list[Cell] = [edges[at], edges[at + 1]]
            for found in parts:
                row += found.get(at, (None, None, None))
            rows.append([*row, covered.get(at, 0)])
    return rows


def _gauge_cells(found: Gauges, edges: Sequence[int], covered: dict[int, int]) -> Cells:
    """Return minimum, mean and maximum by place; the mean is weighted by time."""
    sums: dict[int, list[int]] = {}
    for start_ms, low, high, integral, covered_ms, _ in zip(*found, strict=True):
        at = _place(edges, start_ms)
        if at is None:
            continue
        row = sums.setdefault(at, [low, high, 0, 0])
        row[0], row[1] = min(row[0], low), max(row[1], high)
        row[2] += integral
        row[3] += covered_ms
    cells: dict[int, tuple[int | None, ...]] = {}
    for at, (low, high, integral, covered_ms) in sums.items():
        covered[at] = max(covered.get(at, 0), covered_ms)
        # What speaks for no time has no mean.
        mean = (2 * integral + covered_ms) // (2 * covered_ms) if covered_ms else None
        cells[at] = (low, mean, high)
    return cells


def _counter_cells(found: Registers, edges: Sequence[int], covered: dict[int, int]) -> Cells:
    """Return the first and last reading, and the rise up to the last one, by place.

    The rise begins at the reading before the first, unless that is so long ago that a reading
    does not speak for it: what was counted in a gap between two rows belongs to neither.
    """
    cells: dict[int, tuple[int, int, int]] = {}
    times: dict[int, int] = {}
    before: tuple[int, int] | None = None
    for start_ms, first_ms, first, last_ms, last, rise, _, covered_ms, _ in zip(
        *found, strict=True
    ):
        at = _place(edges, start_ms)
        if at is not None:
            is_within = at in cells  # then so is what lies before it
            if before is not None and (is_within or first_ms - before[0] <= HOLD_MS):
                rise += max(0, first - before[1])  # noqa: PLW2901
            known = cells.get(at)
            cells[at] = (known[0] if known else first, last, rise + (known[2] if known else 0))
            times[at] = times.get(at, 0) + covered_ms
        before = (last_ms, last)
    for at, covered_ms in times.items():
        covered[at] = max(covered.get(at, 0), covered_ms)
    return cells


def _place(edges: Sequence[int], time_ms: int) -> int | None:
    """Return between which edges a time lies, None for outside."""
    if not edges[0] <= time_ms < edges[-1]:
        return None
    if isinstance(edges, range):
        return (time_ms - edges.start) // edges.step
    low, high = 0, len(edges) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if edges[middle] <= time_ms else (low, middle)
    return low
