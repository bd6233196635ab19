"""When the cloud is asked for what: few calls, none in vain, one bad device for itself."""

import pytest

from dess_world import START_MS, world
from wattlog_host.dess import model
from wattlog_host.dess.errors import Busy, DessError, NothingThere
from wattlog_host.dess.model import Collector, Device, Plant, Record
from wattlog_host.dess.poller import Poller
from wattlog_host.dess.topology import Topology
from wattlog_sim.dess.cloud import FakeDevice
from wattlog_sim.dess.solar import roof

MINUTE_MS = 60_000
ONE = Device("P1", 2376, 1, "S1", "One", "7")
TWO = Device("P1", 6515, 2, "S2", "Two", "7")


def made(interval_min=5, offset_s=7200, fetch_s=300, devices=(ONE, TWO)):
    poller = Poller(interval_min * MINUTE_MS, lambda: 0.0)
    collector = Collector("P1", "", "7", 0, "", None, offset_s, fetch_s)
    found = {device.key: device for device in devices}
    poller.on_discovered(
        Topology({"7": Plant("7", "", 0, None)}, {"P1": collector}, found, True), 0
    )
    return poller


def stored(poller, device, record_ms, mono_ms, identity=None, by_device=True):
    poller.on_answer(device, mono_ms)
    poller.on_record(
        device, identity or f"t {record_ms}", record_ms, by_device=by_device, mono_ms=mono_ms
    )


# --- pure -----------------------------------------------------------------------------------


def test_the_next_cycle_begins_when_the_next_record_has_just_come():
    poller = made()
    stored(poller, ONE, START_MS - 40_000, 0)
    poller.end(0, START_MS)
    assert poller.due_mono_ms == 300_000 - 40_000 + 20_000


@pytest.mark.parametrize("behind_ms", [0, 100_000, 250_000, 299_000])
@pytest.mark.parametrize("interval_min", [5, 10, 60])
def test_an_aligned_cycle_is_never_much_sooner_or_later(interval_min, behind_ms):
    poller = made(interval_min)
    stored(poller, ONE, START_MS - behind_ms, 0)
    poller.end(0, START_MS)
    interval_ms = interval_min * MINUTE_MS
    assert interval_ms - 150_000 <= poller.due_mono_ms <= interval_ms + 150_000


def test_a_clock_that_stepped_does_not_move_the_cycle():
    poller = made()
    for record_ms in (START_MS - 10**12, START_MS + 10**12):
        stored(poller, ONE, record_ms, 0)
        poller.end(0, START_MS)
        assert 150_000 <= poller.due_mono_ms <= 600_000


def test_a_device_is_not_asked_before_its_next_record_can_be_there():
    poller = made(interval_min=1)
    stored(poller, ONE, START_MS, 0)
    stored(poller, TWO, START_MS - 250_000, 0)
    assert poller.devices_due(60_000, START_MS + 60_000) == [TWO]
    assert poller.devices_due(10_000, START_MS + 10_000) == []
    assert poller.summaries_due(10_000, START_MS + 10_000) == []
    assert poller.devices_due(310_000, START_MS + 310_000) == [ONE, TWO]


def test_who_failed_last_is_asked_last_and_then_less_often():
    poller = made()
    err = NothingThere("no", 12)
    poller.on_device_failed(ONE, err, 0)
    assert poller.devices_due(1, START_MS) == [TWO, ONE]
    for _ in range(3):
        poller.on_device_failed(ONE, err, 0)
    assert poller.devices_due(1, START_MS) == [TWO]
    assert poller.devices_due(30 * MINUTE_MS, START_MS) == [TWO, ONE]
    poller.on_answer(ONE, 0)
    assert poller.devices_due(1, START_MS) == [ONE, TWO]
    assert poller.state(ONE).trouble is None


def test_a_removed_device_makes_it_ask_what_there_is():
    poller = made()
    assert not poller.wants_discovery(3 * 3_600_000)
    poller.on_device_failed(ONE, NothingThere("gone", 258), 0)
    assert poller.wants_discovery(3 * 3_600_000)


def test_a_pause_that_the_cloud_asks_for_is_kept_and_grows():
    poller = made()
    poller.end(0, START_MS, Busy("x", retry_after_s=1800))
    assert poller.due_mono_ms == 1_800_000
    waits = []
    for _ in range(8):
        poller.end(0, START_MS, Busy("x"))
        waits.append(poller.due_mono_ms)
    assert waits == sorted(waits)
    assert waits[-1] == 3_600_000
    poller.end(0, START_MS)
    assert poller.due_mono_ms == 300_000


def test_other_trouble_keeps_the_interval():
    poller = made()
    poller.end(0, START_MS, DessError("x"))
    assert poller.due_mono_ms == 300_000


FRESHNESS = (
    ("just now", 0, False),
    ("three records old", 899_000, False),
    ("older", 901_000, True),
    ("a day", 86_400_000, True),
)


