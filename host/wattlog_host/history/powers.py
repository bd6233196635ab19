"""The power of each local day, so that a year is 365 of them: made once, then kept up to date."""

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence

from wattlog_host.history.changes import Notes
from wattlog_host.history.columns import Gauges, History
from wattlog_host.history.energy import Power, joined, power, step_for
from wattlog_host.history.gauge import POWER_KEY, gauges_of, power_of
from wattlog_host.history.house import Member

TABLES_MAX = 32
DAYS_AT_ONCE = 400
DAYS_DIRECT = 2
"""So few days are summed up from hours and minutes."""


class Table:
    """Days of one meter, or of several as a sum."""

    def __init__(self, starts: Sequence[int]) -> None:
        """Make one without days; starts are those of the days, as far as they go."""
        self.starts = starts
        self.mark = 0
        self._columns = [array("q") for _ in Power._fields]

    def __len__(self) -> int:
        """Return the number of days."""
        return len(self._columns[0])

    def cut(self, count: int, starts: Sequence[int]) -> "Table":
        """Return a copy of the first days."""
        made = Table(starts)
        made.mark = self.mark
        made._columns = [column[:count] for column in self._columns]
        return made

    def add(self, day: Power) -> None:
        """Write the next day."""
        for column, value in zip(self._columns, day, strict=True):
            column.append(0 if value is None else value)

    def sum(self, first: int, last: int) -> Power:
        """Return the days first <= index < last as one."""
        low, high, integral, covered_ms, readings = (
            column[first:last] for column in self._columns
        )
        # A day has extremes where a reading is, or speaks; of the others there are zeros.
        known = [
            index
            for index, (count, covered) in enumerate(zip(readings, covered_ms, strict=True))
            if count or covered
        ]
        if not known:
            return Power()
        return Power(
            min(low[index] for index in known),
            max(high[index] for index in known),
            sum(integral),
            sum(covered_ms),
            sum(readings),
        )


class PowerBook:
    """Tables of days by the meters that are summed; from any thread."""

    def __init__(self, changes: Notes) -> None:
        """Take who tells what changed."""
        self._changes = changes
        self._lock = threading.Lock()
        self._tables: OrderedDict[tuple[tuple[int, int, int], ...], Table] = OrderedDict()

    def of(
        self,
        history: History,
        members: Sequence[Member],
        starts: Sequence[int],
        span: tuple[int, int],
        mark: int,
    ) -> Power:
        """Return the power of a time, weighted by time; starts are all days', and their end."""
        start_ms, end_ms = max(span[0], starts[0]), min(span[1], starts[-1])
        first, last = bisect_left(starts, start_ms), bisect_right(starts, end_ms) - 1
        if start_ms >= end_ms:
            return Power()
        if last - first <= DAYS_DIRECT:
            return power_of(history, members, POWER_KEY, start_ms, end_ms)
        table = self._table(history, members, starts, mark)
        parts = [table.sum(first, last)]
        for low_ms, high_ms in ((start_ms, starts[first]), (starts[last], end_ms)):
            if low_ms < high_ms:
                parts.append(power_of(history, members, POWER_KEY, low_ms, high_ms))
        return joined(parts)

    def _table(
        self, history: History, members: Sequence[Member], starts: Sequence[int], mark: int
    ) -> Table:
        name = tuple((one.meter.id, one.start_ms, one.end_ms) for one in members)
        with self._lock:
            table = self._tables.pop(name, None)
            if table is None or table.starts[0] != starts[0]:
                table = Table(starts)
            count = len(table)
            for member in members:
                since_ms = self._changes.since(table.mark, member.meter.id)
                if since_ms is not None:
                    count = min(count, max(0, bisect_right(starts, since_ms) - 1))
            if count < len(starts) - 1:
                table = table.cut(count, starts)
                _write(table, history, members)
                table.mark = mark
            self._tables[name] = table
            while len(self._tables) > TABLES_MAX:
                self._tables.popitem(last=False)
            return table


def _write(table: Table, history: History, members: Sequence[Member]) -> None:
    """Add the days that are missing."""
    starts = table.starts
    while (done := len(table)) < len(starts) - 1:
        bounds = starts[done : done + DAYS_AT_ONCE + 1]
        step_s = step_for(bounds)
        found = gauges_of(history, members, POWER_KEY, (bounds[0], bounds[-1]), step_s)
        places = [bisect_left(found.start_ms, start_ms) for start_ms in bounds]
        for index in range(len(bounds) - 1):
            part = Gauges(*(column[places[index] : places[index + 1]] for column in found))
            table.add(power(part, step_s, bounds[index], bounds[index + 1]))
