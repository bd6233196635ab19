"""What a test has the firmware's link do: run("PORT SCENARIO [HOST CA]"); prints how it went.

With a CA's file it is a link with TLS to this host. Runs under MicroPython on the fake board;
test_link.py and test_link_tls.py are the broker at the other end.
"""

import gc
import sys
import time

from wattlog.uplink import LinkError
from wattlog_esp32.link import UmqttLink

DEADLINE_MS = 300
BUFFER_BYTES = 1_592
BATCH_TOPIC = "wattlog/1/cellar/b"
ACK_TOPIC = "wattlog/1/cellar/a"
TRIES = 2000
GIVE_UP_MS = 1_000


longest = [0]  # ms, of all steps


def make_tls(host, path, is_sure):
    from wattlog_esp32.secure import Tls

    return Tls(path, host, lambda: is_sure)


def make_link(port, is_online=True, host="127.0.0.1", tls=None):
    return UmqttLink(
        host,
        port,
        "cellar",
        "secret",
        "cellar",
        0xBEEF,
        lambda: is_online,
        bytearray(BUFFER_BYTES),
        tls,
        DEADLINE_MS,
    )


def step(link, act, *arguments):
    """Call one of the link's methods as a step of its own."""
    start_ticks = time.ticks_ms()
    link.arm()
    try:
        return act(*arguments)
    finally:
        longest[0] = max(longest[0], time.ticks_diff(time.ticks_ms(), start_ticks))


def receive(link):
    for _ in range(TRIES):
        link.arm()
        message = link.receive()
        if message is not None:
            return message
        time.sleep_ms(1)
    raise AssertionError("nothing came")


def connect(link):
    step(link, link.open, b"the will")
    link.is_up()  # as the uplink does, in the same step
    start_ticks = time.ticks_ms()
    while (
        not step(link, link.is_up) and time.ticks_diff(time.ticks_ms(), start_ticks) < GIVE_UP_MS
    ):
        time.sleep_ms(1)
    print("up", link.is_up())


def heap(link):
    gc.collect()
    before = gc.mem_alloc()
    connect(link)
    gc.collect()
    print("heap", before, gc.mem_alloc())
    link.close()
    gc.collect()
    print("closed", gc.mem_alloc())


def publish(link):
    connect(link)
    link.publish(BATCH_TOPIC, b"small", False)
    print(receive(link))
    link.publish(BATCH_TOPIC, memoryview(b"large" * 400)[:-1], True)
    print(receive(link))
    link.close()


def echo(link):
    connect(link)
    link.publish(ACK_TOPIC, b"to myself", False)
    print(receive(link))
    link.publish(ACK_TOPIC, b"y" * 1500, False)
    print(len(receive(link)[1]))
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
        step(link, link.publish, BATCH_TOPIC, b"x" * 2000, False)


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


timeless = offline


def run(argument):
    port, name, *more = argument.split()
    tls = make_tls(*more, name != "timeless") if more else None
    link = make_link(int(port), name != "offline", more[0] if more else "127.0.0.1", tls)
    start_ticks = time.ticks_ms()
    try:
        globals()[name](link)
    except LinkError as err:
        print("LinkError", str(err).replace(port, "PORT"))
        print("took_ms", time.ticks_diff(time.ticks_ms(), start_ticks))
        print("up", link.is_up())
    link.close()
    if tls is not None:
        print("longest_ms", longest[0])
