"""The view: honest ages, what is told and what is not."""

import re

import pytest

from wattlog_host import live as live_module
from wattlog_host.live import HostView, LiveView
from wattlog_host.snapshot import snapshot
from wattlog_host.status import decode_status
from wattlog_host.store.records import Latest
from wattlog_host.wire import decode_batch, decode_live

NOW_MS = 1_795_000_000_000


@pytest.fixture
def view():
    return LiveView(HostView("1", NOW_MS), {})


def latest(wire, time_ms=NOW_MS, values=None, boot=17, uptime_ms=0):
    return Latest(
        wire.meter, "1 ISK00 53946681", "cellar", time_ms, "sync", values or {}, boot, uptime_ms
    )


def told(view, *payloads):
    return [text for p in payloads for _, text in view.on_status(decode_status(p), NOW_MS)]


CRASHED = {"crash": {"text": "ValueError: x", "trace": ["main.py:1 loop", "agent.py:7 take"]}}
STORIES = (
    ("an agent comes", lambda w: [w.status()], ["agent cellar online"]),
    ("it says so again", lambda w: [w.status(), w.status()], ["agent cellar online"]),
    ("it goes", lambda w: [w.status(), w.status("offline")],
     ["agent cellar online", "agent cellar offline"]),
    ("a will of an earlier start comes late",
     lambda w: [w.status(boot=2), w.status("offline", boot=1)], ["agent cellar online"]),
    ("an agent that was never seen is away", lambda w: [w.status("offline")], []),
    ("a claim is between agents", lambda w: [w.status("claim")], []),
    ("it is restarted", lambda w: [w.status(boot=1), w.status(boot=2)],
     ["agent cellar online", "agent cellar restarted"]),
    ("it had crashed, which is told once",
     lambda w: [w.status(board=CRASHED), w.status(board=CRASHED), w.status(board={})],
     ["agent cellar online", "agent cellar had crashed: ValueError: x (agent.py:7 take)"]),
    ("a note of a crash that was torn", lambda w: [w.status(board={"crash": {}})],
     ["agent cellar online", "agent cellar had crashed: no word"]),
    ("it is restarted while away",
     lambda w: [w.status(boot=1), w.status("offline", boot=1), w.status(boot=2)],
     ["agent cellar online", "agent cellar offline", "agent cellar restarted"]),
    ("a port fails and works again",
     lambda w: [w.status(meters=[w.meter_status(trouble=t)]) for t in (None, "gone", "gone", None)],
     ["agent cellar online", "agent cellar: /dev/ttyUSB0: gone",
      "agent cellar: /dev/ttyUSB0 works again"]),
)  # fmt: skip


@pytest.mark.parametrize(("story", "texts"), [s[1:] for s in STORIES], ids=[s[0] for s in STORIES])
def test_what_is_told_of_an_agent(view, wire, story, texts):
    assert told(view, *story(wire)) == texts


def test_a_batch_after_a_late_last_will_of_the_same_start_shows_that_the_agent_lives(view, wire):
    told(view, wire.status(), wire.status("offline"))
    view.on_batch(decode_batch(wire.batch(wire.reading())), NOW_MS)
    assert view.edges["cellar"].state == "offline"
    view.on_batch(decode_batch(wire.batch(wire.reading())), NOW_MS + 1)
    assert view.edges["cellar"].state == "online"


AGES = (
    ("just now", NOW_MS, 0, False),
    ("from the log", NOW_MS - 60_000, 60_000, True),
    ("a clock that runs ahead", NOW_MS + 600_000, 0, False),
)


@pytest.mark.parametrize(
    ("time_ms", "age_ms", "stale"), [a[1:] for a in AGES], ids=[a[0] for a in AGES]
)
def test_the_age_is_that_of_the_reading(view, wire, time_ms, age_ms, stale):
    view.on_latest([latest(wire, NOW_MS - 100_000)], NOW_MS)
    view.on_latest([latest(wire, time_ms)], NOW_MS)
    (meter,) = snapshot(view, NOW_MS)["meters"]
    assert (meter["age_s"], meter["stale"]) == (age_ms / 1000, stale)


