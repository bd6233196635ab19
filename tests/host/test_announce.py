"""What Home Assistant, Tasmota's readers and people are told over MQTT, and when."""

import asyncio
import json
import re

import aiomqtt
import pytest
import yaml

from toolbox import ROOT
from wattlog.channels import all_channels
from wattlog_host.announce import config, topics
from wattlog_host.announce.announcer import AT_ONCE_MAX, Announcer
from wattlog_host.announce.homeassistant import AGENT_ENTITIES, EXPIRES_S
from wattlog_host.announce.service import LOOKS_MAX, Announcements
from wattlog_host.live import HostView, LiveView
from wattlog_host.status import decode_status
from wattlog_host.store.records import Latest

NOW_MS = 1_795_000_000_000
PATIENCE_S = 30
DEFAULTS = {key.path.partition(".")[2]: key.default for key in config.SCHEMA}
OTHER = bytes.fromhex("0a0145425a00001234ff")
IMPORT, EXPORT, POWER, ANGLE = 1, 4, 10, 51
VALUES = {IMPORT: 1_234_567_890_000, EXPORT: 0, POWER: -250_500, ANGLE: 120_000}


def settings(**change):
    return config.read({**DEFAULTS, **change}, lambda key, why: ValueError(f"{key} {why}"))


@pytest.fixture
def view(wire):
    made = LiveView(HostView("1", NOW_MS), {})
    made.on_status(decode_status(wire.status(version="0.9", meters=[wire.meter_status()])), NOW_MS)
    made.on_latest([latest(wire)], NOW_MS)
    return made


def latest(wire, time_ms=NOW_MS, values=VALUES, meter=None):
    return Latest(
        meter or wire.meter, "1 ISK00 53946681", "cellar", time_ms, "sync", values, 17, time_ms
    )


class Said:
    """What a broker that keeps everything has been told."""

    def __init__(self, view, **change):
        self.announcer = Announcer(settings(**change), "1.2")
        self.view = view
        self.kept = {}
        self.all = []

    def look(self, now_ms=NOW_MS):
        """Publish what is due; return its topics."""
        found = self.announcer.due(self.view, now_ms)
        for message in found:
            self.announcer.told(message)
            self.all.append(message)
            if message.is_kept:
                self.kept[message.topic] = message.payload
        return [message.topic for message in found]

    def json(self, topic):
        return json.loads(self.kept[topic])

    def components(self, wire):
        return self.json(f"homeassistant/device/wattlog_{wire.meter.hex()}/config")["cmps"]


def test_a_meter_is_json_with_each_value_in_its_unit(view, wire):
    said = Said(view)
    said.look()
    shown = said.json(topics.meter(wire.meter))
    assert shown.pop("time").startswith("2026-11-1")
    assert shown == {
        "meter": "1 ISK00 53946681",
        "agent": "cellar",
        "import_kwh": 12_345.6789,
        "export_kwh": 0.0,
        "power_w": -250.5,
        "angle_u_l2_l1_deg": 120.0,
    }


def test_home_assistant_gets_a_device_with_what_the_meter_sends_and_nothing_else(view, wire):
    said = Said(view)
    order = said.look()
    config_topic = f"homeassistant/device/wattlog_{wire.meter.hex()}/config"
    # An entity whose availability has no value yet would stay unavailable.
    assert order.index(topics.meter_availability(wire.meter)) < order.index(config_topic)
    told = said.json(config_topic)
    assert told["o"] == {"name": "wattlog", "sw": "1.2"}
    assert told["dev"]["sn"] == "1 ISK00 53946681"
    assert set(told["cmps"]) == {"import_kwh", "export_kwh", "power_w", "angle_u_l2_l1_deg"}
    energy = told["cmps"]["import_kwh"]
    assert (energy["dev_cla"], energy["stat_cla"], energy["unit_of_meas"]) == (
        "energy", "total", "kWh",
    )  # fmt: skip
    assert "exp_aft" not in energy
    power = told["cmps"]["power_w"]
    assert (power["dev_cla"], power["stat_cla"], power["unit_of_meas"]) == (
        "power", "measurement", "W",
    )  # fmt: skip
    assert power["exp_aft"] == EXPIRES_S + 10
    assert "mf" not in told["dev"], "we have not made the meter"
    assert told["avty"] == [
        {"t": "wattlog/host/availability"},
        {"t": f"wattlog/meter/{wire.meter.hex()}/availability"},
    ]
    assert told["avty_mode"] == "all"
    assert told["stat_t"] == topics.meter(wire.meter)
    angle = told["cmps"]["angle_u_l2_l1_deg"]
    assert (angle["ent_cat"], angle["en"]) == ("diagnostic", False)


