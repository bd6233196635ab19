"""Raw bytes and a restart from afar: the host's side, and that both sides speak of the same."""

import msgpack
import pytest

from wattlog_esp32 import eyes as firmware
from wattlog_host.bounds import WireError
from wattlog_host.eyes import (
    RAW_BYTES_MAX,
    Progress,
    Raw,
    decode_progress,
    decode_raw,
    pack_raw_wish,
    pack_restart,
)

BOOT = 0xDEADBEEF
GOOD = [2, "cellar", BOOT, 5_000, "uart1", 128, "1b1b00ff"]
WRONG = (
    ("a map", {}, "raw is not an array of 7 in format 2"),
    ("format 1", [1, *GOOD[1:]], "raw is not an array of 7 in format 2"),
    ("six elements", GOOD[:6], "raw is not an array of 7 in format 2"),
    ("edge in capitals", [2, "A", *GOOD[2:]], "edge is not an id"),
    ("boot 0", [*GOOD[:2], 0, *GOOD[3:]], "boot is not 1..2^32-1"),
    ("uptime below 0", [*GOOD[:3], -1, *GOOD[4:]], "uptime_ms"),
    ("a port that turns the line", [*GOOD[:4], "a\nb", *GOOD[5:]], "port"),
    ("no port", [*GOOD[:4], "", *GOOD[5:]], "port"),
    ("a port too long", [*GOOD[:4], "a" * 201, *GOOD[5:]], "port"),
    ("an offset beyond all", [*GOOD[:5], RAW_BYTES_MAX + 1, "00"], "offset"),
    ("half a byte", [*GOOD[:6], "1b1"], "hex"),
    ("no digits", [*GOOD[:6], "xx"], "hex"),
    ("spaces, which fromhex() takes", [*GOOD[:6], "1b 1b"], "hex"),
    ("more than a piece", [*GOOD[:6], "00" * 65], "hex"),
    ("bytes", [*GOOD[:6], b"1b"], "hex"),
)


@pytest.mark.parametrize(("message", "reason"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_is_no_piece_is_refused(message, reason):
    with pytest.raises(WireError) as caught:
        decode_raw(msgpack.packb(message))
    assert caught.value.reason == reason


PROGRESS = [2, "cellar", BOOT, 5_000, 7, "digit 2 of 4"]
WRONG_PROGRESS = (
    ("raw bytes", GOOD, "progress is not an array of 6 in format 2"),
    ("boot 0", [*PROGRESS[:2], 0, *PROGRESS[3:]], "boot is not 1..2^32-1"),
    ("request 0", [*PROGRESS[:4], 0, "done"], "request is not 1..2^32-1"),
    ("request in words", [*PROGRESS[:4], "7", "done"], "request is not 1..2^32-1"),
    ("no state", [*PROGRESS[:5], ""], "state"),
    ("a state that turns the line", [*PROGRESS[:5], "a\rb"], "state"),
    ("a state too long", [*PROGRESS[:5], "a" * 121], "state"),
    ("a number as state", [*PROGRESS[:5], 1], "state"),
)


@pytest.mark.parametrize(
    ("message", "reason"), [w[1:] for w in WRONG_PROGRESS], ids=[w[0] for w in WRONG_PROGRESS]
)
def test_what_is_no_progress_is_refused(message, reason):
    with pytest.raises(WireError) as caught:
        decode_progress(msgpack.packb(message))
    assert caught.value.reason == reason


def test_progress_and_which_is_the_last():
    assert decode_progress(msgpack.packb(PROGRESS)) == Progress(
        "cellar", BOOT, 5_000, 7, "digit 2 of 4"
    )
    for state, is_last in (
        ("started", False), ("digit 2 of 4", False), ("menu", False), ("holding", False),
        ("off", True), ("done", True), ("aborted", True), ("failed: late", True),
    ):  # fmt: skip
        assert Progress("cellar", BOOT, 1, 7, state).is_last == is_last, state


class Port:
    name = "uart1"
    tap = None


class FakeLink:
    def __init__(self):
        self.sent = []

    def publish(self, topic, payload, retain):
        self.sent.append(payload)


def test_the_firmware_understands_the_commands_and_the_host_the_answer():
    port, link = Port(), FakeLink()
    head = firmware.Job([port], "cellar", BOOT, link)
    head.on_command(pack_raw_wish(RAW_BYTES_MAX), 1_000)
    port.tap = bytes(range(64))
    assert head.step(1_050)
    (piece,) = map(decode_raw, link.sent)
    assert piece == Raw("cellar", BOOT, 1_050, "uart1", 0, bytes(range(64)))
    assert RAW_BYTES_MAX == firmware.RAW_BYTES_MAX
    head.on_command(pack_restart(BOOT - 1), 2_000)
    assert not head.wants_restart
    head.on_command(pack_restart(BOOT), 2_000)
    assert head.wants_restart


@pytest.mark.parametrize("count", [0, RAW_BYTES_MAX + 1])
def test_no_more_is_asked_for_than_there_may_be(count):
    with pytest.raises(AssertionError):
        pack_raw_wish(count)


def test_a_restart_without_a_start_is_asked_of_nobody():
    with pytest.raises(AssertionError):
        pack_restart(0)
