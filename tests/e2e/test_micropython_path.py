"""The whole way of a reading on the device's interpreter: a meter on a terminal at 9600 baud, the
firmware under 32-bit MicroPython with an ESP32's heap, a real broker, the real host, its database.
"""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from json import dumps, loads

import pytest

from boards import MAIN, Board
from stored import stored_losses, stored_readings
from toolbox import micropython_facts
from waiting import wait_until
from wattlog.channels import all_channels
from wattlog.ringlog import RingLog
from wattlog_sim.flash import FakeFlash
from wattlog_sim.house import COMMISSIONED_EPOCH_S, WS_PER_WH_E1, House

EDGE = "cellar"
SEED = 3
SOLAR_PEAK_W = 0
# No step of the firmware may take longer, or the fake watchdog ends the process. 3 s is the
# link's deadline; the rest is what a loaded test machine takes.
WATCHDOG_MS = 6_000
BROKER_STOPPED_S = 3
FLASH_BYTES = 131_072
SPEED = 20
HOUSE = House(SEED, SOLAR_PEAK_W)  # one for all: it remembers the years before
OUTAGE_S = 3_600
HOST_TOML = """\
data = "{folder}/data"
[http]
port = {http_port}
[mqtt]
embedded = false
port = {mqtt_port}
"""
CHANNEL = {channel.key: channel for channel in all_channels()}


