"""How long a head's longest step takes, in virtual time: run("SETTINGS MOODS"). See test_day.py.

MOODS is what the broker is like, a letter for each minute, the time server's silence by capitals.
"""

import socket
import sys
import time

import faketls
import machine
import ntptime
from drive_day import Os

from wattlog_esp32 import main

MINUTE_MS = 60_000
FRAME_MS = 500  # 720 bytes a second: the longest frame that was seen has 684
MOODS = "ogmds"


def run(argument):
    path, moods = argument.split()
    # Made now: a letter that is new later may double the table of names in a heap in pieces.
    answers = [letter.islower() for letter in moods]
    moods = [MOODS.index(letter.lower()) for letter in moods]
    longest = [0, 0]
    sys.modules["tls"] = faketls

    def mood(now_ms):
        return moods[min(now_ms // MINUTE_MS, len(moods) - 1)]

    socket.script[0] = mood
    main.os = Os
    make = main._make

    def keep(*given):
        head = make(*given)
        step = head.step

        def watched():
            begin_ms = time.now_ms()
            wait_ms = step()
            if time.now_ms() - begin_ms > longest[0]:
                longest[:] = [time.now_ms() - begin_ms, begin_ms]
            return wait_ms

        head.step = watched
        return head

    main._make = keep

    def watch(now_ms):
        minute = now_ms // MINUTE_MS
        if minute >= len(moods):
            print("longest_ms", longest[0], "at", longest[1], "lost", machine.UART.lost_bytes)
            raise SystemExit
        ntptime.answers[0] = answers[minute]

    ntptime.answers[0] = answers[0]
    machine.UART.every_ms = FRAME_MS
    time.on_sleep.append(watch)
    main.run(path)
