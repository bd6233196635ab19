"""The serial port: never waited for, opened again when it is gone, and its troubles in words."""

import itertools
import os
import pty
import tty

import pytest

from wattlog_pi.serial_source import RETRY_MS_MAX, SerialSource


class Line:
    """A pty that may be unplugged, with a link that keeps its name."""

    def __init__(self, folder):
        self.path = folder / "ttyUSB0"
        self.master = -1

    def plug(self):
        self.master, slave = pty.openpty()
        tty.setraw(self.master)
        tty.setraw(slave)
        self.path.symlink_to(os.ttyname(slave))
        os.close(slave)

    def unplug(self):
        os.close(self.master)
        self.path.unlink()


@pytest.fixture
def line(tmp_path):
    line = Line(tmp_path)
    line.plug()
    yield line
    if line.path.exists():
        line.unplug()


@pytest.fixture
def source(line):
    source = SerialSource(str(line.path), 9600, lambda n: 0)
    yield source
    source.close()


def test_what_has_arrived_is_returned_and_nothing_is_waited_for(line, source):
    assert source.read(0) == b""
    assert source.trouble() is None
    os.write(line.master, b"\x1b\x1b\x00\x0a\x0d\x03\x11\x13\xff")
    assert source.read(1) == b"\x1b\x1b\x00\x0a\x0d\x03\x11\x13\xff"
    assert source.read(2) == b""


def test_bytes_from_before_the_port_was_opened_are_not_a_reading_of_now(line, source):
    keeper = os.open(line.path, os.O_RDWR | os.O_NOCTTY)  # a pty without a reader drops bytes
    os.write(line.master, b"old")
    assert source.read(0) == b""
    os.write(line.master, b"new")
    assert source.read(1) == b"new"
    os.close(keeper)


def test_a_port_that_vanishes_is_opened_again_when_it_is_back(line, source):
    source.read(0)
    line.unplug()
    assert source.read(10) == b""
    assert "gone" in source.trouble()
    assert source.read(500) == b""
    for now_ms in range(1010, 40_000, 1000):
        assert source.read(now_ms) == b""
    assert source.trouble() == "there is no such port; trying again"
    line.plug()
    source.read(40_000 + RETRY_MS_MAX)
    assert source.trouble() is None
    os.write(line.master, b"back")
    assert source.read(80_000) == b"back"


def test_tries_are_spread_up_to_half_a_minute(tmp_path, monkeypatch):
    source = SerialSource(str(tmp_path / "none"), 9600, lambda n: 0)
    tries = []
    monkeypatch.setattr(
        source, "_open", lambda now_ms: (tries.append(now_ms), source._lost(now_ms, ""))
    )
    for now_ms in range(0, 300_000, 50):
        source.read(now_ms)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert gaps[:5] == [1000, 2000, 4000, 8000, 16000]
    assert set(gaps[5:]) == {RETRY_MS_MAX}


def test_a_port_that_another_program_reads(line, source):
    source.read(0)
    second = SerialSource(str(line.path), 9600, lambda n: 0)
    assert second.read(0) == b""
    assert second.trouble() == "the port is used by another program; trying again"
    os.write(line.master, b"mine")
    assert source.read(1) == b"mine"


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda path: None, "there is no such port"),
        (lambda path: path.write_bytes(b""), "this is not a serial port"),
        (lambda path: path.mkdir(), "this is not a serial port"),
    ],
    ids=["no such port", "a file", "a folder"],
)
def test_what_is_no_port(tmp_path, make, wanted):
    path = tmp_path / "port"
    make(path)
    source = SerialSource(str(path), 9600, lambda n: 0)
    assert source.read(0) == b""
    assert source.trouble() == wanted + "; trying again"
