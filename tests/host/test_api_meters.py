"""The API: several meters, and meters that do not tell everything."""

import pytest

from api_world import DAY_MS, HOUR_MS, MINUTE_MS, NOW, START, ApiWorld, steady
from wattlog_host.units import BY_KEY

# --- several meters --------------------------------------------------------------------------


def test_the_house_is_the_sum_of_its_meters(pair):
    span = {"start": "2026-11-10", "end": "2026-11-11"}
    parts = [pair.json("/api/stats", meter=meter, **span)["stats"] for meter in (1, 2)]
    whole = pair.json("/api/stats", **span)["stats"]
    assert whole["energy_used_kwh"] == sum(part["energy_used_kwh"] for part in parts) == 24.0
    assert whole["avg_power_watts"] == 1000.0
    assert whole["coverage"] == 1
    before = pair.json("/api/stats", start="2026-10-22", end="2026-10-23")["stats"]
    assert (before["energy_used_kwh"], before["avg_power_watts"], before["coverage"]) == (
        14.4,
        600.0,
        1,
    )


def test_a_meter_has_an_id_a_server_id_and_a_label(pair):
    meters = pair.json("/api/meters")["meters"]
    assert [meter["id"] for meter in meters] == [1, 2]
    span = {"start": "2026-11-10", "end": "2026-11-11"}
    for meter in meters:
        answers = [pair.get("/api/stats", meter=name, **span).text
                   for name in (meter["id"], meter["server_id"], meter["server_id"].upper(), meter["label"].lower())]  # fmt: skip
        assert len(set(answers)) == 1
        for path in ("/api/latest_reading", "/api/live_power"):
            assert (
                pair.get(path, meter=meter["id"]).text
                == pair.get(path, meter=meter["server_id"]).text
            )
    for path in (
        "/api/stats?start=1970-01-02&end=1970-01-03",
        "/api/latest_reading?x",
        "/api/live_power?x",
        "/api/gaps?x",
    ):
        assert (
            pair.get(f"{path.removesuffix('?x')}{'&' if '=' in path else '?'}meter=3").status_code
            == 404
        ), path


def test_what_one_meter_does_not_say_the_house_does_not_know():
    rows = steady(START, START + DAY_MS, MINUTE_MS)
    other = [
        row
        for row in steady(START, START + DAY_MS, MINUTE_MS, watts=100)
        if not 3 * HOUR_MS < row[0] - START < 9 * HOUR_MS
    ]
    world = ApiWorld({1: rows, 2: other}, START + DAY_MS)
    found = world.json("/api/readings", points=100, start=START, end=START + DAY_MS)
    hole = found["mean"].index(None)
    assert (found["t"][hole + 1] - found["t"][hole]) // HOUR_MS in (5, 6)
    assert {watts for watts in found["mean"] if watts} == {700.0}


def test_voltages_of_several_meters_are_not_added():
    frequency = BY_KEY["frequency_hz"].id
    rows = [(at, {**one, frequency: 50_000}) for at, one in steady(START, START + DAY_MS)]
    question = {"points": 100, "start": START, "end": START + DAY_MS, "channel": "frequency_hz"}
    both = ApiWorld({1: rows, 2: rows}, START + DAY_MS)
    status, why = both.error("/api/readings", **question)
    assert status == 400 and "meter=" in why
    assert both.json("/api/readings", **question, meter=1)["mean"][5] == 50
    # One after the other they are one place in the house.
    later = [(at + 2 * DAY_MS, one) for at, one in rows]
    exchanged = ApiWorld({1: rows, 2: later}, START + 3 * DAY_MS)
    question["end"] = START + 3 * DAY_MS
    assert set(exchanged.json("/api/readings", **question)["mean"]) == {50.0, None}


def test_a_meter_that_was_exchanged_is_no_part_of_the_house_any_more():
    switch = START + DAY_MS
    old, new = steady(START, switch - HOUR_MS), steady(switch, switch + DAY_MS, value_wh=0)
    world = ApiWorld({1: old, 2: new}, switch + DAY_MS)
    rows = world.json("/api/energy", start=START, end=switch + DAY_MS)["buckets"]
    assert sum(row["import_kwh"] for row in rows) == pytest.approx(0.6 * 47)
    assert world.json("/api/readings", points=100)["mean"][-1] == 600.0
    assert world.json("/api/live_power")["w"] == 600.0
    assert all(row["resets"] == 0 for row in rows)


def test_a_fleet_is_not_summed_in_one_go():
    world = ApiWorld({number: steady(START, START + MINUTE_MS) for number in range(1, 105)}, NOW)
    status, why = world.error("/api/summary")
    assert status == 400 and "meter=" in why
    assert world.get("/api/summary", meter=7).status_code == 200