def test_a_clock_that_runs_ahead_cannot_hide_that_nothing_comes(view, wire):
    view.on_latest([latest(wire, 0)], NOW_MS)
    view.on_latest([latest(wire, NOW_MS + 600_000)], NOW_MS)
    (meter,) = snapshot(view, NOW_MS + 100_000)["meters"]
    assert (meter["age_s"], meter["stale"]) == (100, True)


def test_a_meter_that_is_read_seldom_is_stale_after_three_of_its_intervals(view, wire):
    for index in range(3):
        view.on_latest([latest(wire, NOW_MS + 20_000 * index)], NOW_MS + 20_000 * index)
    view_at = [
        snapshot(view, NOW_MS + 40_000 + age)["meters"][0]["stale"] for age in (60_000, 60_001)
    ]
    assert view_at == [False, True]


def test_absent_is_none_and_never_0(view, wire):
    view.on_latest([latest(wire)], NOW_MS)
    view.on_batch(decode_batch(wire.batch(wire.reading())), NOW_MS)
    shown = snapshot(view, NOW_MS)
    meter, agent = shown["meters"][0], shown["agents"][0]
    for key in ("power_w", "direction", "import_kwh", "export_kwh", "port"):
        assert meter[key] is None, key
    for key in ("version", "platform", "uptime_s", "status_age_s"):
        assert agent[key] is None, key
    assert (agent["state"], set(agent["log"].values())) == ("unknown", {None})


def test_digits_are_exact(view, wire):
    values = {1: 19_892_750_000, 4: 0, 10: -231_400, 11: 1}
    view.on_latest([latest(wire, values=values)], NOW_MS)
    (meter,) = snapshot(view, NOW_MS)["meters"]
    assert (meter["import_kwh"], meter["export_kwh"]) == ("198.9275", "0.0000")
    assert (meter["power_w"], meter["direction"]) == ("-231.4", "exporting")
    assert meter["phases"] == [
        {"name": "L1", "power_w": "0.001", "voltage_v": None, "current_a": None}
    ]


def test_the_port_of_a_meter_is_found_by_its_number(view, wire):
    view.on_latest([latest(wire)], NOW_MS)
    told(view, wire.status(meters=[wire.meter_status(hint="enter the PIN")]))
    port = snapshot(view, NOW_MS)["meters"][0]["port"]
    assert (port["frames"], port["drops"], port["hint"]) == (5, {"crc": 2}, "enter the PIN")


QUARANTINES = (
    ("not told", None, None),
    ("nothing yet", {"held": 0}, {"held": 0}),
    ("some", {"held": 1, "falls": 2, "glitch": 1}, {"falls": 2, "glitch": 1, "held": 1}),
)


@pytest.mark.parametrize(
    ("sent", "shown"), [q[1:] for q in QUARANTINES], ids=[q[0] for q in QUARANTINES]
)
def test_what_was_held_back_is_shown_with_meter_and_port_as_it_was_told(view, wire, sent, shown):
    view.on_latest([latest(wire)], NOW_MS)
    told(view, wire.status(meters=[wire.meter_status(quarantine=sent)]))
    found = snapshot(view, NOW_MS)
    assert found["meters"][0]["port"]["quarantine"] == shown
    assert found["agents"][0]["ports"][0]["quarantine"] == shown


def test_the_number_of_agents_in_memory_is_bounded_and_the_silent_ones_go(view, wire, monkeypatch):
    monkeypatch.setattr(live_module, "EDGES_MAX", 3)
    for at_ms, name, state in (
        (1, "old", "online"), (2, "away", "offline"), (3, "new", "online"), (4, "x", "online"),
    ):  # fmt: skip
        view.on_status(decode_status(wire.status(state, edge=name)), at_ms)
    assert (sorted(view.edges), view.dropped["too many agents"]) == (["new", "old", "x"], 1)
    # All of them are connected and were heard: of a fleet some are not shown.
    batch = decode_batch(wire.batch(wire.reading(), edge="y"))
    for at_ms in (5, 6, 1_004, live_module.HEARD_MS):
        assert view.on_batch(batch, at_ms) == []
        assert view.on_status(decode_status(wire.status("online", edge="y")), at_ms) == []
    assert (sorted(view.edges), view.dropped["too many agents"]) == (["new", "old", "x"], 3)
    view.on_batch(batch, live_module.HEARD_MS + live_module.ROOM_MS)
    assert (sorted(view.edges), view.dropped["too many agents"]) == (["new", "x", "y"], 4)


