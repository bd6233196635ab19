"""The API: what it answers about one house."""

import csv
import io
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api_world import (
    BERLIN,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NOW,
    START,
    TARIFFS,
    ApiWorld,
    local,
    steady,
)
from memory_history import IMPORT, POWER, WH, W, truth
from wattlog_host.history.tariff import Window
from wattlog_host.web.questions import PRESETS

# --- energy ----------------------------------------------------------------------------------


def test_days_have_the_energy_of_their_hours(world):
    found = world.json("/api/energy", per="day", start="2026-10-23", end="2026-10-27")
    assert [row["import_kwh"] for row in found["buckets"]] == [14.4, 14.4, 15.0, 14.4]
    assert [row["is_partial"] for row in found["buckets"]] == [False] * 4
    total = found["total"]
    assert total["import_kwh"] == 58.2
    assert (total["t"], total["end"]) == (local("2026-10-23T00:00"), local("2026-10-27T00:00"))
    assert total["export_kwh"] == 14.55


def test_whole_units_of_the_calendar_are_told(world):
    found = world.json("/api/energy", per="week", start="2026-11-11", end="2026-11-17T10:00")
    assert [(row["t"], row["end"]) for row in found["buckets"]] == [
        (local("2026-11-09T00:00"), local("2026-11-16T00:00")),
        (local("2026-11-16T00:00"), local("2026-11-23T00:00")),
    ]


def test_the_first_and_the_running_day_are_partial(world):
    rows = world.json("/api/energy", start=START, end=NOW)["buckets"]
    assert rows[0]["is_partial"] and rows[-1]["is_partial"]
    assert not any(row["is_partial"] for row in rows[1:-1])
    assert rows[0]["coverage"] == 0.5
    assert rows[-1]["coverage"] == pytest.approx(9.45 / 24, abs=0.01)
    assert rows[-1]["end"] == local("2026-11-28T00:00")


def test_an_hour_of_night_and_one_of_day_have_their_prices(world):
    rows = world.json("/api/energy", per="hour", start="2026-11-10T21:00", end="2026-11-10T23:00")[
        "buckets"
    ]
    standing = 182.5 / 365 / 24
    for row, ct in zip(rows, (40, 20), strict=True):
        assert row["cost"] == pytest.approx(0.6 * ct / 100 - 0.15 * 0.08 + standing, abs=1e-6)
        assert row["standing_cost"] == pytest.approx(standing, abs=1e-6)


def test_a_later_price_changes_nothing_before_it(world):
    october = world.json("/api/energy", per="day", start="2026-10-30", end="2026-10-31")["total"]
    assert october["cost"] == pytest.approx(14.4 * 0.30 - 3.6 * 0.08)


def test_what_has_no_price_costs_nothing_known():
    world = ApiWorld(
        {1: steady(local("2025-12-30T00:00"), local("2026-01-03T00:00"), 4 * MINUTE_MS)}, NOW
    )
    found = world.json("/api/energy", start="2025-12-30", end="2026-01-03")
    assert [row["cost"] for row in found["buckets"]] == [None, None, 4.32, 4.32]
    assert (found["total"]["cost"], found["total"]["unpriced_kwh"]) == (None, 28.8)
    free = ApiWorld({1: steady(START, NOW, 4 * MINUTE_MS)}, NOW, tariffs=())
    assert free.json("/api/stats", start=START, end=NOW)["stats"]["cost"] is None


def test_rows_are_bounded(world):
    year = ApiWorld(
        {1: steady(local("2024-01-01T00:00"), local("2026-11-01T00:00"), 12 * HOUR_MS)}, NOW
    )
    status, why = year.error("/api/energy", per="hour", start="2024-01-01", end="2026-11-01")
    assert status == 400 and "longer per" in why
    assert (
        len(year.json("/api/energy", per="day", start="1970-01-01", end="2999-01-01")["buckets"])
        < 1100
    )


# --- statistics ------------------------------------------------------------------------------


def test_the_numbers_of_any_time(world):
    found = world.json("/api/stats", start="2026-11-10T00:30", end="2026-11-10T02:30")
    assert found["stats"] == {
        "energy_used_kwh": 1.2, "export_kwh": 0.3, "estimated_kwh": 0.0, "coverage": 1.0,
        "min_power_watts": 600.0, "max_power_watts": 600.0, "avg_power_watts": 600.0, "count": 60,
        "is_partial": False, "resets": 0, "cost": pytest.approx(0.26 - 0.04 + 182.5 / 365 / 12 - 0.004, abs=0.01),
        "standing_cost": pytest.approx(182.5 / 365 / 12, abs=1e-6), "export_credit": 0.024,
        "unpriced_kwh": 0.0,
    }  # fmt: skip


