"""A real Home Assistant finds what the host announces, and counts what the meters counted."""

import contextlib
import select
import urllib.error
from collections import Counter
from itertools import pairwise

import paho.mqtt.client as paho
import pytest

from homeassistant_world import HomeAssistant
from simulated_host import SimulatedHost
from waiting import wait_until
from wattlog_host.clock import now_ms
from wattlog_sim.dess.cloud import Cloud
from wattlog_sim.dess.server import Server

IMPORT, EXPORT, POWER, ANGLE = 1, 4, 10, 51
LOOK_EVERY_S = 0.2
LOOKS_MAX = 100


@pytest.fixture
def make_home(tmp_path, free_port):
    """Call it for a Home Assistant that is not started."""
    made = []

    def make(now_s=None):
        folder = tmp_path / f"home-assistant-{len(made)}"
        folder.mkdir()
        made.append(HomeAssistant(folder, free_port(), now_s))
        return made[-1]

    yield make
    for home in made:
        home.stop()


class Agent:
    """One that says what the test tells it, in a thread of the MQTT library."""

    def __init__(self, port):
        self.heard = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _, __, message: self.heard.append(message.payload)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("wattlog/1/cellar/a")
        self._client.loop_start()

    def say(self, leaf, payload, retain=False):
        """Publish it as the agent's own; return once the broker has it."""
        self._client.publish(f"wattlog/1/cellar/{leaf}", payload, 1, retain).wait_for_publish(20)

    def publish(self, topic, payload):
        """Publish anything, kept."""
        self._client.publish(topic, payload, 1, True).wait_for_publish(20)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def agent(mosquitto):
    made = Agent(mosquitto.port)
    yield made
    made.close()


METER_ENTITIES = {
    # unique id after the meter's: entity id after the device's, state, class, state class, unit
    "import_kwh": ("import", "12345.6789", "energy", "total", "kWh"),
    "export_kwh": ("export", "0.0", "energy", "total", "kWh"),
    "power_w": ("power", "-250.5", "power", "measurement", "W"),
}
AGENT_ENTITIES = {
    "connected": ("binary_sensor", "connection", "on", "connectivity", None, None),
    "log_fill_percent": ("sensor", "log_fill", "25.0", None, "measurement", "%"),
    "rssi_dbm": ("sensor", "wi_fi_signal", "-61", "signal_strength", "measurement", "dBm"),
}
SWITCHED_OFF = {
    "agent": {"frames", "frames_dropped", "readings_discarded", "uptime_s", "heap_free_bytes"},
    "meter": {"angle_u_l2_l1_deg"},
}


@pytest.fixture
def host(make_host, mosquitto, tmp_path):
    """A host that announces to mosquitto, with three inverters in a cloud."""
    made = make_host(mosquitto.port, "every_s = 1\n")
    cloud = Server(Cloud(now_ms, {"demo": "secret"}))
    cloud.start()
    (tmp_path / "secret").write_text("secret\n")
    with made.config_path.open("a") as config:
        config.write(
            f'[dessmonitor]\nenabled = true\nusername = "demo"\nurl = "{cloud.url}"\n'
            'password_file = "secret"\ninterval_min = 1\n'
        )
    yield made
    cloud.stop()


