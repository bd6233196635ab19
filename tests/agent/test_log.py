"""The Pi agent's log: in its file wherever that can be; metering goes on wherever it cannot."""

import os
import pty
import signal
import subprocess
import sys
import tty

import pytest

from toolbox import select_briefly
from waiting import wait_until
from wattlog.config import ConfigError
from wattlog.ringlog import LogError
from wattlog_pi import app, settings
from wattlog_pi import log as log_module
from wattlog_pi.log import open_log
from wattlog_sim import sml_writer as w

SIZE_BYTES = 65_536
RUN_S_MAX = 30
FOLLOWS = "readings wait in memory only, and a power cut or a stop loses them"
CONFIG = """
[agent]
id = "cellar"
[[meter]]
port = "{port}"
[log]
path = "{path}"
size_kib = 64
[mqtt]
host = "127.0.0.1"
port = {mqtt_port}
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state/wattlog/cellar.ring"


def test_a_log_is_made_with_its_folder_and_found_again(path):
    said = []
    opened = open_log(path, SIZE_BYTES, said.append)
    log_id = opened.log.id
    opened.log.append(b"one")
    assert (opened.kind, opened.trouble, opened.is_durable) == ("file", None, True)
    opened.close()
    again = open_log(path, SIZE_BYTES, said.append)
    assert list(again.log.read_after(0)) == [(1, b"one")]
    assert again.log.id == log_id
    again.close()
    assert said == [f"log {path}: empty", f"log {path}: 1 records wait for the host"]
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def wrecked(path):
    """A log whose only header has two wrong bits."""
    opened = open_log(path, SIZE_BYTES, lambda text: None)
    opened.log.append(b"one")
    opened.close()
    data = bytearray(path.read_bytes())
    data[5] ^= 3
    return bytes(data)


NO_LOGS = (
    ("zeros", lambda path: bytes(SIZE_BYTES)),
    ("a person's text", lambda path: (b"my thesis " * SIZE_BYTES)[:SIZE_BYTES]),
    ("a log beyond reading", wrecked),
)


@pytest.mark.parametrize("make", [c[1] for c in NO_LOGS], ids=[c[0] for c in NO_LOGS])
def test_what_is_no_log_or_cannot_be_read_is_not_written_over(path, make):
    path.parent.mkdir(parents=True)
    data = make(path)
    path.write_bytes(data)
    said = []
    opened = open_log(path, SIZE_BYTES, said.append)
    opened.log.append(b"two")
    opened.close()
    assert (opened.kind, path.read_bytes() == data) == ("memory", True)
    assert opened.trouble == (
        f"{path}: this is no ring log, or one that cannot be read any more; move the file away to "
        "have a new one made"
    )
    assert said == [f"the log cannot be kept: {opened.trouble}", FOLLOWS]


@pytest.mark.parametrize("size", [1, 17, 31])
def test_a_log_whose_first_header_was_cut_is_made_anew(path, size):
    open_log(path, SIZE_BYTES, lambda text: None).close()
    data = bytearray(path.read_bytes())
    data[size:32] = b"\xff" * (32 - size)
    path.write_bytes(data)
    opened = open_log(path, SIZE_BYTES, lambda text: None)
    assert (opened.kind, opened.log.append(b"one")) == ("file", 1)
    opened.close()


def test_a_log_that_another_agent_uses_is_refused(path):
    opened = open_log(path, SIZE_BYTES, lambda text: None)
    with pytest.raises(ConfigError, match="another agent is using it: give each") as caught:
        open_log(path, SIZE_BYTES, lambda text: None)
    assert str(caught.value).count(str(path)) == 1
    opened.close()
    open_log(path, SIZE_BYTES, lambda text: None).close()


def test_a_folder_that_cannot_be_made_means_memory(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file/x/cellar.ring"
    said = []
    opened = open_log(path, SIZE_BYTES, said.append)
    assert (opened.kind, opened.is_durable) == ("memory", False)
    assert opened.trouble.startswith(f"{path}: ")
    assert said == [f"the log cannot be kept: {opened.trouble}", FOLLOWS]
    assert opened.log.append(b"one") == 1
    opened.close()


def test_a_disk_that_is_full_means_memory(path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    said = []
    opened = open_log(path, SIZE_BYTES, said.append)
    assert opened.kind == "memory"
    assert opened.trouble == f"{path}: no space is left on the disk"
    assert said[1:] == [FOLLOWS]


def test_a_log_that_is_not_for_us_means_memory_and_stays_as_it_is(path, monkeypatch):
    def newer(device, new_id):
        raise LogError("it was written by a newer wattlog")

    open_log(path, SIZE_BYTES, lambda text: None).close()
    before = path.read_bytes()
    ring_log = log_module.RingLog
    tries = iter((newer, ring_log))
    monkeypatch.setattr(log_module, "RingLog", lambda *arguments: next(tries)(*arguments))
    opened = open_log(path, SIZE_BYTES, lambda text: None)
    assert opened.kind == "memory"
    assert opened.trouble == f"{path}: it was written by a newer wattlog"
    assert path.read_bytes() == before
    monkeypatch.undo()
    open_log(path, SIZE_BYTES, lambda text: None).close()  # it was given back


def read_settings(tmp_path, more=""):
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(port="/dev/x", path="here.ring", mqtt_port=1883) + more)
    return settings.read(path)


def test_a_log_beside_the_configuration(tmp_path):
    found = read_settings(tmp_path, "[uplink]\nbatch_s = 5\n")
    assert found.log_path == tmp_path / "here.ring"
    assert found.log_bytes == 65_536
    assert found.batch_ms == 5_000


def test_where_the_log_is_when_nobody_says(tmp_path, monkeypatch):
    path = tmp_path / "agent.toml"
    path.write_text('[agent]\nid="cellar"\n[[meter]]\nport="/dev/x"\n[mqtt]\nhost="h"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    found = settings.read(path)
    assert found.log_path == tmp_path / ".local/state/wattlog/cellar.ring"
    assert (found.log_bytes, found.batch_ms) == (16 << 20, 30_000)
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/wattlog:/var/lib/other")
    assert str(settings.read(path).log_path) == "/var/lib/wattlog/cellar.ring"


class Daemon:
    """`wattlog-agent` with a meter, and a broker's port where nobody listens."""

    def __init__(self, folder, log_path, mqtt_port):
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        config = folder / "agent.toml"
        port = os.ttyname(self.slave)
        config.write_text(CONFIG.format(port=port, path=log_path, mqtt_port=mqtt_port))
        self.said = folder / "said"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wattlog_pi", "--config", str(config)],
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def text(self):
        return self.said.read_text()

    def feed(self):
        """Frames until the agent knows its meter; then a few, which it all reads."""
        second = 0
        while "this is meter" not in self.text():
            second += 1
            os.write(self.master, frame(second))
            select_briefly()
        for more in range(5):
            os.write(self.master, frame(second + more))
        self.second = second + 5

    def feed_until(self, text):
        """One frame after the other until the agent has said so."""
        while text not in self.text():
            assert self.process.poll() is None
            os.write(self.master, frame(self.second))
            self.second += 1
            select_briefly()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(RUN_S_MAX)
        os.close(self.master)
        os.close(self.slave)
        return status


