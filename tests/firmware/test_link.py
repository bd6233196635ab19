"""The link's guard around umqtt.simple, on MicroPython with the ESP32's socket rules, against a
broker that does what it should not. Every failure is a LinkError in words, and none takes long.
"""

import re
from pathlib import Path

import pytest

from boards import Board
from peers import (
    ACK_TOPIC,
    BOOT,
    CONNECTED,
    PUBLISH,
    STATUS_TOPIC,
    TOPICS,
    Peer,
    after_subscribing,
    endless_message,
    message,
    peer_of,
    run_link,
    well_behaved,
)
from wattlog.records import boot_mark

DRIVER = Path(__file__).parent / "drive_link.py"
# The deadline and what a busy test machine adds.
TOOK_MS_MAX = 3_000


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return Board(tmp_path_factory.mktemp("board"), (DRIVER,))


@pytest.fixture
def drive(board):
    """drive(scenario, script…): run the scenario against peers; return (printed, packets)."""

    def run(scenario, *scripts):
        with peer_of(scripts) as peer:
            return run_link(board, f"{peer.port} {scenario}"), peer.packets

    return run


@pytest.mark.parametrize(
    ("scenario", "script", "words"),
    [
        ("connect", lambda packet: Peer.WAIT, "no answer"),
        ("connect", lambda packet: None, "the broker closed the connection"),
        ("connect", lambda packet: b"\x20\x02\x00\x05", "refuses us: check user name .*"),
        ("connect", lambda packet: b"\x20\x02\x00\x03", r"refuses us \(code 3\)"),
        ("connect", lambda packet: b"\x20\x02", "no answer"),
        ("connect", lambda packet: b"HTTP/1.1 400 Bad Request\r\n", "does not speak MQTT"),
        ("connect", lambda packet: CONNECTED * 2, "no answer"),
        ("listen", after_subscribing(b"\xf0\x00"), "the broker sent what nobody asked for"),
        ("listen", after_subscribing(b"\x30\x64\x00"), "no answer"),
        ("listen", after_subscribing(b"\x30\x03\x00\x40" + b"a" * 64), "does not speak MQTT"),
        ("listen", after_subscribing(b"\x30" + b"\xff" * 100_000), "no answer|out of memory"),
        ("listen", after_subscribing(b"\x34\x03\x00\x01aQQ"), "does not speak MQTT"),
        ("listen", endless_message, "no answer"),
        ("listen", after_subscribing(None), "the broker closed the connection"),
        (
            "flood",
            lambda packet: Peer.WAIT if packet[0] == PUBLISH else well_behaved(packet),
            "no answer",
        ),
    ],
)  # fmt: skip
def test_whatever_the_broker_does_is_a_link_error_in_words_and_in_time(
    drive, scenario, script, words
):
    printed, _ = drive(scenario, script)
    assert re.search(rf"^LinkError 127.0.0.1:PORT: ({words})$", printed, re.MULTILINE), printed
    assert int(re.search(r"took_ms (\d+)", printed)[1]) < TOOK_MS_MAX
    assert printed.endswith("up False\n"), "a failed link is down, with its socket closed"


def test_every_packet_is_one_write_and_nothing_asks_for_an_acknowledgement(drive):
    def script(packet):
        return (
            message(ACK_TOPIC, b"got it") if packet[0] & 0xF0 == PUBLISH else well_behaved(packet)
        )

    printed, packets = drive("publish", script)
    assert printed == "up True\n" + "('wattlog/1/cellar/a', b'got it')\n" * 2
    connect, status, ack, command, small, *large, bye = packets
    assert connect.startswith(b"\x10") and connect[1] == len(connect) - 2
    for part in (b"wattlog-cellar-0000beef", b"wattlog/1/cellar/s", b"the will", b"secret"):
        assert part in connect
    assert connect[9] == 0xC0 | 0x20 | 0x04 | 0x02, "login, retained will of QoS 0, clean session"
    assert (status[0], ack[0], command[0]) == (0x82, 0x82, 0x82)
    assert status.endswith(b"wattlog/1/cellar/s\x00")
    assert ack.endswith(ACK_TOPIC + b"\x00")
    assert command.endswith(b"wattlog/1/cellar/c\x00")
    assert small == message(b"wattlog/1/cellar/b", b"small"), "QoS 0: no packet id"
    sent = b"".join(large)
    assert sent == b"\x31" + message(b"wattlog/1/cellar/b", (b"large" * 400)[:-1])[1:]
    assert bye == b"\xe0\x00"


def test_what_is_published_is_on_its_way_at_once(drive):
    _, packets = drive("publish_and_die", well_behaved)
    assert packets[1 + TOPICS :] == [message(b"wattlog/1/cellar/b", b"small")]


def test_a_message_that_is_too_long_costs_nobody_the_connection(drive):
    answer = message(ACK_TOPIC, b"x" * 5_000) + message(ACK_TOPIC, b"next") + b"\xf0"
    printed, _ = drive("listen", after_subscribing(answer))
    assert "('wattlog/1/cellar/a', b'')\n('wattlog/1/cellar/a', b'next')\n" in printed


def test_our_own_status_comes_back_without_costing_memory(drive):
    ours = message(STATUS_TOPIC, b"." * 500 + boot_mark(BOOT))
    theirs = b"." * 500 + boot_mark(BOOT + 1)
    small = b"claim" + boot_mark(BOOT)
    answer = ours + message(STATUS_TOPIC, theirs) + ours + message(STATUS_TOPIC, small) + b"\xf0"
    printed, _ = drive("listen", after_subscribing(answer))
    received = [line for line in printed.splitlines() if line.startswith("(")]
    assert received == [f"('wattlog/1/cellar/s', {one})" for one in (theirs, small)]


def test_what_is_kept_from_before_is_not_kept_by_us(drive):
    kept = message(STATUS_TOPIC, b"." * 500 + boot_mark(BOOT + 1))
    will = message(STATUS_TOPIC, b"offline")

    extra = {b"s\x00": will + kept, b"c\x00": b"\xf0"}

    def script(packet):
        return well_behaved(packet) + extra.get(packet[-2:], b"")

    printed, _ = drive("listen", script)
    received = [line for line in printed.splitlines() if line.startswith("(")]
    assert received == ["('wattlog/1/cellar/s', b'offline')"]


def test_a_message_on_a_topic_that_is_not_ours_has_no_name(drive):
    printed, _ = drive("listen", after_subscribing(message(b"\xff\xfe", b"x") + b"\xf0"))
    assert "('', b'x')\n" in printed


def test_a_lost_link_connects_again(drive):
    # Lost while nobody waits for a message: the new connection must not inherit that.
    printed, _ = drive("reconnect", after_subscribing(None), well_behaved)
    lost = "lost 127.0.0.1:PORT: the broker closed the connection"
    assert re.sub(r":\d+:", ":PORT:", printed) == f"up True\n{lost}\nup False\nup True\n"


def test_silence_is_asked_about_and_then_is_the_end(drive):
    printed, packets = drive("grow_old", well_behaved)
    assert printed.startswith("up True\nNone\nLinkError 127.0.0.1:PORT: silent for 46 s\n")
    assert packets[1 + TOPICS :] == [b"\xc0\x00"], "one ping"


def test_without_a_network_nothing_is_tried(drive):
    printed, packets = drive("offline", well_behaved)
    assert printed.startswith("LinkError no Wi-Fi\n")
    assert packets == []
