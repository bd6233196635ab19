"""A month against a cloud that misbehaves: nothing wrong is stored, and it recovers by itself."""

from decimal import Decimal

import pytest
import sqlalchemy as sa

from dess_world import START_MS, world
from wattlog_host.dess import model, quarters
from wattlog_host.store import tables
from wattlog_sim.dess.cloud import FakeDevice
from wattlog_sim.dess.solar import roof

DAYS = 30
INTERVAL_MIN = 120
CALLS_MAX = 5

# The hour at which each begins, and for how many hours or how many times.
TROUBLE = (
    (30, "revoked early", lambda w: w.cloud.revoke()),
    (60, "5xx for a night", lambda w: w.cloud.order("http", 502), 9),
    (90, "a device that errs", lambda w: w.cloud.order("err", 12, sn=w.cloud.devices[1].sn), 12),
    (120, "garbage now and then", lambda w: w.cloud.order("garbage", count=25)),
    (150, "a rate limit", lambda w: w.cloud.order("limit", 600, count=3)),
    (180, "too many", lambda w: w.cloud.order("err", 13, count=2)),
    (210, "an offline device", lambda w: (w.cloud.order("offline", sn=w.cloud.devices[0].sn), w.cloud.order("freeze", w.cloud.now_ms() // 1000, sn=w.cloud.devices[0].sn)), 20),
    (260, "a clock ahead", lambda w: w.cloud.order("skew", 5400, sn=w.cloud.devices[2].sn), 30),
    (310, "cut JSON", lambda w: w.cloud.order("cut", count=20)),
    (330, "NaN", lambda w: w.cloud.order("nan", action="queryDeviceLastData", count=9)),
    (350, "no data", lambda w: w.cloud.order("null", action="queryDeviceLastData", count=6)),
    (370, "pages", lambda w: w.cloud.order("html", count=30)),
    (400, "our clock steps back an hour", lambda w: _step(w, -3_600_000)),
    (420, "and on again", lambda w: _step(w, 3_600_000)),
    (450, "JSONP", lambda w: w.cloud.order("jsonp"), 10),
    (470, "power cut", lambda w: w.begin()),
    (500, "away for a day", lambda w: (w.clock.go(26 * 3_600_000), w.begin())),
    (560, "duplicate titles", lambda w: w.cloud.order("double", action="queryDeviceLastData"), 10),
    (590, "hangs", lambda w: w.cloud.order("hang", action="queryDeviceLastData", sn=w.cloud.devices[0].sn, count=4)),
    (620, "a login while in maintenance", lambda w: (w.cloud.revoke(), w.cloud.order("err", 3, action="authSource", count=3))),
    (650, "a device more", lambda w: w.cloud.devices.append(FakeDevice("W0042000200202", 4711, 3, "W0042000200202471103", "Loft", roof(9)))),
)  # fmt: skip


def _step(w, ms):
    w.clock.wall_ms += ms


def run_month(w):
    calls, ends = [], []
    waiting = list(TROUBLE)
    while w.clock.mono_ms < DAYS * 86_400_000:
        hour = w.clock.mono_ms / 3_600_000
        while waiting and waiting[0][0] <= hour:
            at, _, begin, *hours = waiting.pop(0)
            before = len(w.cloud.faults)
            begin(w)
            if hours:
                ends.append((at + hours[0], w.cloud.faults[before:]))
        for end in [end for end in ends if end[0] <= hour]:
            ends.remove(end)
            w.cloud.faults[:] = [fault for fault in w.cloud.faults if fault not in end[1]]
        calls.append(w.cycle())
    return calls


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    from wattlog_host.dess.transport import Limits

    # A hang costs real time: half a second is long on the loopback, also on a machine at work.
    limits = Limits(connect_s=5.0, total_s=1.5)
    with world(tmp_path_factory.mktemp("month"), interval_min=INTERVAL_MIN, limits=limits) as w:
        calls = run_month(w)
        yield w, calls


def test_the_usual_cycle_has_few_calls(month, capsys):
    _, calls = month
    usual = sorted(calls)[len(calls) // 2]
    with capsys.disabled():
        print(f"\nsolar: {len(calls)} cycles in {DAYS} days, {usual} calls each "
              f"({sum(calls) / len(calls):.2f} on average, {max(calls)} at most)")  # fmt: skip
    assert usual <= CALLS_MAX
    # The rest: repeats in trouble, and twice a day what there is.
    assert sum(calls) / len(calls) <= CALLS_MAX + 2


def test_it_ends_well(month):
    w, _ = month
    assert (w.view.state, w.view.trouble) == ("ok", None)
    for device in w.poller.topology.devices.values():
        mono_ms, now_ms = w.clock.mono_ms, w.clock.wall_ms
        assert w.poller.is_connected(device, mono_ms, now_ms), device.alias
    assert len(w.poller.topology.devices) == 4  # the one that came later, too


# Of each protocol one power as the device says it, and what it is in W.
TOLD = {
    2376: ("PV Power", "solar_power", 1),
    6515: ("Total PV Power", "solar_power", 1),
    2452: ("PV1 Input Power", "pv1_charger_power", 1),
    4711: ("PV Power", "solar_power", 1),
}


def test_every_value_stored_is_one_that_was_told(month):
    w, _ = month
    stored = 0
    for device in w.cloud.devices:
        title, channel, factor = TOLD[device.devcode]
        truth = {}
        for (sn, stamp), rows in w.cloud.sent.items():
            if sn == device.sn:
                value = next(value for name, value, _ in rows if name == title)
                truth[model.utc_ms(stamp, w.cloud.offset_s)] = Decimal(value) * factor
        values = set(truth.values())
        for time_ms, value in w.sink.series(device.sn, channel):
            if value is None:
                continue  # NaN was None, not 0
            stored += 1
            if time_ms in truth:
                assert value == truth[time_ms], (device.alias, time_ms)
            else:
                # Its own clock was not believed, or ours was another hour.
                assert value in values, (device.alias, time_ms, value)
    assert stored > 1000


def test_no_record_lies_in_the_future_or_before_the_beginning(month):
    w, _ = month
    for device in w.cloud.devices:
        times = [time_ms for time_ms, _ in w.sink.series(device.sn, "operating_mode")]
        assert times == sorted(set(times))
        assert all(START_MS - 3_600_000 < one <= w.clock.wall_ms + 120_000 for one in times)


def test_what_was_missed_is_there_afterwards(month):
    w, _ = month
    found = w.sink.series(w.cloud.devices[1].sn, "solar_power")
    away_ms = START_MS + 501 * 3_600_000
    inside = [one for one, _ in found if away_ms <= one <= away_ms + 24 * 3_600_000]
    assert len(inside) > 250  # every five minutes, as the cloud has them
    assert w.view.counts["history records"] > 250 or w.view.state == "ok"


def test_the_counters_gained_what_the_sun_gave(month):
    w, _ = month
    for device in w.cloud.devices[1:3]:
        counters = w.sink.totals(device.sn)
        # Of a counter for ever, we have all; of one that begins anew each day, no more than was.
        life, daily = counters["energy_total"], counters["energy_today"]
        series = [
            value for _, value in w.sink.series(device.sn, "energy_total") if value is not None
        ]
        assert life.total == life.raw == max(series)
        gained = max(series) - min(series)
        assert gained > 0
        assert Decimal("0.5") * gained < daily.total <= gained + Decimal(30)
        assert daily.resets >= DAYS - 4


def test_the_day_that_was_made_up_for_has_its_energy_and_gaps_have_none(month):
    w, _ = month
    device, day_ms = w.cloud.devices[1], START_MS + 500 * 3_600_000
    with w.sink.engine.begin() as connection:
        (member,) = [one for one in quarters.members(connection) if one.key == device.sn]
        told = {
            one.start_ms: one.production_wh_e3
            for one in connection.execute(
                sa.select(tables.solar_quarter)
                .join(tables.solar_device, tables.solar_device.c.id == tables.solar_quarter.c.device_id)
                .where(tables.solar_device.c.key == device.sn)
            )
        }  # fmt: skip

    def true_wh(start_ms, end_ms):
        before, after = (
            device.roof.at(at // 1000 + w.cloud.offset_s)[1] for at in (start_ms, end_ms)
        )
        return after.solar_wh - before.solar_wh

    away = [at for at in told if day_ms + 3_600_000 <= at < day_ms + 25 * 3_600_000]
    assert len(away) > 90
    found = sum(told[at] or 0 for at in away) / 1000
    assert found == pytest.approx(true_wh(day_ms + 3_600_000, day_ms + 25 * 3_600_000), rel=0.03)
    # Looked at every other hour it is not known in between; what is told is what there was.
    assert len(told) < (member.last_ms - member.first_ms) // quarters.QUARTER_MS // 2
    assert sum(told[at] or 0 for at in told) / 1000 < true_wh(START_MS, w.clock.wall_ms)


def test_tokens_ended_and_were_renewed_without_a_storm(month):
    w, _ = month
    # A week each, one revoked early, one while the cloud was in maintenance.
    assert DAYS // 7 + 2 <= w.cloud.calls["authSource"] <= 15


def test_it_said_each_thing_once(month):
    w, _ = month
    assert len(w.said) < 60
    assert any("devcode 4711 is not known" in text for text in w.said)
    assert sum("devcode 4711" in text for text in w.said) == 1