def test_home_assistant_finds_what_there_is_and_follows_it_through_every_absence(
    make_home, host, mosquitto, agent, wire
):
    host.start()
    values = (IMPORT, 123456789, -1, EXPORT, 0, 0, POWER, -2505, -1, ANGLE, 120, 0)
    log = {"bytes": 1, "bytes_max": 4}
    status = wire.status(
        version="0.9", meters=[wire.meter_status()], log=log, board={"rssi_dbm": -61}
    )
    agent.say("s", status)
    agent.say("b", wire.batch(wire.sync(), wire.reading(values=values), boot=16))
    home = make_home()
    home.start()
    home.add_mqtt(mosquitto.port)

    meter, cellar = f"wattlog_{wire.meter.hex()}", "wattlog_agent_cellar"
    count = sum(map(len, (METER_ENTITIES, AGENT_ENTITIES, *SWITCHED_OFF.values())))
    found = wait_until(lambda: len(grid_of(home)) == count and grid_of(home), "all entities")
    ids = {}
    for field, (name, *_) in METER_ENTITIES.items():
        ids[f"{meter}_{field}"] = f"sensor.meter_1_isk00_54012217_{name}"
    for field, (platform, name, *_) in AGENT_ENTITIES.items():
        ids[f"{cellar}_{field}"] = f"{platform}.agent_cellar_{name}"
    shown = {unique: one for unique, one in found.items() if one["disabled_by"] is None}
    assert {unique: one["entity_id"] for unique, one in shown.items()} == ids
    assert {
        unique: one["disabled_by"] for unique, one in found.items() if unique not in shown
    } == {
        f"{device}_{field}": "integration"
        for device, kind in ((cellar, "agent"), (meter, "meter"))
        for field in SWITCHED_OFF[kind]
    }
    diagnostic = {
        unique for unique, one in found.items() if one["entity_category"] == "diagnostic"
    }
    assert diagnostic == set(found) - {f"{meter}_{field}" for field in METER_ENTITIES}

    wanted = {ids[f"{meter}_{field}"]: told for field, (_, *told) in METER_ENTITIES.items()}
    wanted |= {ids[f"{cellar}_{field}"]: told for field, (_, _, *told) in AGENT_ENTITIES.items()}
    show = Show(lambda: told_of(home, wanted), lambda up: agent.say("l", wire.live(up, values)))
    show.wait_for(wanted)
    devices = {
        tuple(one["identifiers"][0]): one for one in home.ask("config/device_registry/list")
    }
    assert devices["mqtt", meter]["serial_number"] == "1 ISK00 54012217"
    assert devices["mqtt", cellar]["sw_version"] == "0.9"
    assert devices["mqtt", meter]["via_device_id"] == devices["mqtt", cellar]["id"]

    readings = wait_until(lambda: solar_of(host), "inverters")
    wait_until(lambda: set(readings) <= set(home.entities()), "the inverters' entities")
    solar = {one: home.entities()[one]["entity_id"] for one in readings}
    wait_until(lambda: solar_in(home, solar) == solar_of(host), "what the inverters say")
    assert {device for _, device in devices if "inverter" in device} == {
        f"wattlog_inverter_{one['device']}" for one in host.json("/api/solar/devices")["devices"]
    }
    off = {unique: one["disabled_by"] for unique, one in home.entities().items()}
    assert {off[one] for one in off if "inverter" in one and one not in solar} == {"integration"}

    # The agent's last will: nothing more is known of the meter, and nothing is 0.
    agent.say("s", wire.status("offline"))
    connection = ids[f"{cellar}_connected"]
    gone = dict.fromkeys(ids.values(), "unavailable") | {connection: "off"}
    wait_until(lambda: states_of(home, ids) == gone, "the agent's absence")
    agent.say("s", status)
    show.wait_for(wanted)

    # The host is killed: its last will takes all with it.
    host.close()
    gone = dict.fromkeys((*ids.values(), *solar.values()), "unavailable")
    wait_until(lambda: states_of(home, ids | solar) == gone, "the host's absence")
    host.start(healthy=False)
    agent.say("s", status)
    show.wait_for(wanted)

    # It starts again, and the broker has lost what it kept: it is told at its birth.
    home.stop()
    agent.publish(f"homeassistant/device/{meter}/config", b"")
    home.start()
    show.wait_for(wanted)
    wait_until(lambda: solar_in(home, solar) == solar_of(host), "the inverters' return")
    for word in ("mqtt", "sensor"):
        assert word not in home.log()


class Show:
    """What Home Assistant shows while an agent goes on reading."""

    def __init__(self, look, read):
        """look() is what is shown, read(uptime_ms) sends a live reading."""
        self._look, self._read = look, read
        self._uptime_ms = 2_000

    def wait_for(self, wanted):
        shown = None
        for _ in range(LOOKS_MAX):
            self._uptime_ms += 1_000
            self._read(self._uptime_ms)
            shown = self._look()
            if shown == wanted:
                return
            select.select([], [], [], LOOK_EVERY_S)
        assert shown == wanted


def grid_of(home):
    """What is registered of meters and agents."""
    found = home.entities()
    return {unique: found[unique] for unique in found if "inverter" not in unique}


def solar_of(host):
    """What the host knows of the inverters: value, class and unit; what no table has is left out."""
    found = {}
    for device in host.json("/api/solar/devices")["devices"]:
        for one in host.json(f"/api/solar/latest?device={device['device']}")["readings"]:
            if one["generic"]:
                continue
            shown = one["value"] if one["class"] is None else one["class"]
            found[f"wattlog_inverter_{device['device']}_{one['channel']}"] = (
                "unknown" if shown is None else shown, one["device_class"], one["unit"],
            )  # fmt: skip
    return found


