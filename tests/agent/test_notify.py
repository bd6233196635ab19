"""What the agent tells its service manager, on a real socket."""

import os
import pty
import signal
import socket
import subprocess
import sys
import tty
from types import SimpleNamespace

import psutil
import pytest

from manager import PATIENCE_S, Manager
from waiting import wait_until
from wattlog_pi.heart import Heart
from wattlog_pi.notify import BEAT_MS_MAX, STATUS_CHARACTERS_MAX, Notifier

BEAT_MS = 2_500


@pytest.fixture(params=[False, True], ids=["path", "abstract"])
def manager(request, tmp_path):
    made = Manager(tmp_path, 10.0, request.param)
    yield made
    made.close()


def test_what_is_said_arrives_as_the_protocol_has_it(manager):
    notifier = Notifier(manager.environ)
    assert notifier.beat_ms == BEAT_MS
    notifier.ready("all is well")
    notifier.alive("all is well")
    notifier.alive("no broker")
    notifier.stopping("no broker")
    assert [manager.next() for _ in range(4)] == [
        {"READY": "1", "STATUS": "all is well"},
        {"WATCHDOG": "1"},  # nothing new is not said again
        {"WATCHDOG": "1", "STATUS": "no broker"},
        {"STOPPING": "1"},
    ]


def test_a_status_is_one_line_of_bounded_length(manager):
    Notifier(manager.environ).ready("a\nMAINPID=1\r\n" + "x" * 10_000)
    said = manager.next()
    assert set(said) == {"READY", "STATUS"}
    assert said["STATUS"].startswith("a MAINPID=1 xxx")
    assert len(said["STATUS"]) == STATUS_CHARACTERS_MAX


@pytest.mark.parametrize("address", ["", "@", "vsock:2:1234", "relative"])
def test_without_a_manager_nothing_happens(address):
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert notifier.beat_ms is None
    notifier.ready("")
    notifier.stopping("")


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, BEAT_MS),
        ({"WATCHDOG_PID": str(os.getpid())}, BEAT_MS),
        ({"WATCHDOG_USEC": "120000000"}, BEAT_MS_MAX),
        ({"WATCHDOG_PID": "1"}, None),  # meant for another process
        ({"WATCHDOG_USEC": ""}, BEAT_MS_MAX),
        ({"WATCHDOG_USEC": "0"}, BEAT_MS_MAX),
        ({"WATCHDOG_USEC": "soon"}, BEAT_MS_MAX),
    ],
)
def test_how_often_is_to_be_told(manager, more, wanted):
    assert Notifier(manager.environ | more).beat_ms == wanted


def test_a_manager_that_went_away_is_no_trouble(tmp_path):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")


def test_a_manager_that_does_not_read_holds_nobody_up_for_ever(manager):
    notifier = Notifier(manager.environ)
    way = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    way.setblocking(False)
    name = manager.environ["NOTIFY_SOCKET"]
    with pytest.raises(BlockingIOError):
        while True:
            way.sendto(b"x", "\0" + name[1:] if name.startswith("@") else name)
    way.close()
    notifier.alive("not heard")
    manager.drain()
    notifier.alive("not heard")
    assert manager.next() == {"WATCHDOG": "1", "STATUS": "not heard"}


# -- the rule ---------------------------------------------------------------------------------


def heart_of(manager, lines):
    meter = SimpleNamespace(
        bytes=0,
        source=SimpleNamespace(name="ir0"),
        decoder=SimpleNamespace(frames=0, drops={}),
        diagnosis=SimpleNamespace(text=None),
        trouble=None,
        advice=lambda: None,
    )
    agent = SimpleNamespace(meters=[meter], is_connected=lambda: True, waiting=lambda: 3)
    return meter, Heart(agent, Notifier(manager.environ), lines.append)


def run_minutes(heart, meter, minutes, start_ms, *, is_decoded, manager=None):
    """Step once a second; return when it ended. A manager that is given forgets what it hears."""
    for second in range(int(minutes * 60)):
        meter.bytes += 400
        meter.decoder.frames += is_decoded
        heart.beat(start_ms + second * 1000)
        if manager is not None:
            manager.drain()
    return start_ms + int(minutes * 60_000)


def test_ready_comes_with_the_first_step_and_beats_with_frames(manager):
    meter, heart = heart_of(manager, [])
    run_minutes(heart, meter, 0.25, 0, is_decoded=True)
    assert manager.next() == {
        "READY": "1",
        "STATUS": "ir0: open; broker connected; 3 records wait for the host",
    }
    assert (
        manager.next()["STATUS"]
        == "ir0: frames come; broker connected; 3 records wait for the host"
    )
    assert [manager.next(0) for _ in range(5)] == [{"WATCHDOG": "1"}] * 4 + [None]


def test_bytes_of_which_nothing_is_made_end_the_beats(manager):
    lines = []
    meter, heart = heart_of(manager, lines)
    end_ms = run_minutes(heart, meter, 1, 0, is_decoded=True, manager=manager)
    end_ms = run_minutes(heart, meter, 6, end_ms, is_decoded=False, manager=manager)
    end_ms = run_minutes(heart, meter, 2, end_ms, is_decoded=False)
    assert manager.next(0) is None
    assert lines == [
        "ir0: for 300 s bytes came, and nothing was made of them; "
        "the service manager will start us again"
    ]
    run_minutes(heart, meter, 1, end_ms, is_decoded=True)
    assert manager.next(0)["WATCHDOG"] == "1"


# -- the whole agent --------------------------------------------------------------------------


def test_the_agent_is_ready_beats_and_stops(tmp_path):
    manager = Manager(tmp_path, 0.4)
    master, slave = pty.openpty()
    tty.setraw(slave)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[agent]\nid = "cellar"\n[log]\npath = "log.ring"\nsize_kib = 64\n'
        f'[[meter]]\nport = "{os.ttyname(slave)}"\n[[meter]]\nport = "/dev/ttyNOTHING"\n'
        '[mqtt]\nhost = "127.0.0.1"\nport = 1\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "wattlog_pi", "--config", config],
        env=os.environ | manager.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        first = manager.next()
        assert first["READY"] == "1"
        assert "/dev/ttyNOTHING: there is no such port; trying again" in first["STATUS"]
        assert (tmp_path / "log.ring").stat().st_size == 64 * 1024
        for _ in range(3):
            manager.wait_for("WATCHDOG")
        process.send_signal(signal.SIGSTOP)  # it hangs
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        manager.drain()
        assert manager.next(1.0) is None
        process.send_signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG")
        process.terminate()
        manager.wait_for("STOPPING")
        assert process.wait(PATIENCE_S) == 0, process.stderr.read()
    finally:
        process.kill()
        process.communicate()
        os.close(slave)
        os.close(master)
        manager.close()
