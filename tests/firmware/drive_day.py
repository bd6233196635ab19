"""A head that lives some hours in virtual time: run("SETTINGS HOURS"). See test_day.py.

Prints for each minute what of the heap was in use after a collection, and for each hour the largest
piece that could be had, and what was counted.
"""

import gc
import socket
import time

import machine

from wattlog_esp32 import main

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
STEP_MS = 2_000  # between two steps: with 50 ms a day would take half an hour
PIECE_BYTES = 7_168
heads = []


def mood(now_ms):
    """Every hour has its troubles; from the eighth on there is no broker for three."""
    if 8 * HOUR_MS <= now_ms < 11 * HOUR_MS:
        return socket.GONE
    minute = now_ms // MINUTE_MS % 60
    if 10 <= minute < 14:
        return socket.DEAF
    if 25 <= minute < 29:
        return socket.GONE
    return socket.MUTE if minute == 40 else socket.OPEN


def largest_bytes():
    """Return how large the largest piece is that can be had."""
    low, high = 0, 1 << 17
    while high - low > 16:
        middle = (low + high) // 2
        try:
            bytearray(middle)
            low = middle
        except MemoryError:
            high = middle
        gc.collect()
    return low


def fill_up():
    """Take so much that no larger piece than PIECE_BYTES is left."""
    ballast = []
    while True:
        gc.collect()
        left = largest_bytes() - PIECE_BYTES
        if left <= 32:
            return ballast
        ballast.append(bytearray(left))


class Os:
    """Of `os` what main uses, without chance."""

    @staticmethod
    def urandom(count):
        return b"\x01" * count


def run(argument):
    path, hours = argument.split()
    hours = int(hours)
    socket.script[0] = mood
    time.SLEEP_MS_MIN[0] = STEP_MS
    main.os = Os
    make = main._make
    ballast = []

    def keep(*given):
        heads.append(make(*given))
        return heads[0]

    main._make = keep
    due_ms = [MINUTE_MS]

    def sample(now_ms):
        if now_ms < due_ms[0]:
            return
        due_ms[0] += MINUTE_MS
        gc.collect()
        print("used", gc.mem_alloc())
        if now_ms % HOUR_MS >= STEP_MS:
            return
        hour = now_ms // HOUR_MS
        if hour == 1:
            ballast.append(fill_up())
        meter = heads[0]._agent.meters[0]
        log = heads[0]._agent._log.stats()
        print("hour", hour, "largest", largest_bytes(), end=" ")
        print("frames", meter.decoder.frames, "played", machine.UART.played, end=" ")
        print(
            "lost", machine.UART.lost_bytes, "records", log.records, "next", log.next_seq, end=" "
        )
        print("acked", socket.taken[0], "drops", meter.drops())
        if hour == hours:
            raise SystemExit

    time.on_sleep.append(sample)
    main.run(path)
