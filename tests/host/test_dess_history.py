"""What was missed is made up for where the cloud has it, once, and never in a guessed unit."""

from decimal import Decimal

import pytest

from dess_world import START_MS, world
from wattlog_host.dess.history import factor_of, of_series

HOUR_MS = 3_600_000


@pytest.fixture
def w(tmp_path):
    with world(tmp_path) as made:
        made.run(1)
        yield made


def away(w, hours):
    """The house is without power for so long."""
    w.clock.go(hours * HOUR_MS)
    w.begin()


def stored(w, at, channel="solar_power"):
    return dict(w.sink.series(w.cloud.devices[at].sn, channel))


def truth(w, at, time_ms):
    moment, _ = w.cloud.devices[at].roof.at(time_ms // 1000 + w.cloud.offset_s)
    return moment.solar_w


def test_two_days_away_are_made_up_for_day_by_day(w):
    away(w, 50)
    w.run(2)
    for at in (0, 1):
        found = stored(w, at)
        inside = [one for one in found if START_MS + HOUR_MS < one < START_MS + 51 * HOUR_MS]
        assert len(inside) >= 50 * 12 - 2
        assert all(abs(found[one] - Decimal(truth(w, at, one))) <= 1 for one in inside)
    assert w.cloud.calls["queryDeviceDataOneDayPaging"] >= 3 * 3


def test_it_is_asked_for_once(w):
    away(w, 5)
    w.run(2)
    asked = w.cloud.calls["queryDeviceDataOneDayPaging"]
    w.run(2)
    w.begin()
    w.run(1)
    assert w.cloud.calls["queryDeviceDataOneDayPaging"] == asked


def test_what_is_polled_does_not_wait_for_it(w):
    away(w, 50)
    w.cycle()
    newest = max(stored(w, 0))
    assert w.clock.wall_ms - newest < 600_000
    assert w.cloud.calls["queryDeviceDataOneDayPaging"] <= 10


def test_where_records_are_not_to_be_had_the_series_are_used_in_their_proven_unit(w):
    away(w, 5)
    w.cloud.order("err", 9, action="queryDeviceDataOneDayPaging")
    w.run(2)
    found = stored(w, 0)
    inside = [one for one in found if START_MS + HOUR_MS < one < START_MS + 6 * HOUR_MS]
    assert len(inside) >= 58
    # The series come in kW; what is stored is W.
    assert all(abs(found[one] - Decimal(truth(w, 0, one))) <= 1 for one in inside)
    assert "output_power" in w.view.readings[w.cloud.devices[0].sn]


def test_without_an_overlap_no_unit_is_guessed(w):
    away(w, 80)
    w.cloud.order("err", 9, action="queryDeviceDataOneDayPaging")
    w.sink.series = lambda *_: []
    w.run(2)
    del w.sink.series
    # Between the days before and those after, nothing was proven and so nothing is stored.
    found = stored(w, 0)
    inside = [one for one in found if START_MS + 2 * HOUR_MS < one < START_MS + 80 * HOUR_MS]
    assert {found[one] for one in inside} == {None}
    assert all(0 <= value <= 100 for value in stored(w, 0, "state_of_charge").values() if value)
    assert w.view.counts["history without a unit"] > 0


def test_a_cloud_without_any_history_is_asked_no_more(w):
    away(w, 50)
    w.cloud.order("err", 9, action="queryDeviceDataOneDayPaging")
    w.cloud.order("err", 9, action="querySPDeviceKeyParameterOneDay")
    w.run(2)
    assert w.cloud.calls["queryDeviceDataOneDayPaging"] == 3
    assert sum("not to be had" in text for text in w.said) == 3
    assert w.view.state == "ok"


# --- the unit of a series -------------------------------------------------------------------


def pairs(values, scale):
    known = [(at * 300_000, Decimal(value)) for at, value in enumerate(values)]
    return [(at, value * Decimal(scale)) for at, value in known], known


FACTORS = (
    ("W", [500, 600, 700, 800], "1", 1),
    ("kW", [500, 600, 700, 800], "0.001", 1000),
    ("kW the other way round", [500, -600, 700, -800], "-0.001", -1000),
    ("neither", [500, 600, 700, 800], "0.1", None),
    ("too few", [500, 600, 700], "0.001", None),
    ("too small to tell", [5, 6, 7, 8, 9], "0.001", None),
)


@pytest.mark.parametrize(
    ("values", "scale", "wanted"), [f[1:] for f in FACTORS], ids=[f[0] for f in FACTORS]
)
def test_a_factor_is_proven_or_none(values, scale, wanted):
    samples, known = pairs(values, scale)
    assert factor_of("PV_OUTPUT_POWER", samples, known) == wanted


def test_a_share_needs_no_proof():
    assert factor_of("BT_BATTERY_CAPACITY", [], []) == 1


def test_a_series_without_times_or_values_is_nothing():
    rows = [{"ts": "x", "val": "1"}, {"ts": "2026-06-15 12:00:00", "val": "-"}, {}]
    assert of_series(rows, 7200, START_MS) == []
    assert of_series([{"ts": "2026-06-15 12:00:00", "val": "1.5"}], 7200, START_MS) == [
        (START_MS, Decimal("1.5"))
    ]
    assert of_series([{"gts": "2026-06-15 12:05:00", "val": "1.5"}], 7200, START_MS) == []
