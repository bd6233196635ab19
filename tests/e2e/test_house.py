"""The whole house as `make run` starts it: real agent, real MQTT, real host, simulated meters."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import psutil
import pytest

from stored import stored_readings
from waiting import wait_until

START_S_MAX = 60
RECOVER_S_MAX = 60
# A programmed death; what recovers by itself is started again by `run`.
KILLABLE = ("wattlog_host", "wattlog_pi")


class House:
    """`wattlog-tools run` on ports and a folder of its own."""

    def __init__(self, folder, ports, *arguments):
        self.data = folder / "data"
        self.http_port, self.mqtt_port = ports
        self.log = folder / "run.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wattlog_tools", "run",
                 "--http-port", str(self.http_port), "--mqtt-port", str(self.mqtt_port),
                 "--data", str(self.data), *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def get(self, path):
        """The JSON at this path, None where there is none yet."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.http_port}{path}", timeout=5
            ) as r:
                return json.load(r)
        except (OSError, urllib.error.HTTPError):
            return None

    def page(self, path="/"):
        url = f"http://127.0.0.1:{self.http_port}{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()

    def pid_of(self, module):
        for child in psutil.Process(self.process.pid).children():
            try:
                if module in child.cmdline():
                    return child.pid
            except psutil.ZombieProcess:
                continue  # killed, and not yet missed
        return None

    def lines(self):
        return self.log.read_text(errors="replace").splitlines()

    def told(self, text):
        """What the agent said that holds this text."""
        return [line for line in self.lines() if line.startswith("agent |") and text in line]

    def readings(self):
        """(boot, seq, sec_index) of every reading that is committed."""
        stored = stored_readings(self.data / "wattlog.db")
        return [(one.boot, one.seq, one.sec_index) for one in stored]

    def stop(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path, free_port):
    houses = []

    def start_house(*arguments):
        house = House(tmp_path, (free_port(), free_port()), *arguments)
        houses.append(house)
        wait_until(lambda: house.get("/api/latest_reading"), "a first reading", START_S_MAX)
        return house

    yield start_house
    for house in houses:
        house.stop()


def newer_than(house, timestamp):
    latest = house.get("/api/latest_reading")
    return latest if latest and latest["timestamp"] > timestamp else None


def test_the_house_lives_recovers_from_every_death_and_ends_cleanly(start):
    house = start()
    latest = house.get("/api/latest_reading")
    assert latest["meter_id"]
    assert latest["time_source"] in ("live", "sync")
    assert re.search(r"[+-]\d\d:\d\d$", latest["timestamp"])
    for _ in range(3):  # a new reading every second
        latest = wait_until(lambda: newer_than(house, latest["timestamp"]), "a next reading", 5)
    page = house.page()
    assert "ISK" in page and "DZG" in page

    for module in KILLABLE:
        pid = house.pid_of(module)
        before = house.get("/api/latest_reading")["timestamp"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: house.pid_of(module) not in (None, pid), "a restart", RECOVER_S_MAX)
        wait_until(lambda: newer_than(house, before), f"a reading after {module}", RECOVER_S_MAX)
    page = house.page("/state")
    assert "stopped unexpectedly" in page
    assert "restarted" in page
    wait_until(lambda: house.get("/status")["host"]["broker"]["connected"], "the broker")

    assert house.stop() == 0
    assert not [line for line in house.lines() if "Traceback" in line]
    readings = house.readings()
    assert len({row[:2] for row in readings}) == len(readings)
    assert len({boot for boot, _, _ in readings}) == 2


def test_what_the_agent_read_while_the_host_was_dead_is_there_afterwards(start):
    house = start()
    host = psutil.Process(house.pid_of("wattlog_host"))
    seen = len(house.readings())
    host.suspend()
    # The agent goes on reading; its batches are answered by nobody.
    agent_io = psutil.Process(house.pid_of("wattlog_pi"))
    read_before = agent_io.io_counters().read_chars
    wait_until(lambda: agent_io.io_counters().read_chars > read_before + 4000, "more frames")
    host.kill()
    wait_until(lambda: len(house.readings()) > seen + 10, "the backlog", RECOVER_S_MAX)
    house.stop()
    by_meter_second = {}
    for boot, seq, sec_index in house.readings():
        by_meter_second.setdefault(sec_index, set()).add((boot, seq))
    (boot,) = {boot for boot, _, _ in house.readings()}
    seqs = sorted(seq for _, seq, _ in house.readings())
    # The sync point has a number too; apart from it none is missing.
    missing = set(range(seqs[0], seqs[-1] + 1)) - set(seqs)
    assert len(missing) <= 1, (boot, missing)


def test_a_second_agent_with_the_same_id_waits_and_says_so(start, tmp_path):
    house = start()
    # The first agent's meters are taken; this one has none, and needs none to claim the id.
    config = tmp_path / "second.toml"
    config.write_text(
        '[agent]\nid = "demo"\n[[meter]]\nport = "/dev/nowhere"\n'
        f'[log]\npath = "{tmp_path}/second.ring"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {house.mqtt_port}\n'
    )
    log_path = tmp_path / "second.log"
    with log_path.open("wb") as log:
        second = subprocess.Popen(
            [sys.executable, "-m", "wattlog_pi", "--config", str(config)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        said = 'another agent with the id "demo" is connected to this broker'
        wait_until(lambda: said in log_path.read_text(), "the second agent's word")
        latest = house.get("/api/latest_reading")
        wait_until(lambda: newer_than(house, latest["timestamp"]), "a reading of the first")
        assert log_path.read_text().count(said) == 1
        assert "/dev/nowhere: there is no such port; trying again" in log_path.read_text()
        assert house.get("/status")["agents"][0]["state"] == "online"
    finally:
        second.terminate()
        assert second.wait(30) == 0
    assert "Traceback" not in log_path.read_text()


def test_a_capture_is_shown_as_recorded(start, corpus):
    house = start("--replay", corpus / "ISKRA_MT691_eHZ-MS2020.bin")
    latest = wait_until(lambda: house.get("/api/latest_reading"))
    assert latest["meter_id"] == "1 ISK00 70409925"
    wait_until(
        lambda: house.get("/api/latest_reading")["energy_in_kwh"] == 198.9275, "the last frame"
    )
    assert "198.9275" in house.page()
    assert "198,927.5" in house.page("/state")


def test_the_port_of_a_dead_meter_is_told_and_comes_back(start):
    house = start()
    pid = house.pid_of("wattlog_tools")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(house.told("the port is gone")) == 2, "a word about each port")
    before = house.get("/api/latest_reading")["timestamp"]
    wait_until(lambda: newer_than(house, before), "a reading afterwards", RECOVER_S_MAX)
    house.stop()
    assert len(house.told("the port is gone")) == 2
    assert len(house.told(": open")) == 2
