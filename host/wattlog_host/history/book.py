"""The book of days: every counter's climb at each local midnight and each change of a price.

It is made from the buckets of an hour, once, and afterwards only from where something changed, so
that a day, a month or all years are a difference of two lines. Anything that it does not hold is
looked up between its lines.
"""

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

from wattlog_host.history.changes import Notes, Unwatched
from wattlog_host.history.columns import History, MeterInfo
from wattlog_host.history.energy import Climb, Load, Point, moved, points
from wattlog_host.history.house import IMPORT
from wattlog_host.history.powers import PowerBook
from wattlog_host.history.tariff import Price, Tariffs
from wattlog_host.history.zone import Zone

COLUMNS_MAX = 256
"""Counters whose lines are kept; ten years of one take 90 kB, without windows of a price."""
LINES_AT_ONCE = 400
"""Lines that are made from one look into the store: a year, some 9 000 buckets of an hour."""
_HOUR_S = 3600


class Spent(NamedTuple):
    """Until each of some instants: energy times its price, and the energy that has none."""

    units_ct_e6: list[int]
    unpriced: list[int]


def prices_of(energy: str, prices: Sequence[Price]) -> list[int | None]:
    """Return the prices of import or export."""
    if energy == IMPORT:
        return [price.import_ct_e6 for price in prices]
    return [price.export_ct_e6 for price in prices]


def spend(climbs: Sequence[int], prices: Sequence[int | None]) -> Spent:
    """Return what is spent until each instant, from the climbs there and the prices from there."""
    found = Spent([0], [0])
    spent = unpriced = 0
    for (before, after), price in zip(pairwise(climbs), prices, strict=False):
        if price is None:
            unpriced += after - before
        else:
            spent += (after - before) * price
        found.units_ct_e6.append(spent)
        found.unpriced.append(unpriced)
    return found


class Column:
    """One counter's points at the lines of the book."""

    def __init__(self) -> None:
        """Make one without lines."""
        self._climb, self._covered, self._falls = array("q"), array("q"), array("q")
        self._silent: dict[int, tuple[int, int, int]] = {}
        self._spent: dict[str, Spent] = {}
        self.mark = 0

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self._climb)

    def __getitem__(self, index: int) -> Point:
        """Return the point at a line."""
        silence = self._silent.get(index, (None, 0, 0))
        return Point(self._climb[index], self._covered[index], self._falls[index], *silence)

    def spent(self, energy: str, prices: Sequence[Price]) -> Spent:
        """Return what was spent until each line, by the prices that hold from there on."""
        if energy not in self._spent:
            self._spent[energy] = spend(self._climb, prices_of(energy, prices))
        return self._spent[energy]

    def climbs(self) -> "array[int]":
        """Return the climb at all lines; not to be changed."""
        return self._climb

    def covered(self) -> "array[int]":
        """Return what is covered until each line; not to be changed."""
        return self._covered

    def cut(self, count: int) -> "Column":
        """Return a copy of the first lines."""
        made = Column()
        made._climb, made._covered = self._climb[:count], self._covered[:count]
        made._falls, made.mark = self._falls[:count], self.mark
        made._silent = {index: at for index, at in self._silent.items() if index < count}
        return made

    def add(self, point: Point) -> None:
        """Write the next line."""
        if point.silence_ms is not None:
            silence = (point.silence_ms, point.since, point.until)
            self._silent[len(self._climb)] = silence
        self._climb.append(point.climb)
        self._covered.append(point.covered_ms)
        self._falls.append(point.falls)


class Lines:
    """Where the book has lines: each local midnight from the first reading's to tomorrow's."""

    def __init__(self, zone: Zone, tariffs: Tariffs, first: date, last: date) -> None:
        """Lay out all days of first..last."""
        self.days: list[date] = []
        self.day_line: list[int] = []
        """The index of the line at which each day begins."""
        self.prices: list[Price] = []
        day = first
        while day <= last:
            self.days.append(day)
            self.day_line.append(len(self.prices))
            self.prices += tariffs.prices_of_day(day)
            day += timedelta(days=1)
        # The end of the last day is a line too; the price from there on does not matter.
        self.day_line.append(len(self.prices))
        self.prices.append(Price(zone.day_start(day), None, None))
        self.at = [price.start_ms for price in self.prices]
        self.starts = [self.at[line] for line in self.day_line]
        """When each day begins, and when the last one ends."""

    def before(self, time_ms: int) -> int:
        """Return the index of the last line at or before, -1 for none."""
        return bisect_right(self.at, time_ms) - 1

    def within(self, start_ms: int, end_ms: int) -> list[int]:
        """Return the instants of the lines in start < t < end."""
        return self.at[bisect_right(self.at, start_ms) : bisect_left(self.at, end_ms)]


