"""The rest of the rim on the fake board, and the fakes themselves where tests lean on them."""

import os
import re
import socket
import subprocess
import tty
from binascii import crc32
from contextlib import closing
from hashlib import shake_128
from json import dumps
from pathlib import Path

import pytest

from boards import MAIN, Board
from portals import BoardHead
from toolbox import ROOT
from wattlog.ringlog import RingLog
from wattlog.ringsector import FORMAT_DISK
from wattlog_sim.flash import FakeFlash
from wattlog_sim.meters import MODELS
from wattlog_tools.frames import seconds_of

HERE = Path(__file__).parent
RUN_S_MAX = 20
WATCHDOG_MS = 400
# A shell would say 142: ended by SIGALRM.
BITTEN = -14


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    names = (
        "board_tests",
        "board_lamp_tests",
        "board_log_tests",
        "board_rim_tests",
        "drive_hang",
        "drive_head",
        "test_light",
        "test_rim",
    )
    programs = [HERE / f"{name}.py" for name in names]
    programs += [ROOT / f"tests/support/{name}.py" for name in ("button", "light_world")]
    return Board(tmp_path_factory.mktemp("board"), (*programs, ROOT / "tests/portable/run.py"))


def run(board, program, argument, pass_fds=(), heap_kib=None, **environment):
    return board.run(program, argument, RUN_S_MAX, heap_kib, pass_fds, **environment)


def test_settings_clock_wifi_and_uart_on_the_board(board, tmp_path):
    master_fd, slave_fd = os.openpty()
    try:
        tty.setraw(slave_fd)
        done = run(
            board,
            "board_tests",
            str(tmp_path),
            pass_fds=[master_fd],
            BOARD_UART1=os.ttyname(slave_fd),
            BOARD_METER_FD=master_fd,
        )
    finally:
        os.close(master_fd)
        os.close(slave_fd)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize(
    ("way", "status", "printed"),
    [
        ("settimeout", 0, "timed out\n"),
        # The unix port would keep the timeout here, and hide that an ESP32 waits for ever.
        ("setblocking", BITTEN, ""),
        ("loop", BITTEN, "timed out\n"),
    ],
)
def test_the_fake_socket_forgets_and_the_fake_watchdog_bites(board, way, status, printed):
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        port = mute.getsockname()[1]
        done = run(board, "drive_hang", f"{port} {way}", BOARD_WDT_MS=WATCHDOG_MS)
    assert done.returncode == status, done.stdout
    assert done.stdout == printed


@pytest.mark.parametrize(
    ("program", "argument", "heap_kib"),
    [
        ("board_log_tests", "", 400),
        ("board_rim_tests", "test_rim", None),
        ("board_rim_tests", "test_light", None),
        ("board_lamp_tests", "", None),
    ],
)
def test_the_log_the_crash_note_and_the_rest_of_the_rim(
    board, tmp_path, program, argument, heap_kib
):
    pins = tmp_path / "pins"
    argument = argument or str(tmp_path)
    done = run(board, program, argument, heap_kib=heap_kib, BOARD_PIN_FILE=pins)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.MULTILINE), done.stdout


HEAD_S = 3
HEAD_WATCHDOG_MS = 1_000
HEAP_KIB = 80  # a log in files takes more than one in its partition
SETTINGS = {
    "agent.id": "cellar",
    "wifi.ssid": "home",
    "mqtt.host": "127.0.0.1",
    "mqtt.port": 1,
    "meter.rx": 16,
    "meter.tx": 17,
}


@pytest.fixture
def head(board, tmp_path):
    """head(trick, settings…): a head of its own on a silent meter, for HEAD_S at most."""
    masters = []

    def start(trick="", change=(), **environment):
        for number in (1, 2):
            masters.extend(os.openpty())
            environment[f"BOARD_UART{number}"] = os.ttyname(masters[-1])
        (tmp_path / "wattlog.json").write_text(dumps({**SETTINGS, **dict(change)}))
        flash = tmp_path / "flash"
        if not flash.exists():
            flash.write_bytes(b"\xff" * 65_536)
        environment = {
            "BOARD_RINGLOG": flash,
            "BOARD_WDT_MS": HEAD_WATCHDOG_MS,
            **environment,
        }
        command = board.command("drive_head", f"{tmp_path}/wattlog.json {trick}", HEAP_KIB)
        try:
            done = subprocess.run(
                command,
                env=board.environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=HEAD_S,
                check=False,
            )
        except subprocess.TimeoutExpired as err:
            return None, (err.stdout or b"").decode()
        return done.returncode, done.stdout.decode()

    yield start
    for fd in masters:
        os.close(fd)


