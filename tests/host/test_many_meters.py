"""What a host does otherwise when it has thousands of meters: nothing that looks at all of them."""

import asyncio

import pytest

from alert_world import World
from api_world import DAY_MS, NOW, START, ApiWorld, steady
from past import Rng
from wattlog_host.alerts import service as alerts_module
from wattlog_host.history import answers
from wattlog_host.history.columns import MeterInfo
from wattlog_host.history.house import EVER_MS, NEVER_MS, members
from wattlog_host.store import batches, sizes
from wattlog_host.store import store as store_module
from wattlog_host.store import writer as writer_module
from wattlog_host.store.records import Incoming
from wattlog_host.store.store import Store
from wattlog_host.store.writer import Writer
from wattlog_host.web import api
from wattlog_host.wire import decode_batch

NOW_MS = 1_795_000_000_000


@pytest.fixture
def store(place):
    made = Writer(place, "1", NOW_MS)
    yield made
    made.let_go()


def incoming(payload):
    return Incoming("t", decode_batch(payload), NOW_MS, payload)


def three(wire):
    """A batch of each of three meters."""
    return [
        incoming(
            wire.batch(
                wire.sync(0),
                wire.reading(60_000, meter=bytes([9, number])),
                first_seq=2 * number + 1,
            )
        )
        for number in range(3)
    ]


def test_who_was_exchanged_is_who_fell_silent_before_another_was_first_seen():
    for seed in range(300):
        rng = Rng(seed)
        meters = []
        for number in range(rng.randrange(9)):
            first_ms = 100 + rng.randrange(20)
            meters.append(MeterInfo(number, b"", "", first_ms, first_ms + rng.randrange(20), ()))
        earliest_ms = min((one.first_ms for one in meters), default=0)
        wanted = [
            (
                one,
                EVER_MS if one.first_ms == earliest_ms else one.first_ms,
                min(
                    (two.first_ms for two in meters if two.first_ms > one.last_ms),
                    default=NEVER_MS,
                ),
            )
            for one in meters
        ]
        assert [tuple(one) for one in members(meters)] == wanted, f"seed {seed}"


def test_a_meter_is_found_by_each_of_its_names_as_among_all(store, wire):
    named = wire.reading(60_000, meter=bytes.fromhex("0a0149534b0004210001"))
    store.commit([*three(wire), incoming(wire.batch(wire.sync(0), named, first_seq=7))])
    while store.roll():
        pass
    known = store.ask(lambda history: history.meters())
    assert len(known) == 4 and any(one.label != one.label.lower() for one in known)
    names = ["", " ", "0", "-1", "4", "01", "1.0", "9", "9" * 40, "09", "09 00", "%"]
    names += ["_", "\u0661", "\u0130", "\u212a", "\U0001f600", "a\0b"]
    for one in known:
        names += [str(one.id), one.server_id.hex(), one.label, f" {one.label.upper()} "]
        names += [one.server_id.hex().upper(), one.label.lower(), one.label[:-1], f"{one.label}'"]
    for name in names:
        wanted = next((one for one in known if one.is_called(name)), None)
        assert store.ask(lambda history, name=name: history.meter(name)) == wanted, name
    # Of a meter whose hours are not made yet there is nothing to sum.
    store.commit([incoming(wire.batch(wire.reading(90_000, meter=b"\x09\x07"), first_seq=90))])
    beyond = [
        store.ask(lambda history, count=count: history.has_more_meters_than(count))
        for count in (0, 3, 4)
    ]
    assert beyond == [True, True, False]


@pytest.fixture
def fleet(monkeypatch):
    """Three meters where two are the most that may be one house's; the first fell silent."""
    for module in (answers, api):
        monkeypatch.setattr(module, "METERS_SUM_MAX", 2)
    rows = steady(START, START + 2 * DAY_MS)
    made = ApiWorld({1: rows[:9], 2: rows[1440:], 3: rows[1440:]}, NOW)
    known = {name: one for one in made.history.meters() for name in (str(one.id), one.label)}
    known |= {one.server_id.hex(): one for one in made.history.meters()}
    made.history.meter = known.get
    made.history.meters = lambda: pytest.fail("all were listed")
    made.labels = {one.id: one.label for one in known.values()}
    return made


def test_who_asks_about_one_of_thousands_does_not_have_them_listed(fleet):
    span = {"start": START + DAY_MS, "end": START + 2 * DAY_MS}
    for path in ("/api/stats", "/api/energy", "/api/energy_summary", "/api/readings"):
        names = ("2", "0902", fleet.labels[2])
        found = [fleet.get(path, meter=name, **span) for name in names]
        assert {one.status_code for one in found} == {200}, path
        assert len({one.text for one in found}) == 1, path
        assert fleet.error(path, meter=4, **span)[0] == 404
        assert fleet.error(path, **span) == (400, answers.NO_SUM_TEXT)
    # What is over and told is kept, whatever the others have told.
    for meter, kept in ((2, "private, max-age=60"), (1, "no-cache")):
        answer = fleet.get("/api/stats", meter=meter, start=START + DAY_MS, end=START + 2 * DAY_MS)
        assert answer.headers["cache-control"] == kept
    assert fleet.get("/").status_code == 200


