"""kill -9 of host, agent, broker and PostgreSQL in a loop while readings flow, and a full disk.

The log of the agent is the book of what was promised: in the end every one of its numbers is in
the database, once, and nothing is noted as lost. WATTLOG_KILLS multiplies the kills (`make soak`).
"""

import importlib.util
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing

import pytest

from postgres import Server
from stored import rows, stored_losses, stored_readings
from toolbox import require, unavailable
from waiting import wait_until
from wattlog.ringlog import RingLog
from wattlog_pi.file_device import FileDevice
from wattlog_sim.lcg import Lcg

TIMES = int(os.environ.get("WATTLOG_KILLS", "1"))
KILLS = {"host": 20 * TIMES, "agent": 5 * TIMES, "broker": 2 * TIMES}
KILLS_POSTGRES = {"host": 5 * TIMES, "server": 5 * TIMES}
SEED = int(os.environ.get("WATTLOG_SEED", "1"))
RECOVER_S_MAX = 90
LOG_BYTES = 1 << 20
DATABASE_BYTES_MAX = 400 * 1024
HOST_TOML = """\
data = "{folder}/data"
[http]
port = {http_port}
[mqtt]
embedded = false
port = {mqtt_port}
"""
STORE_TOML = """\
[store]
url = "{url}"
password_file = "secret"
"""
AGENT_TOML = """\
[agent]
id = "cellar"
[log]
path = "{folder}/cellar.ring"
size_kib = 1024
[uplink]
batch_s = 1
[mqtt]
host = "127.0.0.1"
port = {mqtt_port}
[[meter]]
port = "{folder}/meter"
baud = 115200
"""


class House:
    """Meter, agent, broker and host as processes of their own, each of which may be killed.

    So may the server of PostgreSQL, where one keeps the readings.
    """

    def __init__(self, folder, broker, http_port, server=None):
        self.folder = folder
        # What starts and is killed in a way of its own.
        self.others = {"broker": broker, "server": server}
        self.http_port = http_port
        self.database = folder / "data/wattlog.db" if server is None else server.fresh()
        self.ring = folder / "cellar.ring"
        self.processes = {}
        for name, text in (("host", HOST_TOML), ("agent", AGENT_TOML)):
            settings = {"folder": folder, "http_port": http_port, "mqtt_port": broker.port}
            (folder / f"{name}.toml").write_text(text.format(**settings))
        if server is not None:
            (folder / "secret").write_text(f"{server.password}\n")
            url = self.database.render_as_string().replace(":***@", "@")
            with (folder / "host.toml").open("a") as file:
                file.write(STORE_TOML.format(url=url))
        self.commands = {
            "meter": ["wattlog_tools", "meter", "--link", folder / "meter",
                      "--interval", "0.2", "--baud", "115200"],
            "host": ["wattlog_host", "--config", folder / "host.toml"],
            "agent": ["wattlog_pi", "--config", folder / "agent.toml"],
        }  # fmt: skip

    def start(self, name, **options):
        if name in self.others:
            self.others[name].start()
            return
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *map(str, self.commands[name])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **options,
            )

    def kill(self, name):
        if name in self.others:
            self.others[name].kill()
            return
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self, name):
        process = self.processes[name]
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def stored(self):
        """Names of the readings that are committed."""
        return {(one.log, one.seq) for one in stored_readings(self.database)}

    def status(self):
        url = f"http://127.0.0.1:{self.http_port}/status"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def wait_for_more(self, count):
        """Wait until so many more readings are committed; return all."""
        before = len(self.stored())

        def more():
            stored = self.stored()
            return stored if len(stored) >= before + count else None

        return wait_until(more, f"{count} readings after {before}", RECOVER_S_MAX, 0.1)

    def come_home(self):
        """Silence the meter, let everything arrive, and stop the agent."""
        self.kill("meter")

        def is_home():
            status = self.status()
            agents = status["agents"] if status else []
            return agents and agents[0]["log"]["records"] == 0

        wait_until(is_home, "an empty log", RECOVER_S_MAX)
        assert self.stop("agent") == 0

    def last_seq(self):
        """The last number that the log gave; the agent must not run."""
        device = FileDevice(self.ring, LOG_BYTES, print)
        try:
            return RingLog(device).stats().next_seq - 1
        finally:
            device.close()


@pytest.fixture
def house(tmp_path, mosquitto, free_port):
    yield from lived_in(House(tmp_path, mosquitto, free_port()))


@pytest.fixture
def house_on_postgres(tmp_path, mosquitto, free_port):
    programs = require("postgres") / "postgres"
    if importlib.util.find_spec("psycopg") is None:
        unavailable("psycopg is missing: install wattlog[postgres]")
    server = Server(programs)
    try:
        yield from lived_in(House(tmp_path, mosquitto, free_port(), server))
    finally:
        server.remove()


def lived_in(house):
    """The house once readings flow; its processes end with the test."""
    try:
        house.start("meter")
        wait_until((house.folder / "meter").is_symlink, "the meter's port")
        house.start("host")
        house.start("agent")
        house.wait_for_more(5)
        yield house
    finally:
        house.end()