def test_no_network_no_broker_and_no_meter_are_no_reason_for_a_restart(head, tmp_path):
    (tmp_path / "down").touch()
    assert head(BOARD_WIFI_DOWN=tmp_path / "down")[0] is None, "Wi-Fi away"
    status, printed = head()
    assert status is None, printed
    assert "nobody listens there" in printed
    assert not (tmp_path / "crash.txt").exists()


def test_a_head_that_makes_nothing_of_its_bytes_is_restarted_and_says_why_afterwards(
    head, tmp_path
):
    status, printed = head("stall")
    assert status == BITTEN, printed
    assert printed.count("uart1: a test says so; the watchdog will restart the board") == 1
    status, printed = head(BOARD_RESET_CAUSE=3)
    assert "after watchdog" in printed
    assert "an earlier start crashed: uart1: a test says so" in printed


def test_steps_that_fail_do_not_feed_the_watchdog_and_the_first_failure_is_kept(head, tmp_path):
    status, printed = head("fail", BOARD_WDT_MS=2_500)
    assert status == BITTEN, printed
    lines = (tmp_path / "crash.txt").read_text().splitlines()
    assert re.fullmatch("[0-9a-f]{8}", lines[0])
    assert lines[2] == "ValueError: a test says so"
    assert lines[-1].startswith("drive_head.py:") and lines[-1].endswith(" fail")
    assert len(lines) <= 3 + 5


def test_a_crash_that_cannot_be_kept_is_one_line(head, tmp_path):
    (tmp_path / "crash.txt").mkdir()
    status, printed = head("fail", BOARD_WDT_MS=2_500)
    assert status == BITTEN, "it goes on as long as one whose crash was kept"
    assert printed.count("this crash cannot be kept for the next start: ") == 1, printed


def test_two_meters_an_led_and_a_port_that_is_upside_down(head, tmp_path):
    change = {"meter2.rx": 25, "meter2.tx": 26, "meter2.invert": True, "led.pin": 2}
    lamp = tmp_path / "lamp"
    status, printed = head(change=change, BOARD_LED_FILE=lamp)
    assert status is None, printed
    assert lamp.read_text() == "1", "starting: steady light"
    lamp.unlink()
    head(change={**change, "led.active_low": True}, BOARD_LED_FILE=lamp)
    assert lamp.read_text() == "0"


def newer_log():
    """A partition's bytes with a log of the next format: as ours, with the number and its seal."""
    image = bytearray(b"\xff" * 65_536)
    RingLog(FakeFlash(len(image) // 4096, 4096, image), lambda: 7)
    image[1] = FORMAT_DISK + 1
    seal = bytearray((crc32(image[:29]) & 0xFFFFFF).to_bytes(3, "little"))
    seal[2] = min(seal[2], 0x7F) if seal[2] == 0xFF else seal[2]
    image[29:32] = seal
    return bytes(image)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (shake_128().digest(65_536), r"0 records wait in flash"),
        (
            newer_log(),
            r"partition ringlog: the log has format \d+; this is for \d+: readings wait",
        ),
    ],
    ids=["garbage", "a newer format"],
)
def test_what_is_wrong_with_the_log_is_one_line_and_without_a_network_too_the_meter_is_read(
    board, tmp_path, content, line
):
    (tmp_path / "wattlog.json").write_text(dumps(SETTINGS))
    (tmp_path / "ringlog.bin").write_bytes(content)
    (tmp_path / "down").touch()
    head = BoardHead(
        board,
        tmp_path,
        MAIN,
        command=board.command(MAIN, f"{tmp_path}/wattlog.json", HEAP_KIB),
        BOARD_RINGLOG=tmp_path / "ringlog.bin",
        BOARD_WIFI_DOWN=tmp_path / "down",
        BOARD_WDT_MS=HEAD_WATCHDOG_MS,
    )
    try:
        head.wait_for(rb"bytes of heap free")
        os.write(head.meter, b"".join(seconds_of(MODELS[0].name, 5)))
        head.wait_for(rb"this is meter")
        said = head.said.decode()
    finally:
        head.stop()
    assert len(re.findall(line, said)) == 1, said
    assert "Traceback" not in said, said


def test_without_a_partition_the_head_meters_into_a_file(head, tmp_path):
    status, printed = head(BOARD_RINGLOG="")
    assert status is None, printed
    assert "there is no partition ringlog: readings wait in a file" in printed
    assert (tmp_path / "ringlog/sectors").read_text() == "256"
