"""What is told over MQTT of inverters, whose names and readings are a cloud's."""

import json
from decimal import Decimal

import pytest

from dess_world import Readers, world
from wattlog_host.announce import config, topics
from wattlog_host.announce.announcer import Announcer
from wattlog_host.announce.homeassistant import MESSAGE_BYTES_MAX
from wattlog_host.announce.inverters import device_of_inverter, inverter_json, name_of
from wattlog_host.dess.controls import Audit
from wattlog_host.dess.devcodes import load
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.panel import Panel
from wattlog_host.dess.sensors import MODE_CLASSES, SENSORS
from wattlog_host.dess.shown import Inverter
from wattlog_host.live import HostView, LiveView

NOW_MS = 1_795_000_000_000
DEFAULTS = {key.path.partition(".")[2]: key.default for key in config.SCHEMA}
NOBODY = LiveView(HostView("1", NOW_MS), {})


def number(key, value, unit="W", **more):
    return Reading(key, key.title(), unit, None if value is None else Decimal(value), key, **more)


def mode(text="Line", text_class="grid"):
    return Reading(
        "operating_mode", "Operating Mode", "", None, "mode", text, text_class, "enum", None
    )


READINGS = (
    number("thing", "7", "A", is_generic=True, device_class="current"),
    number("rated_power", "3000", is_diagnostic=True, device_class="power"),
    number("solar_power", "512.5", device_class="power", state_class="measurement"),
    number("energy_today", "2.5", "kWh", device_class="energy", period="day"),
    number("energy_total", "812.4", "kWh", device_class="energy", period="life"),
    number("state_of_charge", "81", "%", state_class="measurement"),
    number("grid_power", None, device_class="power", state_class="measurement"),
    mode(),
)


def inverter(readings=READINGS, key="E5000023", is_fresh=True):
    return Inverter(key, "Roof (W001)", 2376, "1.2", NOW_MS, is_fresh, tuple(readings))


class Said:
    def __init__(self, **change):
        refuse = lambda key, why: ValueError(f"{key} {why}")  # noqa: E731
        self.announcer = Announcer(config.read({**DEFAULTS, **change}, refuse), "1.2")
        self.kept = {}

    def look(self, *solar):
        found = self.announcer.due(NOBODY, NOW_MS, solar)
        for message in found:
            self.announcer.told(message)
            self.kept[message.topic] = message.payload
        return [message.topic for message in found]


def test_an_inverter_is_json_with_each_reading_and_what_is_unknown_is_null():
    shown = json.loads(inverter_json(inverter()))
    assert shown.pop("time").startswith("2026-11-1")
    assert shown == {
        "inverter": "E5000023",
        "name": "Roof (W001)",
        "other_thing": 7.0,
        "rated_power": 3000.0,
        "solar_power": 512.5,
        "energy_today": 2.5,
        "energy_total": 812.4,
        "state_of_charge": 81.0,
        "grid_power": None,
        "operating_mode": "grid",
        "operating_mode_text": "Line",
    }


def test_home_assistant_gets_a_device_for_it_with_the_right_classes():
    said = Said()
    order = said.look(inverter())
    config_topic = "homeassistant/device/wattlog_inverter_E5000023/config"
    assert order[-3:] == [
        "wattlog/inverter/E5000023/availability", "wattlog/inverter/E5000023", config_topic,
    ]  # fmt: skip
    told = json.loads(said.kept[config_topic])
    assert told["dev"] == {
        "ids": ["wattlog_inverter_E5000023"],
        "name": "Roof (W001)",
        "mdl": "devcode 2376",
        "sn": "E5000023",
        "sw": "1.2",
    }
    assert [one["t"] for one in told["avty"]] == [
        topics.HOST, "wattlog/inverter/E5000023/availability",
    ]  # fmt: skip
    classes = {
        field: tuple(one.get(key) for key in ("dev_cla", "stat_cla", "unit_of_meas", "ent_cat"))
        for field, one in told["cmps"].items()
    }
    assert classes == {
        "solar_power": ("power", "measurement", "W", None),
        "energy_today": ("energy", "total_increasing", "kWh", None),
        "energy_total": ("energy", "total", "kWh", None),
        "state_of_charge": ("battery", "measurement", "%", None),
        "grid_power": ("power", "measurement", "W", None),
        "operating_mode": ("enum", None, None, None),
        "rated_power": ("power", None, "W", "diagnostic"),
        "other_thing": (None, None, "A", "diagnostic"),
    }
    off = {field for field, one in told["cmps"].items() if one.get("en") is False}
    assert off == {"rated_power", "other_thing"}
    assert told["cmps"]["operating_mode"]["ops"] == list(MODE_CLASSES)


