"""The questions of the API about the past: one table of addresses, parameters and what is done.

The table parses what is asked (asking.py) and makes the document (openapi.py), so that the two
cannot differ. Whatever is in it runs on a thread of its own over one state of the store.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import Any, NamedTuple

from wattlog_host.history.answers import DAY_MS, Answers, Span, UnknownMeter
from wattlog_host.history.days import YEAR_DAYS
from wattlog_host.history.gauge import POWER_KEY, channel_of
from wattlog_host.history.house import Member
from wattlog_host.history.tariff import CT_PER_EUR, UNITS_PER_KWH, Tariffs
from wattlog_host.history.zone import UNITS, Zone, named_zone
from wattlog_host.units import BY_KEY
from wattlog_host.web import schemas, shapes
from wattlog_host.web.asking import END, METER, START, BadQuestion, Parameter, required

RAW_MAX = 20_000
POINTS_MIN, POINTS_MAX = 10, 4_000
WEEKS_SHOWN = 52
SUMMED = ("W",)
"""Units of gauges of which the house has a sum: two voltages have none."""

PRESETS = {
    "previous_day": ("day", None),
    "previous_week": ("week", None),
    "previous_month": ("month", None),
    "same_week_last_year": ("week", 52 * 7),
    "same_month_last_year": ("month", 365),
}
"""Name -> the running unit of the calendar, and about how many days before it the other lies."""

# How much is shown where nobody says so: units of the calendar up to now.
_ENERGY_SHOWN = {"hour": 1, "day": 30, "week": 7 * 12, "month": 365, "year": 3650}


class House(NamedTuple):
    """What is set of the house."""

    name: str
    zone: Zone
    currency: str
    tariffs: Tariffs


_UTC = named_zone("UTC")
PLAIN_HOUSE = House("", _UTC, "EUR", Tariffs((), _UTC))
"""One of which nothing is set."""


class Asked(NamedTuple):
    """A question: its parameters by name, who answers, and the present."""

    of: Mapping[str, Any]
    answers: Answers
    house: House
    now_ms: int

    def span(self, default: Span) -> Span:
        """Return start and end, or what is shown by default; raise BadQuestion."""
        start, end = self.of.get("start"), self.of.get("end")
        if end is None:
            end = default.end_ms
            if start is not None and start >= end:
                raise BadQuestion("start lies in the future, and there is no end")
        if start is None:
            start = min(default.start_ms, end - 1)
            if end != default.end_ms:
                start = max(0, end - (default.end_ms - default.start_ms))
        return checked(Span(start, end))

    def chosen(self) -> list[Member]:
        """Return the meter that is asked for, or the house."""
        return self.answers.chosen(self.of.get("meter"))


class Answer(NamedTuple):
    """JSON, and the end of what it is about, None where it is about now."""

    body: Any
    end_ms: int | None = None
    is_complete: bool = False


class Question(NamedTuple):
    """One address: what it is, its parameters, what answers it, and the form of the answer."""

    path: str
    about: str
    parameters: tuple[Parameter, ...]
    act: Callable[[Asked], Answer]
    schema: Mapping[str, Any]


def checked(span: Span, start: str = "start", end: str = "end") -> Span:
    """Return the span; raise BadQuestion where it is none."""
    if span.start_ms >= span.end_ms:
        raise BadQuestion(f"{start} must lie before {end}")
    return span


def _meters(asked: Asked) -> Answer:
    return Answer(shapes.meters(asked.answers.meters, asked.house.zone, asked.now_ms))


def _readings(asked: Asked) -> Answer:
    of, now_ms = asked.of, asked.now_ms
    points, after_ms = of["points"], of["after"]
    default = Span(now_ms - DAY_MS, now_ms + 1)
    if after_ms is not None and points is None and of["start"] is None:
        default = Span(min(after_ms + 1, now_ms), now_ms + 1)
    span, chosen = asked.span(default), asked.chosen()
    if points is None:
        if of["channel"] is not None:
            raise BadQuestion("channel needs points=, like points=1000; without it, power is told")
        if after_ms is not None:
            span = Span(max(span.start_ms, after_ms + 1), span.end_ms)
        if not chosen or span.start_ms >= span.end_ms:
            return Answer([])
        return Answer(shapes.raw(*asked.answers.readings(chosen, span, RAW_MAX)), span.end_ms)
    key = of["channel"] or POWER_KEY
    if key not in BY_KEY:
        raise UnknownMeter(f"there is no channel {key!r}; /api/meters lists them")
    if of["meter"] is not None and channel_of(chosen[0], key) is None:
        raise UnknownMeter(f"this meter has no channel {key}; /api/meters lists them")
    if shapes.is_counter(key):
        chosen = [one for one in chosen if channel_of(one, key) is not None][:1]
        counted = asked.answers.counter(chosen, BY_KEY[key].id, span, points, after_ms)
        return Answer(shapes.counter(chosen, key, span, counted), span.end_ms)
    if BY_KEY[key].unit not in SUMMED and _are_several(chosen, span):
        raise BadQuestion(f"{key} of several meters has no sum; say which with meter=")
    found = asked.answers.curve(
        chosen, key, span, points, after_ms, with_energy=of["energy"] == "yes"
    )
    return Answer(shapes.curve(chosen, key, span, found), span.end_ms)


def _are_several(chosen: Sequence[Member], span: Span) -> bool:
    """Tell whether two are parts of the house at once, as a meter and its successor are not."""
    return any(
        max(one.start_ms, other.start_ms, span.start_ms)
        < min(one.end_ms, other.end_ms, span.end_ms)
        for one, other in combinations(chosen, 2)
    )


def _energy(asked: Asked) -> Answer:
    zone, unit, now_ms = asked.house.zone, asked.of["per"] or "day", asked.now_ms
    first_ms = zone.shifted(now_ms, 1 - _ENERGY_SHOWN[unit])
    default = Span(
        zone.start("day" if unit == "hour" else unit, max(0, first_ms)), zone.next(unit, now_ms)
    )
    found = asked.answers.energy(asked.chosen(), asked.span(default), unit)
    total = found.total
    body = shapes.energy(found, zone, asked.house.currency)
    if total is None:
        return Answer(body)
    return Answer(body, total.end_ms, not total.is_partial)


def _energy_summary(asked: Asked) -> Answer:
    zone, now_ms = asked.house.zone, asked.now_ms
    default = Span(zone.start("day", zone.shifted(now_ms, -7 * WEEKS_SHOWN)), now_ms + 1)
    found = asked.answers.days(asked.chosen(), asked.span(default))
    return Answer(shapes.usual(found, zone))


def _stats(asked: Asked) -> Answer:
    span = checked(Span(asked.of["start"], asked.of["end"]))
    found, power = asked.answers.stats(asked.chosen(), span)
    is_complete = found is not None and not found.is_partial
    return Answer(shapes.stats(span, found, power), span.end_ms, is_complete)


def _summary(asked: Asked) -> Answer:
    answers, chosen = asked.answers, asked.chosen()
    found = answers.summary(chosen)
    price = None
    if chosen and asked.house.tariffs.tariffs:
        year = Span(asked.now_ms - YEAR_DAYS * DAY_MS, asked.now_ms)
        total = answers.counts(chosen).total(*year)
        if total.bill and total.bill.cost is not None and total.imported:
            bought = total.bill.cost - total.bill.standing + total.bill.credit
            price = bought * (UNITS_PER_KWH * CT_PER_EUR) / Decimal(total.imported)
    known = Span(
        min((one.meter.first_ms for one in chosen), default=asked.now_ms),
        max((one.meter.last_ms for one in chosen), default=asked.now_ms),
    )
    return Answer(shapes.summary(found, known, price, asked.house.currency))


def _compare(asked: Asked) -> Answer:
    of, chosen = asked.of, asked.chosen()
    spans = [of[name] for name in ("a_start", "a_end", "b_start", "b_end")]
    if of["preset"] is not None:
        if any(time_ms is not None for time_ms in spans):
            raise BadQuestion("give preset, or all of a_start, a_end, b_start and b_end; not both")
        a, b = _preset(asked.house.zone, of["preset"], asked.now_ms)
    elif None in spans:
        raise BadQuestion("give preset=previous_week, or all of a_start, a_end, b_start and b_end")
    else:
        a = checked(Span(spans[0], spans[1]), "a_start", "a_end")
        b = checked(Span(spans[2], spans[3]), "b_start", "b_end")
        a, b = _up_to_now(asked.house.zone, a, b, asked.now_ms)
    if not chosen:
        raise UnknownMeter("there is no reading yet")
    one, other = (asked.answers.compared(chosen, span) for span in (a, b))
    return Answer(shapes.compare(one, other, asked.house.currency, asked.now_ms))


def _preset(zone: Zone, name: str, now_ms: int) -> tuple[Span, Span]:
    """Return the running unit of the calendar, and as much of the other one."""
    unit, days = PRESETS[name]
    b = Span(zone.start(unit, now_ms), max(now_ms, zone.start(unit, now_ms) + 1))
    if days is None:
        start_ms = zone.start(unit, b.start_ms - 1)
    else:
        start_ms = zone.start(unit, zone.shifted(b.start_ms, -days))
    end_ms = min(_as_long(zone, start_ms, b), zone.next(unit, start_ms))
    return Span(start_ms, max(end_ms, start_ms + 1)), b


def _up_to_now(zone: Zone, a: Span, b: Span, now_ms: int) -> tuple[Span, Span]:
    """Return both up to now: of the other one as much as there is of the one that runs."""
    if b.start_ms < now_ms < b.end_ms:
        b = Span(b.start_ms, now_ms)
        return Span(a.start_ms, max(a.start_ms + 1, min(a.end_ms, _as_long(zone, a[0], b)))), b
    if a.start_ms < now_ms < a.end_ms:
        b, a = _up_to_now(zone, b, a, now_ms)
    return a, b


def _as_long(zone: Zone, start_ms: int, span: Span) -> int:
    """Return when the wall clock has moved on from start_ms as far as it does in the span."""
    moved_ms = zone.local_ms(span.end_ms) - zone.local_ms(span.start_ms)
    return zone.later(start_ms, moved_ms)


def _days(asked: Asked) -> Answer:
    of, zone = asked.of, asked.house.zone
    if of["month"] is not None and of["year"] is not None:
        raise BadQuestion("give month=2026-11 or year=2026; not both")
    first: date = of["year"] or of["month"] or zone.day(asked.now_ms).replace(day=1)
    unit = "year" if of["year"] else "month"
    start_ms = zone.day_start(first)
    span, chosen = Span(start_ms, zone.next(unit, start_ms)), asked.chosen()
    if unit == "year":
        found, letters = asked.answers.months(chosen, span), len("2026-11")
    else:
        found, letters = asked.answers.days(chosen, span), len("2026-11-27")
    return Answer(shapes.days(found, asked.house.currency, letters))


def _tariffs(asked: Asked) -> Answer:
    house = asked.house
    return Answer(shapes.tariffs(house.tariffs, house.currency, house.zone, asked.now_ms))


_POINTS = Parameter(
    "points", "integer", "At most so many buckets, and one more where start or end lie within "
    "one; the server chooses how long they are. Without it: raw readings.",
    "1000", POINTS_MIN, POINTS_MAX,
)  # fmt: skip
_AFTER = Parameter("after", "time", "Only what is newer, to go on with.", "1795000000000")
_CHANNEL = Parameter("channel", "text", "The key of a channel, of /api/meters.", POWER_KEY)
_WITH_ENERGY = Parameter(
    "energy", "choice", "Whether a curve of power also tells the import of each bucket; it "
    "takes as long again.", "yes", choices=("yes", "no"),
)  # fmt: skip
_PER = Parameter(
    "per", "choice", "The unit of the calendar; day by default.", "day", choices=UNITS
)
_MONTH = Parameter("month", "month", "A month of the calendar; this one by default.", "2026-11")
_YEAR = Parameter("year", "year", "A year of the calendar.", "2026")
_PRESET = Parameter(
    "preset", "choice", "The running unit of the calendar against as much of an earlier one.",
    "previous_week", choices=tuple(PRESETS),
)  # fmt: skip
_SIDES = tuple(
    parameter._replace(name=f"{side}_{parameter.name}")
    for side in ("a", "b")
    for parameter in (START, END)
)

QUESTIONS = (
    Question("/api/meters", "The meters, and what each tells", (), _meters, schemas.METERS),
    Question(
        "/api/readings", "Readings as they came, or a curve of at most so many points",
        (START, END, _AFTER, METER, _CHANNEL, _POINTS, _WITH_ENERGY), _readings, schemas.READINGS,
    ),
    Question(
        "/api/energy", "Energy and cost by hours, days, weeks, months or years of the calendar",
        (START, END, _PER, METER), _energy, schemas.ENERGY,
    ),
    Question(
        "/api/energy_summary", "Energy by days, with the average of 30 days and of a year",
        (START, END, METER), _energy_summary, schemas.ENERGY_SUMMARY,
    ),
    Question(
        "/api/stats", "Energy, power and cost of any time",
        (required(START), required(END), METER), _stats, schemas.STATS,
    ),
    Question(
        "/api/summary", "Today, this week, this month and so on, beside what is usual",
        (METER,), _summary, schemas.SUMMARY,
    ),
    Question(
        "/api/compare", "Two times beside each other; of one that runs, as much of the other",
        (_PRESET, *_SIDES, METER), _compare, schemas.COMPARE,
    ),
    Question(
        "/api/days", "The days of a month, or the months of a year, beside what is usual",
        (_MONTH, _YEAR, METER), _days, schemas.DAYS,
    ),
    Question("/api/tariffs", "The tariffs that costs are worked out with", (), _tariffs,
             schemas.TARIFFS),
)  # fmt: skip
