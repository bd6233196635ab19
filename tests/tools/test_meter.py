"""`wattlog-tools meter`: what comes out of the port, and when nobody listens."""

import os
import select
import signal
import termios
import tty
from pathlib import Path

import pytest
from smllib import SmlStreamReader

from toolbox import select_briefly
from wattlog_sim.sml_writer import START
from wattlog_tools import meter
from wattlog_tools.console import ToolError
from wattlog_tools.meter import (
    CHUNK_BYTES,
    WAITING_BYTES_MAX,
    Clock,
    Player,
    PtyLine,
    cut_at_starts,
)

PATIENCE_S = 30


class Port:
    """A serial port as a daemon opens it."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd)
        termios.tcflush(self.fd, termios.TCIFLUSH)

    def read(self):
        assert select.select([self.fd], [], [], PATIENCE_S)[0], "the meter is silent"
        return os.read(self.fd, 4_096)

    def read_frames(self, count):
        reader = SmlStreamReader()
        frames = []
        while len(frames) < count:
            reader.add(self.read())
            while frame := reader.get_frame():
                frames.append(frame.parse_frame()[1].message_body)
        return frames

    def close(self):
        os.close(self.fd)


@pytest.fixture
def open_port():
    ports = []

    def open_one(path):
        ports.append(Port(path))
        return ports[-1]

    yield open_one
    for port in ports:
        port.close()


class Line:
    """Takes what a player sends, with the time of each piece."""

    path = "a line"
    lost_bytes = 0

    def __init__(self):
        self.sent = []

    def send(self, data):
        self.sent.append(data)


class Bursts:
    label = "bursts"

    def __init__(self, *sizes):
        self.sizes = list(sizes)
        self.epochs = []

    def next_burst(self, epoch_s):
        self.epochs.append(epoch_s)
        return bytes(self.sizes[len(self.epochs) % len(self.sizes) - 1])


def play(player, until_s, ticks_s=0.001):
    """Step through simulated time; return (time, bytes) of each piece sent."""
    timeline = []
    tick = 0
    while (now_s := tick * ticks_s) < until_s:
        before = len(player.line.sent)
        player.step(now_s)
        timeline += [(now_s, len(data)) for data in player.line.sent[before:]]
        tick += 1
    return timeline


def test_bytes_come_at_960_a_second_and_bursts_once_a_second():
    source = Bursts(384)
    timeline = play(Player(source, Line(), 1.0, 9_600, Clock(0.0, 1_000, 1)), 5.0)
    assert source.epochs == [1_000, 1_001, 1_002, 1_003, 1_004]
    assert sum(size for _, size in timeline) == 5 * 384
    for begin_s, _ in timeline:
        window = [size for at_s, size in timeline if begin_s <= at_s < begin_s + 0.2]
        assert sum(window) <= 0.2 * 960 + CHUNK_BYTES
    first = [at_s for at_s, _ in timeline if at_s < 1]
    assert 0.35 < first[-1] - first[0] <= 0.4


def test_a_burst_longer_than_a_second_is_not_overlapped():
    source = Bursts(1_440)
    timeline = play(Player(source, Line(), 1.0, 9_600, Clock(0.0, 1_000, 1)), 6.0)
    assert len(source.epochs) == 4
    assert sum(size for _, size in timeline) == 4 * 1_440


def test_time_may_pass_faster_and_no_second_is_left_out():
    source = Bursts(300)
    player = Player(source, Line(), 1.0 / 40, 9_600 * 40, Clock(0.0, 1_000, 40))
    play(player, 5.0)
    assert source.epochs == list(range(1_000, 1_200))


def test_after_a_pause_the_lost_time_is_not_made_up_for():
    player = Player(Bursts(384), Line(), 1.0, 9_600, Clock(0.0, 1_000, 1))
    player.step(0.0)
    player.step(100.0)
    assert len(player.line.sent) == 2
    assert 100.0 < player.due_s < 100.1


def test_a_capture_is_cut_only_before_starts():
    frame = START + b"payload"
    for data in (b"", b"junk", frame, b"junk" + frame, frame + frame + b"cut", frame * 3):
        pieces = cut_at_starts(data)
        assert b"".join(pieces) == data
        assert all(START not in piece[1:] for piece in pieces)
    assert cut_at_starts(b"junk" + frame + frame) == [b"junk", frame, frame]


def test_nothing_old_piles_up_when_nobody_reads():
    line = PtyLine(None)
    try:
        # On a busy machine the kernel moves bytes to the reader's side later than they are sent.
        for count in range(100_000):
            line.send(b"%08d" % count * 4)
            if line.lost_bytes > 20_000:
                break
        assert line.lost_bytes > 20_000
        select_briefly()
        port = Port(line.path)
        line.send(b"fresh")
        assert port.read() == b"fresh"
        port.close()
        line.send(b"still there")
    finally:
        line.close()


def test_what_waits_is_bounded_and_every_lost_byte_counted():
    line = PtyLine(None)
    fd = os.open(line.path, os.O_RDONLY | os.O_NOCTTY)
    try:
        for count in range(1_000):
            line.send(b"%08d" % count)
        waiting = b""
        while not waiting.endswith(b"00000999"):
            assert select.select([fd], [], [], PATIENCE_S)[0], "the newest bytes are missing"
            waiting += os.read(fd, 8_192)
        # The kernel may count a moment behind: hence twice.
        assert len(waiting) <= 2 * WAITING_BYTES_MAX
        assert line.lost_bytes + len(waiting) == 8_000
    finally:
        os.close(fd)
        line.close()


def test_a_reader_that_writes_does_not_fill_the_port_up():
    line = PtyLine(None)
    port = Port(line.path)
    os.set_blocking(port.fd, False)
    try:
        for _ in range(100):
            assert os.write(port.fd, bytes(1_000)) == 1_000
            line.send(b"x")
    finally:
        port.close()
        line.close()


def test_a_stale_link_is_replaced_and_a_file_is_kept(tmp_path):
    link = tmp_path / "meter"
    link.symlink_to("/dev/pts/999999")
    line = PtyLine(link)
    assert os.readlink(link) == line.path
    line.close()
    assert not link.is_symlink()
    link.write_text("mine")
    with pytest.raises(ToolError, match="stays as it is"):
        PtyLine(link)
    assert link.read_text() == "mine"


def test_what_takes_long_is_done_before_the_clock_starts(monkeypatch):
    done = []

    class Slow:
        label = "a slow meter"

        def prepare(self, epoch_s):
            done.append(("prepared", epoch_s))

        def next_burst(self, epoch_s):
            done.append(("sent", epoch_s))
            return b"\x1b"

    class Stop:
        count = 0

        def wait(self, _):
            Stop.count = 1

    line = PtyLine(None)
    made = meter.Clock
    monkeypatch.setattr(meter, "Clock", lambda *how: done.append(("clock",)) or made(*how))
    meter._play([Slow()], [line], meter._parser().parse_args([]), Stop())
    line.close()
    epoch_s = done[0][1]
    assert done == [("prepared", epoch_s), ("clock",), ("sent", epoch_s)]


def test_a_link_that_another_took_over_stays(tmp_path):
    link = tmp_path / "meter"
    first = PtyLine(link)
    second = PtyLine(link)
    first.close()
    assert os.readlink(link) == second.path
    second.close()
    assert not link.is_symlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_two_meters_play_until_a_signal(start, open_port, tmp_path, number):
    links = tmp_path / "ports"
    # Faster than a meter, so that the test need not wait; the pace has tests of its own.
    program = start(
        "meter", "--meters", "mt681,dzg", "--link", links, "--baud", 115_200, "--interval", 0.1
    )
    wanted = {"meter-1": "090149534b000395693b", "meter-2": "0a01445a47000282c0bd"}
    for name, server_id in wanted.items():
        path = program.expect(r"^(/dev/\S+) plays").group(1)
        assert os.readlink(links / name) == path
        frames = open_port(links / name).read_frames(2)
        assert {frame.server_id for frame in frames} == {server_id}
        # Simulated seconds are real ones, however often a frame comes.
        assert 0 <= frames[1].act_sensor_time - frames[0].act_sensor_time < PATIENCE_S
    assert program.end(number) == 0
    assert list(links.iterdir()) == []
    assert "Traceback" not in "\n".join(program.lines)


def test_a_reader_may_come_back(start, open_port, tmp_path):
    link = tmp_path / "port"
    program = start("meter", "--link", link, "--baud", 115_200, "--interval", 0.1)
    program.expect("plays mt681")
    for _ in range(3):
        port = Port(link)
        port.read_frames(1)
        port.close()
    assert program.end(signal.SIGTERM) == 0
    assert not link.is_symlink()


def test_at_9600_baud_a_frame_a_second_arrives(start, open_port):
    program = start("meter")
    path = program.expect(r"^(/dev/\S+) plays mt681").group(1)
    first, second = open_port(path).read_frames(2)
    assert second.act_sensor_time - first.act_sensor_time == 1


def test_a_capture_passes_unchanged_and_again(start, open_port, tmp_path):
    capture = tmp_path / "capture.bin"
    recorded = b"half a frame" + START + bytes(range(256)) + START + b"\x1b\x1b\x03\x11\x13\r\n"
    capture.write_bytes(recorded)
    program = start("meter", "--replay", capture, "--interval", 0.2, "--baud", 115_200)
    port = open_port(Path(program.expect(r"^(/dev/\S+) plays replay").group(1)))
    received = b""
    while received.count(b"half a frame") < 3:
        received += port.read()
        assert len(received) < 10 * len(recorded), "it does not start over"
    begin = received.index(b"half a frame")
    assert received[begin:].startswith(recorded * 2)


def test_losing_bytes_is_said_once(start):
    program = start("meter", "--interval", 0.01, "--baud", 921_600)
    program.expect("nobody reads /dev/.*: bytes are lost")
    assert program.end(signal.SIGTERM) == 0
    said = "\n".join(program.lines)
    assert said.count("nobody reads") == 1
    assert "bytes lost" in said