def solar_in(home, solar):
    """The same as Home Assistant has it."""
    states, found = home.states(), {}
    for unique, entity in solar.items():
        state, more = states[entity]["state"], states[entity]["attributes"]
        with contextlib.suppress(ValueError):
            state = float(state)
        device_class = more.get("device_class")
        if device_class == "battery":
            device_class = None
        found[unique] = state, device_class, more.get("unit_of_measurement")
    return found


def told_of(home, wanted):
    """State, device class, state class and unit of these entities."""
    names = ("device_class", "state_class", "unit_of_measurement")
    states = home.states()
    return {
        one: [states[one]["state"], *(states[one]["attributes"].get(name) for name in names)]
        for one in wanted
        if one in states
    }


def states_of(home, ids):
    states = home.states()
    return {one: states[one]["state"] for one in ids.values()}


# -- a day ------------------------------------------------------------------------------------

# The 23 hours of the day on which summer time begins, from local midnight.
DAY_S = 1_774_738_800
DAY_HOURS = 23
STEP_S = 300
# Home Assistant counts what was up to a full five minutes ten seconds later.
AFTER_S = 11
# Who is away, from which to which hour of the day.
AWAY = {
    "agent": (6, 9),
    "home": (11, 12.4),
    "host": (14, 14.7),
    "meter": (17, 17.5),
}
OLD, NEW = bytes.fromhex("0a0149534b0003382939"), bytes.fromhex("0a01454d480000a1b2c3")
NAMES = {OLD: "1_isk00_54012217", NEW: "1_emh00_10597059"}
# Of the agent's and of Home Assistant's absence; the host came back within the hour.
MISSED_HOURS = 4
# In 0.1 Wh; the new meter has been tested by who made it.
REGISTERS = {OLD: 123_456_789, NEW: 32_100}


class Day:
    """A house whose meter is exchanged in the evening, with all that can be away in between."""

    def __init__(self, home, agent, wire, make_simulated):
        self.home, self._agent, self._wire = home, agent, wire
        self._make_simulated = make_simulated
        self.host = make_simulated(1000 * home.now_s)
        self._away = set()
        self._meter = OLD
        self._registers = dict(REGISTERS)
        self._waiting = []
        """Readings in the agent's log: (time in s, meter, register)."""
        self._next_seq = 1
        self._count = 0
        self.metered = {OLD: [], NEW: []}
        self.shown = {OLD: [], NEW: []}
        """Of each meter, what Home Assistant was shown: (time in s, register)."""

    def pass_to(self, now_s):
        """Let it be that time, five minutes after the last one."""
        hour = (now_s - DAY_S) / 3600
        away = {who for who, (start, end) in AWAY.items() if start <= hour < end}
        self._come_and_go(now_s, away)
        if "home" not in away and now_s > self.home.now_s:
            self.home.move_to(now_s)
        if "meter" not in away:
            self._measure(now_s)
        if self._waiting and not away & {"agent", "host"}:
            self._send()
        if "host" not in away:
            self.host.now_ms = 1000 * now_s
            self.host.look()
        if "home" not in away:
            self._see(now_s, is_away=bool(away & {"agent", "host", "meter"}))

    def _come_and_go(self, now_s, away):
        changed, self._away = away ^ self._away, away
        if "agent" in changed:
            state = "offline" if "agent" in away else "online"
            self._agent.say("s", self._wire.status(state), True)
        if "home" in changed:
            if "home" in away:
                self.home.stop()
            else:
                self.home.now_s = now_s
                self.home.start()
        if "host" in changed:
            if "host" in away:
                self.host.stop()
            else:
                self.host = self._make_simulated(1000 * now_s)
        if "meter" in changed and "meter" not in away:
            self._meter = NEW

    def _measure(self, now_s):
        self._count += 1
        self._registers[self._meter] += 17 * (7 * self._count % 13)
        self._waiting.append((now_s, self._meter, self._registers[self._meter]))
        self.metered[self._meter].append((now_s, self._registers[self._meter]))

    def _send(self):
        wire, first_s = self._wire, self._waiting[0][0]
        uptime_ms = lambda time_s: 1000 * (time_s - DAY_S) + 10_000_000  # noqa: E731
        records = [wire.sync(uptime_ms(first_s), 1000 * first_s)]
        for time_s, meter, register in self._waiting:
            values = (IMPORT, register, -1, POWER, 420, 0)
            records.append(wire.reading(uptime_ms(time_s), values, meter, time_s - DAY_S + 10_000))
        self.host.now_ms = 1000 * self._waiting[-1][0]
        heard = len(self._agent.heard)
        self._agent.say("b", wire.batch(*records, first_seq=self._next_seq))
        wait_until(lambda: len(self._agent.heard) > heard, "an acknowledgement")
        self._next_seq += len(records)
        self._waiting.clear()

    def _see(self, now_s, is_away):
        """Wait for what Home Assistant has to show now."""
        register = self._registers[self._meter]
        wanted = "unavailable" if is_away else register / 10_000
        entity = energy_of(self._meter)
        what = f"{entity} {wanted} at {now_s - DAY_S} s"
        wait_until(lambda: self._state(entity) == wanted, what)
        if not is_away:
            self.shown[self._meter].append((now_s, register))

    def _state(self, entity):
        try:
            state = self.home.rest(f"states/{entity}")["state"]
        except urllib.error.HTTPError:
            return None
        return state if state in ("unavailable", "unknown") else float(state)

    def close(self):
        if "host" not in self._away:
            self.host.stop()


