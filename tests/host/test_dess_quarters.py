"""Quarters of an hour of an inverter: nothing invented in gaps, and the same in whatever order."""

from decimal import Decimal
from itertools import pairwise

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from dess_world import world
from past import Rng
from wattlog_host.dess import ledger, quarters
from wattlog_host.dess.ledger import BY_DEVICE, BY_HISTORY, Delivery
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.model import Device
from wattlog_host.dess.quarters import QUARTER_MS, quarters_of
from wattlog_host.store import tables

E6 = 1_000_000
MINUTE_MS = 60_000
T0_MS = 1_781_517_600_000
assert T0_MS % QUARTER_MS == 0


def every(minutes, *values, start=0):
    """Records so many minutes apart, one for each value: {key: number}, or None for none."""
    return [
        (MINUTE_MS * (start + minutes * at), {key: int(E6 * one) for key, one in value.items()})
        for at, value in enumerate(values)
        if value is not None
    ]


def told(records, role, count=1):
    found = quarters_of(records, range(0, count * QUARTER_MS, QUARTER_MS))
    return [found.get(at, {}).get(role) for at in range(0, count * QUARTER_MS, QUARTER_MS)]


W120 = {"solar_power": 120}
CASES = (
    # 120 W for a quarter of an hour are 30 Wh; each piece between two records is rounded down.
    ("power", every(5, W120, W120, W120, W120), "production", [30_000]),
    ("one record is missing", every(5, W120, None, W120, W120), "production", [30_000]),
    ("more than two are", every(5, W120, None, None, None, W120), "production", [None]),
    ("the end is not there yet", every(5, W120, W120, W120), "production", [None]),
    ("a value that is none", every(5, W120, W120, {}, W120), "production", [None]),
    ("no sun", every(5, *4 * [{"solar_power": 0}]), "production", [0]),
    ("charging", every(5, *4 * [{"battery_power": 60}]), "charged", [15_000]),
    ("charging is no discharge", every(5, *4 * [{"battery_power": 60}]), "discharged", [0]),
    ("discharging", every(5, *4 * [{"battery_power": -60}]), "discharged", [15_000]),
    ("by current", every(5, *4 * [{"battery_voltage": 50, "battery_current": 2.4}]), "charged", [30_000]),
    ("no battery", every(5, *4 * [W120]), "charged", [None]),
    ("a counter before the power", every(5, *({"energy_total": 7 + at / 100, "solar_power": 999} for at in range(4))), "production", [30_000]),
    ("a counter that never counted", every(5, *4 * [{"energy_total": 0, "solar_power": 120}]), "production", [30_000]),
    ("a counter over an hour", every(60, {"energy_total": 7}, {"energy_total": 8}), "production", [250_000]),
    ("a counter over two hours", every(120, {"energy_total": 7}, {"energy_total": 8}), "production", [None]),
    ("a counter that stands still", every(15, {"energy_total": 7}, {"energy_total": 7}), "production", [0]),
    ("a counter that falls", every(5, *({"energy_total": one} for one in (7, 3, 3, 3))), "production", [3_000_000]),
    ("nonsense for once", every(5, *({"energy_total": one} for one in (7, 90_000, 7.01, 7.02))), "production", [20_000]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("records", "role", "wanted"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_a_quarter(records, role, wanted):
    assert told(records, role) == wanted


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 2_000)), min_size=3, max_size=60))
def test_parts_add_up_to_what_the_counter_gained(steps):
    at_ms, total, records = 0, 5 * E6, []
    for minutes, gain in steps:
        records.append((at_ms, {"energy_total": total}))
        at_ms, total = at_ms + minutes * MINUTE_MS, total + 100 * gain
    count = records[-1][0] // QUARTER_MS
    found = told(records, "production", count)
    assert None not in found
    ends = [count * QUARTER_MS, 0]
    high, low = (until(records, end) for end in ends)
    assert sum(found) == high - low


def until(records, time_ms):
    """The counter by then in Wh * 10^3, worked out over all records."""
    for (before_ms, before), (after_ms, after) in pairwise(records):
        if before_ms <= time_ms <= after_ms:
            start, end = before["energy_total"], after["energy_total"]
            return start + (end - start) * (time_ms - before_ms) // (after_ms - before_ms)
    return records[0][1]["energy_total"]


# --- stored -------------------------------------------------------------------------------

DEVICE = Device("P1", 2376, 1, "S1", "One", "7")


def delivery(at_ms, total, power, origin=BY_DEVICE):
    rows = (
        Reading("energy_total", "x", "kWh", total, "x", period="life"),
        Reading("battery_power", "x", "W", power, "x"),
    )
    return Delivery(DEVICE, at_ms, at_ms + 1000, origin, rows, str(at_ms), 0)


