"""The questions that people ask of the past, and their answers as plain types."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

from wattlog_host.history import gauge
from wattlog_host.history.book import Book
from wattlog_host.history.columns import STEPS_S, History, MeterInfo, Reading
from wattlog_host.history.days import MONTH_DAYS, YEAR_DAYS, days_of
from wattlog_host.history.energy import Climb, Energy, Power, between
from wattlog_host.history.figures import Counts, Figures, Frame
from wattlog_host.history.gauge import Curve, Quarter
from wattlog_host.history.house import IMPORT, Member, alone, members
from wattlog_host.history.tariff import Tariffs
from wattlog_host.history.zone import HOUR_MS, Zone

BUCKETS_MAX = 10_000
METERS_SUM_MAX = 100
NO_SUM_TEXT = f"more than {METERS_SUM_MAX} meters are not summed: say meter="
DAY_MS = 24 * HOUR_MS
PEAK_DAYS = 30
COURSES = ((2 * DAY_MS, 900), (10 * DAY_MS, 3600), (62 * DAY_MS, 6 * 3600))
"""For how long a time its course is told by how many seconds."""
COURSE_S_ELSE = 24 * 3600
COURSE_MS_MAX = 3660 * DAY_MS


class Unanswerable(Exception):
    """A question that has no answer; str() says what to ask instead."""


class UnknownMeter(Exception):
    """There is no such meter, or it has no such channel; str() is one line."""


class Span(NamedTuple):
    """start_ms <= t < end_ms."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class EnergyAnswer:
    """Times of the calendar that follow each other, and all of them as one; None without data."""

    rows: list[Figures]
    total: Figures | None


@dataclass(frozen=True, slots=True)
class CurveAnswer:
    """A gauge's curve, and the energy of its buckets where that makes sense."""

    width_s: int
    curve: Curve
    imported: list[Energy | None] | None


@dataclass(frozen=True, slots=True)
class CounterAnswer:
    """A counter by buckets: what it stood at first and last there, its climb, coverage."""

    width_s: int
    start_ms: list[int]
    first: list[int | None]
    last: list[int | None]
    energy: list[Energy | None]


@dataclass(frozen=True, slots=True)
class DayRow:
    """One local day beside what is usual up to it."""

    day: date
    figures: Figures
    typical: float | None
    is_usual: bool


@dataclass(frozen=True, slots=True)
class Usual:
    """Days with their 30-day average, and the mean of a day over a year."""

    rows: list[DayRow]
    daily: float | None


@dataclass(frozen=True, slots=True)
class Period:
    """A span with its name, what it took, and what is usual for as long."""

    name: str
    figures: Figures
    typical: float | None
    is_running: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """Periods up to now, base load, and the highest quarters of an hour of the last 30 days."""

    periods: list[Period]
    base_load: float | None
    peaks: list[Quarter]


@dataclass(frozen=True, slots=True)
class Compared:
    """One side of a comparison: figures, power, days as the clock counts them, and its course.

    course is the mean power by what the wall clock has moved on since the start.
    """

    figures: Figures
    power: Power
    days: float
    course: dict[int, float]