class Book:
    """All counters by lines; one at a time may look, from any thread."""

    def __init__(self, zone: Zone, tariffs: Tariffs, changes: Notes | None = None) -> None:
        """Take who tells what changed in the store."""
        self._zone, self._tariffs = zone, tariffs
        self._changes = changes or Unwatched()
        self._lock = threading.Lock()
        self._lines: Lines | None = None
        self._columns: OrderedDict[tuple[int, int], Column] = OrderedDict()
        self._meters: tuple[int, list[MeterInfo]] = (-1, [])
        self.powers = PowerBook(self._changes)

    def meters(self, history: History, mark: int) -> list[MeterInfo]:
        """Return the meters, asked for only where something changed."""
        known, found = self._meters
        if known != mark:
            found = history.meters()
            self._meters = (mark, found)
        return found

    def meter(self, history: History, mark: int, name: str) -> MeterInfo | None:
        """Return the meter that is called so; the others are not asked for."""
        known, found = self._meters
        if known != mark:
            return history.meter(name)
        return next((meter for meter in found if meter.is_called(name)), None)

    def mark(self) -> int:
        """Return the mark to hand to column(), taken before the store is asked anything.

        What changes between the two is then looked at once more, and never missed.
        """
        return self._changes.mark()

    def lines(self, meters: Sequence[MeterInfo], now_ms: int) -> Lines:
        """Return the lines from the first reading's day to today; meters may not be empty."""
        first = self._zone.day(min(meter.first_ms for meter in meters))
        last = self._zone.day(max(now_ms, *(meter.last_ms for meter in meters)))
        with self._lock:
            lines = self._lines
            if lines is None or first < lines.days[0]:
                self._columns.clear()
                self._lines = lines = Lines(self._zone, self._tariffs, first, last)
            elif last > lines.days[-1]:
                # The lines that are there stay where they are, and so do the columns.
                self._lines = lines = Lines(self._zone, self._tariffs, lines.days[0], last)
            return lines

    def column(self, load: Load, lines: Lines, name: tuple[int, int], mark: int) -> Column:
        """Return the points at these lines of the counter with this (meter id, channel)."""
        with self._lock:
            column = self._columns.pop(name, None) if lines is self._lines else None
            column = column or Column()
            since_ms = self._changes.since(column.mark, name[0])
            if since_ms is not None and len(column):
                column = column.cut(_unchanged(load, lines, since_ms))
            if len(column) < len(lines.at):
                column = _written(load, lines, column)
                column.mark = mark
            if lines is self._lines:
                self._columns[name] = column
                while len(self._columns) > COLUMNS_MAX:
                    self._columns.popitem(last=False)
            return column


def _unchanged(load: Load, lines: Lines, since_ms: int) -> int:
    """Return how many lines stay: those up to the last reading before what changed."""
    first = lines.before(since_ms)
    if first < 0:
        return 0
    at_ms = lines.at[first] - lines.at[first] % (1000 * _HOUR_S)
    read_ms = Climb(load(at_ms, at_ms + 1, _HOUR_S), _HOUR_S).last_ms_before(at_ms)
    # Between that reading and the change the climb was, and will be, spread by time.
    return 0 if read_ms is None else max(0, lines.before(read_ms) + 1)


def _written(load: Load, lines: Lines, column: Column) -> Column:
    """Return the column with the lines that are missing."""
    # The one that others read meanwhile stays as it is.
    column = column.cut(len(column))
    if not len(column):
        column.add(Point())
    while (done := len(column)) < len(lines.at):
        base = column[done - 1]
        found = points(load, lines.at[done - 1 : done + LINES_AT_ONCE])
        for point in found[1:]:
            column.add(moved(point, found[0], base))
    return column
