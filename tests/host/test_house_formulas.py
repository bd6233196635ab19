"""The house in one picture: nothing comes from nowhere, and 0 of 0 is nothing."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wattlog_host.dess import powers
from wattlog_host.dess.mapping import Reading
from wattlog_host.house import Balance, Bar, Energies, at, balance, bar, flows, spans

AMOUNT = st.decimals(0, 100_000, places=1)
D = Decimal

CASES = (
    # production, import, export, charge, discharge -> consumption, self-consumption, autarky
    ("a dark day", ("0", "10", "0", "0", "0"), ("10", None, "0")),
    ("no load and no sun", ("0", "0", "0", "0", "0"), ("0", None, None)),
    ("all used", ("10", "0", "0", "0", "0"), ("10", "1", "1")),
    ("all sold", ("10", "0", "10", "0", "0"), ("0", "0", None)),
    ("half and half", ("10", "5", "5", "0", "0"), ("10", "0.5", "0.5")),
    ("into the battery", ("10", "0", "2", "3", "0"), ("5", "0.8", "1")),
    ("out of the battery", ("0", "1", "0", "0", "3"), ("4", None, "0.75")),
    ("the grid charges", ("0", "5", "0", "3", "0"), ("2", None, "0")),
    ("the battery is sold", ("1", "0", "3", "0", "3"), ("1", "0", "1")),
)  # fmt: skip


@pytest.mark.parametrize(("parts", "wanted"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_balance(parts, wanted):
    found = balance(Energies(*map(Decimal, parts)))
    assert (found.consumption, found.self_consumption, found.autarky) == tuple(
        None if one is None else Decimal(one) for one in wanted
    )


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT)
def test_shares_are_shares_and_pieces_add_up(production, imported, exported, charged, discharged):
    energies = Energies(production, imported, exported, charged, discharged)
    found, piece = balance(energies), bar(energies)
    if found.trouble is not None:
        assert production + imported + discharged < exported + charged
        assert piece == Bar(export=-exported + 0)
        return
    for share in (found.self_consumption, found.autarky):
        assert share is None or 0 <= share <= 1
    assert (found.self_consumption is None) == (production == 0)
    assert (found.autarky is None) == (found.consumption == 0)
    pieces = (piece.from_solar, piece.from_battery, piece.from_grid)
    assert all(one >= 0 for one in pieces)
    assert sum(pieces) == found.consumption
    assert piece.export <= 0
    assert found.own_use + min(imported, found.consumption) == found.consumption


@given(st.lists(AMOUNT, min_size=5, max_size=5), st.integers(0, 4))
def test_what_is_missing_makes_nothing_up(parts, where):
    parts = [None if at == where else part for at, part in enumerate(parts)]
    found = balance(Energies(*parts))
    assert found.consumption is None
    assert found.autarky is None
    assert (found.self_consumption is None) == (where in (0, 2) or parts[0] == 0)
    assert bar(Energies(*parts)).from_grid is None


def test_counters_that_contradict_each_other_say_so():
    found = balance(Energies(D(0), D(0), D(5)))
    assert found == Balance(trouble="the counters contradict each other")


@given(AMOUNT, st.decimals(-50_000, 50_000, places=1), st.decimals(-50_000, 50_000, places=1))
def test_each_flow_has_a_source_and_a_sink(solar, grid, battery):
    found = flows(solar, grid, battery)
    if found is None:
        assert solar + grid - battery < 0
        return
    parts = [getattr(found, name) for name in type(found).__slots__]
    assert all(part >= 0 for part in parts)
    assert found.solar_to_house + found.solar_to_battery + found.solar_to_grid == solar
    assert found.grid_to_house + found.grid_to_battery == max(grid, 0)
    assert found.battery_to_house + found.battery_to_grid == max(-battery, 0)
    assert found.solar_to_battery + found.grid_to_battery == max(battery, 0)
    assert found.solar_to_grid + found.battery_to_grid == max(-grid, 0)
    assert found.house == solar + grid - battery


@pytest.mark.parametrize(
    "parts", [(None, D(1), D(0)), (D(1), None, D(0)), (D(1), D(1), None), (D(-1), D(5), D(0))]
)
def test_no_flow_of_what_is_not_known(parts):
    assert flows(*parts) is None


SAMPLES = [(0, D(0)), (1000, D(10)), (2000, D(10)), (10_000, D(90))]


@pytest.mark.parametrize(
    ("time_ms", "wanted"),
    [(-1, None), (0, "0"), (500, "5"), (1000, "10"), (1500, "10"), (2000, "10"), (6000, None),
     (10_000, "90"), (10_001, None)],
)  # fmt: skip
def test_a_counter_between_its_samples(time_ms, wanted):
    assert at(SAMPLES, time_ms, 5000) == (None if wanted is None else Decimal(wanted))


def test_all_counters_are_read_at_the_same_moments():
    counters = {
        "production": [(0, D(0)), (1100, D(11)), (2100, D(21))],
        "imported": [(0, D(0)), (1000, D(1)), (2000, D(3)), (3000, D(4))],
        "exported": [(0, D(0)), (3000, D(0))],
    }
    found = spans(counters, [0, 1000, 2000, 3000], 2000)
    assert found[0] == Energies(D(10), D(1), None, D(0), D(0))
    assert found[2].production is None
    assert spans({**counters, "charged": []}, [0, 1000], 2000)[0].discharged is None
    assert spans(counters, [], 2000) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), AMOUNT),
        min_size=2,
        max_size=20,
        unique_by=lambda one: one[0],
    )
)
def test_spans_add_up_to_the_whole(samples):
    times = sorted(time_ms for time_ms, _ in samples)
    values = sorted(value for _, value in samples)
    rising = list(zip(times, values, strict=True))
    edges = [times[0], *[(times[0] + times[-1]) // 2], times[-1]]
    assume(len(set(edges)) == 3)
    found = [one.production for one in spans({"production": rising}, edges, 20_000)]
    assert abs(sum(found) - (values[-1] - values[0])) < D("1e-9")
    assert all(one >= 0 for one in found)


def reading(key, value, source="x"):
    return key, Reading(key, key, "W", None if value is None else Decimal(value), source)


POWERS = (
    ("one power", [("solar_power", "5")], "5", None, None),
    ("two strings", [("pv1_charger_power", "3"), ("pv2_charger_power", "4")], "7", None, None),
    ("one of two strings", [("pv1_charger_power", "3"), ("pv2_charger_power", None)], "3", None, None),
    ("the summary only", [("total_pv_power", "1.5")], "1500", None, None),
    ("signed power", [("battery_power", "-40")], None, "-40", "discharging"),
    ("signed current", [("battery_voltage", "50"), ("battery_current", "2")], None, "100", "charging"),
    ("two currents", [("battery_voltage", "50"), ("battery_charging_current", "0"), ("battery_discharge_current", "3")], None, "-150", "discharging"),
    ("one of two currents", [("battery_voltage", "50"), ("battery_charging_current", "3")], None, None, None),
    ("nearly nothing", [("battery_power", "2")], None, "2", "idle"),
    ("nothing", [], None, None, None),
)  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "solar", "battery", "direction"), [p[1:] for p in POWERS], ids=[p[0] for p in POWERS]
)
def test_an_inverters_powers(rows, solar, battery, direction):
    found = powers.powers_of(dict(reading(*row) for row in rows))
    assert found.solar == (None if solar is None else Decimal(solar))
    assert found.battery == (None if battery is None else Decimal(battery))
    assert found.direction == direction


def test_feed_in_counts_as_export():
    feed = "Solar Feed To Grid Power"
    assert powers.powers_of(dict([reading("grid_power", "500", feed)])).grid == -500
    assert powers.powers_of(dict([reading("grid_power", "0", feed)])).grid is None
    assert powers.powers_of(dict([reading("grid_power", "-500")])).grid == -500
