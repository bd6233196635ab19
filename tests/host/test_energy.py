"""Energy adds up: whatever is asked for, however long the buckets are, it is what readings say."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_history import EXPORT, IMPORT, WH, MemoryHistory, truth
from wattlog_host.history.answers import Answers, Span
from wattlog_host.history.book import Book
from wattlog_host.history.changes import NOTES_MAX, Changes
from wattlog_host.history.columns import HOLD_MS, STEPS_S
from wattlog_host.history.energy import Climb, between, points, step_for
from wattlog_host.history.tariff import Tariff, Tariffs, Window
from wattlog_host.history.zone import named_zone

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
T0_MS = 1_774_600_000_000 // DAY_MS * DAY_MS  # 2026-03-27: Berlin's short day is two days later

BERLIN = named_zone("Europe/Berlin")
ZONES = [named_zone(name) for name in ("Europe/Berlin", "UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns")]  # fmt: skip


@st.composite
def counters(draw, days=4):
    """Readings of a counter: bursts of any pace, silences, and falls."""
    at_ms = T0_MS + draw(st.integers(0, DAY_MS))
    value = draw(st.integers(0, 10**9))
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        pace_ms = draw(
            st.sampled_from([1_000, 10_000, 59_999, 60_000, 61_234, 299_999, HOLD_MS, 900_000])
        )
        for _ in range(draw(st.integers(1, 30))):
            rows.append((at_ms, value))
            at_ms += pace_ms
            value += draw(st.integers(0, 5 * WH))
        if draw(st.integers(0, 5)) == 0:
            value = draw(st.integers(0, max(0, value - 1)))
        at_ms += draw(
            st.sampled_from(
                [1, HOLD_MS, HOLD_MS + 1, 20 * MINUTE_MS, 3 * HOUR_MS, days * DAY_MS // 4]
            )
        )
        value += draw(st.integers(0, 100 * WH))
    return rows


def load_of(rows):
    history = MemoryHistory({1: [(at, {IMPORT: value}) for at, value in rows]})
    return lambda start_ms, end_ms, step_s: history.registers(1, IMPORT, start_ms, end_ms, step_s)


minutes = st.integers(-60, 6 * 1440).map(lambda minute: T0_MS + minute * MINUTE_MS)


@given(counters(), st.lists(minutes, min_size=2, max_size=6, unique=True))
@settings(max_examples=60, deadline=None)
def test_a_time_between_full_minutes_is_exactly_what_the_readings_say(rows, times):
    times = sorted(times)
    found = points(load_of(rows), times)
    for (start_ms, start), (end_ms, end) in pairwise(zip(times, found, strict=True)):
        energy = between(start, end)
        wanted = truth(rows, start_ms, end_ms)
        assert (energy.amount, energy.covered_ms, energy.falls) == wanted[:3]
        assert energy.estimated == wanted.estimated


@given(counters(), st.data())
@settings(max_examples=40, deadline=None)
def test_however_long_the_buckets_are_their_borders_say_the_same(rows, data):
    hours = sorted(data.draw(st.lists(st.integers(-3, 150), min_size=2, max_size=5, unique=True)))
    times = [T0_MS + hour * HOUR_MS for hour in hours]
    load = load_of(rows)
    said = []
    for step_s in STEPS_S:
        climb = Climb(load(times[0], times[-1] + 1, step_s), step_s)
        at = [climb.at(time_ms) for time_ms in times]
        said.append([between(*pair) for pair in pairwise(at)])
    assert said[0] == said[1] == said[2]


@given(counters(), st.lists(st.integers(0, 5 * DAY_MS), min_size=3, max_size=8, unique=True))
@settings(max_examples=60, deadline=None)
def test_parts_add_up_to_their_whole_at_any_millisecond(rows, offsets):
    times = sorted(T0_MS + offset for offset in offsets)
    load = load_of(rows)
    parts = [between(*points(load, pair)) for pair in pairwise(times)]
    whole = between(*points(load, [times[0], times[-1]]))
    assert sum(part.amount for part in parts) == whole.amount
    assert sum(part.falls for part in parts) == whole.falls
    assert all(part.amount >= 0 and 0 <= part.estimated <= part.amount for part in (*parts, whole))
    assert all(
        0 <= part.covered_ms <= end - start
        for part, (start, end) in zip(parts, pairwise(times), strict=True)
    )
    assert sum(part.covered_ms for part in parts) == whole.covered_ms


@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.name)
@given(rows=counters(days=12))
@settings(max_examples=8, deadline=None)
def test_days_weeks_and_months_are_the_difference_of_the_counter(zone, rows):
    history = MemoryHistory({1: [(at, {IMPORT: value}) for at, value in rows]})
    now_ms = rows[-1][0] + HOUR_MS
    answers = Answers(history, Book(zone, NO_TARIFFS(zone)), zone, NO_TARIFFS(zone), now_ms)
    span = Span(0, now_ms + DAY_MS)
    wanted = sum(max(0, after - before) for (_, before), (_, after) in pairwise(rows))
    for unit in ("hour", "day", "week", "month", "year"):
        found = answers.energy(answers.chosen(None), span, unit)
        known = [row.imported for row in found.rows if row.imported is not None]
        assert found.total.imported == (wanted if known else None), unit
        assert sum(known) == wanted, unit
        for row in found.rows:
            # Behind the last reading nobody knows.
            is_known = row.start_ms < rows[-1][0] and rows[0][0] < row.end_ms
            climb = truth(rows, row.start_ms, row.end_ms).climb
            assert row.imported == (climb if is_known else None)
            assert row.covered_ms <= row.end_ms - row.start_ms


def NO_TARIFFS(zone):
    return Tariffs((), zone)


def tariffs_of(zone):
    night = Window(frozenset(range(5)), 22 * 4, 6 * 4 + 1, Decimal("20.5"))
    return Tariffs(
        (
            Tariff(
                date(2026, 1, 1),
                None,
                Decimal("31.02"),
                Decimal("8.2"),
                Decimal("120.45"),
                (night,),
            ),
            Tariff(date(2026, 3, 29), date(2026, 3, 30), Decimal(40), Decimal(0), Decimal(99)),
            Tariff(date(2026, 4, 1), None, Decimal("33"), Decimal(7), Decimal(0), (night,)),
        ),
        zone,
    )


@given(rows=counters(days=12), other=counters(days=3))
@settings(max_examples=10, deadline=None)
def test_costs_add_up_and_every_quarter_of_an_hour_has_its_price(rows, other):
    zone, tariffs = BERLIN, tariffs_of(BERLIN)
    history = MemoryHistory({
        1: [(at, {IMPORT: value, EXPORT: value // 2}) for at, value in rows],
        2: [(at, {IMPORT: value}) for at, value in other],
    })  # fmt: skip
    now_ms = max(rows[-1][0], other[-1][0]) + HOUR_MS
    answers = Answers(history, Book(zone, tariffs), zone, tariffs, now_ms)
    found = answers.energy(answers.chosen(None), Span(0, now_ms), "day")
    hours = answers.energy(answers.chosen(None), Span(0, now_ms), "hour")
    wanted = {}
    unpriced = 0
    for at_ms in range(found.rows[0].start_ms, found.rows[-1].end_ms, 900_000):
        moment = datetime.fromtimestamp(at_ms / 1000, ZoneInfo("Europe/Berlin"))
        tariff = next(
            (t for t in reversed(tariffs.tariffs) if t.valid_from <= moment.date()), None
        )
        amount = sum(
            truth(one, at_ms, min(at_ms + 900_000, now_ms)).climb for one in (rows, other)
        )
        sold = truth([(at, value // 2) for at, value in rows], at_ms, at_ms + 900_000).climb
        if tariff is None or (tariff.valid_to and moment.date() > tariff.valid_to):
            unpriced += amount
            continue
        begun = (moment - timedelta(hours=6, minutes=15)).date()  # whose night it is
        clock = 60 * moment.hour + moment.minute
        is_night = clock >= 22 * 60 or clock < 6 * 60 + 15
        night_of = moment.date() if clock >= 22 * 60 else begun
        ct = tariff.import_ct_per_kwh
        if tariff.windows and is_night and night_of.weekday() < 5:
            ct = Decimal("20.5")
        cost = (Decimal(amount) * ct - Decimal(sold) * tariff.export_ct_per_kwh) / 10**10
        wanted[moment.date()] = wanted.get(moment.date(), Decimal(0)) + cost
    assert sum(row.bill.unpriced for row in found.rows) == found.total.bill.unpriced == unpriced
    for row in found.rows:
        if row.bill.cost is not None:
            assert row.bill.cost - row.bill.standing == wanted.get(zone.day(row.start_ms), 0)
    for rows_ in (found.rows, hours.rows):
        if not unpriced:
            assert abs(sum(row.bill.cost or 0 for row in rows_) - found.total.bill.cost) < Decimal(
                "1e-15"
            )
        standing = sum(row.bill.standing for row in rows_)
        assert abs(standing - found.total.bill.standing) < Decimal("1e-15")


@given(rows=counters(days=8), cut=st.integers(1, 60), seed=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_book_kept_up_to_date_is_the_book_made_anew(rows, cut, seed):
    zone, tariffs, changes = BERLIN, tariffs_of(BERLIN), Changes()
    waiting = list(rows)
    # Readings come in pieces, some of them late.
    pieces = [waiting[at : at + cut] for at in range(0, len(waiting), cut)]
    seed.shuffle(pieces)
    kept = Book(zone, tariffs, changes)
    known = []
    for piece in pieces:
        known += piece
        history = MemoryHistory({1: [(at, {IMPORT: value}) for at, value in known]})
        changes.note(1, piece[0][0])
        now_ms = max(at for at, _ in known) + 5_000
        said = [
            Answers(history, book, zone, tariffs, now_ms).energy(
                Answers(history, book, zone, tariffs, now_ms).chosen(None), Span(0, now_ms), "day"
            )
            for book in (kept, Book(zone, tariffs))
        ]
        assert said[0] == said[1]


def test_what_comes_late_moves_the_midnights_of_the_silence_that_it_ends():
    noon = T0_MS + DAY_MS // 2
    rows = [(noon, 0), (noon + 6 * DAY_MS, 600 * WH)]
    changes, tariffs = Changes(), NO_TARIFFS(BERLIN)
    kept, now_ms = Book(BERLIN, tariffs, changes), noon + 6 * DAY_MS + 1

    def days():
        history = MemoryHistory({1: [(at, {IMPORT: value}) for at, value in rows]})
        answers = Answers(history, kept, BERLIN, tariffs, now_ms)
        return [
            row.imported
            for row in answers.energy(answers.chosen(None), Span(0, now_ms), "day").rows
        ]

    assert max(days()) <= 105 * WH
    rows.insert(1, (noon + 3 * DAY_MS, 0))
    changes.note(1, noon + 3 * DAY_MS)
    assert days()[:3] == [0, 0, 0]
    assert sum(days()) == 600 * WH


def test_what_does_not_change_is_not_read_again():
    rows = [(T0_MS + index * MINUTE_MS, {IMPORT: index * WH}) for index in range(40 * 1440)]
    history, changes = MemoryHistory({1: rows}), Changes()
    book, tariffs = Book(BERLIN, NO_TARIFFS(BERLIN), changes), NO_TARIFFS(BERLIN)
    now_ms = rows[-1][0] + 1

    def ask():
        history.asked.clear()
        answers = Answers(history, book, BERLIN, tariffs, now_ms)
        return answers.energy(answers.chosen(None), Span(0, now_ms), "month"), list(history.asked)

    first, asked = ask()
    assert max(end - start for _, _, _, start, end, _ in asked) > 40 * DAY_MS
    again, asked = ask()
    assert again == first
    assert asked == []
    changes.note(1, now_ms - 5_000)
    again, asked = ask()
    assert again == first
    assert max(end - start for _, _, _, start, end, _ in asked) <= 3 * DAY_MS


def test_a_silence_goes_into_no_hour_of_its_own():
    rows = [(T0_MS + index * MINUTE_MS, index * WH) for index in range(61)]
    rows += [(at + 10 * HOUR_MS, value + 600 * WH) for at, value in rows]
    climb = points(load_of(rows), [T0_MS + hour * HOUR_MS for hour in range(13)])
    found = [between(*pair) for pair in pairwise(climb)]
    assert [one.amount // WH for one in found] == [60] * 11 + [0]
    assert [one.estimated // WH for one in found] == [0] + [60] * 9 + [0, 0]
    whole = between(climb[0], climb[12])
    assert (whole.amount, whole.estimated) == (660 * WH, 0)


def test_an_exchanged_device_is_no_energy_and_is_told():
    rows = [(T0_MS, 900 * WH), (T0_MS + MINUTE_MS, 901 * WH), (T0_MS + 2 * MINUTE_MS, 0), (T0_MS + 3 * MINUTE_MS, 2 * WH)]  # fmt: skip
    energy = between(*points(load_of(rows), [T0_MS - HOUR_MS, T0_MS + HOUR_MS]))
    assert (energy.amount, energy.falls) == (3 * WH, 1)


def test_nothing_is_known_before_the_first_reading_and_after_the_last():
    rows = [(T0_MS, 5 * WH), (T0_MS + MINUTE_MS, 6 * WH)]
    load = load_of(rows)
    assert between(*points(load, [T0_MS - DAY_MS, T0_MS])).amount == 0
    assert between(*points(load, [T0_MS + MINUTE_MS, T0_MS + DAY_MS])).amount == 0
    assert (
        points(lambda *_: load_of([(T0_MS, 1)])(0, 0, 3600)._make([[]] * 9), [0, 1])
        == [(0, 0, 0, None, 0, 0)] * 2
    )


@pytest.mark.parametrize(
    ("times", "step_s"),
    [([], 3600), ([HOUR_MS], 3600), ([HOUR_MS, 5 * 900_000], 900), ([60_000], 60), ([1], 60)],
)
def test_the_longest_buckets_with_these_borders_are_taken(times, step_s):
    assert step_for(times) == step_s


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_who_asks_is_told_the_earliest_time_that_changed_since(times):
    changes, marks = Changes(), []
    for from_ms in times:
        marks.append(changes.mark())
        changes.note(1, from_ms)
    for asked, mark in enumerate(marks):
        assert changes.since(mark, 1) == min(times[asked:])
    assert changes.since(changes.mark(), 1) is changes.since(0, 2) is None


def test_notes_are_bounded_and_forget_no_change():
    changes = Changes()
    for from_ms in range(5_000):
        changes.note(1, from_ms)
    assert len(changes._notes[1]) <= NOTES_MAX
    assert changes.since(0, 1) == 0
    assert changes.since(changes.mark() - 1, 1) == 4_999
