"""What a test has the firmware's link do: run("PORT SCENARIO"); prints how it went.

Runs under MicroPython on the fake board; test_link.py is the broker at the other end.
"""

import sys
import time

from wattlog.uplink import LinkError
from wattlog_esp32.link import UmqttLink

DEADLINE_MS = 300
BUFFER_BYTES = 1_592
BATCH_TOPIC = "wattlog/1/cellar/b"
TRIES = 2000


def make_link(port, is_online=True):
    return UmqttLink(
        "127.0.0.1",
        port,
        "cellar",
        "secret",
        "cellar",
        0xBEEF,
        lambda: is_online,
        bytearray(BUFFER_BYTES),
        DEADLINE_MS,
    )


def receive(link):
    for _ in range(TRIES):
        link.arm()
        message = link.receive()
        if message is not None:
            return message
        time.sleep_ms(1)
    raise AssertionError("nothing came")


def connect(link):
    link.arm()
    link.open(b"the will")
    print("up", link.is_up())


def publish(link):
    connect(link)
    link.publish(BATCH_TOPIC, b"small", False)
    print(receive(link))
    link.publish(BATCH_TOPIC, memoryview(b"large" * 400)[:-1], True)
    print(receive(link))
    link.close()


def publish_and_die(link):
    connect(link)
    link.publish(BATCH_TOPIC, b"small", False)
    sys.exit()


def listen(link):
    connect(link)
    for _ in range(TRIES):
        print(receive(link))


def flood(link):
    connect(link)
    for _ in range(TRIES):
        link.arm()
        link.publish(BATCH_TOPIC, b"x" * 2000, False)


def reconnect(link):
    connect(link)
    try:
        receive(link)
    except LinkError as err:
        print("lost", err)
    print("up", link.is_up())
    connect(link)


def grow_old(link):
    connect(link)
    time.sleep_ms(DEADLINE_MS + 50)  # the deadline is for one step, not for the connection
    guard = link._guard
    for silent_ms in (16_000, 46_000):
        guard.received_ticks = time.ticks_add(time.ticks_ms(), -silent_ms)
        link.arm()
        print(link.receive())


def offline(link):
    connect(link)


def run(argument):
    port, name = argument.split()
    link = make_link(int(port), is_online=name != "offline")
    start_ticks = time.ticks_ms()
    try:
        globals()[name](link)
    except LinkError as err:
        print("LinkError", str(err).replace(port, "PORT"))
        print("took_ms", time.ticks_diff(time.ticks_ms(), start_ticks))
        print("up", link.is_up())
    link.close()