def settle(house):
    """Let everything arrive, end all in order, and compare the books."""
    house.wait_for_more(5)
    house.come_home()
    assert house.stop("host") == 0
    readings = stored_readings(house.database)
    names = [(one.log, one.seq) for one in readings]
    assert len(set(names)) == len(names), "a reading is there twice"
    assert len({(one.boot, one.seq) for one in readings}) == len(readings)
    losses = stored_losses(house.database)
    assert losses.records == 0, losses
    if house.others["server"] is None:
        assert rows(house.database, "PRAGMA integrity_check") == [("ok",)]
    ranges = rows(house.database, "SELECT first_seq, records FROM batch ORDER BY 1")
    covered = [seq for first, count in ranges for seq in range(first, first + count)]
    assert covered == list(range(1, house.last_seq() + 1)), "every number, once"
    for name in ("host", "agent"):
        assert "Traceback" not in house.said(name), house.said(name)
    return readings


@pytest.mark.parametrize("name", sorted(KILLS))
def test_nothing_is_lost_or_doubled_however_often_it_is_killed(house, name):
    readings = kill_often(house, name, KILLS[name])
    boots = {one.boot for one in readings}
    assert len(boots) == (1 + KILLS["agent"] if name == "agent" else 1)


@pytest.mark.parametrize("name", sorted(KILLS_POSTGRES))
def test_nothing_is_lost_or_doubled_on_postgresql_either(house_on_postgres, name):
    house = house_on_postgres
    kill_often(house, name, KILLS_POSTGRES[name])
    assert house.others["server"].password not in house.said("host")


def kill_often(house, name, times):
    """Kill and start it so often, each time while readings flow; return what is there then."""
    rng = Lcg(SEED, 0)
    print(f"seed {SEED}, {times} kills of the {name}")
    kept = set()
    for _ in range(times):
        stored = house.wait_for_more(1 + rng.below(7))
        assert kept <= stored, "what was committed is gone"
        kept = stored
        house.kill(name)
        house.start(name)
    readings = settle(house)
    missing = len(kept - {(one.log, one.seq) for one in readings})
    print(f"{len(readings)} readings, missing of those that were there at a kill: {missing}")
    assert not missing
    return readings


def test_a_log_that_is_removed_while_readings_wait_in_it_is_whole_after_a_kill(house):
    house.kill("host")
    house.ring.unlink()
    wait_until(lambda: "it has been written anew" in house.said("agent"), "a new file")
    house.kill("agent")
    house.start("agent")
    house.start("host")
    settle(house)


def test_another_file_in_the_place_of_the_log_is_told_until_it_is_moved_away(house):
    def trouble():
        status = house.status()
        return status and status["agents"][0]["log"]["trouble"]

    data = house.ring.read_bytes()
    house.ring.unlink()
    house.ring.write_bytes(data)
    told = wait_until(trouble, "the trouble in the status")
    assert told.startswith(f"{house.ring}: another file has this name")
    house.wait_for_more(5)
    house.ring.rename(house.ring.with_name("copy"))
    wait_until(lambda: house.status() and not trouble(), "the end of the trouble")
    assert house.ring.with_name("copy").read_bytes() == data
    house.kill("agent")
    house.start("agent")
    settle(house)


def test_a_log_that_is_put_back_from_an_older_copy_goes_on_under_another_id(house):
    """As an SD card does that is restored from its backup; twice from the same."""
    assert house.stop("agent") == 0
    copy = house.ring.read_bytes()
    for _ in range(2):
        house.start("agent")
        house.wait_for_more(20)
        # What the copy knows nothing of goes with what it is put in place of: it has to be home.
        house.come_home()
        house.ring.write_bytes(copy)
        house.start("meter")
    stored = house.stored()
    house.start("agent")
    assert stored <= house.wait_for_more(20)
    house.kill("agent")
    house.start("agent")
    house.wait_for_more(5)
    house.come_home()
    assert house.stop("host") == 0
    readings = stored_readings(house.database)
    assert len({(one.boot, one.seq) for one in readings}) == len(readings), "there twice"
    assert len({one.log for one in readings}) == 3
    assert stored_losses(house.database).records == 0
    with closing(sqlite3.connect(house.database)) as database:
        assert database.execute("SELECT count(*) FROM dead_letter").fetchone() == (0,)
        told = "SELECT count(*) FROM event WHERE kind = 'renewed'"
        assert database.execute(told).fetchone()[0] >= 2


def test_a_full_disk_costs_time_and_nothing_else(house):
    assert house.stop("host") == 0

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (DATABASE_BYTES_MAX, DATABASE_BYTES_MAX))

    house.start("host", preexec_fn=limit)
    wait_until(lambda: "database trouble" in house.said("host"), "a full disk", RECOVER_S_MAX)
    assert wait_until(house.status, "the page")["host"]["store"] is not None
    stored = house.stored()
    house.stop("host")
    house.start("host")
    assert stored <= house.wait_for_more(20)
    settle(house)
