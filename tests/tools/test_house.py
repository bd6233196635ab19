"""The household's physics: exact, repeatable, and alive."""

import pytest

from wattlog_sim.house import COMMISSIONED_EPOCH_S, House, month_index

DAY_S = 86_400
NOON_S = 1_781_740_800 + 11 * 3_600


@pytest.mark.parametrize("seed", [1, 2, 17])
def test_energy_is_the_sum_of_power_over_a_day_and_midnight(seed):
    house = House(seed)
    begin_s = NOON_S
    import_ws, export_ws = house.energy_ws(begin_s)
    for second in range(begin_s, begin_s + DAY_S):
        power_w = house.power_w(second)
        import_ws += max(power_w, 0)
        export_ws += max(-power_w, 0)
    assert house.energy_ws(begin_s + DAY_S) == (import_ws, export_ws)


def test_energy_is_the_sum_of_power_from_the_very_first_second():
    house = House(5)
    import_ws = export_ws = 0
    for second in range(COMMISSIONED_EPOCH_S, COMMISSIONED_EPOCH_S + 3 * DAY_S, 60):
        minute = [house.power_w(second + index) for index in range(60)]
        import_ws += sum(max(power_w, 0) for power_w in minute)
        export_ws += sum(max(-power_w, 0) for power_w in minute)
    assert House(5).energy_ws(COMMISSIONED_EPOCH_S + 3 * DAY_S) == (import_ws, export_ws)


def test_the_way_to_a_moment_does_not_matter():
    wanders, walks = House(9), House(9)
    moments = [NOON_S + offset_s for offset_s in (0, 1, 59, 60, 3_601, DAY_S, 40 * DAY_S + 7)]
    seen = [walks.energy_ws(epoch_s) for epoch_s in moments]
    assert [wanders.energy_ws(epoch_s) for epoch_s in reversed(moments)] == seen[::-1]
    assert [House(9).energy_ws(epoch_s) for epoch_s in moments] == seen


def test_registers_never_count_back():
    house = House(4)
    before = (0, 0)
    for epoch_s in range(COMMISSIONED_EPOCH_S - 5_000, COMMISSIONED_EPOCH_S + 20 * DAY_S, 997):
        now = house.energy_ws(epoch_s)
        assert now[0] >= before[0]
        assert now[1] >= before[1]
        before = now


def test_the_seed_makes_the_house():
    day = range(NOON_S, NOON_S + DAY_S, 600)
    first = [House(1).phases_w(epoch_s) for epoch_s in day]
    assert first == [House(1).phases_w(epoch_s) for epoch_s in day]
    assert first != [House(2).phases_w(epoch_s) for epoch_s in day]


def test_without_panels_nothing_is_exported():
    house = House(1, solar_peak_w=0)
    import_ws, export_ws = house.energy_ws(COMMISSIONED_EPOCH_S + 365 * DAY_S)
    assert export_ws == 0
    assert 2_000 < import_ws // 3_600_000 < 6_000, "kWh a year of an ordinary household"


def test_panels_yield_what_panels_yield():
    bare, solar = House(1, 0), House(1, 6_000)
    year_s = COMMISSIONED_EPOCH_S + 365 * DAY_S
    bare_import_ws, _ = bare.energy_ws(year_s)
    import_ws, export_ws = solar.energy_ws(year_s)
    yield_kwh = (bare_import_ws - import_ws + export_ws) // 3_600_000
    assert 4_000 < yield_kwh < 8_000, "kWh a year of 6 kW peak"


def test_night_is_dark_and_summer_brighter_than_winter():
    bare, solar = House(3, 0), House(3, 6_000)
    midnight_s = NOON_S - 12 * 3_600
    assert bare.power_w(midnight_s) == solar.power_w(midnight_s)

    def yield_ws(begin_s):
        end_s = begin_s + 30 * DAY_S
        saved = [
            house.energy_ws(end_s)[0] - house.energy_ws(begin_s)[0] for house in (bare, solar)
        ]
        return saved[0] - saved[1] + solar.energy_ws(end_s)[1] - solar.energy_ws(begin_s)[1]

    december_s = COMMISSIONED_EPOCH_S + 335 * DAY_S
    june_s = COMMISSIONED_EPOCH_S + 152 * DAY_S
    assert yield_ws(june_s) > 3 * yield_ws(december_s)


def test_the_power_is_different_nearly_every_second():
    house = House(1)
    values = [house.phases_w(epoch_s) for epoch_s in range(NOON_S, NOON_S + 60)]
    assert len(set(values)) > 50


def test_months_follow_the_calendar_within_two_days():
    assert month_index(COMMISSIONED_EPOCH_S // DAY_S) == 0
    assert month_index(COMMISSIONED_EPOCH_S // DAY_S + 364) == 11
    assert {month_index(day) for day in range(20_000, 20_366)} == set(range(12))