class World:
    """Meter, head, broker and host of one test."""

    def __init__(self, folder, broker, free_port):
        self.broker = broker
        self.folder = folder
        self.database = folder / "data/wattlog.db"
        self.http_port = free_port()
        self.line = folder / "meter"
        self.processes = {}

    def start(self, *meter_arguments):
        config = self.folder / "host.toml"
        config.write_text(
            HOST_TOML.format(
                folder=self.folder, http_port=self.http_port, mqtt_port=self.broker.port
            )
        )
        meter = ["--link", self.line, "--seed", SEED, "--solar", SOLAR_PEAK_W, *meter_arguments]
        self.start_host()
        self._spawn("meter", [sys.executable, "-m", "wattlog_tools", "meter", *meter])
        wait_until(self.line.is_symlink, "the meter's port")
        settings = {
            "agent.id": EDGE,
            "wifi.ssid": "home",
            "mqtt.host": "127.0.0.1",
            "mqtt.port": self.broker.port,
            "meter.rx": 16,
            "meter.tx": 17,
            "uplink.batch_s": 1,
        }
        self.settings = self.folder / "wattlog.json"
        self.settings.write_text(dumps(settings))
        board = Board(self.folder / "board")
        flash = self.folder / "flash"
        flash.write_bytes(b"\xff" * FLASH_BYTES)
        environment = board.environment(
            BOARD_UART1=self.line, BOARD_WDT_MS=WATCHDOG_MS, BOARD_RINGLOG=flash
        )
        self._spawn("head", board.command(MAIN, str(self.settings)), environment)

    def start_host(self):
        config = self.folder / "host.toml"
        self._spawn("host", [sys.executable, "-m", "wattlog_host", "--config", config])

    def kill_host(self):
        self.processes["host"].kill()
        self.processes["host"].wait()

    def logged(self):
        """How many records the head's log has taken so far."""
        image = bytearray((self.folder / "flash").read_bytes())
        return RingLog(FakeFlash(len(image) // 4096, 4096, image)).stats().next_seq - 1

    def _spawn(self, name, command, environment=None):
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(word) for word in command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self):
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def query(self, sql):
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()

    def readings(self):
        """What the host has stored: {sec_index: {channel: value}}."""
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended:\n{self.log(name)}"
        return {one.sec_index: one.values for one in stored_readings(self.database)}

    def wait_for_readings_after(self, sec_index, count):
        """Wait for so many seconds of the meter's own counter behind this one; return the last."""

        def newest():
            newer = [second for second in self.readings() if second > sec_index]
            return max(newer) if len(newer) >= count else None

        return wait_until(newest, f"{count} readings after {sec_index}")

    @contextmanager
    def broker_stopped(self):
        """Have the broker do nothing at all, though its connections stay."""
        os.kill(self.broker.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.broker.pid, signal.SIGCONT)

    def get(self, path):
        try:
            url = f"http://127.0.0.1:{self.http_port}{path}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return loads(answer.read())
        except (urllib.error.URLError, OSError):
            return None


@pytest.fixture
def new_world(tmp_path, mosquitto, free_port):
    it = World(tmp_path, mosquitto, free_port)
    try:
        yield it
    finally:
        it.stop()


@pytest.fixture
def world(new_world):
    new_world.start()
    return new_world


def sent_by_the_meter(sec_index):
    """What the simulated house says about this second: {channel id: stored integer}."""
    house = HOUSE
    epoch_s = COMMISSIONED_EPOCH_S + sec_index
    phases_w = house.phases_w(epoch_s)
    import_ws, export_ws = house.energy_ws(epoch_s)
    wanted = {"power_w": sum(phases_w)}
    wanted |= {f"power_l{phase + 1}_w": power_w for phase, power_w in enumerate(phases_w)}
    values = {
        CHANNEL[key].id: value * 10 ** CHANNEL[key].decimals for key, value in wanted.items()
    }
    for key, energy_ws in (("import_wh", import_ws), ("export_wh", export_ws)):
        channel = CHANNEL[key]
        values[channel.id] = energy_ws // WS_PER_WH_E1 * 10 ** (channel.decimals - 1)
    return values


def test_a_frame_passes_from_the_uart_into_the_database_whatever_the_broker_does(world):
    newest = world.wait_for_readings_after(0, 3)
    latest = wait_until(lambda: world.get("/api/latest_reading"), "the page")

    world.broker.kill()
    wait_until(lambda: "the broker closed the connection" in world.log("head"), "the loss is said")
    world.broker.start()
    # A broker that takes connections and says nothing: the deadline has to end the waiting.
    with world.broker_stopped():
        wait_until(lambda: "no answer" in world.log("head"), "the silence is said")
    newest = world.wait_for_readings_after(newest, 4)

    with world.broker_stopped():
        silence_ends_s = time.monotonic() + BROKER_STOPPED_S
        wait_until(lambda: time.monotonic() > silence_ends_s)
    world.wait_for_readings_after(newest, BROKER_STOPPED_S + 1)

    readings = world.readings()
    for sec_index, values in readings.items():
        assert values == sent_by_the_meter(sec_index), sec_index
    stored = stored_readings(world.database)
    last = max(stored, key=lambda one: one.seq)
    # Records are numbered from 1 without a gap; each is a reading or a sync point.
    ((syncs,),) = world.query(
        f"SELECT count(*) FROM sync_point WHERE uptime_ms <= {last.uptime_ms}"
    )
    assert last.seq == len(stored) + syncs, (
        "nothing is lost while the broker is away, and nothing comes twice"
    )
    assert latest["energy_in_kwh"] > 0
    assert "Traceback" not in world.log("head"), world.log("head")
    free_bytes = [int(word) for word in re.findall(r"(\d+) bytes of heap free", world.log("head"))]
    print(f"{len(readings)} readings; of {micropython_facts()['HEAP']} heap free: {free_bytes}")
    assert free_bytes, world.log("head")


def test_an_hour_without_a_host_leaves_no_second_out(new_world):
    world = new_world
    world.start("--speed", SPEED, "--baud", 9600 * SPEED)
    newest = world.wait_for_readings_after(0, SPEED)
    world.kill_host()
    world.broker.kill()
    before = world.logged()
    wait_until(lambda: world.logged() > before + OUTAGE_S, "an hour of readings", OUTAGE_S, 1)
    world.broker.start()
    world.start_host()

    def is_caught_up():
        seconds = world.readings()
        return seconds if max(seconds, default=0) > newest + OUTAGE_S else None

    readings = wait_until(is_caught_up, "the backlog", 60, 1)
    assert sorted(readings) == list(range(min(readings), max(readings) + 1)), "a second is missing"
    for sec_index, values in sorted(readings.items()):
        assert values == sent_by_the_meter(sec_index), sec_index
    assert stored_losses(world.database).records == 0
    assert "Traceback" not in world.log("head"), world.log("head")
    print(f"{len(readings)} seconds, none missing")
