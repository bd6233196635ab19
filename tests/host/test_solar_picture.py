"""The house in one picture: meters and inverters on one clock, and nothing made up in between."""

from decimal import Decimal
from typing import get_args

import pytest
from starlette.testclient import TestClient

from memory_history import EXPORT, IMPORT, POWER, WH, MemoryHistory, W
from sunny_house import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, SunnyHouse, local
from wattlog_host import picture
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.model import STATUSES
from wattlog_host.dess.quarters import QUARTER_MS, Member, Sums
from wattlog_host.dess.sensors import MODE_CLASSES, SENSORS
from wattlog_host.dess.worker import State
from wattlog_host.history.answers import Answers
from wattlog_host.history.book import Book
from wattlog_host.history.tariff import Tariffs
from wattlog_host.history.zone import named_zone
from wattlog_host.house import Energies
from wattlog_host.picture import Solar, Told
from wattlog_host.store.records import StoreError
from wattlog_host.web.languages import words

UTC = named_zone("UTC")
T0 = NOW_MS - NOW_MS % DAY_MS
ALL = frozenset(("production", "charged", "discharged"))


def answers_of(readings):
    tariffs = Tariffs((), UTC)
    return Answers(MemoryHistory(readings), Book(UTC, tariffs), UTC, tariffs, T0 + DAY_MS)