def test_every_channel_of_the_vocabulary_can_be_announced(view, wire):
    every = {channel.id: 10**channel.decimals for channel in all_channels()}
    view.on_latest([latest(wire, NOW_MS + 1, every)], NOW_MS)
    said = Said(view)
    said.look()
    assert len(said.components(wire)) == len(every)
    assert all(part["uniq_id"].startswith("wattlog_") for part in said.components(wire).values())


def test_each_entity_reads_a_field_that_is_there(view, wire):
    said = Said(view)
    said.look()
    fields = said.json(topics.meter(wire.meter))
    for field, part in said.components(wire).items():
        assert part["val_tpl"] == f"{{{{ value_json.{field} | default(none) }}}}"
        assert field in fields
    agent = said.json(topics.agent("cellar"))
    assert {entity.field for entity in AGENT_ENTITIES} <= set(agent)


def test_what_only_a_board_can_tell_is_announced_of_a_board_alone(view, wire):
    def fields():
        said = Said(view)
        said.look()
        return set(said.json("homeassistant/device/wattlog_agent_cellar/config")["cmps"])

    assert not fields() & {"rssi_dbm", "heap_free_bytes"}
    view.on_status(decode_status(wire.status(board={"rssi_dbm": -61})), NOW_MS)
    assert fields() >= {"rssi_dbm", "heap_free_bytes", "log_fill_percent", "connected"}


def test_an_older_home_assistant_gets_a_message_for_each_entity(view, wire):
    said = Said(view, form="entity", prefix="ha")
    said.look()
    told = said.json(f"ha/sensor/wattlog_{wire.meter.hex()}/power_w/config")
    assert told["dev"]["ids"] == [f"wattlog_{wire.meter.hex()}"]
    assert told["o"]["name"] == "wattlog"
    assert told["stat_t"] == topics.meter(wire.meter)
    connected = said.json("ha/binary_sensor/wattlog_agent_cellar/connected/config")
    assert connected["stat_t"] == "wattlog/agent/cellar/availability"
    assert connected["avty"] == [{"t": "wattlog/host/availability"}]
    assert not [topic for topic in said.kept if "/device/" in topic]


def test_nothing_is_said_twice_and_a_reading_not_too_often(view, wire):
    said = Said(view, every_s=10)
    assert said.look()
    assert said.look() == []
    view.on_latest([latest(wire, NOW_MS + 1000, {**VALUES, POWER: 1000})], NOW_MS + 1000)
    assert said.look(NOW_MS + 9_999) == []
    assert said.look(NOW_MS + 10_000) == [topics.meter(wire.meter)]
    # The clock was set back.
    view.on_latest([latest(wire, NOW_MS + 2000, {**VALUES, POWER: 2000})], NOW_MS - 5000)
    assert said.look(NOW_MS - 5000) == [topics.meter(wire.meter)]


def test_what_could_not_be_sent_is_due_again(view):
    announcer = Announcer(settings(), "1")
    first = announcer.due(view, NOW_MS)
    assert announcer.due(view, NOW_MS + 1) == first
    announcer.told(first[0])
    assert announcer.due(view, NOW_MS + 1) == first[1:]


def test_a_new_broker_is_told_everything_and_home_assistant_its_devices(view, wire):
    said = Said(view)
    everything = said.look()
    said.announcer.forget()
    assert said.look() == everything
    said.announcer.forget_devices()
    assert said.look() == [topic for topic in everything if topic.startswith("homeassistant/")]


def test_a_reading_that_is_no_news_and_an_agent_that_is_gone_make_it_unavailable(view, wire):
    said = Said(view)
    topic = topics.meter_availability(wire.meter)
    said.look()
    assert said.kept[topic] == b"online"
    said.look(NOW_MS + 3_600_000)
    assert said.kept[topic] == b"offline"
    said.look(NOW_MS)
    view.on_status(decode_status(wire.status("offline")), NOW_MS)
    assert said.look(NOW_MS) == [topics.agent_availability("cellar"), topic]
    assert said.kept[topic] == said.kept[topics.agent_availability("cellar")] == b"offline"


def test_a_new_meter_is_a_new_device_and_the_old_one_keeps_its_register(view, wire):
    said = Said(view)
    said.look()
    before = said.kept[topics.meter(wire.meter)]
    view.on_latest([latest(wire, NOW_MS + 60_000, {IMPORT: 0}, OTHER)], NOW_MS + 60_000)
    said.look(NOW_MS + 60_000)
    assert said.kept[topics.meter(wire.meter)] == before
    assert said.kept[topics.meter_availability(wire.meter)] == b"offline"
    told = said.json(f"homeassistant/device/wattlog_{OTHER.hex()}/config")
    assert told["cmps"]["import_kwh"]["uniq_id"] == f"wattlog_{OTHER.hex()}_import_kwh"
    assert said.json(topics.meter(OTHER))["import_kwh"] == 0