def test_the_mean_is_weighted_by_time():
    rows = [(START, {POWER: 1000 * W, IMPORT: 0})]
    rows += [(START + second * 1000, {POWER: 1000 * W, IMPORT: 0}) for second in range(1, 61)]
    rows += [
        (START + 60_000 + 1000 * second, {POWER: 100 * W, IMPORT: 0})
        for second in range(240, 541, 300)
    ]
    world = ApiWorld({1: rows}, NOW)
    found = world.json("/api/stats", start=START, end=START + 600_000)["stats"]
    assert found["avg_power_watts"] == round((1000 * 60 + 100 * 540) / 600, 1)
    assert (found["min_power_watts"], found["max_power_watts"], found["count"]) == (
        100.0,
        1000.0,
        62,
    )


def test_any_spelling_of_a_time_is_the_same_answer(world):
    texts = [
        ("2026-11-10T00:00", "2026-11-12T00:00:00"),
        ("2026-11-10", "2026-11-12"),
        ("2026-11-09T23:00Z", "2026-11-11T23:00:00.000Z"),
        ("2026-11-10T00:00:00+01:00", "2026-11-11T18:00:00-05:00"),
        ("2026-11-10T00:00:00 01:00", "2026-11-12 00:00"),
        (str(local("2026-11-10T00:00")), str(local("2026-11-12T00:00"))),
    ]
    for path in ("/api/stats", "/api/energy", "/api/readings?points=100", "/api/energy_summary"):
        answers = {world.get(f"{path}{'&' if '?' in path else '?'}start={start.replace('+', '%2B')}&end={end}").text
                   for start, end in texts}  # fmt: skip
        assert len(answers) == 1, path
    raw = world.get("/api/stats?start=2026-11-10T00:00:00+01:00&end=2026-11-12").json()
    assert raw == world.json("/api/stats", start="2026-11-10", end="2026-11-12")


# --- curves ----------------------------------------------------------------------------------


def test_raw_readings_have_the_known_shape(world):
    found = world.json("/api/readings", start=START, end=START + 4 * MINUTE_MS)
    assert found == [
        {"t": START, "p": 600.0, "e": 10.0},
        {"t": START + 2 * MINUTE_MS, "p": 600.0, "e": 10.02},
    ]
    assert world.json("/api/readings", start="2030-01-01", end="2030-01-02") == []
    last_day = world.json("/api/readings")
    assert last_day[0]["t"] >= NOW - DAY_MS and len(last_day) == 720


def test_after_is_what_is_newer(world):
    newest = world.json("/api/readings")[-1]["t"]
    assert world.json("/api/readings", after=newest) == []
    found = world.json("/api/readings", after=newest - 1)
    assert [row["t"] for row in found] == [newest]
    assert world.json("/api/readings", after=NOW + DAY_MS) == []
    curve = world.json("/api/readings", points=300)
    newer = world.json("/api/readings", points=300, after=curve["t"][-2])
    assert newer["t"] == curve["t"][-1:] and newer["mean"] == curve["mean"][-1:]
    again = world.json("/api/readings", points=300, after=curve["t"][-2] - 1)
    assert again["t"] == curve["t"][-2:] and again["step_s"] == curve["step_s"]


def test_too_many_readings_are_refused_with_a_way_out():
    world = ApiWorld({1: steady(START, START + 21_000_000, 1000)}, NOW)
    status, why = world.error("/api/readings", start=START, end=NOW)
    assert status == 400 and "points=1000" in why and "export.csv" in why


STEPS = ((HOUR_MS, 4000, 60), (DAY_MS, 1440, 60), (DAY_MS, 1439, 120), (7 * DAY_MS, 1000, 900),
         (30 * DAY_MS, 1000, 3600), (365 * DAY_MS, 1000, 12 * 3600), (365 * DAY_MS, 10, 37 * 86_400))  # fmt: skip