def meter(until_ms=T0 + DAY_MS, from_ms=T0, step_ms=MINUTE_MS):
    """600 W from the grid and, as if on another phase, 120 W into it, all the time."""
    return [
        (at, {POWER: 480 * W, IMPORT: 10 * WH * (at - T0) // MINUTE_MS, EXPORT: 2 * WH * (at - T0) // MINUTE_MS})
        for at in range(from_ms, until_ms + 1, step_ms)
    ]  # fmt: skip


def sums(*starts, tellers=1, production=250_000, battery=0):
    return [Sums(at, 3 * (tellers,), (production, battery, 0)) for at in starts]


ONE = Member("S1", ALL, T0, T0 + DAY_MS)


def hours(solar, readings, count=2):
    bounds = [T0 + HOUR_MS * at for at in range(count + 1)]
    return picture.rows(answers_of(readings), solar, bounds)


def quarters_from(first, last):
    return [T0 + QUARTER_MS * at for at in range(first, last)]


def test_a_whole_hour_is_what_all_of_them_counted():
    solar = Solar(sums(*quarters_from(0, 8), battery=50_000), [ONE], frozenset(["S1"]))
    first, second = hours(solar, {1: meter()})
    wh = 10**5
    assert first.energies == Energies(1000 * wh, 600 * wh, 120 * wh, 200 * wh, 0)
    assert (first.known_ms, second) == (HOUR_MS, first._replace(start_ms=T0 + HOUR_MS, end_ms=T0 + 2 * HOUR_MS))  # fmt: skip


PARTS = (
    ("a quarter that the device did not tell", sums(*quarters_from(0, 2), *quarters_from(3, 4)), [ONE], {1: meter()}, 3),
    ("one device of two", sums(*quarters_from(0, 4)), [ONE, Member("S2", ALL, T0, T0)], {1: meter()}, 0),
    ("a device that came later", sums(*quarters_from(0, 3)) + sums(*quarters_from(3, 4), tellers=2),
     [ONE, Member("S2", ALL, T0 + 3 * QUARTER_MS, T0 + DAY_MS)], {1: meter()}, 4),
    ("a device that was taken away", sums(*quarters_from(0, 2), tellers=2) + sums(*quarters_from(2, 4)),
     [ONE, Member("gone", ALL, T0 - DAY_MS, T0 + QUARTER_MS)], {1: meter()}, 4),
    ("the meter came later", sums(*quarters_from(0, 4)), [ONE], {1: meter(from_ms=T0 + 20 * MINUTE_MS)}, 2),
    ("the meter is silent since", sums(*quarters_from(0, 4)), [ONE], {1: meter(until_ms=T0 + 40 * MINUTE_MS)}, 2),
    ("one of two meters is silent since", sums(*quarters_from(0, 4)), [ONE],
     {1: meter(), 2: meter(until_ms=T0 + 40 * MINUTE_MS)}, 2),
    ("nothing told", [], [ONE], {1: meter()}, 0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("told", "members", "readings", "known"), [p[1:] for p in PARTS], ids=[p[0] for p in PARTS]
)
def test_only_what_all_have_told_counts(told, members, readings, known):
    present = frozenset(one.key for one in members if one.key != "gone")
    (row,) = hours(Solar(told, members, present), readings, 1)
    assert row.known_ms == known * QUARTER_MS
    production = sum(one.wh_e3[0] for one in told[:known]) * 100
    assert row.energies.production == (production if known else None)
    # The grid is counted in the same quarters, and in no others.
    assert row.energies.imported == (known * 150 * len(readings) * 10**5 if known else None)


def test_a_house_without_a_battery_puts_nothing_into_one():
    told = [Sums(at, (1, 0, 0), (1000, 0, 0)) for at in quarters_from(0, 4)]
    member = Member("S1", frozenset(["production"]), T0, T0)
    (row,) = hours(Solar(told, [member], frozenset(["S1"])), {1: meter()}, 1)
    assert (row.energies.charged, row.energies.discharged) == (0, 0)


def test_without_a_meter_or_its_export_register_there_is_no_consumption():
    solar = Solar(sums(*quarters_from(0, 4)), [ONE], frozenset(["S1"]))
    (row,) = hours(solar, {}, 1)
    assert row.energies == Energies(10**8, None, None, 0, 0)
    one_way = [(at, {IMPORT: values[IMPORT]}) for at, values in meter()]
    (row,) = hours(solar, {1: one_way}, 1)
    assert row.energies == Energies(10**8, 600 * 10**5, None, 0, 0)


def test_times_add_up_and_a_gap_adds_nothing():
    solar = Solar(sums(*quarters_from(0, 5), *quarters_from(7, 12)), [ONE], frozenset(["S1"]))
    found = hours(solar, {1: meter()}, 4)
    whole = picture.joined(found)
    assert whole.known_ms == 10 * QUARTER_MS
    assert whole.energies.production == sum(row.energies.production or 0 for row in found)
    assert found[3].energies.production is None
    bounds = [T0, T0 + 4 * HOUR_MS]
    (at_once,) = picture.rows(answers_of({1: meter()}), solar, bounds)
    assert at_once == whole


# --- now ----------------------------------------------------------------------------------


def told(key, at_ms, **values):
    rows = {
        name: Reading(name, name, "W", None if value is None else Decimal(value), name)
        for name, value in values.items()
    }
    return Told(key, at_ms, rows)


NOWS = (
    # -> solar, battery, house for 100 W from the grid
    ("one", [told("a", T0, solar_power=500, battery_power=50)], 500, 50, 550),
    ("two", [told("a", T0, solar_power=500), told("b", T0 - 60_000, solar_power=1)], 501, 0, 601),
    ("one is late", [told("a", T0, solar_power=500), told("b", T0 - 900_000, solar_power=1)], None, 0, None),
    ("one says nothing of it", [told("a", T0, solar_power=None, battery_power=5)], None, 5, None),
    ("never heard", [told("a", T0, solar_power=5), told("b", None, solar_power=5)], None, 0, None),
    ("a battery without a reading", [told("a", T0, solar_power=5, battery_power=None)], 5, None, None),
    ("no device", [], None, 0, None),
    ("a contradiction", [told("a", T0, solar_power=5, battery_power=500)], 5, 500, None),
)  # fmt: skip


@pytest.mark.parametrize(
    ("devices", "solar", "battery", "house"), [n[1:] for n in NOWS], ids=[n[0] for n in NOWS]
)
def test_now(devices, solar, battery, house):
    found = picture.now(devices, Decimal(100))
    assert (found.solar, found.battery, found.house) == (solar, battery, house)
    assert picture.now(devices, None).house is None


def test_the_charge_of_one_battery_is_shown_and_of_two_none():
    one = told("a", T0, battery_power=5, state_of_charge=80)
    assert picture.now([one], None).state_of_charge == 80
    assert picture.now([one, one._replace(key="b")], None).state_of_charge is None
    late = told("b", T0 + 900_000, solar_power=1)
    assert picture.now([one, late], None).state_of_charge is None
    assert picture.now([one, late], None).missing == ("a",)


def test_the_meters_power_is_of_that_moment():
    answers = answers_of({1: meter(), 2: meter(until_ms=T0 + HOUR_MS)})
    assert picture.grid_at(answers, T0 + HOUR_MS) == 960
    assert picture.grid_at(answers, T0 + 2 * HOUR_MS) is None
    assert picture.grid_at(answers_of({}), T0) is None


# --- over HTTP ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sunny(tmp_path_factory):
    made = SunnyHouse(tmp_path_factory.mktemp("sunny"))
    yield made
    made.close()


@pytest.fixture
def http(sunny):
    with TestClient(sunny.app, base_url="http://127.0.0.1") as client:
        yield client


def test_a_sunny_day_with_export_is_what_physics_says(sunny, http):
    day = local("2026-06-15T00:00")
    found = http.get("/api/solar/house", params={"per": "hour", "start": day, "end": day + DAY_MS}).json()  # fmt: skip
    assert len(found["rows"]) == 24
    assert found["total"]["known"] == 1
    moments = [sunny.moment(day + 300_000 * at) for at in range(288)]

    def true(name):
        return sum(max(getattr(one, name), 0) for three in moments for one in three) / 12_000

    total = found["total"]
    assert total["production_kwh"] == pytest.approx(true("solar_w"), rel=0.03)
    assert total["consumption_kwh"] == pytest.approx(true("load_w"), rel=0.03)
    assert total["charged_kwh"] == pytest.approx(true("battery_w"), rel=0.05)
    assert total["export_kwh"] > 20
    assert total["autarky"] == pytest.approx(1 - total["from_grid_kwh"] / total["consumption_kwh"])
    for name in ("production", "import", "export", "charged", "discharged"):
        parts = sum(row[f"{name}_kwh"] for row in found["rows"])
        assert parts == pytest.approx(total[f"{name}_kwh"], abs=1e-6), name
    for row in found["rows"]:
        upward = row["from_solar_kwh"] + row["from_battery_kwh"] + row["from_grid_kwh"]
        assert upward == pytest.approx(row["consumption_kwh"], abs=1e-6)
        assert row["trouble"] is None


def test_periods_hold_each_other(http):
    found = http.get("/api/solar/periods").json()["periods"]
    amounts = [found[name]["production_kwh"] for name in ("day", "week", "month", "year")]
    assert amounts == sorted(amounts)
    assert amounts[0] > 50
    assert [found[name]["known"] < 0.3 for name in ("day", "year")] == [False, True]


def test_days_add_up_to_the_month(http):
    query = {"start": local("2026-06-01T00:00"), "end": NOW_MS}
    by_day, by_month = (
        http.get("/api/solar/house", params=query | {"per": per}).json()
        for per in ("day", "month")
    )
    assert by_day["total"]["production_kwh"] == by_month["total"]["production_kwh"]
    assert len(by_month["rows"]) == 1
    assert len(by_day["rows"]) == 16


WRONG = (
    ("per=minute", "per"),
    (f"start={NOW_MS}&end={NOW_MS}", "start must lie before end"),
    ("start=2020-01-01&per=hour", "more than 800 rows"),
    ("from=5", "there is no parameter"),
)


@pytest.mark.parametrize(("query", "words"), WRONG)
def test_a_wrong_question_is_one_line(http, query, words):
    answer = http.get(f"/api/solar/house?{query}")
    assert (answer.status_code, words in answer.json()["error"]) == (400, True)


def test_pages_without_solar_have_no_link_to_it():
    from api_world import house

    world = house()
    assert "/house" not in world.get("/").text
    assert world.get("/house").status_code == 404


def test_every_word_that_solar_can_say_is_there():
    wanted = {
        *(f"sensor.{one.id}" for one in SENSORS),
        *(f"mode.{name}" for name in MODE_CLASSES),
        *(f"status.{name.replace(' ', '_')}" for name in (*STATUSES, "unknown")),
        *(f"solar.{state}" for state in set(get_args(State)) - {"ok", "starting"}),
    }
    assert wanted <= words("en").keys()
    for one in SENSORS:
        assert words("en")[f"sensor.{one.id}"] == one.label


@pytest.mark.parametrize("state", sorted(get_args(State)))
def test_the_page_says_how_the_cloud_is(sunny, http, monkeypatch, state):
    monkeypatch.setattr(sunny.dess.view, "state", state)
    monkeypatch.setattr(sunny.dess.view, "trouble", "err 16 <b>")
    page = http.get("/house?lang=de")
    assert page.status_code == 200
    assert "err 16 &lt;b&gt;" in page.text
    is_said = 'id="solar-trouble" role="status" hidden' not in page.text
    assert is_said == (state not in ("ok", "starting"))


def test_the_page_comes_also_where_the_store_does_not_answer(sunny, http, monkeypatch):
    async def fail(_):
        raise StoreError("locked")

    monkeypatch.setattr(SunnyHouse, "ask", lambda _, question: fail(question))
    page = http.get("/house?lang=de")
    assert page.status_code == 200
    assert "fehlt" in page.text
    assert http.get("/api/solar/house").status_code == 503
