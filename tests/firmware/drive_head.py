"""What a test has a whole head do on the fake board: run("SETTINGS TRICK").

Without a trick it is just a head.
"""

import wattlog_esp32.link
import wattlog_esp32.uart
from wattlog_esp32 import main, pulse


def stall(_pulse, _now_ms):
    return "uart1: a test says so"


def fail(_source, _now_ms):
    raise ValueError("a test says so")


def run(argument):
    path, _, trick = argument.partition(" ")
    if trick == "stall":
        pulse.Pulse.trouble = stall
    elif trick == "fail":
        wattlog_esp32.uart.UartSource.read = fail
    main.run(path)
