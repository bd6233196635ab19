"""Alerts: each trouble is told once and its end once, whatever else happens; never a storm."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from alert_world import (
    BERLIN,
    DAY_MS,
    FAST,
    HOUR_MS,
    LABELS,
    MINUTE_MS,
    SLOW,
    START_MS,
    World,
    inverter,
)
from past import Rng
from wattlog_host.alerts import kept
from wattlog_host.alerts.config import Quiet
from wattlog_host.alerts.ledger import (
    HISTORY_MAX,
    LINES_MAX,
    TROUBLES_MAX,
    Ledger,
    Line,
    Message,
)
from wattlog_host.alerts.nights import Night, compared, nights_of
from wattlog_host.alerts.outbox import OWED_MAX, Account
from wattlog_host.alerts.rhythm import Rhythm
from wattlog_host.alerts.rules import CONDITIONS, HAPPENINGS, Finding, Tally
from wattlog_host.alerts.service import Alerts
from wattlog_host.alerts.typed import made_of
from wattlog_host.alerts.words import BEGUN, HAPPENED, OVER, line_text
from wattlog_host.backup.rotation import Backups
from wattlog_host.dess.shown import Standing
from wattlog_host.forecast import Forecast
from wattlog_host.history.columns import MeterInfo
from wattlog_host.history.gauge import QUARTER_MS, Quarter
from wattlog_host.web.languages import LANGUAGES, Speech, words

ON, OFF, NEWS = "on", "off", "news"
NOBODY = frozenset()


@pytest.fixture
def world(tmp_path):
    return lambda **more: World(tmp_path, **more)


def test_every_kind_has_its_words():
    assert BEGUN.keys() == OVER.keys() == CONDITIONS.keys()
    assert HAPPENED.keys() == HAPPENINGS.keys()
    for language in LANGUAGES:
        assert {*BEGUN.values(), *OVER.values(), *HAPPENED.values()} <= words(language).keys()


# --- how often a meter tells -----------------------------------------------------------------


def rhythm_of(*steps_ms, days=()):
    made = Rhythm()
    made.hear()
    for step_ms in steps_ms:
        made.listen(step_ms)
        made.hear()
    made.days.extend(days)
    return made


SECOND_MS = 1000
RHYTHMS = (
    ("not seen long enough", rhythm_of(*[15_000] * 9), None),
    ("every 15 s: by the least that is set", rhythm_of(*[15_000] * 10), 5 * MINUTE_MS),
    ("every hour: after three", rhythm_of(*[HOUR_MS] * 10), 3 * HOUR_MS),
    ("one outage is not usual", rhythm_of(*[15_000] * 20, 9 * HOUR_MS), 5 * MINUTE_MS),
    ("two days of long silence are none yet", rhythm_of(*[15_000] * 10, days=[HOUR_MS] * 2),
     5 * MINUTE_MS),
    ("silent for an hour each day", rhythm_of(*[15_000] * 10, days=[HOUR_MS] * 3), 2 * HOUR_MS),
    ("silent for long once a week", rhythm_of(*[15_000] * 10, days=[MINUTE_MS] * 6 + [DAY_MS]),
     5 * MINUTE_MS),
)  # fmt: skip


@pytest.mark.parametrize(
    ("rhythm", "allowed"), [r[1:] for r in RHYTHMS], ids=[r[0] for r in RHYTHMS]
)
def test_how_long_a_meter_may_be_silent(rhythm, allowed):
    assert rhythm.allowed_ms(5 * MINUTE_MS) == allowed


def test_the_longest_silence_of_each_day_is_learnt():
    rhythm = Rhythm()
    rhythm.hear()
    for _ in range(4):
        for _ in range(22 * 60):
            rhythm.listen(MINUTE_MS)
            rhythm.hear()
        rhythm.listen(2 * HOUR_MS)
        rhythm.hear()
    assert rhythm.allowed_ms(5 * MINUTE_MS) == 4 * HOUR_MS


def test_what_passed_while_the_host_was_down_is_no_rhythm():
    rhythm = Rhythm()
    rhythm.listen(9 * HOUR_MS)
    rhythm.hear()
    assert not rhythm.steps


# --- base load -------------------------------------------------------------------------------

TODAY = BERLIN.day(START_MS)


def nights(*watts, end=TODAY):
    days = [end - timedelta(days=len(watts) - 1 - index) for index in range(len(watts))]
    return [Night(day, watt) for day, watt in zip(days, watts, strict=True)]


COMPARED = (
    ("as usual", [200] * 8, False),
    ("too few nights", [200] * 7, None),
    ("half as much again, and more", [200] * 8 + [310], True),
    ("a little more", [200] * 8 + [290], False),
    ("less than half", [200] * 8 + [90], True),
    ("of little, much more is still little", [20] * 8 + [65], False),
    ("a house whose nights differ", [100, 300] * 5 + [390], False),
    ("one odd night before", [200] * 4 + [2000] + [200] * 4 + [310], True),
    ("into the grid", [-900] * 8 + [-910], False),
)  # fmt: skip


@pytest.mark.parametrize(
    ("watts", "unusual"), [c[1:] for c in COMPARED], ids=[c[0] for c in COMPARED]
)
def test_which_night_is_unusual(watts, unusual):
    found = compared(nights(*watts), TODAY, 50)
    assert (found and found.is_unusual(was=False)) == unusual


def test_a_night_that_is_not_over_or_was_not_measured_is_not_compared():
    assert compared(nights(*[200] * 9, end=TODAY - timedelta(days=1)), TODAY, 50) is None
    assert compared([], TODAY, 50) is None


def test_only_the_last_four_weeks_are_usual():
    of = [*nights(*[900] * 20, end=TODAY - timedelta(days=29)), *nights(*[200] * 9)]
    assert compared(of, TODAY, 50).usual_watts == 200


def test_what_was_unusual_is_so_until_it_is_clearly_less():
    found = compared(nights(*[200] * 8, 290), TODAY, 50)
    assert not found.is_unusual(was=False) and found.is_unusual(was=True)


def test_a_night_is_its_lowest_whole_hour_between_one_and_five():
    start = BERLIN.day_start(TODAY)
    means = dict.fromkeys(range(24), 500_000) | {0: 1_000, 2: 150_000, 5: 2_000}
    found = [
        Quarter(start + HOUR_MS * hour + QUARTER_MS * quarter, mean)
        for hour, mean in means.items() for quarter in range(4)
    ]  # fmt: skip
    assert nights_of(found, BERLIN) == [Night(TODAY, 150)]
    without = [one for one in found if one.start_ms != start + 2 * HOUR_MS]
    assert nights_of(without, BERLIN)[0].watts == (3 * 150 + 500) / 4
    assert nights_of([one for one in found if one.start_ms < start + HOUR_MS], BERLIN) == []
    assert nights_of([], BERLIN) == []


# --- what is told of each trouble ------------------------------------------------------------


def silence(world):
    world.silent.add(FAST)


def speak(world):
    world.silent.discard(FAST)


def set_host(**values):
    def act(world):
        for name, value in values.items():
            setattr(world.view.host, name, value)

    return act


def sunny(state="ok", trouble=None, **of):
    def act(world):
        world.solar = Standing(state, trouble, world.now_ms, [inverter(world.now_ms, **of)])

    return act


def back_up(world):
    world.view.host.backups = Backups(
        None, newest_ms=max(world.now_ms, world.view.host.started_ms)
    )


FREE, FULL = (
    Forecast(free_bytes=50 * 2**30, full_days=400),
    Forecast(free_bytes=2**29, full_days=400),
)
NO_BACKUP = Backups(None, trouble="disk is full", trouble_ms=START_MS)
WELL = Backups(None, newest_ms=START_MS)
TROUBLES = (
    ("silent", LABELS[FAST], silence, speak, 6),
    ("offline", "cellar", lambda w: w.edge("cellar", "offline"), lambda w: w.edge("cellar"), 11),
    ("log", "cellar", lambda w: w.edge("cellar", fill=80), lambda w: w.edge("cellar", fill=69), 2),
    ("disk", "512.0 MiB", set_host(forecast=FULL), set_host(forecast=FREE), 1),
    ("disk", "50.0 GiB", set_host(forecast=FREE._replace(full_days=13)),
     set_host(forecast=FREE), 1),
    ("backup", "disk is full", set_host(backups=NO_BACKUP), back_up, 1),
    ("database", "disk is full", set_host(store_trouble="disk is full"),
     set_host(store_trouble=None), 2),
    ("broker", "refused", set_host(broker_trouble="refused"), set_host(broker_trouble=None), 6),
    ("cloud", "wrong password", sunny("login", "wrong password"), sunny(), 11),
    ("cloud", "HTTP 502", sunny("trouble", "HTTP 502"), sunny(), 361),
    ("fault", "Barn (P1)", sunny(mode="Fault 07", kind="fault"), sunny(), 6),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "subject", "begin", "end", "minutes"),
    TROUBLES,
    ids=[f"{t[0]} {t[1]}" for t in TROUBLES],
)
def test_a_trouble_is_told_once_and_its_end_once(world, kind, subject, begin, end, minutes):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        assert w.sent == []
        begin(w)
        await w.run((minutes - 1) * MINUTE_MS)
        assert w.sent == [], "not before it is worth it"
        await w.run(2 * MINUTE_MS)
        assert w.lines() == [(ON, kind, subject)]
        await w.run(2 * DAY_MS)
        end(w)
        await w.run(20 * MINUTE_MS)

    asyncio.run(act())
    assert [line[:2] for line in w.lines()] == [(ON, kind), (OFF, kind)]
    assert len(w.sent) == 2
    assert w.alerts.shown(_en())["standing"] == []


def _en():
    return Speech("en", BERLIN.local)


@pytest.mark.parametrize(
    ("days", "told"), [(None, "512.0 MiB free"), (9, "512.0 MiB free, enough for 9 days")]
)
def test_how_long_a_disk_lasts_is_told_where_it_is_known(days, told):
    line = Line(ON, "disk", "", START_MS, True, {"free": 2**29, "days": days})
    assert line_text(_en(), line) == f"The disk of the database is nearly full: {told}"


def test_the_end_is_told_after_two_minutes(world):
    w = world(look_ms=5_000)

    async def act():
        w.edge("cellar", "offline")
        await w.run(HOUR_MS)
        w.edge("cellar")
        await w.run(MINUTE_MS + 50_000)
        assert len(w.sent) == 1
        await w.run(MINUTE_MS)

    asyncio.run(act())
    assert len(w.sent) == 2


ROOM = (
    ("a log", "log", lambda w, full: w.edge("cellar", fill=80 if full else 71)),
    ("a disk", "disk", lambda w, full: set_host(forecast=Forecast(free_bytes=(1023 if full else 1200) * 2**20))(w)),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "act"), [r[1:] for r in ROOM], ids=[r[0] for r in ROOM])
def test_a_little_room_is_none(world, kind, act):
    w = world()

    async def go():
        for full in (True, False) * 20:
            act(w, full)
            await w.run(30 * MINUTE_MS)

    asyncio.run(go())
    assert [line[:2] for line in w.lines()] == [(ON, kind)]


def test_what_happens_is_told_with_how_often_and_not_each_time(world):
    w = world()

    async def act():
        w.lose(7)
        w.view.counters[("dead_letters", "garbage")] = 3
        await w.run(HOUR_MS)
        assert w.sent == [], "what was before anybody looked is no news"
        w.lose(5)
        await w.run(2 * MINUTE_MS)
        for _ in range(30):
            w.lose(1)
            w.view.counters[("dead_letters", "garbage")] += 1
            await w.run(MINUTE_MS)
        w.edge("cellar", glitches=2)
        await w.run(2 * HOUR_MS)

    asyncio.run(act())
    assert w.lines() == [
        (NEWS, "gap", "5"),
        (NEWS, "refused", "1"),
        (NEWS, "quarantine", "cellar"),
        (NEWS, "gap", "30"),
        (NEWS, "refused", "29"),
    ]


def test_an_agent_that_starts_anew_counts_from_nothing(world):
    w = world()

    async def act():
        w.edge("cellar", glitches=5)
        await w.run(HOUR_MS)
        w.edge("cellar", glitches=1)
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert w.lines() == [(NEWS, "quarantine", "cellar")]
    assert w.sent[0][1].endswith("fit: 1")


def test_a_database_that_was_put_back_is_no_news(world):
    w = world()

    async def act():
        w.lose(50)
        await w.run(HOUR_MS)
        w.lose(-20)
        await w.run(HOUR_MS)
        w.lose(1)
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert w.lines() == [(NEWS, "gap", "1")]


def test_base_load_is_told_once_and_when_it_is_as_usual_again(world):
    w = world()
    days = [TODAY + timedelta(days=index - 10) for index in range(20)]
    w.nights = [Night(day, 400 if 12 <= index < 16 else 200) for index, day in enumerate(days)]
    asyncio.run(w.run(9 * DAY_MS))
    assert [line[:2] for line in w.lines()] == [(ON, "base"), (OFF, "base")]
    assert w.sent[0][1] == "Unusual base load: 400 W last night, usually 200 W"


SPANS = (
    (15_000, "15 s"), (60_000, "1 min"), (3_599_000, "59 min"), (3_600_000, "1 h"),
    (9_000_000, "2 h 30 min"), (86_400_000, "1 d"), (90_000_000, "1 d 1 h"), (200_000, "3 min"),
)  # fmt: skip


@pytest.mark.parametrize(("span_ms", "text"), SPANS)
def test_how_long_something_took_is_said_as_people_do(span_ms, text):
    line = Line("off", "offline", "x", 0, False, {"agent": "x", "lasted": span_ms})
    assert line_text(_en(), line) == f"Agent x is back; it was offline for {text}"


# --- one cause, one message ------------------------------------------------------------------


def test_an_agent_that_is_away_is_told_and_its_meters_are_not(world):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        w.edge("cellar", "offline")
        await w.run(DAY_MS)
        w.edge("cellar")
        await w.run(DAY_MS)

    asyncio.run(act())
    assert w.lines() == [(ON, "offline", "cellar"), (OFF, "offline", "cellar")]


@pytest.mark.parametrize("what", ["broker_trouble", "store_trouble"])
def test_where_nothing_can_arrive_no_meter_is_to_blame(world, what):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        w.silent = {FAST, SLOW}
        set_host(**{what: "gone"})(w)
        await w.run(DAY_MS)
        set_host(**{what: None})(w)
        w.silent = set()
        await w.run(DAY_MS)

    asyncio.run(act())
    assert [line[0] for line in w.lines()] == [ON, OFF]


def test_a_meter_that_was_hardly_seen_is_never_missed(world):
    w = world()

    async def act():
        await w.run(9 * MINUTE_MS)
        w.silent = {FAST, SLOW}
        await w.run(10 * DAY_MS)

    asyncio.run(act())
    assert w.sent == []


def test_what_comes_together_goes_out_together(world):
    w = world(look_ms=5_000)

    async def act():
        await w.run(HOUR_MS)
        w.edge("cellar", "offline")
        await w.run(10_000)
        w.edge("attic", "offline")
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert len(w.sent) == 1 and len(w.lines()) == 2


# --- no storms -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_flapping_is_told_a_few_times(world, seed):
    print("seed", seed)
    rng = Rng(seed)
    w = world()

    async def act():
        await w.run(12 * HOUR_MS)
        while w.mono_ms < 5 * DAY_MS:
            w.edge("cellar", rng.choice(("online", "offline")))
            await w.run(rng.choice((1, 5, 12, 15, 30, 90)) * MINUTE_MS)

    asyncio.run(act())
    by_day = [0] * 6
    for mono_ms, _ in w.sent:
        by_day[mono_ms // DAY_MS] += 1
    assert 2 <= by_day[0] + by_day[1] <= 12, by_day
    assert max(by_day[2:]) <= 4, by_day


def test_one_who_comes_back_just_as_it_was_told_over_is_told_ever_less(world):
    w = world(look_ms=2 * MINUTE_MS)

    async def act():
        await w.run(12 * HOUR_MS)
        while w.mono_ms < 10 * DAY_MS:
            told = len(w.lines())
            w.edge("cellar", "offline" if told % 2 == 0 else "online")
            await w.run(5 * DAY_MS, until=lambda: len(w.lines()) > told)

    asyncio.run(act())
    assert len(w.lines()) <= 40


def test_a_thousand_meters_that_fall_silent_are_a_few_messages(tmp_path):
    ledger = Ledger()
    found = [Finding("silent", f"{index:04}", True, {"since": 1}) for index in range(1000)]
    messages = []
    for minute in range(24 * 60):
        ledger.look(found[: 2 * minute], [], NOBODY, minute * MINUTE_MS, MINUTE_MS)
        made = ledger.message(minute * MINUTE_MS, 10 * MINUTE_MS, is_quiet=False)
        messages += [made] if made else []
    assert sum(len(one.lines) + one.more for one in messages) == 1000
    assert all(len(one.lines) <= LINES_MAX for one in messages)
    assert len(messages) <= 24 and len(ledger.messages) == min(len(messages), HISTORY_MAX)


def test_who_was_told_all_the_while_is_told_more_rarely():
    ledger, made_ms = Ledger(), []
    for minute in range(600):
        tallies = [Tally("gap", f"{minute}", 0, {}), Tally("gap", f"{minute - 1}", 1, {})]
        ledger.look([], tallies, NOBODY, minute * MINUTE_MS, MINUTE_MS)
        if ledger.message(minute * MINUTE_MS, 10 * MINUTE_MS, is_quiet=False):
            made_ms.append(minute)
    gaps = [after - before for before, after in pairwise(made_ms)]
    assert gaps[:3] == [10, 20, 40] and set(gaps[3:]) == {60}


# --- quiet hours -----------------------------------------------------------------------------

NIGHT = Quiet(22 * 60, 7 * 60)


def local(w):
    return BERLIN.local(w.now_ms)


def test_in_quiet_hours_only_what_is_urgent_is_told_and_the_rest_is_summed_up(world):
    w = world(quiet=NIGHT)

    async def act():
        await w.run(11 * HOUR_MS)
        assert local(w).hour == 23
        silence(w)
        await w.run(HOUR_MS)
        speak(w)
        await w.run(HOUR_MS)
        set_host(store_trouble="disk is full")(w)
        await w.run(HOUR_MS)
        assert w.lines() == [(ON, "database", "disk is full")]
        set_host(store_trouble=None)(w)
        w.edge("attic", "offline")
        await w.run(HOUR_MS)
        assert [line[:2] for line in w.lines()] == [(ON, "database"), (OFF, "database")]
        assert await w.run(5 * HOUR_MS, until=lambda: len(w.sent) > 2)

    asyncio.run(act())
    assert (local(w).hour, local(w).minute) == (7, 0)
    assert w.lines()[2:] == [(OFF, "silent", LABELS[FAST]), (ON, "offline", "attic")]
    assert len(w.sent) == 3


HOURS = (
    (Quiet(22 * 60, 7 * 60), "22:00", True), (Quiet(22 * 60, 7 * 60), "06:59", True),
    (Quiet(22 * 60, 7 * 60), "07:00", False), (Quiet(22 * 60, 7 * 60), "21:59", False),
    (Quiet(13 * 60, 15 * 60), "13:00", True), (Quiet(13 * 60, 15 * 60), "15:00", False),
)  # fmt: skip


@pytest.mark.parametrize(("quiet", "clock", "holds"), HOURS)
def test_when_it_is_quiet(quiet, clock, holds):
    hour, minute = map(int, clock.split(":"))
    assert quiet.holds(BERLIN.local(START_MS).replace(hour=hour, minute=minute)) is holds


# --- restarts, clocks, files -----------------------------------------------------------------


def test_a_restart_tells_nothing_again(world):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        silence(w)
        w.edge("attic", "offline")
        w.lose(3)
        await w.run(HOUR_MS)
        told = w.lines()
        assert len(told) == 3
        for _ in range(20):
            w.start()
            await w.run(20 * MINUTE_MS)
        assert w.lines() == told
        speak(w)
        w.edge("attic")
        w.start()
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert sorted(line[:2] for line in w.lines()[3:]) == [(OFF, "offline"), (OFF, "silent")]


def test_a_meter_that_fell_silent_while_the_host_was_down_is_missed(world):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        silence(w)
        w.now_ms += 3 * HOUR_MS
        w.start()
        await w.run(4 * MINUTE_MS)
        assert w.sent == [], "it may be on its way"
        await w.run(4 * MINUTE_MS)

    asyncio.run(act())
    assert w.lines() == [(ON, "silent", LABELS[FAST])]


STEPS_MS = (-3 * 365 * DAY_MS, -HOUR_MS, HOUR_MS, 40 * DAY_MS)


@pytest.mark.parametrize("step_ms", STEPS_MS)
def test_a_clock_that_is_set_begins_and_ends_nothing(world, step_ms):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        w.now_ms += step_ms
        await w.run(2 * HOUR_MS)
        assert w.sent == []
        silence(w)
        await w.run(2 * HOUR_MS)
        w.now_ms -= step_ms
        await w.run(2 * HOUR_MS)
        assert len(w.sent) == 1
        speak(w)
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert [line[:2] for line in w.lines()] == [(ON, "silent"), (OFF, "silent")]
    assert "4 h" in w.sent[1][1]


def test_a_file_that_cannot_be_used_costs_only_what_was_in_it(world, tmp_path, caplog):
    for text in ("{", "[]", '{"format": 9}', '{"format": 1, "ledger": {"x": 1}}', "null",
                 '{"format": 1, "ledger": {"troubles": {"a b": 3}}, "rhythms": {}, "accounts": {}}'):  # fmt: skip
        (tmp_path / "alerts.json").write_text(text)
        caplog.clear()
        w = world()
        assert "alerts begin anew" in caplog.text
        asyncio.run(w.run(HOUR_MS))
        assert json.loads((tmp_path / "alerts.json").read_text())["format"] == 1


ODD = (None, -1, 2**70, 1e308, float("nan"), "x", [], {}, {"a": 1}, True, [[]], 10**9)


def places(node, at=()):
    """All places of plain data, of a list the first two."""
    inner = node.items() if isinstance(node, dict) else enumerate(node[:2])
    for key, one in inner:
        yield (*at, key)
        if isinstance(one, dict | list):
            yield from places(one, (*at, key))


def test_whatever_stands_in_the_file_alerts_go_on(world, tmp_path, caplog):
    w = world()
    path = tmp_path / "alerts.json"

    async def act():
        await w.run(31 * HOUR_MS)
        w.lose(12)
        w.edge("cellar", fill=90)
        await w.run(HOUR_MS)
        w.failing = "HTTP 503"
        w.silent = {FAST, SLOW}
        await w.run(5 * HOUR_MS)

    asyncio.run(act())
    whole = path.read_text()
    found = list(places(json.loads(whole)))
    assert len(found) > 150
    say = Speech("de", BERLIN.local)
    for index, at in enumerate(found):
        # One odd value for each place; over all places all of them.
        data = json.loads(whole)
        node = data
        for key in at[:-1]:
            node = node[key]
        node[at[-1]] = ODD[index % len(ODD)]
        path.write_text(json.dumps(data))
        one = world()
        asyncio.run(one.run(MINUTE_MS))
        one.alerts.shown(say), one.alerts.counts()
    for text in ("", whole[: len(whole) // 2], "\0" * 5000, "[" * 100_000):
        path.write_text(text)
        caplog.clear()
        asyncio.run(world().run(2 * MINUTE_MS))
        assert "alerts begin anew" in caplog.text


@pytest.mark.parametrize(
    ("kind", "odd"),
    [(int, True), (int, 1.0), (int, -1), (int, 2**48), (bool, 1), (str, 5), (str, "x" * 10_001),
     (list[int], {}), (dict[str, int], {"a": None}), (Line, {"x": 1}), (Account, [])],
)  # fmt: skip
def test_what_is_of_another_type_is_refused(kind, odd):
    with pytest.raises(ValueError):
        made_of(kind, odd)


def test_a_file_without_end_is_not_read_to_its_end(world, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(kept, "FILE_BYTES_MAX", 10_000)
    w = world()
    w.alerts._memory.accounts["9 json"] = Account(owed=[], trouble="x" * 9000)
    (tmp_path / "alerts.json").write_text(w.alerts._memory.text())
    assert "9 json" in kept.load(tmp_path / "alerts.json").accounts
    (tmp_path / "alerts.json").write_text(w.alerts._memory.text() + " " * 10_000)
    assert kept.load(tmp_path / "alerts.json").accounts == {}
    assert "alerts begin anew" in caplog.text


def test_what_only_a_later_version_knows_is_left_out_and_the_rest_stays(world, tmp_path):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        w.failing = "HTTP 503"
        w.lose(3)
        await w.run(HOUR_MS)

    asyncio.run(act())
    data = json.loads((tmp_path / "alerts.json").read_text())
    (message,) = data["ledger"]["messages"]
    later = {**message["lines"][0], "kind": "flood"}
    data["ledger"]["messages"] = [{**message, "number": 7, "lines": [later]}, message]
    data["ledger"]["waiting"] = [later]
    data["ledger"]["troubles"]["flood x"] = {
        "kind": "flood", "subject": "x", "values": {}, "since_ms": START_MS, "is_standing": True,
    }  # fmt: skip
    account = data["accounts"]["1 json"]
    account["owed"], account["ages_ms"] = (
        [{**message, "number": 7, "lines": [later]}, message],
        [5, 9],
    )
    (tmp_path / "alerts.json").write_text(json.dumps(data))
    made = kept.load(tmp_path / "alerts.json")
    assert [one.number for one in made.ledger.messages] == [message["number"]]
    assert (made.ledger.waiting, made.ledger.troubles) == ([], {})
    assert made.accounts["1 json"].ages_ms == [9]


def test_ports_that_nobody_names_any_more_make_room(world):
    made = Ledger()
    for number in range(3 * TROUBLES_MAX):
        made.look(
            [], [Tally("quarantine", f"cellar p{number}", 1, {})], NOBODY, START_MS, MINUTE_MS
        )
    assert len(made.counts) <= TROUBLES_MAX
    values = {"agent": "attic", "port": "p"}
    for count in (0, 4):
        made.look([], [Tally("quarantine", "attic p", count, values)], NOBODY, START_MS, DAY_MS)
    assert [(line.kind, line.values["count"]) for line in made.waiting] == [("quarantine", 4)]


def test_however_many_meters_are_missed_the_hosts_own_troubles_have_room():
    made = Ledger()
    many = [Finding("offline", f"a{number}", True, {"agent": "a"}) for number in range(2500)]
    made.look(
        [*many, Finding("database", "", True, {"why": "gone"})], [], NOBODY, START_MS, DAY_MS
    )
    assert len(made.troubles) == TROUBLES_MAX + 1
    assert made.stands("database ")


def test_the_file_is_its_owners_alone_and_rarely_written(world, tmp_path, monkeypatch):
    count, save = [], kept.save
    monkeypatch.setattr(kept, "save", lambda *of: (count.append(1), save(*of)))
    w = world()
    asyncio.run(w.run(DAY_MS))
    assert (tmp_path / "alerts.json").stat().st_mode & 0o777 == 0o600
    assert len(count) <= 7


def test_what_changes_all_the_time_is_written_once_a_minute_and_a_message_at_once(
    world, tmp_path, monkeypatch
):
    writes, save = [], kept.save
    w = world(look_ms=5_000)
    monkeypatch.setattr(kept, "save", lambda *of: (writes.append(w.mono_ms), save(*of)))
    marks = []

    async def act():
        await w.run(HOUR_MS)
        writes.clear()
        for _ in range(12 * 60):
            w.alerts._memory.ledger.changes += 1  # as of many meters
            marks.append(w.view.alerts["mark"])
            await w.run(5_000)
        assert 55 <= len(writes) <= 61
        assert len(set(marks)) == len(marks), "the page hears of each"
        w.lose(3)
        send = w.alerts._send

        async def looked(*of):
            stored = json.loads((tmp_path / "alerts.json").read_text())
            assert len(stored["ledger"]["messages"]) == 1, "written down before it is sent"
            return await send(*of)

        w.alerts._send = looked
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert len(w.sent) == 1


def test_where_nothing_can_be_written_alerts_go_on_and_it_is_said_once(
    world, tmp_path, monkeypatch, caplog
):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    w = world()
    save = kept.save

    async def act():
        await w.run(4 * HOUR_MS)
        monkeypatch.setattr(kept, "save", no_room)
        silence(w)
        await w.run(HOUR_MS)
        monkeypatch.setattr(kept, "save", save)
        await w.run(MINUTE_MS)
        w.start()
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert w.lines() == [(ON, "silent", LABELS[FAST])]
    assert caplog.text.count("No space left") == 1


# --- targets that fail -----------------------------------------------------------------------


def test_a_target_that_fails_is_tried_ever_more_rarely_and_gets_all_in_one(world):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        w.failing = "no connection"
        silence(w)
        w.edge("attic", "offline")
        await w.run(12 * HOUR_MS)
        assert 10 <= w.tries <= 22
        (target,) = w.alerts.shown(_en())["targets"]
        assert (target["trouble"], target["sent"], target["name"]) == (
            "no connection",
            0,
            "1 json",
        )
        speak(w)
        await w.run(HOUR_MS)
        w.failing = None
        await w.run(2 * HOUR_MS)

    asyncio.run(act())
    assert len(w.sent) == 1
    assert [line[:2] for line in w.lines()] == [(ON, "silent"), (ON, "offline"), (OFF, "silent")]
    assert w.told == [
        "a message could not be sent to 1 json: no connection",
        "messages reach 1 json again",
    ]


def test_what_could_not_be_sent_goes_out_after_a_restart(world):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        w.failing = "HTTP 500"
        silence(w)
        await w.run(HOUR_MS)
        w.start()
        w.failing = None
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert w.lines() == [(ON, "silent", LABELS[FAST])]


def test_of_a_target_that_is_gone_for_good_not_everything_is_kept(world):
    w = world(digest_min=1, look_ms=10 * MINUTE_MS)
    w.failing = "HTTP 410"

    async def act():
        await w.run(4 * HOUR_MS)
        for _ in range(20):
            for name in ("cellar", "attic"):
                w.edge(name, "offline")
                await w.run(6 * HOUR_MS)
                w.edge(name)
                await w.run(6 * HOUR_MS)

    asyncio.run(act())
    (target,) = w.alerts.shown(_en())["targets"]
    assert target["owed"] <= OWED_MAX and target["given_up"] > 0


def test_what_is_owed_is_bounded_by_number_and_by_age():
    account = Account()
    for number in range(OWED_MAX + 10):
        account.owe(Message(number, 0, ()))
    assert (len(account.owed), account.given_up) == (OWED_MAX, 10)
    assert account.owed[0].number == 10, "the oldest are given up"
    account.pass_by(DAY_MS)
    account.owe(Message(99, 0, ()))
    account.pass_by(DAY_MS + 1)
    assert [one.number for one in account.owed] == [99]


def test_what_is_owed_is_sent_by_a_loop_of_its_own(world):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        w.failing = "HTTP 500"
        silence(w)
        await w.run(HOUR_MS)
        w.failing = None
        loop = asyncio.create_task(w.alerts.deliver())
        w.mono_ms += HOUR_MS
        await w.alerts.look()
        for _ in range(100):
            await asyncio.sleep(0)
        loop.cancel()
        await asyncio.wait((loop,))
        assert loop.cancelled()

    asyncio.run(act())
    assert w.lines() == [(ON, "silent", LABELS[FAST])]


# --- what a person dismisses -----------------------------------------------------------------


def test_a_meter_that_was_removed_is_dismissed_until_it_is_heard_again(world):
    w = world()
    key = f"silent {FAST.hex()}"

    async def act():
        await w.run(4 * HOUR_MS)
        assert not await w.alerts.dismiss(key)
        silence(w)
        await w.run(HOUR_MS)
        assert await w.alerts.dismiss(key)
        assert not await w.alerts.dismiss(key)
        assert w.alerts.shown(_en())["standing"] == []
        w.start()
        await w.run(2 * DAY_MS)
        speak(w)
        await w.run(DAY_MS)
        assert len(w.sent) == 1
        silence(w)
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert [line[:2] for line in w.lines()] == [(ON, "silent"), (ON, "silent")]


def meter_info(number, server_id, first_ms, last_ms):
    return MeterInfo(number, server_id, LABELS[server_id], first_ms, last_ms, ())


@pytest.mark.parametrize("is_restarted", [False, True], ids=["", "and a host that starts anew"])
def test_a_meter_that_was_exchanged_is_missed_until_the_new_one_is_there(world, is_restarted):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        silence(w)
        gone_ms = w.now_ms
        w.known = [meter_info(1, FAST, START_MS, gone_ms)]
        await w.run(2 * HOUR_MS)
        assert w.lines() == [(ON, "silent", LABELS[FAST])]
        w.known = [*w.known, meter_info(2, SLOW, w.now_ms, w.now_ms)]
        await w.run(10 * MINUTE_MS)
        assert w.alerts.shown(Speech("en", BERLIN.local))["standing"] == []
        if is_restarted:
            w.start()
        await w.run(2 * DAY_MS)
        # It comes back after all: then it is missed as any other.
        speak(w)
        await w.run(4 * HOUR_MS)
        w.known[0] = meter_info(1, FAST, START_MS, w.now_ms)
        silence(w)
        await w.run(2 * HOUR_MS)

    asyncio.run(act())
    assert w.lines() == [(ON, "silent", LABELS[FAST])] * 2


def test_an_inverter_that_sleeps_at_night_or_behind_a_cloud_that_is_away_is_not_missed(world):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)  # 16:00
        sunny(is_fresh=False)(w)
        await w.run(17 * HOUR_MS)  # 9:00
        sunny()(w)
        await w.run(2 * HOUR_MS)
        sunny("busy", "too many calls", is_fresh=False)(w)
        await w.run(3 * HOUR_MS)
        sunny()(w)
        await w.run(DAY_MS)
        assert w.sent == []
        # One that does not wake up is missed in the morning, and not at night.
        await w.run(4 * HOUR_MS)  # 18:00
        sunny(is_fresh=False)(w)
        await w.run(15 * HOUR_MS)
        assert w.sent == []
        await w.run(3 * HOUR_MS)

    asyncio.run(act())
    assert w.lines() == [(ON, "inverter", "Barn (P1)")]
    assert 10 <= BERLIN.local(START_MS + w.sent[0][0]).hour < 12


def test_an_inverter_whose_data_are_old_has_no_fault_of_now(world):
    w = world()

    async def act():
        await w.run(9 * HOUR_MS)
        sunny(is_fresh=False, mode="Fault 07", kind="fault")(w)
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert w.sent == []


def test_where_solar_is_switched_off_what_stood_of_it_is_forgotten(world, tmp_path):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        sunny("login", "wrong password")(w)
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert [one[1] for one in w.lines()] == ["cloud"]
    off = Alerts(
        w.settings, "", BERLIN, tmp_path, w.view, w._ask, w._send, print, print,
        lambda: w.now_ms, lambda: w.mono_ms,
    )  # fmt: skip
    assert off.shown(Speech("en", BERLIN.local))["standing"] == []
    asyncio.run(off.look())


def test_what_must_be_mended_cannot_be_dismissed(world):
    w = world()

    async def act():
        set_host(store_trouble="disk is full")(w)
        await w.run(HOUR_MS)
        return await w.alerts.dismiss("database ")

    assert not asyncio.run(act())
    assert len(w.alerts.shown(_en())["standing"]) == 1


def test_a_start_is_no_backup(world):
    w = world()

    async def act():
        await w.run(HOUR_MS)
        set_host(backups=NO_BACKUP)(w)
        await w.run(HOUR_MS)
        w.start()
        set_host(backups=WELL)(w)  # the newest that there is, of before
        await w.run(HOUR_MS)
        assert [line[:2] for line in w.lines()] == [(ON, "backup")]
        set_host(backups=Backups(None, newest_ms=w.now_ms))(w)
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert [line[:2] for line in w.lines()] == [(ON, "backup"), (OFF, "backup")]


def test_what_is_switched_off_while_it_stands_is_forgotten(world):
    w = world()

    async def act():
        await w.run(4 * HOUR_MS)
        silence(w)
        await w.run(HOUR_MS)
        w.settings = replace(w.settings, kinds=w.settings.kinds - {"silent"})
        w.start()
        speak(w)
        await w.run(HOUR_MS)

    asyncio.run(act())
    assert len(w.sent) == 1 and w.alerts.shown(_en())["standing"] == []


def test_what_is_off_is_not_told(world):
    w = world(off=frozenset(("silent", "gap")))

    async def act():
        await w.run(4 * HOUR_MS)
        silence(w)
        w.lose(4)
        await w.run(DAY_MS)

    asyncio.run(act())
    assert w.sent == []


# --- a month ---------------------------------------------------------------------------------

MONTH_SEEDS = (1, 2)
ACTS = {
    "silent": (silence, speak),
    "offline": (lambda w: w.edge("attic", "offline"), lambda w: w.edge("attic")),
    "log": (lambda w: w.edge("cellar", fill=90), lambda w: w.edge("cellar")),
    "disk": (set_host(forecast=FULL), set_host(forecast=FREE)),
    "backup": (set_host(backups=NO_BACKUP), back_up),
    "database": (set_host(store_trouble="x"), set_host(store_trouble=None)),
    "broker": (set_host(broker_trouble="x"), set_host(broker_trouble=None)),
}


async def live_a_month(w, rng):
    """Let one trouble after another come and go, and the host start, the clock be set, sending
    fail at any time; returns the kinds of what came.
    """
    came, left = [], []

    def disturb():
        what = rng.randrange(5)
        if what == 0:
            w.start()
        elif what == 1:
            w.now_ms += rng.choice((-1, 1)) * rng.choice((MINUTE_MS, HOUR_MS, 5 * DAY_MS))
        elif what == 2:
            w.failing = None if w.failing else "HTTP 503"

    await w.run(12 * HOUR_MS)
    while w.mono_ms < 30 * DAY_MS:
        left = left or list(ACTS)
        kind = rng.choice(left)
        left.remove(kind)
        begin, end = ACTS[kind]
        came.append(kind)
        begin(w)
        for _ in range(1 + rng.randrange(4)):
            await w.run((20 + rng.randrange(100)) * MINUTE_MS)
            disturb()
            if kind not in ("silent", "offline", "log"):
                begin(w)  # a new start finds it again
        end(w)
        await w.run((9 + rng.randrange(11)) * HOUR_MS)
        disturb()
        w.failing = None  # what cannot be sent for two days is given up
    await w.run(2 * DAY_MS)
    return came


@pytest.mark.parametrize("seed", MONTH_SEEDS)
def test_a_month_of_troubles(world, seed):
    """Each is told once, and its end once, through restarts, a clock that steps, and failures."""
    print("seed", seed)
    w = world(look_ms=5 * MINUTE_MS, quiet=NIGHT)
    came = asyncio.run(live_a_month(w, Rng(seed)))
    lines = w.lines()
    for kind in ACTS:
        begun = [line for line in lines if line[:2] == (ON, kind)]
        over = [line for line in lines if line[:2] == (OFF, kind)]
        assert len(over) == came.count(kind), (kind, lines)
        # Of what came and went in quiet hours, only the end is told.
        assert len(begun) <= came.count(kind), (kind, lines)
    assert {line[1] for line in lines} == set(came)
    assert len(w.sent) <= 2 * len(came)