def test_one_whose_data_are_old_or_that_left_the_account_is_unavailable_and_never_0():
    said = Said()
    topic = "wattlog/inverter/E5000023/availability"
    said.look(inverter())
    assert said.kept[topic] == b"online"
    before = dict(said.kept)
    assert said.look(inverter(is_fresh=False)) == [topic]
    assert said.kept == before | {topic: b"offline"}
    said.look(inverter())
    assert said.kept == before
    assert said.look() == [topic]
    assert said.kept[topic] == b"offline"


def test_one_of_which_nothing_is_known_yet_is_not_announced():
    said = Said()
    said.look(inverter((), is_fresh=False))
    assert not [topic for topic in said.kept if topic.startswith("homeassistant/")]
    assert not [topic for topic in Said(homeassistant=False).look(inverter()) if "assist" in topic]


@pytest.mark.parametrize("key", ["a/b", "#", "+", "sn 1", "ä", "\0"])
def test_a_name_that_no_topic_may_hold_becomes_another_one_of_its_own(key):
    name = name_of(inverter(key=key))
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert name != name_of(inverter(key=key + key))
    said = Said()
    said.look(inverter(key=key))
    assert json.loads(said.kept[topics.inverter(name)])["inverter"] == key


def test_what_does_not_fit_into_a_message_is_what_nobody_knows():
    known = [
        Reading(
            one.id, one.label, one.unit, Decimal(1), one.label, None, None, one.device_class,
            one.state_class, one.period, one.is_diagnostic,
        )
        for one in SENSORS
        if not one.is_text
    ]  # fmt: skip
    # No protocol has half of all sensors.
    most = max(len({*code.titles.values(), *code.parameters.values()}) for code in load())
    assert most < len(known) / 2
    known = known[:most]
    strange = [number(f"thing_{index}", "1", is_generic=True) for index in range(300 - most)]
    said = Said()
    said.look(inverter([*strange, *known]))
    told = said.kept["homeassistant/device/wattlog_inverter_E5000023/config"]
    assert len(told) < MESSAGE_BYTES_MAX
    fields = set(json.loads(told)["cmps"])
    assert {one.key for one in known} < fields
    assert len(fields) > most + 20
    by_entity = Said(form="entity")
    by_entity.look(inverter([*strange, *known]))
    by_entity.look(inverter([*strange, *known]))
    assert len([topic for topic in by_entity.kept if topic.endswith("config")]) == 300


def test_a_counter_of_a_lifetime_is_a_total_and_one_that_begins_anew_is_not():
    for sensor in SENSORS:
        reading = number("x", "1", sensor.unit, period=sensor.period, state_class="measurement")
        (entity,) = device_of_inverter(inverter([reading])).entities
        wanted = {"": "measurement", "life": "total"}.get(sensor.period, "total_increasing")
        assert entity.state_class == wanted, sensor.id


def test_the_panel_shows_inverters_as_they_are_now(tmp_path):
    with world(tmp_path) as w:
        w.run(0.5)
        clock, audit = w.clock, Audit(tmp_path / "changes", w.clock.now_ms)
        panel = Panel(
            w.worker, Readers(w.sink), audit, frozenset(), None, clock.wait_s, clock.now_ms,
            clock.monotonic_ms,
        )  # fmt: skip
        found = panel.inverters()
        assert len(found) == 3 and all(one.is_fresh and one.readings for one in found)
        value = {reading.key: reading.value for reading in found[0].readings}
        assert value["output_power"] is not None
        # Nobody asks any more: the data are old, and what they said of a moment is unknown.
        clock.go(2 * 3_600_000)
        old = panel.inverters()[0]
        assert not old.is_fresh
        later = {reading.key: reading for reading in old.readings}
        assert later["output_power"].value is None
        counters = [key for key, reading in later.items() if reading.period]
        assert counters and all(later[key].value == value[key] for key in counters)