def frame(second):
    power = w.entry(bytes.fromhex("0100100700ff"), w.signed(5, 4), unit=27, scaler=0)
    content = w.get_list_response(b"\x0a\x01ESM0000", [power], sensor_time=w.sec_index(second))
    return w.transport(w.message(b"\x01", w.TAG_GET_LIST_RESPONSE, content))


def test_what_is_not_delivered_waits_in_the_file_for_the_next_start(tmp_path, path, free_port):
    daemon = Daemon(tmp_path, path, free_port())
    daemon.feed()
    assert daemon.stop() == 0
    *_, last = daemon.text().splitlines()
    assert last.startswith("agent cellar stopped; ")
    assert last.endswith(" records wait in the log for the next start")
    count = int(last.split()[3])
    daemon = Daemon(tmp_path, path, free_port())
    wait_until(lambda: f"log {path}: {count} records wait" in daemon.text(), "the log's line")
    assert daemon.stop() == 0


def test_a_log_that_is_removed_while_it_runs_is_there_at_the_next_start(tmp_path, path, free_port):
    daemon = Daemon(tmp_path, path, free_port())
    daemon.feed()
    path.unlink()
    daemon.feed_until(f"log file {path} was removed; it has been written anew\n")
    assert daemon.stop() == 0
    count = int(daemon.text().splitlines()[-1].split()[3])
    opened = open_log(path, SIZE_BYTES, lambda text: None)
    kept = [seq for seq, _ in opened.log.read_after(0)]
    opened.close()
    assert count >= 7
    assert kept == list(range(1, count + 1))


