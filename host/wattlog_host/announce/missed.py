"""Which hours Home Assistant's statistics missed, and what they have to say; knows no clock.

A statistic of a register has, of each hour, the register at its end (state) and how far it has
climbed since it began (sum). Home Assistant counts by sums, so that whatever was missed is in the
hour in which it heard of the register again. An hour that is filled in between changes no other
sum: it only moves energy to where it was used.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

HOUR_MS = 3_600_000
QUARTER_MS = 900_000
ALIKE_KWH = 0.000_05


class Row(NamedTuple):
    """An hour as Home Assistant has it, in kWh."""

    start_ms: int
    state: float
    sum: float


class Quarter(NamedTuple):
    """The last register in kWh of a quarter of an hour in which any was read."""

    start_ms: int
    register: float


def missed(rows: Sequence[Row], quarters: Sequence[Quarter]) -> list[Row]:
    """Return the hours to be told, rising; both are rising.

    Only what lies between two hours that are right, and only where sum and register of both have
    the same distance: else somebody has changed the sums, or it is another register. What we do
    not know ourselves stays as it is.
    """
    # The end of an hour is known where its last quarter is.
    ends = {one.start_ms + QUARTER_MS - HOUR_MS: one.register for one in quarters}
    known = {row.start_ms: row for row in rows}
    starts = [one.start_ms for one in quarters]
    right = [row for row in rows if not _is_late(row, quarters, starts)]
    found: list[Row] = []
    for before, after in pairwise(right):
        hours = range(before.start_ms + HOUR_MS, after.start_ms, HOUR_MS)
        there = [known[hour] for hour in hours if hour in known]
        if any(not _are_alike(before, row) for row in (*there, after)):
            continue
        register = before.state
        for hour in hours:
            if hour not in ends or not register <= ends[hour] <= after.state:
                continue
            if abs(ends[hour] - register) > ALIKE_KWH or hour in known:
                found.append(Row(hour, ends[hour], before.sum + ends[hour] - before.state))
            register = ends[hour]
    return found


def _is_late(row: Row, quarters: Sequence[Quarter], starts: Sequence[int]) -> bool:
    """Tell whether its register is older than the last quarter of its hour."""
    count = bisect_left(starts, row.start_ms + HOUR_MS - QUARTER_MS)
    return count > 0 and row.state < quarters[count - 1].register - ALIKE_KWH


def _are_alike(one: Row, other: Row) -> bool:
    return abs((other.sum - other.state) - (one.sum - one.state)) < ALIKE_KWH