@pytest.mark.parametrize(("length_ms", "points", "step_s"), STEPS)
def test_the_server_chooses_how_long_buckets_are(world, length_ms, points, step_s):
    found = world.json("/api/readings", start=NOW - length_ms, end=NOW, points=points)
    assert found["step_s"] == step_s
    assert len(found["t"]) <= points + 1
    # Who slides a view of that length keeps its buckets.
    again = world.json(
        "/api/readings",
        start=NOW - length_ms + 7,
        end=NOW + 7,
        points=-(-length_ms // (1000 * step_s)) if length_ms // step_s >= 10_000 else points,
    )
    assert again["step_s"] == step_s


def test_a_gap_breaks_the_curve_and_is_in_no_bucket():
    rows = steady(START, START + 2 * HOUR_MS, 10_000)
    rows += [
        (at + 5 * HOUR_MS, {POWER: 9000 * W, IMPORT: values[IMPORT] + 90_000 * WH})
        for at, values in rows
    ]
    world = ApiWorld({1: rows}, NOW)
    found = world.json(
        "/api/readings", start=START, end=START + 7 * HOUR_MS, points=1000, energy="yes"
    )
    hole = found["mean"].index(None)
    assert found["t"][hole + 1] == START + 5 * HOUR_MS
    assert found["mean"].count(None) == 1 and found["energy_wh"][hole] is None
    assert max(watts for watts in found["mean"] if watts) == 9000
    hours = world.json("/api/energy", per="hour", start=START, end=START + 7 * HOUR_MS)["buckets"]
    assert [row["import_kwh"] for row in hours[:2]] == [0.6, 0.6]
    assert all(row["import_kwh"] == pytest.approx(88.8 / 3, abs=0.01) for row in hours[2:5])
    assert [row["estimated_kwh"] > 0 for row in hours] == [
        False,
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    assert [row["coverage"] for row in hours[:5]] == [1, 1, 0, 0, 0]
    summary = world.json("/api/summary")
    assert all(peak["w"] <= 9000 for peak in summary["peaks"])


@st.composite
def curves(draw):
    rows, at, counter = [], START, 0
    for _ in range(draw(st.integers(1, 60))):
        rows.append((at, {POWER: draw(st.integers(-2000 * W, 9000 * W)), IMPORT: counter}))
        at += draw(st.sampled_from([1000, 10_000, 61_000, 299_000, 301_000, HOUR_MS, 7 * HOUR_MS]))
        counter += draw(st.integers(0, 10**7))
    return rows


@given(curves(), st.integers(10, 200))
@settings(max_examples=15, deadline=None)
def test_a_curve_says_what_the_readings_say(rows, points):
    world = ApiWorld({1: rows}, NOW)
    end = rows[-1][0] + 1
    found = world.json("/api/readings", start=START, end=end, points=points, energy="yes")
    width = 1000 * found["step_s"]
    counter = [(at, values[IMPORT]) for at, values in rows]
    for index, start in enumerate(found["t"]):
        held = [
            (before, at, values[POWER])
            for (before, _), (at, values) in pairwise(rows)
            if at - before <= 300_000
        ]
        spoken = [
            (min(at, start + width) - max(before, start), power) for before, at, power in held
        ]
        spoken = [(length, power) for length, power in spoken if length > 0]
        lone = [values[POWER] for at, values in rows if start <= at < start + width]
        powers = lone + [power for _, power in spoken]
        if not powers:
            assert [found[key][index] for key in ("min", "mean", "max")] == [None] * 3
            continue
        assert (found["min"][index], found["max"][index]) == (min(powers) / W, max(powers) / W)
        covered = sum(length for length, _ in spoken)
        assert found["covered"][index] == round(covered / width, 4)
        if covered:
            mean = sum(length * power for length, power in spoken) / covered
            assert found["mean"][index] == pytest.approx(mean / W, abs=0.051)
        said = truth(counter, start, start + width)
        assert found["energy_wh"][index] == said.climb / WH
        assert found["estimated"][index] == (said.estimated > 0)


def test_a_register_is_told_by_what_it_stood_at(world):
    found = world.json(
        "/api/readings", channel="import_wh", points=100, start="2026-11-10", end="2026-11-11"
    )
    assert (found["unit"], found["step_s"], len(found["t"])) == ("Wh", 900, 96)
    assert sum(found["rise"]) == pytest.approx(14_400)
    assert all(before <= after for before, after in pairwise(found["last"]))


# --- what is usual ---------------------------------------------------------------------------


def test_the_average_of_30_days_leaves_out_what_is_partial_and_is_the_same_in_every_view(world):
    whole = world.json("/api/energy_summary")
    assert whole["daily"][0]["is_partial"]
    averages = {row["t"]: row["kwh"] for row in whole["moving_avg_30d"]}
    assert whole["daily"][0]["t"] not in averages
    # The day of 25 hours has one hour more.
    assert averages[local("2026-10-25T12:00")] == pytest.approx((4 * 14.4 + 15) / 5)
    for start, end in (
        ("2026-11-05", "2026-11-06"),
        ("2026-11-05T13:00", "2026-11-05T23:00"),
        ("2026-10-28", "2026-11-20"),
    ):
        part = world.json("/api/energy_summary", start=start, end=end)
        assert part["daily"], start
        assert all(averages[row["t"]] == row["kwh"] for row in part["moving_avg_30d"])
        assert part["avg_daily"] == whole["avg_daily"] == pytest.approx((36 * 14.4 + 15) / 37)


def test_the_summary_puts_each_period_beside_what_is_usual(world):
    found = world.json("/api/summary")
    assert list(found["periods"]) == [
        "today", "this_week", "this_month", "this_year", "total", "last_24h", "last_7d", "last_30d",
    ]  # fmt: skip
    today = found["periods"]["today"]
    assert (today["start"], today["end"], today["is_partial"]) == (
        local("2026-11-27T00:00"),
        NOW,
        True,
    )
    assert today["import_kwh"] == pytest.approx(9.5 * 0.6, abs=0.03)
    assert today["typical_kwh"] == pytest.approx(9.5 / 24 * (36 * 14.4 + 15) / 37)
    total = found["periods"]["total"]
    assert total["import_kwh"] == pytest.approx((NOW - START) / HOUR_MS * 0.6, abs=0.03)
    assert found["periods"]["last_7d"]["is_partial"] is False
    assert found["base_load_w"] == 600.0
    assert len(found["peaks"]) == 5
    times = sorted(peak["t"] for peak in found["peaks"])
    assert all(after - before >= HOUR_MS for before, after in pairwise(times))


def test_a_period_of_which_much_is_not_known_is_not_compared(world):
    periods = world.json("/api/summary")["periods"]
    for name in ("today", "this_month", "last_30d", "total"):
        one = periods[name]
        assert one["difference_kwh"] == pytest.approx(one["import_kwh"] - one["typical_kwh"]), name
    year = periods["this_year"]
    assert year["typical_kwh"] > 8 * year["import_kwh"]
    assert year["difference_kwh"] is None
    # A silence in between is no reason, its energy is counted; one up to now is.
    rows = steady(START, NOW, 2 * MINUTE_MS)
    asleep = [row for row in rows if not 40 * HOUR_MS < NOW - row[0] < 90 * HOUR_MS]
    week = ApiWorld({1: asleep}, NOW).json("/api/summary")["periods"]["last_7d"]
    assert week["coverage"] < 0.8 and week["difference_kwh"] is not None
    gone = ApiWorld({1: rows[: -10 * 30]}, NOW).json("/api/summary")["periods"]
    assert gone["today"]["difference_kwh"] is None and gone["last_7d"]["difference_kwh"] is None
    assert gone["total"]["difference_kwh"] is not None


def test_the_page_says_which_price_is_in_effect(world):
    text = world.get("/", lang="en").text
    assert (
        "Price since 1 Nov 2026: 40.00 ct/kWh and €182.50 a year; for what is sent 8.00 ct/kWh. "
        "22:00–06:00: 20.00 ct/kWh.</p>"
    ) in text
    work = Window(frozenset(range(5)), 6 * 4, 22 * 4, Decimal("41.5"))
    dear = replace(TARIFFS[1], windows=(work,))
    swiss = ApiWorld({}, NOW, tariffs=(TARIFFS[0], dear), currency="CHF")
    text = swiss.get("/", lang="de").text
    assert "und 182,50\u00a0CHF im Jahr" in text
    assert "06:00–22:00 (Mo, Di, Mi, Do, Fr): 41,50 ct/kWh.</p>" in text
    assert 'id="tariff"' not in ApiWorld({}, NOW, tariffs=()).get("/").text
    # One that is still to come is not in effect.
    assert 'id="tariff"' not in ApiWorld({}, local("2025-12-31T23:59")).get("/").text


def test_days_as_csv_are_the_days(world, pair):
    for of in (world, pair):
        for query in ({"month": "2026-10"}, {"year": 2026}, {"month": "2026-11", "meter": 1}):
            answer = of.get("/api/days.csv", **query)
            assert answer.headers["content-type"].startswith("text/csv")
            found = list(csv.DictReader(io.StringIO(answer.text)))
            rows = of.json("/api/days", **query)["rows"]
            assert len(found) == len(rows) > 0
            for text, row in zip(found, rows, strict=True):
                assert text["currency"] == "EUR"
                assert text["is_partial"] == str(row["is_partial"]).lower()
                for name in ("import_kwh", "export_kwh", "cost", "difference_kwh", "coverage"):
                    wanted = None if row[name] is None else Decimal(str(row[name]))
                    assert (Decimal(text[name]) if text[name] else None) == wanted, name
                    assert "e" not in text[name].lower()
    assert world.error("/api/days.csv", month="2026-13")[0] == 400


def test_base_load_is_what_nights_hardly_fall_below():
    rows = []
    for at in range(local("2026-11-20T00:00"), NOW, MINUTE_MS):
        hour = BERLIN.local(at).hour
        watts = 90 if hour in range(1, 5) else 20 if hour == 13 else 700
        rows.append((at, {POWER: watts * W, IMPORT: 0}))
    assert ApiWorld({1: rows}, NOW).json("/api/summary")["base_load_w"] == 90.0
    assert ApiWorld({1: rows[:60]}, NOW).json("/api/summary")["base_load_w"] is None


def test_the_rows_of_a_month_and_of_a_year(world):
    month = world.json("/api/days", month="2026-11")["rows"]
    assert [row["date"] for row in month] == [f"2026-11-{day:02}" for day in range(1, 28)]
    assert month[0]["difference_kwh"] == pytest.approx(14.4 - month[0]["typical_kwh"])
    assert month[-1]["is_partial"] and month[-1]["difference_kwh"] is None
    assert world.json("/api/days")["rows"] == month
    year = world.json("/api/days", year="2026")["rows"]
    assert [row["date"] for row in year] == ["2026-10", "2026-11"]
    assert year[1]["import_kwh"] == pytest.approx(sum(row["import_kwh"] for row in month))
    assert world.json("/api/days", month="2020-01")["rows"] == []


# --- two periods -----------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_running_period_is_compared_with_as_much_of_the_other(world, preset):
    found = world.json("/api/compare", preset=preset)
    a, b = found["a"], found["b"]
    assert b["end"] == NOW
    shown = [BERLIN.local_ms(side["end"]) - BERLIN.local_ms(side["start"]) for side in (a, b)]
    assert shown[0] == shown[1]
    if "week" in preset:
        assert [BERLIN.local(side["start"]).weekday() for side in (a, b)] == [0, 0]
    if preset == "previous_week":
        assert found["difference"]["import_kwh"]["percent"] == pytest.approx(0, abs=0.1)
        assert a["curve"]["t"] == b["curve"]["t"]
    if "last_year" in preset:
        assert a["import_kwh"] is None and a["coverage"] == 0  # there was no meter yet
        assert found["difference"]["import_kwh"]["percent"] is None


def test_the_month_before_may_be_shorter():
    now = local("2026-03-31T20:00")
    world = ApiWorld({1: steady(local("2026-02-01T00:00"), now, 4 * MINUTE_MS)}, now)
    a = world.json("/api/compare", preset="previous_month")["a"]
    assert (a["start"], a["end"]) == (local("2026-02-01T00:00"), local("2026-03-01T00:00"))


def test_own_periods_are_compared_as_they_are_unless_one_runs(world):
    spans = {
        "a_start": "2026-11-01",
        "a_end": "2026-11-08",
        "b_start": "2026-11-08",
        "b_end": "2026-11-15",
    }
    found = world.json("/api/compare", **spans)
    assert (found["a"]["days"], found["b"]["days"]) == (7, 7)
    spans |= {"b_start": "2026-11-26", "b_end": "2026-12-03"}
    found = world.json("/api/compare", **spans)
    assert found["b"]["end"] == NOW and found["a"]["end"] == local("2026-11-02T09:30")
    assert found["b"]["is_partial"]