def test_what_a_meter_does_not_send_is_not_there_and_no_zero(view, wire):
    view.on_latest([latest(wire, NOW_MS + 1, {IMPORT: 5})], NOW_MS)
    said = Said(view)
    said.look()
    assert set(said.json(topics.meter(wire.meter))) == {"meter", "agent", "time", "import_kwh"}
    agent = said.json(topics.agent("cellar"))
    assert agent["rssi_dbm"] is None and agent["frames"] == 5 and agent["frames_dropped"] == 2
    # Held now, released and the reasons are no further readings.
    doubted = {"held": 1, "released": 4, "glitch": 3, "jumps": 8}
    status = wire.status(meters=[wire.meter_status(quarantine=doubted)])
    view.on_status(decode_status(status), NOW_MS)
    said.look()
    assert said.json(topics.agent("cellar"))["readings_discarded"] == 3


def test_a_fleet_is_announced_bit_by_bit(wire):
    view = LiveView(HostView("1", NOW_MS), {})
    for number in range(300):
        view.on_latest([latest(wire, meter=OTHER[:-2] + number.to_bytes(2, "big"))], NOW_MS)
    said = Said(view)
    sizes = [len(said.look()) for _ in range(6)]
    assert sizes == [AT_ONCE_MAX] * 4 + [300 * 3 + 1 - 4 * AT_ONCE_MAX, 0]


# -- as Tasmota ------------------------------------------------------------------------------


def field_mapping(message):
    """energy-monitor's: which values it takes of a message, None where there is none."""
    found = json.loads(message.payload)["MT681"]
    return (
        found.get("Meter_id") or found.get("server_id"),
        found.get("Power"),
        found.get("E_in") or found.get("ImportActive"),
        found.get("E_out") or found.get("ExportActive"),
        found.get("Power_p1"),
    )


def test_who_reads_tasmota_goes_on_reading(view, wire):
    said = Said(view, tasmota="tasmota", tasmota_name="MT681", homeassistant=False)
    said.look()
    readings = [message for message in said.all if message.topic == "tele/tasmota/SENSOR"]
    assert [field_mapping(one) for one in readings] == [
        (wire.meter.hex(), -250.5, 12_345.6789, None, None)
    ]
    assert json.loads(readings[0].payload)["Time"][10] == "T"
    assert said.kept["tele/tasmota/LWT"] == b"Online"
    # A reader stores each at the time of its arrival: none may come twice.
    said.announcer.forget()
    assert "tele/tasmota/SENSOR" not in said.look(NOW_MS + 100)
    assert not [message for message in said.all if message.topic.startswith("homeassistant")]


def test_a_reading_that_is_no_news_is_not_sent_to_who_reads_tasmota(view, wire):
    said = Said(view, tasmota="tasmota")
    said.look(NOW_MS + 3_600_000)
    assert said.kept["tele/tasmota/LWT"] == b"Offline"
    assert "tele/tasmota/SENSOR" not in [message.topic for message in said.all]


def test_of_several_meters_the_one_that_is_named_stands_for_tasmota(view, wire, caplog):
    view.on_latest([latest(wire, meter=OTHER)], NOW_MS)
    said = Said(view, tasmota="tasmota")
    said.look()
    said.look()
    assert not [topic for topic in said.kept if topic.startswith("tele/")]
    assert caplog.text.count("say which in announce.tasmota_meter") == 1
    said = Said(view, tasmota="tasmota", tasmota_meter=OTHER.hex())
    said.look()
    sent = [message for message in said.all if message.topic == "tele/tasmota/SENSOR"]
    assert json.loads(sent[0].payload)["SML"]["Meter_id"] == OTHER.hex()


# -- settings and the running host -----------------------------------------------------------


@pytest.mark.parametrize("key", ["prefix", "tasmota"])
def test_a_topic_that_is_none_is_refused(key):
    for wrong in ("a/#", "a+", "/a", "a b", "a/"):
        with pytest.raises(ValueError, match=f"announce.{key} may hold letters"):
            settings(**{key: wrong})
    settings(**{key: "a/b-c_1"})


def test_agents_are_asked_for_more_than_they_send_unasked_only_where_more_is_said():
    assert not settings().wants_all_live()
    assert settings(every_s=9).wants_all_live()


class FakeLink:
    """A link that takes so many messages and no more."""

    def __init__(self, room):
        self.room = room
        self.sent = []

    async def publish(self, topic, payload, *, is_kept=False):
        if len(self.sent) >= self.room:
            return False
        self.sent.append((topic, payload, is_kept))
        return True


