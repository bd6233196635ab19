"""What energy costs: prices with a validity, windows of the day, a standing charge. Exact."""

from bisect import bisect_right
from calendar import isleap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from wattlog_host.history.zone import Zone

QUARTER_MS = 900_000
QUARTERS_DAY = 96
DAY_MS = QUARTERS_DAY * QUARTER_MS
WEEK = 7 * QUARTERS_DAY

UNITS_PER_KWH = 10**8
"""A stored energy has 5 decimals of a Wh."""
CT_PER_EUR = 100
_MONEY_PLACES = 8 + 2 + 6
_DAYS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days with a price of their own: quarters of the local day, end excluded.

    One that ends at or before its start goes on into the next day, whatever day that is.
    """

    days: frozenset[int]
    start: int
    end: int
    import_ct_per_kwh: Decimal

    def quarters(self) -> Iterator[int]:
        """Yield its quarters of the week, from Monday 00:00."""
        length = self.end - self.start if self.end > self.start else self._into_next()
        for day in self.days:
            first = day * QUARTERS_DAY + self.start
            yield from (index % WEEK for index in range(first, first + length))

    def _into_next(self) -> int:
        return QUARTERS_DAY - self.start + self.end


@dataclass(frozen=True, slots=True)
class Tariff:
    """One contract: prices are ct per kWh with at most 6 decimals; valid_to is its last day."""

    valid_from: date
    valid_to: date | None
    import_ct_per_kwh: Decimal
    export_ct_per_kwh: Decimal
    standing_per_year: Decimal
    windows: tuple[Window, ...] = ()
    week: tuple[Decimal, ...] = field(init=False, repr=False, compare=False)
    """The price of each quarter of an hour from Monday 00:00."""
    steps: tuple[tuple[tuple[int, Decimal], ...], ...] = field(
        init=False, repr=False, compare=False
    )
    """Of each weekday, the quarters from which another price holds; the first is 0."""

    def __post_init__(self) -> None:
        """Lay out the week."""
        week = [self.import_ct_per_kwh] * WEEK
        for window in self.windows:
            for quarter in window.quarters():
                week[quarter] = window.import_ct_per_kwh
        days = [week[first : first + QUARTERS_DAY] for first in range(0, WEEK, QUARTERS_DAY)]
        steps = tuple(
            tuple(
                (quarter, price)
                for quarter, price in enumerate(day)
                if not quarter or price != day[quarter - 1]
            )
            for day in days
        )
        object.__setattr__(self, "week", tuple(week))
        object.__setattr__(self, "steps", steps)


class Price(NamedTuple):
    """What a kWh costs from start_ms on, until the next, in 10**-6 ct; None without a tariff."""

    start_ms: int
    import_ct_e6: int | None
    export_ct_e6: int | None


NO_PRICE = (None, None)


class Tariffs:
    """All contracts in the order of their validity; the latest that has begun is in effect."""

    def __init__(self, tariffs: Sequence[Tariff], zone: Zone) -> None:
        """Take the tariffs, rising by valid_from."""
        self.tariffs = tuple(tariffs)
        self._zone = zone
        self._starts = [tariff.valid_from for tariff in tariffs]
        self._standing_before = lru_cache(_DAYS_KEPT)(self._sum_before)

    def on(self, day: date) -> Tariff | None:
        """Return the tariff in effect on a local day."""
        index = bisect_right(self._starts, day) - 1
        if index < 0:
            return None
        tariff = self.tariffs[index]
        return None if tariff.valid_to is not None and day > tariff.valid_to else tariff

    def last_day(self, tariff: Tariff) -> date | None:
        """Return the last day on which it is in effect, None for no end."""
        index = self.tariffs.index(tariff) + 1
        following = self.tariffs[index : index + 1]
        days = [one.valid_from - timedelta(days=1) for one in following]
        if tariff.valid_to is not None:
            days.append(tariff.valid_to)
        return min(days, default=None)

    def prices_of_day(self, day: date) -> list[Price]:
        """Return the prices of a local day, each where it begins; the first at its start."""
        zone, tariff = self._zone, self.on(day)
        start, end = zone.day_start(day), zone.day_start(day + timedelta(days=1))
        if tariff is None:
            return [Price(start, *NO_PRICE)]
        export = _e6(tariff.export_ct_per_kwh)
        if end - start == DAY_MS:
            # No day has two changes of the clock, so that one of 24 hours has none.
            steps = tariff.steps[day.weekday()]
            return [Price(start + quarter * QUARTER_MS, _e6(ct), export) for quarter, ct in steps]
        found: list[Price] = []
        for at in range(start, end, QUARTER_MS):
            shown = zone.local(at)
            quarter = (60 * shown.hour + shown.minute) // 15
            ct = _e6(tariff.week[shown.weekday() * QUARTERS_DAY + quarter])
            if not found or found[-1].import_ct_e6 != ct:
                found.append(Price(at, ct, export))
        return found

    def standing_until(self, time_ms: int) -> Decimal:
        """Return the standing charge of all that was before, pro rata of real local days.

        A day takes the year's charge through 365 or 366, however many hours it has. Only
        differences are of use; they add up.
        """
        zone = self._zone
        today = zone.day(time_ms)
        total = self._standing_before(today)
        tariff = self.on(today)
        if tariff is not None and tariff.standing_per_year:
            start = zone.day_start(today)
            length = zone.day_start(today + timedelta(days=1)) - start
            share = Decimal(time_ms - start) / (length * _year_days(today.year))
            total += tariff.standing_per_year * share
        return total

    def _sum_before(self, today: date) -> Decimal:
        total = Decimal(0)
        for tariff in self.tariffs:
            if tariff.valid_from > today or not tariff.standing_per_year:
                continue
            last = self.last_day(tariff)
            end = today if last is None else min(today, last + timedelta(days=1))
            total += tariff.standing_per_year * _years(tariff.valid_from, end)
        return total


def _years(start: date, end: date) -> Decimal:
    """Return the days from start up to end as parts of their years."""
    if start.year == end.year:
        return Decimal((end - start).days) / _year_days(start.year)
    first = Decimal((date(start.year + 1, 1, 1) - start).days) / _year_days(start.year)
    last = Decimal((end - date(end.year, 1, 1)).days) / _year_days(end.year)
    return first + (end.year - start.year - 1) + last


def _year_days(year: int) -> int:
    return 366 if isleap(year) else 365


def _e6(ct: Decimal) -> int:
    return int(ct.scaleb(6))


def money(units_ct_e6: int) -> Decimal:
    """Return the sum of stored energies times their prices in whole currency; exact."""
    return Decimal(units_ct_e6).scaleb(-_MONEY_PLACES)
