"""What is around a head in the tests of the whole way: a meter, a broker, a host, a database."""

import os
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from json import loads

from stored import stored_readings
from waiting import wait_until
from wattlog.channels import all_channels
from wattlog_sim.house import COMMISSIONED_EPOCH_S, WS_PER_WH_E1, House

EDGE = "cellar"
SEED = 3
SOLAR_PEAK_W = 0
# No step of the firmware may take longer, or the fake watchdog ends the process. 3 s is the
# link's deadline; the rest is what a loaded test machine takes.
WATCHDOG_MS = 6_000
HOUSE = House(SEED, SOLAR_PEAK_W)  # one for all: it remembers the years before
HOST_TOML = """\
data = "{folder}/data"
[http]
port = {http_port}
[mqtt]
embedded = false
port = {mqtt_port}
"""
CHANNEL = {channel.key: channel for channel in all_channels()}


def settings_of(port, **more):
    """What is in the file of a head's settings, by key; port is the broker's."""
    return {
        "agent.id": EDGE,
        "wifi.ssid": "home",
        "mqtt.host": "127.0.0.1",
        "mqtt.port": port,
        "meter.rx": 16,
        "meter.tx": 17,
        "uplink.batch_s": 1,
        **more,
    }


class World:
    """Meter, broker and host of one test, and what is known of the head, which the test starts."""

    def __init__(self, folder, broker, free_port):
        self.broker = broker
        self.folder = folder
        self.database = folder / "data/wattlog.db"
        self.http_port = free_port()
        self.line = folder / "meter"
        self.processes = {}

    def start_without_head(self, *meter_arguments):
        config = self.folder / "host.toml"
        config.write_text(
            HOST_TOML.format(
                folder=self.folder, http_port=self.http_port, mqtt_port=self.broker.port
            )
        )
        meter = ["--link", self.line, "--seed", SEED, "--solar", SOLAR_PEAK_W, *meter_arguments]
        self.start_host()
        self.spawn("meter", [sys.executable, "-m", "wattlog_tools", "meter", *meter])
        wait_until(self.line.is_symlink, "the meter's port")

    def start_host(self):
        config = self.folder / "host.toml"
        self.spawn("host", [sys.executable, "-m", "wattlog_host", "--config", config])

    def kill_host(self):
        self.processes["host"].kill()
        self.processes["host"].wait()

    def spawn(self, name, command, environment=None):
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
