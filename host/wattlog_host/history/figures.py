"""Energy, coverage and cost of times, for one meter or the house: sums of what the book holds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from wattlog_host.history.book import Book, Column, Lines, prices_of, spend
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
    """One time; energies are stored units, None where no meter counts them, or has any reading."""

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


class Tally(NamedTuple):
    """What there was of a counter until an instant: beside the point what its energy costs."""

    point: Point
    spent: int
    unpriced: int


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
        self._tallies: dict[tuple[int, int, int], Tally] = {}

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

    def tallies(
        self, meter_id: int, channel: int, energy: str, bounds: Sequence[int]
    ) -> list[Tally]:
        """Return a counter's tallies at rising instants, from one beginning.

        Where one between the first and the last is no line of the book, all are looked up anew.
        """
        lines = self.lines
        indexes = [lines.before(time_ms) for time_ms in bounds]
        inner = zip(bounds[1:-1], indexes[1:-1], strict=True)
        if all(not 0 <= index < len(lines.at) - 1 or lines.at[index] == at for at, index in inner):
            return [
                self._tally(meter_id, channel, energy, at, index)
                for at, index in zip(bounds, indexes, strict=True)
            ]
        times = sorted({*bounds, *lines.within(bounds[0], bounds[-1])})
        found = points(self._load(meter_id, channel), times)
        prices = prices_of(energy, [self._price(time_ms) for time_ms in times])
        spent = spend([point.climb for point in found], prices)
        tallies = dict(zip(times, map(Tally, found, *spent), strict=True))
        return [tallies[time_ms] for time_ms in bounds]

    def _tally(self, meter_id: int, channel: int, energy: str, time_ms: int, index: int) -> Tally:
        name = (meter_id, channel, time_ms)
        if name not in self._tallies:
            self._tallies[name] = self._made(meter_id, channel, energy, time_ms, index)
        return self._tallies[name]

    def _made(self, meter_id: int, channel: int, energy: str, time_ms: int, index: int) -> Tally:
        at, column = self.lines.at, self.column(meter_id, channel)
        line = column[max(index, 0)]
        spent, unpriced = 0, 0
        if self.tariffs.tariffs:
            kept = column.spent(energy, self.lines.prices)
            spent, unpriced = kept.units_ct_e6[max(index, 0)], kept.unpriced[max(index, 0)]
        if index < 0 or index == len(at) - 1 or at[index] == time_ms:
            return Tally(line, spent, unpriced)
        start, point = points(self._load(meter_id, channel), [at[index], time_ms])
        point = moved(point, start, line)
        (price,) = prices_of(energy, [self.lines.prices[index]])
        more = point.climb - line.climb
        if price is None:
            return Tally(point, spent, unpriced + more)
        return Tally(point, spent + more * price, unpriced)

    def _load(self, meter_id: int, channel: int) -> Load:
        def load(start_ms: int, end_ms: int, step_s: int) -> Registers:
            return self.history.registers(meter_id, channel, start_ms, end_ms, step_s)

        return load

    def _price(self, time_ms: int) -> Price:
        index = self.lines.before(time_ms)
        return self.lines.prices[index] if index >= 0 else NONE_BEFORE

    def figures(self, bounds: Sequence[int], frames: Sequence[Frame]) -> list[Figures]:
        """Return the times between neighbours of bounds, and at last all of them as one.

        frames has one for each, what its coverage is measured against; the last one is of all.
        """
        counters = [
            _Counter(
                member, energy, not index,
                self.tallies(member.meter.id, channel, energy, bounds),
            )
            for energy in (IMPORT, EXPORT)
            for member in self.members
            for index, channel in enumerate(member.channels(energy))
        ]  # fmt: skip
        standing: list[Decimal] = []
        if self.tariffs.tariffs:
            # Nobody pays before the first reading for what nobody knows, nor for what is to come.
            low_ms, high_ms = self.first_ms, max(self.first_ms, self.now_ms)
            standing = [
                self.tariffs.standing_until(min(max(at, low_ms), high_ms)) for at in bounds
            ]
        places = [*pairwise(range(len(bounds))), (0, len(bounds) - 1)]
        return [
            self._figures(counters, (bounds[start], bounds[end]), (start, end), frame, standing)
            for (start, end), frame in zip(places, frames, strict=True)
        ]

    def total(self, start_ms: int, end_ms: int) -> Figures:
        """Return one time; what of it is still to come counts as neither covered nor missing."""
        frame = Frame(start_ms, max(start_ms, min(end_ms, self.now_ms)))
        return replace(self.figures([start_ms, end_ms], [frame, frame])[-1], is_over=True)

    def _figures(
        self,
        counters: "Sequence[_Counter]",
        span: tuple[int, int],
        place: tuple[int, int],
        frame: Frame,
        standing: Sequence[Decimal],
    ) -> Figures:
        start, end = place
        amounts: dict[str, int] = {}
        spent = {IMPORT: 0, EXPORT: 0}
        unpriced = {IMPORT: 0, EXPORT: 0}
        estimated = covered_ms = length_ms = resets = 0
        # The import tells coverage and estimates; where nothing is imported, the export does.
        teller = counters[0].energy if counters else IMPORT
        for member, energy, is_first, at in counters:
            before, after = at[start], at[end]
            found = between(before.point, after.point)
            # Before its first reading and behind its last one nobody knows what it counted.
            if member.meter.first_ms < span[1] and span[0] < member.meter.last_ms:
                amounts[energy] = amounts.get(energy, 0) + found.amount
            spent[energy] += after.spent - before.spent
            unpriced[energy] += after.unpriced - before.unpriced
            resets += found.falls
            if energy == teller:
                estimated += found.estimated
                if is_first:
                    covered_ms += found.covered_ms
                    length_ms += member.overlap_ms(*frame)
        bill = None
        # What is paid for the day is paid also where nobody read.
        if standing and any(one.energy == IMPORT for one in counters):
            fixed, credit = standing[end] - standing[start], money(spent[EXPORT])
            is_known = not unpriced[IMPORT] and self._has_price(span)
            cost = money(spent[IMPORT]) + fixed - credit if is_known else None
            bill = Bill(cost, fixed, credit, unpriced[IMPORT])
        return Figures(
            *span, amounts.get(IMPORT), amounts.get(EXPORT), estimated, covered_ms, length_ms,
            frame.end_ms <= self.now_ms, resets, bill,
        )  # fmt: skip

    def _has_price(self, span: tuple[int, int]) -> bool:
        """Tell whether a tariff is valid at the start or at the end; between them energy tells."""
        ends = (self._price(span[0]), self._price(span[1] - 1))
        return any(price.import_ct_e6 is not None for price in ends)


class _Counter(NamedTuple):
    """A register of a member: what it counts, whether as its first one, its tallies."""

    member: Member
    energy: str
    is_first: bool
    at: list[Tally]