@pytest.mark.parametrize(
    ("age_ms", "stale"), [row[1:] for row in FRESHNESS], ids=[r[0] for r in FRESHNESS]
)
def test_old_data_is_stale_and_its_device_not_connected(age_ms, stale):
    poller = made()
    stored(poller, ONE, START_MS - age_ms, 0)
    poller.state(ONE).status = 0
    assert poller.is_stale(ONE, 0, START_MS) is stale
    assert poller.is_connected(ONE, 0, START_MS) is not stale
    poller.state(ONE).status = 1
    assert not poller.is_connected(ONE, 0, START_MS)


def test_a_device_never_heard_of_is_stale():
    assert made().is_stale(ONE, 0, START_MS)


def test_data_placed_by_arrival_are_stale_when_they_stop_to_change():
    poller = made()
    stored(poller, ONE, START_MS, 0, by_device=False)
    assert not poller.is_stale(ONE, 800_000, START_MS + 10**10)
    assert poller.is_stale(ONE, 1_000_000, START_MS)


ZONES = (
    ("with the collector's zone", 7200, "2026-06-15 12:00:00", START_MS),
    ("two minutes ahead", 7200, "2026-06-15 12:02:00", START_MS + 120_000),
    ("three minutes ahead", 7200, "2026-06-15 12:03:00", None),
    ("years old", 7200, "2020-06-15 12:00:00", START_MS - 6 * 365 * 86_400_000 - 86_400_000),
    ("no zone", None, "2026-06-15 12:00:00", None),
    ("no time", 7200, None, None),
)


@pytest.mark.parametrize(
    ("offset_s", "text", "wanted"), [row[1:] for row in ZONES], ids=[r[0] for r in ZONES]
)
def test_a_records_time(offset_s, text, wanted):
    found = made(offset_s=offset_s).time_of(ONE, Record("x", text, ()), START_MS)
    assert found == wanted


def test_the_plants_zone_is_used_where_the_collector_has_none():
    poller = made(offset_s=None)
    poller.topology.plants["7"] = Plant("7", "", 0, 3600)
    assert poller.time_of(ONE, Record(None, "2026-06-15 11:00:00", ()), START_MS) == START_MS


def test_of_devices_with_parameters_each_has_its_turn():
    three = [Device("P1", 2376, at, f"S{at}", "", "7") for at in range(3)]
    poller = made(devices=three)
    asked = []
    for mono_ms in range(1, 7):
        for device in poller.parameters_due(three):
            poller.on_parameters(device, mono_ms, found=True)
            asked.append(device.key)
    assert asked == ["S0", "S1", "S2", "S0", "S1", "S2"]
    poller.on_parameters(three[0], 9, found=False)
    assert three[0] not in poller.parameters_due(three)


def test_a_gap_is_asked_for_day_by_day_and_given_up_after_three_times():
    poller = made()
    stored(poller, ONE, START_MS - 50 * 3_600_000, 0)
    stored(poller, ONE, START_MS, 0)
    dates = []
    for _ in range(3):
        dates.append(poller.history_due(ONE, START_MS))
        assert poller.on_history(ONE, dates[-1], done=True)
    assert dates == ["2026-06-13", "2026-06-14", "2026-06-15"]
    assert poller.history_due(ONE, START_MS) is None
    stored(poller, ONE, START_MS + 3_600_000, 0)
    date = poller.history_due(ONE, START_MS + 3_600_000)
    assert [poller.on_history(ONE, date, done=False) for _ in range(3)] == [True, True, False]
    assert poller.history_due(ONE, START_MS + 3_600_000) is None


def test_a_gap_of_years_is_a_week():
    poller = made()
    stored(poller, ONE, START_MS - 900 * 86_400_000, 0)
    stored(poller, ONE, START_MS, 0)
    assert poller.history_due(ONE, START_MS) == "2026-06-08"


def test_without_such_records_none_is_asked_for_again():
    poller = made()
    stored(poller, ONE, START_MS - 86_400_000, 0)
    stored(poller, ONE, START_MS, 0)
    date = poller.history_due(ONE, START_MS)
    assert not poller.on_history(ONE, date, done=False, none=True)
    stored(poller, ONE, START_MS + 86_400_000, 0)
    assert poller.history_due(ONE, START_MS + 86_400_000) is None


def test_a_device_that_only_the_summary_knows_is_no_storm_of_questions():
    poller = made()
    row = {"pn": "P9", "devcode": 1, "devaddr": 1, "sn": "S9", "status": 0}
    poller.on_summary("7", [row])
    assert poller.wants_discovery(1)
    poller.on_discovered(Topology({"7": Plant("7", "", 0, None)}, {}, {"S1": ONE}, True), 1)
    poller.on_summary("7", [row])
    assert "S9" in poller.topology.devices
    assert not poller.wants_discovery(2)


# --- with the cloud -------------------------------------------------------------------------


@pytest.fixture
def w(tmp_path):
    with world(tmp_path) as made_world:
        yield made_world


def test_three_devices_cost_five_calls(w, capsys):
    first, *rest = w.run(2)
    with capsys.disabled():
        print(f"\nsolar: first cycle {first} calls, then {max(rest)} at most for three devices")
    assert max(rest) <= 5
    assert first <= 12