def test_home_assistant_that_starts_is_told_after_a_while(view):
    link = FakeLink(1000)
    it = Announcements(
        Announcer(settings(), "1"), "homeassistant", view, lambda: NOW_MS, lambda: 0.5
    )
    assert it.birth_topic == "homeassistant/status"
    asyncio.run(it.look(link))
    first = len(link.sent)
    it.on_birth(b"offline")
    for _ in range(LOOKS_MAX + 1):
        asyncio.run(it.look(link))
    it.on_birth(b"online")
    for _ in range(LOOKS_MAX // 2):
        asyncio.run(it.look(link))
    assert len(link.sent) == first
    asyncio.run(it.look(link))
    assert {topic.split("/")[0] for topic, _, _ in link.sent[first:]} == {"homeassistant"}


def test_a_link_that_is_lost_in_the_middle_goes_on_where_it_was(view):
    link = FakeLink(2)
    it = Announcements(Announcer(settings(), "1"), "ha", view, lambda: NOW_MS, lambda: 0)
    asyncio.run(it.look(link))
    link.room = 1000
    asyncio.run(it.look(link))
    assert len({topic for topic, _, _ in link.sent}) == len(link.sent) > 2
    asyncio.run(it.say_goodbye(link))
    assert link.sent[-1] == (topics.HOST, b"offline", True)


async def _kept(port, until):
    """Return what the broker keeps, once until(it) is true."""
    kept = {}
    async with asyncio.timeout(PATIENCE_S), aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe([("wattlog/#", 0), ("homeassistant/#", 0)])
        async for message in client.messages:
            kept[str(message.topic)] = message.payload
            if until(kept):
                return kept
    raise AssertionError


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
def test_the_host_announces_its_meters_and_says_goodbye(request, make_host, wire, kind):
    mosquitto = request.getfixturevalue("mosquitto") if kind == "mosquitto" else None
    host = make_host(mosquitto.port if mosquitto else None, "every_s = 1\n")
    host.start()

    async def send():
        async with aiomqtt.Client("127.0.0.1", host.mqtt_port) as client:
            await client.publish("wattlog/1/cellar/s", wire.status(), retain=True)
            await client.subscribe("wattlog/1/cellar/a")
            await client.publish("wattlog/1/cellar/b", wire.batch(wire.sync(), wire.reading()))
            await anext(client.messages)  # an embedded broker may drop what the last breath said

    asyncio.run(send())
    announced = f"homeassistant/device/wattlog_{wire.meter.hex()}/config"
    kept = asyncio.run(_kept(host.mqtt_port, lambda kept: announced in kept))
    assert kept[topics.HOST] == b"online"
    assert json.loads(kept[topics.meter(wire.meter)])["meter"]
    if mosquitto is None:
        return  # the broker goes with the host
    assert host.end() == 0
    gone = asyncio.run(_kept(mosquitto.port, lambda kept: topics.HOST in kept))
    assert gone[topics.HOST] == b"offline"


def test_a_host_that_is_killed_has_left_a_last_will(make_host, mosquitto):
    host = make_host(mosquitto.port)
    host.start()
    online = lambda kept: kept.get(topics.HOST) == b"online"  # noqa: E731
    asyncio.run(_kept(mosquitto.port, online))
    host.close()
    asyncio.run(_kept(mosquitto.port, lambda kept: kept.get(topics.HOST) == b"offline"))


def test_home_assistant_and_a_new_broker_are_told_again(make_host, mosquitto, wire):
    host = make_host(mosquitto.port)
    host.start()
    agent = "homeassistant/device/wattlog_agent_cellar/config"

    async def come():
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
            await client.publish("wattlog/1/cellar/s", wire.status())
            await client.subscribe(agent)
            await anext(client.messages)
            await client.publish("homeassistant/status", b"online")
            async for message in client.messages:
                if not message.retain:
                    return

    async def in_time():
        async with asyncio.timeout(PATIENCE_S):
            await come()

    asyncio.run(in_time())
    # This broker keeps nothing on disk.
    mosquitto.stop()
    mosquitto.start()
    asyncio.run(_kept(mosquitto.port, lambda kept: agent in kept))


def test_what_the_guide_tells_evcc_to_read_is_there(view, wire):
    guide = (ROOT / "host/INTEGRATIONS.md").read_text()
    (meter,) = yaml.safe_load(re.search(r"```yaml\n(# evcc\.yaml\n.*?)```", guide, re.S)[1])[
        "meters"
    ]
    said = Said(view)
    said.look()
    read = {}
    for what in ("power", "energy"):
        source = meter[what]
        assert source["source"] == "mqtt"
        assert source["topic"] == topics.meter(wire.meter)
        assert re.fullmatch(r"\.\w+", source["jq"])
        read[what] = json.loads(said.kept[source["topic"]])[source["jq"][1:]]
    assert read == {"power": -250.5, "energy": 12_345.6789}