def test_a_claim_makes_no_agent(view, wire):
    told(view, wire.status("claim"))
    assert view.edges == {}


def test_a_clock_that_is_ahead_is_told_once_until_it_is_right_again(view, wire):
    batch = decode_batch(wire.batch(wire.reading()))
    story = (None, 60_000, 60_001, None, 90_000, 0, 3_600_000)
    texts = [text for ms in story for _, text in view.on_batch(batch, NOW_MS, ms)]
    assert [re.search(r"cellar is (\d+ s) ahead of this host", text)[1] for text in texts] == [
        "60 s",
        "3600 s",
    ]


# --- live --------------------------------------------------------------------------------------


def live(view, wire, uptime_ms, now_ms=NOW_MS, power=5, **name):
    return view.on_live(decode_live(wire.live(uptime_ms, (10, power, 0), **name)), now_ms)


def shown(view):
    (meter,) = view.meters.values()
    return meter.latest.values.get(10), meter.latest.time_ms, meter.latest.time_source


def test_a_live_reading_of_a_meter_nobody_knows_is_shown_at_once(view, wire):
    assert live(view, wire, 9000)
    assert shown(view) == (5000, NOW_MS, "live")
    (meter,) = snapshot(view, NOW_MS + 700)["meters"]
    assert (meter["is_stored"], meter["age_s"], meter["agent"]) == (False, 0.7, "cellar")


def test_a_live_reading_gets_the_clock_of_its_boot(view, wire):
    view.on_latest([latest(wire, NOW_MS - 5000, uptime_ms=1000)], NOW_MS)
    assert live(view, wire, 5800)
    assert shown(view) == (5000, NOW_MS - 200, "sync")
    assert live(view, wire, 1, NOW_MS + 9, boot=18)
    assert shown(view) == (5000, NOW_MS + 9, "live")


def test_a_clock_that_is_ahead_places_no_live_reading(view, wire):
    view.on_latest([latest(wire, NOW_MS, uptime_ms=0)], NOW_MS)
    assert live(view, wire, 60_001)
    assert shown(view) == (5000, NOW_MS, "live")


OLDER = (
    ("an older one of the boot", 999, 17),
    ("the one that is known", 1000, 17),
)


@pytest.mark.parametrize(("uptime_ms", "boot"), [o[1:] for o in OLDER], ids=[o[0] for o in OLDER])
def test_a_live_reading_that_is_no_news_is_passed_over(view, wire, uptime_ms, boot):
    view.on_latest([latest(wire, values={10: 1}, uptime_ms=1000)], NOW_MS)
    changes = view.changes
    assert not live(view, wire, uptime_ms, boot=boot)
    assert (shown(view)[0], view.changes) == (1, changes)


def test_live_readings_that_overtake_each_other_never_go_back(view, wire):
    assert [live(view, wire, at, power=at) for at in (3, 2, 3, 4)] == [True, False, False, True]
    assert shown(view)[0] == 4000


def test_what_is_stored_later_does_not_hide_a_newer_live_reading(view, wire):
    live(view, wire, 9000)
    view.on_latest([latest(wire, NOW_MS - 3000, {10: 1}, uptime_ms=6500)], NOW_MS + 10)
    assert shown(view) == (5000, NOW_MS - 500, "sync")
    view.on_latest([latest(wire, NOW_MS - 500, {10: 5000}, uptime_ms=9000)], NOW_MS + 20)
    assert snapshot(view, NOW_MS)["meters"][0]["is_stored"]


def test_what_is_stored_of_a_later_boot_does(view, wire):
    live(view, wire, 9000)
    view.on_latest([latest(wire, NOW_MS + 1, {10: 1}, boot=18)], NOW_MS + 10)
    assert shown(view)[0] == 1


def test_values_that_no_batch_may_have_are_not_shown(view, wire):
    assert not live(view, wire, 9000, power=10**7)
    assert view.meters == {}


def test_the_number_of_meters_in_memory_is_bounded(view, wire, monkeypatch):
    monkeypatch.setattr(live_module, "METERS_SHOWN_MAX", 1)
    assert [live(view, wire, 5, meter=meter) for meter in (b"a", b"b")] == [True, False]