def test_a_fast_interval_asks_only_when_a_record_may_be_there(tmp_path):
    with world(tmp_path, interval_min=1) as w:
        calls = w.run(2)
    assert len(calls) > 60
    assert sum(calls) < 12 + 5 * 26 + 60


def test_one_failing_device_never_touches_the_others(w):
    w.cycle()
    bad, *good = [device.sn for device in w.cloud.devices]
    for fault in (
        ("err", 12),
        ("err", 10),
        ("http", 500),
        ("garbage",),
        ("deep",),
        ("null",),
        ("err", 8),
    ):
        order = w.cloud.order(*fault, sn=bad, action="queryDeviceLastData")
        before = {sn: len(w.sink.series(sn, "operating_mode")) for sn in good}
        w.run(0.3)
        for sn in good:
            assert len(w.sink.series(sn, "operating_mode")) > before[sn], fault
        w.cloud.faults.remove(order)
        w.clock.go(3_600_000)


def test_a_device_that_appears_later_is_found_at_the_next_look(w):
    w.cycle()
    w.cloud.devices.append(FakeDevice("W0042000200202", 518, 4, "NEW1", "Roof", roof(7)))
    w.cycle()
    w.cycle()
    assert "NEW1" in w.poller.topology.devices
    assert w.sink.series("NEW1", "solar_power")


def test_an_account_that_gets_its_first_plant_is_found(w):
    there = w.cloud.devices[:]
    w.cloud.devices.clear()
    w.cycle()
    assert w.view.state == "ok"
    w.cloud.devices[:] = there
    w.run(0.6)
    assert len(w.poller.topology.devices) == 3


def test_a_part_of_the_topology_that_fails_stays_as_it_was(w):
    w.cycle()
    w.cloud.order("err", 1, action="queryCollectorDevices")
    w.clock.go(13 * 3_600_000)
    w.cycle()
    assert len(w.poller.topology.devices) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [(("http", 502), "502"), (("html",), "is a page"), (("deep",), "JSON"), (("big",), "larger")],
)
def test_when_nothing_answers_well_one_is_enough_to_know(w, fault, words):
    w.cycle()
    before = sum(w.cloud.calls.values())
    w.cloud.order(*fault)
    w.cycle()
    assert sum(w.cloud.calls.values()) - before <= 6
    assert w.view.state == "trouble"
    assert words in w.view.trouble
    w.cloud.faults.clear()
    w.cycle()
    assert (w.view.state, w.view.trouble) == ("ok", None)
    assert w.said[-1] == "solar: the cloud answers again"


def test_an_offline_device_is_stale_and_comes_back(w):
    w.run(0.5)
    sn = w.cloud.devices[0].sn
    device = w.poller.topology.devices[sn]
    w.cloud.order("offline", sn=sn)
    w.cloud.order("freeze", w.cloud.now_ms() // 1000, sn=sn)
    w.run(2)
    assert model.status_word(w.poller.state(device).status) == "offline"
    assert w.poller.is_stale(device, w.clock.mono_ms, w.clock.wall_ms)
    asked = w.cloud.calls["queryDeviceLastData"]
    cycles = len(w.run(1))
    assert w.cloud.calls["queryDeviceLastData"] - asked <= 2 * cycles + 3
    w.cloud.faults.clear()
    w.cycle()
    assert w.poller.is_connected(device, w.clock.mono_ms, w.clock.wall_ms)


def test_a_wrong_password_is_one_login_and_is_told(tmp_path):
    with world(tmp_path, password="wrong!") as w:
        w.run(3)
        assert w.cloud.calls["authSource"] == 1
        assert w.view.state == "login"
        assert "password" in w.view.trouble
        assert len(w.said) == 1
        w.password = w.cloud.users["demo"]
        w.cycle()
        assert w.view.state == "ok"


def test_after_a_start_nothing_is_stored_twice_and_the_old_is_shown(w):
    w.run(0.5)
    sn = w.cloud.devices[0].sn
    count = len(w.sink.series(sn, "solar_power"))
    w.begin()
    w.cloud.order("http", 502)
    w.worker.step()
    assert w.view.readings[sn]["solar_power"][0].value is not None
    assert sn in w.poller.topology.devices
    w.cloud.faults.clear()
    w.worker.step()
    assert len(w.sink.series(sn, "solar_power")) == count


def test_a_record_that_could_not_be_stored_is_asked_for_again(w):
    from wattlog_host.dess.worker import SinkError

    def full():
        raise SinkError("disk full")

    w.sink.fails = full
    w.cycle()
    assert w.view.state == "trouble"
    assert "disk full" in w.view.trouble
    w.sink.fails = None
    w.worker.step()
    assert all(len(w.sink.series(one.sn, "operating_mode")) == 1 for one in w.cloud.devices)


def test_without_a_zone_records_are_placed_by_arrival_once(tmp_path):
    with world(tmp_path) as w:
        w.cloud.offset_s = "here"
        w.cloud._record_s = lambda one: 1_781_524_818
        w.run(1)
        times = [at for at, _ in w.sink.series(w.cloud.devices[0].sn, "solar_power")]
    assert times == [START_MS]
    assert w.view.counts["time not believed"] == 3
