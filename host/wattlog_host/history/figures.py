"""Energy, coverage and cost of times, for one meter or the house: sums of what the book holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from wattlog_host.history.book import Book, Column, Lines
from wattlog_host.history.columns import History, Registers
from wattlog_host.history.energy import Load, Point, between, moved, points
from wattlog_host.history.house import EXPORT, IMPORT, Member
from wattlog_host.history.tariff import Price, Tariffs, money
from wattlog_host.history.zone import Zone

FULL_COVERAGE = 23 / 24
"""A time of which readings cover less is partial: more than an hour of a day is missing."""
NONE_BEFORE = Price(0, None, None)


class Bill(NamedTuple):
    """What a time costs, exact; cost is None where a part of the import has no price."""

    cost: Decimal | None
    standing: Decimal
    credit: Decimal
    unpriced: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One time; energies are stored units, None where no meter counts them."""

    start_ms: int
    end_ms: int
    imported: int | None
    exported: int | None
    estimated: int
    covered_ms: int
    length_ms: int
    is_over: bool
    resets: int
    bill: Bill | None

    @property
    def coverage(self) -> float | None:
        """How much of the time readings speak for, 0 to 1."""
        return self.covered_ms / self.length_ms if self.length_ms > 0 else None

    @property
    def is_partial(self) -> bool:
        """Whether it is not over, or readings are missing."""
        return not self.is_over or (self.coverage or 0) < FULL_COVERAGE


class Frame(NamedTuple):
    """The whole unit of the calendar that a time is, or is cut from."""

    start_ms: int
    end_ms: int