def test_of_thousands_no_power_is_summed_and_one_is_found_by_its_id(fleet):
    assert fleet.error("/api/live_power") == (400, answers.NO_SUM_TEXT)
    for path in ("/api/live_power", "/api/latest_reading"):
        assert fleet.json(path, meter=3) == fleet.json(path, meter=fleet.labels[3])
        for name in (4, "03", "\u0663"):
            assert fleet.error(path, meter=name) == (404, "unknown meter")
    asked = fleet.questions
    fleet.store_trouble = "disk"  # now is told all the same, once the id is known
    assert fleet.json("/api/live_power", meter=3)["w"] == 600
    assert fleet.questions == asked


def test_who_was_exchanged_is_forgotten_where_it_is_no_house_any_more(monkeypatch):
    rows = steady(START, START + 2 * DAY_MS)
    world = ApiWorld({1: rows[:9], 2: rows[1440:]}, NOW)
    world.json("/api/summary")
    assert world.json("/api/live_power")["w"] == 600
    monkeypatch.setattr(answers, "METERS_SUM_MAX", 1)
    world.changes.note(1, NOW)
    assert world.error("/api/summary") == (400, answers.NO_SUM_TEXT)
    assert world.json("/api/live_power")["w"] == 1200


def test_newest_readings_are_told_of_the_first_meters_only(store, wire, monkeypatch):
    monkeypatch.setattr(batches, "METERS_SHOWN_MAX", 2)
    monkeypatch.setattr(writer_module, "METERS_SHOWN_MAX", 2)
    done = store.commit(three(wire))
    assert [one.server_id for one in done.latest] == [b"\x09\x00", b"\x09\x01"]
    assert [one.server_id for one in store.latest()] == [b"\x09\x00", b"\x09\x01"]
    assert len(list(store.readings())) == 3


def test_a_few_meters_stand_for_the_size_of_all(store, wire, monkeypatch):
    store.commit(three(wire))
    while store.roll():
        pass
    now_ms = wire.sync_epoch_ms + 3_600_000
    found = store.measure(now_ms)
    monkeypatch.setattr(sizes, "METERS_MEASURED", 1)
    scaled = store.measure(now_ms)
    assert scaled.raw_from_ms == found.raw_from_ms
    # All three are alike, but for a byte of their names' lengths.
    assert scaled.raw_bytes == pytest.approx(found.raw_bytes, abs=6)
    assert scaled.bucket_bytes == pytest.approx(found.bucket_bytes, rel=0.1)
    assert scaled.raw_bytes > 0


@pytest.mark.parametrize(("meters_max", "is_asked"), [(1, False), (2, True)])
def test_alerts_ask_nothing_of_all_meters_where_they_are_no_house(
    tmp_path, monkeypatch, meters_max, is_asked
):
    monkeypatch.setattr(alerts_module, "HOUSE_METERS_MAX", meters_max)
    w = World(tmp_path)
    asked = []
    ask = w.alerts._ask

    def noted(question):
        asked.append(question)
        return ask(question)

    w.alerts._ask = noted

    async def act():
        await w.run(60_000)
        asked.clear()  # the first look is before any meter is heard
        await w.run(24 * 3_600_000)

    asyncio.run(act())
    assert len(w.view.meters) == 2
    assert bool(asked) == is_asked


def test_what_is_busy_for_long_makes_some_buckets_all_the_same(tmp_path, wire, monkeypatch):
    monkeypatch.setattr(store_module, "BUSY_ITEMS", 1)
    monkeypatch.setattr(store_module, "BUSY_S", 1e6)
    monkeypatch.setattr(store_module, "ROLL_WAIT_S", 0)
    asked = []

    async def run():
        made = Store(tmp_path / "wattlog.db", "1", NOW_MS)
        roll, is_done = made._core.roll, asyncio.Event()

        def noted(readings_max):
            asked.append(readings_max)
            return roll(readings_max)

        made._core.roll = noted
        await made.commit(three(wire))
        rolling = asyncio.create_task(made.keep_rolled(lambda _: is_done.set()))
        await is_done.wait()
        rolling.cancel()
        await asyncio.gather(rolling, return_exceptions=True)
        await made.close(NOW_MS)

    asyncio.run(run())
    assert set(asked) == {store_module.READINGS_BUSY}