def energy_of(meter):
    return f"sensor.meter_{NAMES[meter]}_import"


def changes_of(home, meter):
    """0.1 Wh of each hour (its start in s) in Home Assistant's statistics, where there are any."""
    rows = home.ask(
        "recorder/statistics_during_period",
        start_time="2026-03-28T00:00:00+00:00",
        statistic_ids=[energy_of(meter)],
        period="hour",
        types=["change"],
        units={"energy": "kWh"},
    )[energy_of(meter)]
    found = {row["start"] // 1000: round(10_000 * row["change"]) for row in rows}
    return {hour_s: change for hour_s, change in found.items() if change}


def by_hour(shown):
    """0.1 Wh that came in each hour (its start in s), where any came."""
    found = Counter()
    for (_, before), (time_s, register) in pairwise(shown):
        found[time_s // 3600 * 3600] += register - before
    return {hour_s: tenths_wh for hour_s, tenths_wh in found.items() if tenths_wh}


@pytest.fixture
def day(make_home, mosquitto, agent, wire, tmp_path):
    home = make_home(DAY_S - 2 * STEP_S + AFTER_S)
    home.start()
    home.add_mqtt(mosquitto.port)
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "token").write_text(home.token)
    filling = f'backfill_url = "http://127.0.0.1:{home.port}"\nbackfill_token_file = "token"\n'
    made = Day(
        home, agent, wire, lambda now_ms: SimulatedHost(folder, mosquitto.port, now_ms, filling)
    )
    yield made
    made.close()


def test_home_assistant_counts_what_was_metered_whoever_was_away(day):
    home, end_s = day.home, DAY_S + DAY_HOURS * 3600 + AFTER_S
    day.pass_to(DAY_S - STEP_S + AFTER_S)
    grid = {
        "type": "grid",
        "flow_from": [
            {
                "stat_energy_from": energy_of(OLD),
                "stat_cost": None,
                "entity_energy_price": None,
                "number_energy_price": None,
            }
        ],
        "flow_to": [],
        "cost_adjustment_day": 0.0,
    }
    home.ask("energy/save_prefs", energy_sources=[grid])
    for now_s in range(DAY_S + AFTER_S, end_s, STEP_S):
        day.pass_to(now_s)
        if now_s == DAY_S + 3600 + AFTER_S:
            # What the energy dashboard has to say against the sensor.
            found = home.ask("energy/validate")
            assert found == {"energy_sources": [[]], "device_consumption": []}
    home.move_to(end_s)
    for meter in (OLD, NEW):
        shown = day.shown[meter]
        changes = changes_of(home, meter)
        assert sum(changes.values()) == shown[-1][1] - shown[0][1] > 0
        assert changes == by_hour(shown)
    assert home.ask("recorder/validate_statistics") == {}

    # What it heard late goes to the hours in which it was used, and the sum stays as it was.
    before = {meter: changes_of(home, meter) for meter in (OLD, NEW)}
    assert before[OLD] != by_hour(day.metered[OLD])
    assert day.host.fill() == MISSED_HOURS
    home.move_to(end_s + 1)
    for meter in (OLD, NEW):
        changes = changes_of(home, meter)
        assert changes == by_hour(day.metered[meter])
        assert sum(changes.values()) == sum(before[meter].values())
    assert day.host.fill() == 0
    entity = energy_of(OLD)
    assert day.host.told == [
        ("announce", f"Home Assistant was told {MISSED_HOURS} hours of {entity}")
    ]
    # And it goes on from where it was.
    day.pass_to(end_s + STEP_S)
    day.pass_to(end_s + 2 * STEP_S)
    home.move_to(end_s + 3600)
    assert changes_of(home, NEW) == by_hour(day.shown[NEW])