class Counts:
    """What the members of a house count, between the lines of the book."""

    def __init__(
        self,
        history: History,
        book: Book,
        zone: Zone,
        tariffs: Tariffs,
        members: Sequence[Member],
        now_ms: int,
        mark: int,
    ) -> None:
        """Take a state of the store and the mark of the book from before; members may be none."""
        self.history, self.zone, self.tariffs, self.now_ms = history, zone, tariffs, now_ms
        self.members = members
        self._book, self._mark = book, mark
        self.first_ms = min((one.meter.first_ms for one in members), default=now_ms)
        self.last_ms = max((one.meter.last_ms for one in members), default=now_ms)
        self.lines: Lines = book.lines([one.meter for one in members], now_ms)
        self._columns: dict[tuple[int, int], Column] = {}

    def has(self, energy: str) -> bool:
        """Tell whether any member counts this."""
        return any(one.channels(energy) for one in self.members)

    def column(self, meter_id: int, channel: int) -> Column:
        """Return a counter's points at the lines."""
        name = (meter_id, channel)
        if name not in self._columns:
            load = self._load(*name)
            self._columns[name] = self._book.column(load, self.lines, name, self._mark)
        return self._columns[name]

    def points(self, meter_id: int, channel: int, times: Sequence[int]) -> list[Point]:
        """Return a counter's points at rising instants, from one beginning.

        Where one between the first and the last is no line of the book, all are looked up anew.
        """
        lines, at = self.lines, self.lines.at
        indexes = [lines.before(time_ms) for time_ms in times]
        pairs = list(zip(times, indexes, strict=True))
        if any(
            0 <= index < len(at) - 1 and at[index] != time_ms for time_ms, index in pairs[1:-1]
        ):
            return points(self._load(meter_id, channel), times)
        column = self.column(meter_id, channel)
        return [self._point(meter_id, channel, column, *pair) for pair in pairs]

    def _point(
        self, meter_id: int, channel: int, column: Column, time_ms: int, index: int
    ) -> Point:
        at = self.lines.at
        if index < 0 or index == len(at) - 1 or at[index] == time_ms:
            return column[max(index, 0)]
        line, point = points(self._load(meter_id, channel), [at[index], time_ms])
        return moved(point, line, column[index])

    def _load(self, meter_id: int, channel: int) -> Load:
        def load(start_ms: int, end_ms: int, step_s: int) -> Registers:
            return self.history.registers(meter_id, channel, start_ms, end_ms, step_s)

        return load

    def figures(self, bounds: Sequence[int], frames: Sequence[Frame]) -> list[Figures]:
        """Return the times between neighbours of bounds, and at last all of them as one.

        frames has one for each, what its coverage is measured against; the last one is of all.
        """
        times = sorted({*bounds, *self._price_changes(bounds[0], bounds[-1])})
        prices = [self._price(time_ms) for time_ms in times[:-1]]
        counted = {
            energy: [
                (member, self.points(member.meter.id, channel, times), not index)
                for member in self.members
                for index, channel in enumerate(member.channels(energy))
            ]
            for energy in (IMPORT, EXPORT)
        }
        places = {time_ms: index for index, time_ms in enumerate(times)}
        spans = [*pairwise(bounds), (bounds[0], bounds[-1])]
        return [
            self._figures(counted, prices, times, (places[start_ms], places[end_ms]), frame)
            for (start_ms, end_ms), frame in zip(spans, frames, strict=True)
        ]

    def total(self, start_ms: int, end_ms: int) -> Figures:
        """Return one time; what of it is still to come counts as neither covered nor missing."""
        frame = Frame(start_ms, max(start_ms, min(end_ms, self.now_ms)))
        return replace(self.figures([start_ms, end_ms], [frame, frame])[-1], is_over=True)

    def _price_changes(self, start_ms: int, end_ms: int) -> list[int]:
        return self.lines.within(start_ms, end_ms) if self.tariffs.tariffs else []

    def _price(self, time_ms: int) -> Price:
        index = self.lines.before(time_ms)
        return self.lines.prices[index] if index >= 0 else NONE_BEFORE

    def _figures(
        self,
        counted: "dict[str, list[tuple[Member, list[Point], bool]]]",
        prices: Sequence[Price],
        times: Sequence[int],
        place: tuple[int, int],
        frame: Frame,
    ) -> Figures:
        start, end = place
        sums: dict[str, int | None] = {}
        estimated = covered_ms = resets = 0
        # The import tells coverage and estimates; where nothing is imported, the export does.
        teller = IMPORT if counted[IMPORT] else EXPORT
        length_ms = 0
        for energy, counters in counted.items():
            amount = 0
            for member, at, is_first in counters:
                found = between(at[start], at[end])
                amount += found.amount
                resets += found.falls
                if energy == teller:
                    estimated += found.estimated
                    if is_first:
                        covered_ms += found.covered_ms
                        length_ms += member.overlap_ms(*frame)
            sums[energy] = amount if counters else None
        start_ms, end_ms = times[start], times[end]
        imported, exported = sums[IMPORT], sums[EXPORT]
        bill = None
        if self.tariffs.tariffs and imported is not None:
            bill = self._bill(counted, prices[start:end], place, (start_ms, end_ms))
        return Figures(
            start_ms, end_ms, imported, exported, estimated, covered_ms, length_ms,
            frame.end_ms <= self.now_ms, resets, bill,
        )  # fmt: skip

    def _bill(
        self,
        counted: "dict[str, list[tuple[Member, list[Point], bool]]]",
        prices: Sequence[Price],
        place: tuple[int, int],
        span: tuple[int, int],
    ) -> Bill:
        start, end = place
        amounts = {
            energy: [
                sum(at[index + 1].climb - at[index].climb for _, at, _ in counters)
                for index in range(start, end)
            ]
            for energy, counters in counted.items()
        }
        bought: dict[Decimal | None, int] = {}
        sold: dict[Decimal | None, int] = {}
        for price, amount in zip(prices, amounts[IMPORT], strict=True):
            bought[price.import_ct] = bought.get(price.import_ct, 0) + amount
        for price, amount in zip(prices, amounts[EXPORT], strict=True):
            sold[price.export_ct] = sold.get(price.export_ct, 0) + amount
        unpriced = bought.pop(None, 0)
        credit = _sum(sold)
        # Nobody pays before the first reading for what nobody knows, nor for what is to come.
        standing = self.tariffs.standing(max(span[0], self.first_ms), min(span[1], self.now_ms))
        cost = _sum(bought) + standing - credit
        return Bill(None if unpriced or not bought else cost, standing, credit, unpriced)


def _sum(amounts: Mapping[Decimal | None, int]) -> Decimal:
    """Return what amounts cost by their prices; one without a price counts for nothing."""
    return sum((money(amount, ct) for ct, amount in amounts.items() if ct is not None), Decimal(0))