class Answers:
    """Answers over one state of the store, for one meter or for the house."""

    def __init__(
        self, history: History, book: Book, zone: Zone, tariffs: Tariffs, now_ms: int
    ) -> None:
        """Take a store that shows one state of itself; now_ms is the present."""
        # Before the first question to the store: see Book.mark.
        self._mark = book.mark()
        self.history, self._book, self._zone, self._tariffs = history, book, zone, tariffs
        self._now_ms = now_ms
        self.is_house = not history.has_more_meters_than(METERS_SUM_MAX)
        """Whether there are so few meters that they may be one house's."""
        self._named: list[MeterInfo] = []

    @cached_property
    def meters(self) -> list[MeterInfo]:
        """All meters; who asks about one of thousands does not have them listed."""
        return self._book.meters(self.history, self._mark)

    def chosen(self, name: str | None) -> list[Member]:
        """Return the house, or the meter of this id, server id in hex, or label; see members()."""
        if name is None:
            if not self.is_house:
                raise Unanswerable(NO_SUM_TEXT)
            return members(self.meters)
        meter = self._book.meter(self.history, self._mark, name)
        if meter is None:
            raise UnknownMeter(f"there is no meter {name!r}; /api/meters lists them")
        self._named.append(meter)
        return alone(meter)

    def read_ms(self) -> int:
        """Return until when all have told: those of the house, of more the one asked about."""
        meters = self.meters if self.is_house else self._named
        return min((meter.last_ms for meter in meters), default=0)

    def counts(self, chosen: Sequence[Member]) -> Counts:
        """Return what these members count; there must be one."""
        return Counts(
            self.history, self._book, self._zone, self._tariffs, chosen, self._now_ms, self._mark
        )

    # --- energy ------------------------------------------------------------------------------

    def energy(self, chosen: Sequence[Member], span: Span, unit: str) -> EnergyAnswer:
        """Return the energy of the whole units of the calendar that this time touches.

        Before the unit of the first reading and after that of now there are none.
        """
        zone = self._zone
        if not chosen:
            return EnergyAnswer([], None)
        counts = self.counts(chosen)
        start_ms = max(span.start_ms, counts.first_ms)
        end_ms = min(span.end_ms, 1 + max(self._now_ms, counts.last_ms))
        if start_ms >= end_ms:
            return EnergyAnswer([], None)
        start_ms, end_ms = zone.start(unit, start_ms), zone.next(unit, end_ms - 1)
        bounds = zone.cuts(unit, start_ms, end_ms, BUCKETS_MAX + 2)
        if len(bounds) > BUCKETS_MAX + 1:
            raise Unanswerable(f"more than {BUCKETS_MAX} rows: ask for less time, or a longer per")
        frames = [Frame(*pair) for pair in pairwise(bounds)]
        rows = counts.figures(bounds, [*frames, Frame(start_ms, end_ms)])
        return EnergyAnswer(rows[:-1], rows[-1])

    def stats(self, chosen: Sequence[Member], span: Span) -> tuple[Figures | None, Power]:
        """Return energy and power of a time."""
        if not chosen:
            return None, Power()
        return self.counts(chosen).total(*span), self._power(chosen, span)

    def _power(self, chosen: Sequence[Member], span: Span) -> Power:
        lines = self._book.lines([one.meter for one in chosen], self._now_ms)
        return self._book.powers.of(self.history, chosen, lines.starts, span, self._mark)

    # --- days --------------------------------------------------------------------------------

    def months(self, chosen: Sequence[Member], year: Span) -> Usual:
        """Return the months of a year, each beside what is usual for as many days up to now."""
        found = self.energy(chosen, year, "month")
        daily = self.days(chosen, Span(self._now_ms, self._now_ms + 1)).daily
        rows = []
        for row in found.rows:
            span = Span(row.start_ms, max(row.start_ms, min(row.end_ms, self._now_ms)))
            usual = None if daily is None else daily * self._local_days(span)
            rows.append(DayRow(self._zone.day(row.start_ms), row, usual, not row.is_partial))
        return Usual(rows, daily)

    def days(self, chosen: Sequence[Member], span: Span) -> Usual:
        """Return the local days that this time touches, from the first reading's to today."""
        if not chosen:
            return Usual([], None)
        counts = self.counts(chosen)
        found = days_of(counts)
        starts = counts.lines.starts
        indexes = [
            index
            for index, start_ms in enumerate(starts[:-1])
            if start_ms < span.end_ms and starts[index + 1] > span.start_ms
        ]
        daily = found.average(len(found.days) - 1, YEAR_DAYS)
        if not indexes:
            return Usual([], daily)
        bounds = starts[indexes[0] : indexes[-1] + 2]
        frames = [Frame(*pair) for pair in pairwise(bounds)]
        rows = counts.figures(bounds, [*frames, Frame(bounds[0], bounds[-1])])[:-1]
        return Usual(
            [
                DayRow(
                    found.days[index], row, found.average(index, MONTH_DAYS), found.is_usual[index]
                )
                for index, row in zip(indexes, rows, strict=True)
            ],
            daily,
        )

    # --- curves ------------------------------------------------------------------------------

    def readings(
        self, chosen: Sequence[Member], span: Span, count_max: int
    ) -> tuple[Member, list[Reading]]:
        """Return raw readings of the only, or the first, of these meters; there must be one."""
        member = chosen[0]
        found = self.history.readings(member.meter.id, *span, count_max + 1)
        if len(found) > count_max:
            raise Unanswerable(
                f"more than {count_max} readings: ask for less time, say points=1000, "
                "or take /api/export.csv"
            )
        return member, found

    def curve(
        self,
        chosen: Sequence[Member],
        key: str,
        span: Span,
        points: int,
        after_ms: int | None = None,
        *,
        with_energy: bool = False,
    ) -> CurveAnswer:
        """Return a gauge by about so many buckets; only those that begin behind after_ms."""
        width_s, step_s = gauge.width_for(span.end_ms - span.start_ms, points)
        low_ms, high_ms = self._aligned(chosen, span, width_s, after_ms)
        if low_ms >= high_ms:
            return CurveAnswer(width_s, Curve([], [], [], [], []), None)
        found = gauge.gauges_of(self.history, chosen, key, (low_ms, high_ms), step_s)
        made = gauge.curve(found, 1000 * step_s, 1000 * width_s)
        imported = None
        if with_energy and key in gauge.POWER_KEYS:
            imported = self._imported(chosen, made, (low_ms, high_ms), width_s, step_s)
        return CurveAnswer(width_s, made, imported)

    def counter(
        self,
        chosen: Sequence[Member],
        channel: int,
        span: Span,
        points: int,
        after_ms: int | None = None,
    ) -> CounterAnswer:
        """Return a counter of the only, or the first, of these meters by buckets."""
        width_s, step_s = gauge.width_for(span.end_ms - span.start_ms, points)
        low_ms, high_ms = self._aligned(chosen[:1], span, width_s, after_ms)
        out = CounterAnswer(width_s, [], [], [], [])
        if low_ms >= high_ms:
            return out
        meter_id = chosen[0].meter.id
        of = self.history.registers(meter_id, channel, low_ms, high_ms, step_s)
        climb, width_ms = Climb(of, step_s), 1000 * width_s
        for at_ms, first, last in zip(of.start_ms, of.first, of.last, strict=True):
            start_ms = at_ms - at_ms % width_ms
            if not low_ms <= at_ms < high_ms:
                continue
            if out.start_ms and start_ms == out.start_ms[-1]:
                out.last[-1] = last
                continue
            if out.start_ms and start_ms > out.start_ms[-1] + width_ms:
                _add_counter(out, out.start_ms[-1] + width_ms, None, None, None)
            energy = between(climb.at(start_ms), climb.at(start_ms + width_ms))
            _add_counter(out, start_ms, first, last, energy)
        return out

    def _aligned(
        self, chosen: Sequence[Member], span: Span, width_s: int, after_ms: int | None
    ) -> Span:
        """Return whole buckets, and none of times before the first reading or after the last."""
        width_ms = 1000 * width_s
        if not chosen:
            return Span(0, 0)
        first_ms = min(member.meter.first_ms for member in chosen)
        last_ms = max(member.meter.last_ms for member in chosen)
        # The first bucket that begins behind it.
        later_ms = 0 if after_ms is None else after_ms + width_ms
        low_ms = max(span.start_ms, first_ms, later_ms)
        high_ms = min(span.end_ms, last_ms + 1)
        return Span(low_ms - low_ms % width_ms, -(-high_ms // width_ms) * width_ms)

    def _imported(
        self,
        chosen: Sequence[Member],
        made: Curve,
        span: tuple[int, int],
        width_s: int,
        step_s: int,
    ) -> list[Energy | None] | None:
        """Return the import in the curve's buckets; None in rows that are gaps."""
        width_ms = 1000 * width_s
        sums: list[Energy | None] | None = None
        for member in chosen:
            for channel in member.channels(IMPORT):
                of = self.history.registers(member.meter.id, channel, *span, step_s)
                at = lru_cache(2)(Climb(of, step_s, tells_coverage=False).at)
                parts = [
                    None if low is None else between(at(start_ms), at(start_ms + width_ms))
                    for start_ms, low in zip(made.start_ms, made.minimum, strict=True)
                ]
                sums = parts if sums is None else list(map(_plus, sums, parts))
        return sums

    # --- now beside what is usual ------------------------------------------------------------

    def summary(self, chosen: Sequence[Member]) -> Summary:
        """Return the running periods of the calendar, rolling ones, base load and peaks."""
        if not chosen:
            return Summary([], None, [])
        zone, now_ms = self._zone, self._now_ms
        counts = self.counts(chosen)
        usual = days_of(counts)
        spans = {
            **{name: Span(zone.start(unit, now_ms), now_ms) for name, unit in _RUNNING},
            "total": Span(counts.first_ms, now_ms),
            "last_24h": Span(now_ms - DAY_MS, now_ms),
            "last_7d": Span(zone.shifted(now_ms, -7), now_ms),
            "last_30d": Span(zone.shifted(now_ms, -30), now_ms),
        }
        # A clock that was ahead: what was read then is still to come.
        spans = {name: span for name, span in spans.items() if span.start_ms < span.end_ms}
        daily = usual.average(len(usual.days) - 1, YEAR_DAYS)
        running = {name for name, _ in _RUNNING}
        periods = [
            Period(
                name,
                counts.total(*span),
                None if daily is None else daily * self._local_days(span),
                name in running,
            )
            for name, span in spans.items()
        ]
        start_ms = zone.day_start(zone.day(now_ms) - timedelta(days=PEAK_DAYS))
        found = gauge.quarters(
            gauge.gauges_of(
                self.history, chosen, gauge.POWER_KEY, (start_ms, now_ms), gauge.QUARTER_S
            )
        )
        return Summary(periods, gauge.base_load(found, zone), gauge.peaks(found))

    def _local_days(self, span: Span) -> float:
        """Return the time in days as the calendar counts them, whatever hours they have."""
        zone = self._zone
        return (zone.local_ms(span.end_ms) - zone.local_ms(span.start_ms)) / DAY_MS

    # --- two periods -------------------------------------------------------------------------

    def compared(self, chosen: Sequence[Member], span: Span) -> Compared:
        """Return one side of a comparison; there must be a member."""
        total = self.counts(chosen).total(*span)
        return Compared(
            total, self._power(chosen, span), self._local_days(span), self._course(chosen, span)
        )

    def _course(self, chosen: Sequence[Member], span: Span) -> dict[int, float]:
        """Return the mean power by local time since the start; an hour that comes twice is one."""
        length_ms = span.end_ms - span.start_ms
        if length_ms > COURSE_MS_MAX:
            raise Unanswerable("more than ten years are not compared: ask for less time")
        width_s = next((one for most, one in COURSES if length_ms <= most), COURSE_S_ELSE)
        found = gauge.gauges_of(
            self.history, chosen, gauge.POWER_KEY, span, min(width_s, STEPS_S[-1])
        )
        began_ms, local_ms, width_ms = (
            self._zone.local_ms(span.start_ms), self._zone.local_ms, 1000 * width_s,
        )  # fmt: skip
        sums: dict[int, tuple[int, int]] = {}
        for start_ms, integral, covered_ms in zip(
            found.start_ms, found.integral, found.covered_ms, strict=True
        ):
            offset_ms = max(0, local_ms(start_ms) - began_ms) // width_ms * width_ms
            before = sums.get(offset_ms, (0, 0))
            sums[offset_ms] = before[0] + integral, before[1] + covered_ms
        return {
            offset_ms: integral / covered_ms
            for offset_ms, (integral, covered_ms) in sorted(sums.items())
            if covered_ms
        }


_RUNNING = (
    ("today", "day"), ("this_week", "week"), ("this_month", "month"), ("this_year", "year"),
)  # fmt: skip


def _add_counter(
    out: CounterAnswer,
    start_ms: int,
    first: int | None,
    last: int | None,
    energy: Energy | None,
) -> None:
    out.start_ms.append(start_ms)
    out.first.append(first)
    out.last.append(last)
    out.energy.append(energy)


def _plus(one: Energy | None, other: Energy | None) -> Energy | None:
    if one is None or other is None:
        return None
    return Energy(
        one.amount + other.amount, one.estimated + other.estimated, one.covered_ms,
        one.falls + other.falls,
    )  # fmt: skip
