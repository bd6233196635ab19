"""The house in one picture: nothing comes from nowhere, and 0 of 0 is nothing."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlog_host.dess import powers
from wattlog_host.dess.mapping import Reading
from wattlog_host.house import Balance, Bar, Energies, balance, bar, flows, total

AMOUNT = st.integers(0, 100_000)
POWER = st.decimals(0, 100_000, places=1)
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
    found = balance(Energies(*map(int, parts)))
    assert (found.consumption, found.self_consumption, found.autarky) == tuple(
        None if one is None else float(one) for one in wanted
    )


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT)
def test_shares_are_shares_and_pieces_add_up(production, imported, exported, charged, discharged):
    energies = Energies(production, imported, exported, charged, discharged)
    found, piece = balance(energies), bar(energies)
    if found.trouble is not None:
        assert production + imported + discharged < exported + charged
        assert (piece.from_solar, piece.from_battery, piece.from_grid) == (None, None, None)
        assert piece.export == -exported
        return
    for share in (found.self_consumption, found.autarky):
        assert share is None or 0 <= share <= 1
    assert (found.self_consumption is None) == (production == 0)
    assert (found.autarky is None) == (found.consumption == 0)
    pieces = (piece.from_solar, piece.from_battery, piece.from_grid)
    assert all(one >= 0 for one in pieces)
    assert sum(pieces) == found.consumption
    assert piece.to_house + piece.to_battery == found.self_use
    assert 0 <= piece.to_battery <= charged
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


BARS = (
    # production, import, export, charge, discharge -> to house, to battery, export,
    # from solar, from battery, from grid
    ("a sunny hour", (10, 0, 5, 3, 0), (2, 3, -5, 2, 0, 0)),
    ("an evening", (1, 2, 0, 0, 4), (1, 0, 0, 1, 4, 2)),
    ("the grid charges", (0, 5, 0, 3, 0), (0, 0, 0, 0, 0, 2)),
    ("the battery is sold", (1, 0, 3, 0, 3), (0, 0, -3, 0, 1, 0)),
    ("no grid meter", (10, None, None, 3, 0), (None, None, None, None, None, None)),
    ("no battery reading", (10, 1, 2, None, None), (None, None, -2, None, None, None)),
)  # fmt: skip


@pytest.mark.parametrize(("parts", "wanted"), [b[1:] for b in BARS], ids=[b[0] for b in BARS])
def test_a_bar(parts, wanted):
    assert bar(Energies(*parts)) == Bar(*wanted)


@given(st.lists(st.tuples(AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT), max_size=5))
def test_several_spans_are_one(several):
    assert total(Energies(*one) for one in several) == (
        Energies(*map(sum, zip(*several, strict=True))) if several else Energies(0, 0, 0)
    )
    holed = [Energies(*one) for one in several] + [Energies(None, 1, 2)]
    assert total(holed).production is None
    assert total(holed).imported == 1 + sum(one[1] for one in several)


def test_counters_that_contradict_each_other_say_so():
    found = balance(Energies(0, 0, 5))
    assert found == Balance(trouble="the counters contradict each other")


@given(POWER, st.decimals(-50_000, 50_000, places=1), st.decimals(-50_000, 50_000, places=1))
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