def stored(connection):
    quarter = tables.solar_quarter
    return connection.execute(sa.select(quarter).order_by(quarter.c.start_ms)).all()


@pytest.mark.parametrize("seed", range(5))
def test_however_records_come_the_quarters_are_the_same(connection, seed):
    rng = Rng(seed)
    total, puts = Decimal(5), []
    for at in range(120):
        total += Decimal(rng.randrange(40)) / 1000
        puts.append(delivery(T0_MS + 300_000 * at + rng.randrange(9_000), total, Decimal(rng.randrange(4_000) - 2_000)))  # fmt: skip
    puts = [one for one in puts if not rng.chance(10)]
    late = [one for one in puts if rng.chance(40)]
    for one in puts:
        if one not in late:
            ledger.put(connection, [one])
    while late:
        part = [late.pop(rng.randrange(len(late))) for _ in range(min(len(late), 7))]
        ledger.put(
            connection,
            [delivery(one.time_ms, *(row.value for row in one.readings), BY_HISTORY) for one in part],
        )  # fmt: skip
    piecemeal = stored(connection)
    records = [
        (one.time_ms, {row.key: int(row.value * E6) for row in one.readings}) for one in puts
    ]
    starts = range(T0_MS - 8 * QUARTER_MS, T0_MS + 60 * QUARTER_MS, QUARTER_MS)
    whole = quarters_of(records, starts)
    assert [tuple(row)[1:] for row in piecemeal] == [
        (at, found["production"], found["charged"], found["discharged"])
        for at, found in sorted(whole.items())
    ]
    assert len(piecemeal) > 20


def test_records_from_before_there_were_quarters_get_them(connection):
    for at in range(700):
        ledger.put(connection, [delivery(T0_MS + 300_000 * at, Decimal(5) + at, Decimal(100))])
    whole = stored(connection)
    assert quarters.missing(connection) == []
    connection.execute(sa.delete(tables.solar_quarter))
    # Cut short after the first day, it goes on.
    for count in (1, 9):
        for device_id, first_ms, last_ms in quarters.missing(connection):
            for day in list(quarters.days_of(first_ms, last_ms))[:count]:
                quarters.renew(connection, device_id, day)
    assert stored(connection) == whole


def test_all_devices_together_and_what_each_has(connection):
    other = Device("P2", 518, 1, "S2", "Two", "7")
    for at in range(7):
        one = delivery(T0_MS + 300_000 * at, Decimal(5) + at, Decimal(1200))
        row = Reading("solar_power", "x", "W", Decimal(480), "x")
        ledger.put(connection, [one])
        if at < 4:
            ledger.put(connection, [Delivery(other, one.time_ms, 0, BY_DEVICE, (row,), str(at))])
    first, second = quarters.sums(connection, T0_MS, T0_MS + 2 * QUARTER_MS)
    assert first.tellers == (2, 1, 1)
    assert first.wh_e3 == (3_120_000, 300_000, 0)
    assert second.tellers[0] == 1
    members = quarters.members(connection)
    assert [(one.key, sorted(one.roles)) for one in members] == [
        ("S1", ["charged", "discharged", "production"]), ("S2", ["production"]),
    ]  # fmt: skip
    assert (members[1].first_ms, members[1].last_ms) == (T0_MS, T0_MS)


def test_quarters_are_what_the_sun_gave(tmp_path):
    with world(tmp_path) as w:
        w.run(3)
        device = w.cloud.devices[0]
        with w.sink.engine.begin() as made:
            (one,) = [one for one in quarters.members(made) if one.key == device.sn]
            rows = made.execute(
                sa.select(tables.solar_quarter)
                .join(tables.solar_device, tables.solar_device.c.id == tables.solar_quarter.c.device_id)
                .where(tables.solar_device.c.key == device.sn)
            ).all()  # fmt: skip
    span = [
        device.roof.at((at + w.cloud.offset_s * 1000) // 1000)[1]
        for at in (one.first_ms, one.last_ms + QUARTER_MS)
    ]
    assert len(rows) == (one.last_ms - one.first_ms) // QUARTER_MS + 1 > 8
    for name, title, share in (("production", "solar", 0.03), ("charged", "charge", 0.05)):
        before, after = (getattr(totals, f"{title}_wh") for totals in span)
        found = sum(getattr(row, f"{name}_wh_e3") for row in rows) / 1000
        assert found == pytest.approx(after - before, rel=share, abs=20), name
