"""The IR head's light on the fake board's pin and timer, in real time: test_board.py runs them."""

import os
import select
import sys
import time

import ffi
import machine

import run as runner
from wattlog_esp32.light import Flasher, open_lamp, plan

BLOCKED_MS = 400
LOW, HIGH = (17, 0), (17, 1)


def levels(since):
    """What the pin had since that line of its file."""
    with open(os.getenv("BOARD_PIN_FILE")) as file:
        return [int(line.split()[1]) for line in file][since:]


def count_levels():
    try:
        return len(levels(0))
    except OSError:
        return 0


def test_the_pin_is_dark_unless_it_shines_whatever_level_that_is():
    for light in (LOW, HIGH):
        before = count_levels()
        lamp = open_lamp(light, lambda _: None)
        lamp.shine(True)
        lamp.shine(False)
        lamp.shine(True)
        lamp.close()
        dark = 1 - light[1]
        assert levels(before) == [dark, 1 - dark, dark, 1 - dark, dark], light


def test_time_is_told_while_the_main_program_waits_for_a_peer():
    told = []
    lamp = open_lamp(LOW, told.append)
    try:
        poller = select.poll()
        poller.register(sys.stdin, 0)  # nothing of it is waited for, so it takes the whole time
        begin_ticks = time.ticks_ms()
        assert not poller.poll(BLOCKED_MS)
        assert time.ticks_diff(time.ticks_ms(), begin_ticks) >= BLOCKED_MS
        assert len(told) >= 10, told
        assert sum(told) >= BLOCKED_MS - 100
    finally:
        lamp.close()
    count = len(told)
    time.sleep_ms(50)
    assert len(told) == count, "nobody is called after close()"


def test_what_blocks_in_c_makes_an_edge_late_and_ends_it_in_the_dark():
    before = count_levels()
    flasher = Flasher(*plan("1111", [2, 100, 100, 1_000, 0, 1_000]))
    lamp = open_lamp(LOW, flasher.advance)
    flasher.begin(lamp.shine)
    block(100 + BLOCKED_MS)
    assert flasher.state() == "failed: late"
    lamp.close()
    assert levels(before) == [1, 0, 1]


def block(time_ms):
    """Do what getaddrinfo() does on an ESP32: nothing else runs, no callback either."""
    c_poll = ffi.open("libc.so.6").func("i", "poll", "pii")
    kept = machine.Timer.kept
    machine.Timer.kept = lambda _: None
    begin_ticks = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), begin_ticks) < time_ms:
        c_poll(None, 0, 5)
    machine.Timer.kept = kept
    time.sleep_ms(20)


def test_a_closed_lamp_is_not_in_the_heap_any_more():
    lamp = open_lamp(LOW, lambda _: None)
    assert "wattlog_esp32.lamp" in sys.modules
    lamp.close()
    assert "wattlog_esp32.lamp" not in sys.modules
    assert machine.Timer.kept is None, "nor does the timer know it"


def test_a_lamp_that_cannot_be_is_not_left_in_the_heap():
    timer = machine.Timer
    machine.Timer = None
    try:
        open_lamp(LOW, lambda _: None)
    except TypeError:
        pass
    else:
        raise AssertionError("it was opened")
    finally:
        machine.Timer = timer
    assert "wattlog_esp32.lamp" not in sys.modules


def run(_folder):
    sys.exit(runner.run("board_lamp_tests"))