def test_a_log_that_is_removed_is_saved_at_the_end_if_nothing_was_written(
    tmp_path, path, free_port
):
    daemon = Daemon(tmp_path, path, free_port())
    daemon.feed()
    seen = []

    def is_quiet():
        seen.append(path.read_bytes())
        return len(seen) > 10 and seen[-11] == seen[-1]

    wait_until(is_quiet, "the end of writing")
    path.unlink()
    assert daemon.stop() == 0
    assert path.is_file()
    assert daemon.text().splitlines()[-1].endswith(" records wait in the log for the next start")


class Told:
    """An agent that only hears of its log's trouble."""

    def __init__(self):
        self.troubles = []

    def tell_log_trouble(self, trouble):
        self.troubles.append(trouble)

    def step(self, now_ms):
        return now_ms


def test_the_agent_looks_at_the_name_where_no_reading_comes_and_is_told(path, monkeypatch):
    opened = open_log(path, SIZE_BYTES, lambda text: None)
    clock_ns = iter(range(0, 100, 10))
    monkeypatch.setattr(app.time, "monotonic_ns", lambda: next(clock_ns) * 1_000_000_000)
    agent = Told()

    def replace():
        path.unlink()
        path.mkdir()

    acts = iter((path.unlink, replace, path.rmdir, lambda: None))
    app._loop(agent, opened, 0, lambda _: next(acts)(), lambda: len(agent.troubles) == 4)
    opened.close()
    assert path.is_file()
    assert "another file has this name" in agent.troubles.pop(2)
    assert agent.troubles == [None, None, None]


def test_another_file_in_the_place_of_the_log_is_not_touched_and_the_end_says_what_is_lost(
    tmp_path, path, free_port
):
    daemon = Daemon(tmp_path, path, free_port())
    daemon.feed()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    daemon.feed_until("a power cut or a stop loses those that wait; trying again\n")
    line = (
        f"log file {path}: another file has this name; move it away, and the log is written anew "
        "there\n"
    )
    assert daemon.text().count(line) == 1
    assert daemon.stop() == 0
    assert path.read_bytes() == data
    assert daemon.text().splitlines()[-1].endswith(" records are lost")


def test_without_a_file_it_works_all_the_same_and_says_what_is_lost(tmp_path, free_port):
    (tmp_path / "file").write_text("")
    daemon = Daemon(tmp_path, tmp_path / "file/x.ring", free_port())
    daemon.feed()
    assert FOLLOWS in daemon.text()
    assert daemon.stop() == 0
    assert daemon.text().splitlines()[-1].endswith(" records are lost")


def test_a_second_agent_on_the_same_log_does_not_start(tmp_path, path, free_port):
    opened = open_log(path, SIZE_BYTES, lambda text: None)
    daemon = Daemon(tmp_path, path, free_port())
    daemon.process.wait(RUN_S_MAX)
    assert daemon.stop() == 2
    (line,) = daemon.text().splitlines()
    assert (
        line
        == f"wattlog-agent: {path}: another agent is using it: give each agent its own log.path"
    )
    opened.close()
