"""An agent's word about itself: a typed value, or WireError with a reason."""

import msgpack
import pytest

from wattlog_host.bounds import WireError
from wattlog_host.status import (
    DROPS_MAX,
    BoardStatus,
    Crash,
    LogStatus,
    Status,
    decode_status,
)


def reason_of(data):
    with pytest.raises(WireError) as caught:
        decode_status(data)
    return caught.value.reason


MANY = dict.fromkeys(map(str, range(DROPS_MAX + 1)), 1)
WRONG_STATUSES = (
    ("format 1", {"v": 1}, "v is not 2"),
    ("no v", {"v": None}, "v is not 2"),
    ("v true", {"v": True}, "v is not 2"),
    ("no edge", {"edge": None}, "edge is not an id"),
    ("a foreign state", {"state": "away"}, "state is unknown"),
    ("boot as text", {"boot": "1"}, "boot"),
    ("uptime below 0", {"uptime_ms": -1}, "uptime_ms"),
    ("version as a number", {"version": 1}, "version"),
    ("platform too long", {"platform": "x" * 201}, "platform"),
    ("log as a list", {"log": []}, "log"),
    ("log of a numbered kind", {"log": {"kind": 1}}, "kind"),
    ("log with an id of 33 bits", {"log": {"id": 2**32}}, "id"),
    ("log with a first_seq below 0", {"log": {"first_seq": -1}}, "first_seq"),
    ("link as text", {"link": "up"}, "link"),
    ("meters as a map", {"meters": {}}, "meters"),
    ("17 meters", {"meters": [{"port": "a"}] * 17}, "meters"),
    ("a meter that is none", {"meters": [1]}, "meters: not a map"),
    ("a meter without port", {"meters": [{}]}, "meters: port"),
    ("a server id as text", {"meters": [{"port": "a", "server_id": "x"}]}, "meters: server_id"),
    ("full_dataset 1", {"meters": [{"port": "a", "full_dataset": 1}]}, "meters: full_dataset"),
    ("frames below 0", {"meters": [{"port": "a", "frames": -1}]}, "frames"),
    ("drops as a list", {"meters": [{"port": "a", "drops": [1]}]}, "drops"),
    ("drops of 33 reasons", {"meters": [{"port": "a", "drops": MANY}]}, "drops"),
    ("quarantine as a list", {"meters": [{"port": "a", "quarantine": [1]}]}, "quarantine"),
    ("quarantine as a number", {"meters": [{"port": "a", "quarantine": 0}]}, "quarantine"),
    ("quarantine of 33 names", {"meters": [{"port": "a", "quarantine": MANY}]}, "quarantine"),
    ("hint as a number", {"meters": [{"port": "a", "hint": 1}]}, "hint"),
    ("port too long", {"meters": [{"port": "a" * 201}]}, "port"),
    ("a board that is a list", {"board": []}, "board"),
    ("heap below 0", {"board": {"heap_free": -1}}, "heap_free"),
    ("heap as a text", {"board": {"heap_min": "1"}}, "heap_min"),
    ("rssi beyond all bounds", {"board": {"rssi_dbm": -201}}, "rssi_dbm"),
    ("rssi as True", {"board": {"rssi_dbm": True}}, "rssi_dbm"),
    ("reconnects of 33 bits", {"board": {"wifi_reconnects": 2**32}}, "wifi_reconnects"),
    ("a cause as a number", {"board": {"reset_cause": 1}}, "reset_cause"),
    ("a crash as a text", {"board": {"crash": "x"}}, "crash"),
    ("a trace as a text", {"board": {"crash": {"trace": "x"}}}, "trace"),
    ("a trace of numbers", {"board": {"crash": {"trace": [1]}}}, "trace"),
    ("a boot of 33 bits", {"board": {"crash": {"boot": 2**32}}}, "boot"),
)


@pytest.mark.parametrize(
    ("change", "reason"), [w[1:] for w in WRONG_STATUSES], ids=[w[0] for w in WRONG_STATUSES]
)
def test_a_wrong_status_is_refused(change, reason):
    message = {"v": 2, "state": "online", "edge": "cellar", "boot": 17, **change}
    assert reason_of(msgpack.packb(message)) == reason


def test_a_long_trouble_or_hint_is_cut_and_costs_no_status():
    meter = {"port": "a" * 200, "trouble": "t" * 201, "hint": "h" * 300}
    message = {"v": 2, "state": "online", "edge": "a", "meters": [meter] * 16}
    status = decode_status(msgpack.packb(message))
    assert len(status.meters) == 16
    assert status.meters[0].trouble == "t" * 199 + "\u2026"
    assert status.meters[0].hint == "h" * 199 + "\u2026"


COUNTS = (
    ("told", {"held": 1, "glitch": 2**63}, {"held": 1, "glitch": 2**63}),
    ("nothing yet", {"held": 0}, {"held": 0}),
    ("empty", {}, {}),
    ("not told", None, None),
    ("what is no count", {"held": -1, "set": True, "id": 1.5, "falls": "2", "jumps": None, "glitch": 3},
     {"glitch": 3}),
    ("a count beyond 63 bits", {"held": 2**63 + 1, "set": 1}, {"set": 1}),
    ("a name too long", {"x" * 201: 1, "x" * 200: 1}, {"x" * 200: 1}),
    ("as many names as there may be", dict(list(MANY.items())[1:]), dict(list(MANY.items())[1:])),
)  # fmt: skip


@pytest.mark.parametrize("key", ["drops", "quarantine"])
@pytest.mark.parametrize(("sent", "counts"), [c[1:] for c in COUNTS], ids=[c[0] for c in COUNTS])
def test_a_ports_counts_are_read_as_far_as_they_are_counts(key, sent, counts):
    message = {"v": 2, "state": "online", "edge": "a", "meters": [{"port": "a", key: sent}]}
    (port,) = decode_status(msgpack.packb(message)).meters
    assert getattr(port, key) == counts


FORGERIES = (
    ("a line end", "\n"),
    ("a carriage return", "\r"),
    ("a terminal's escape", "\x1b"),
    ("delete", "\x7f"),
    ("a terminal's escape in one byte", "\x9b"),
    ("a line separator", "\u2028"),
    ("an override of direction", "\u202e"),
    ("an isolate of direction", "\u2066"),
)


@pytest.mark.parametrize("mark", [f[1] for f in FORGERIES], ids=[f[0] for f in FORGERIES])
def test_no_text_of_an_agent_can_forge_a_line(mark):
    evil = f"\u00fc{mark}x"
    meter = dict.fromkeys(("port", "state", "trouble", "hint"), evil)
    meter |= {"drops": {evil: 1}, "quarantine": {evil: 1}}
    message = {"v": 2, "state": "online", "edge": "a", "version": evil, "platform": evil}
    maps = {"log": {evil: 1, "kind": evil, "trouble": evil}, "link": {evil: 1}}
    status = decode_status(msgpack.packb({**message, **maps, "meters": [meter]}))
    port = status.meters[0]
    texts = (status.version, status.platform, status.log.kind, status.log.trouble)
    for text in (*texts, port.port, port.state, port.trouble, port.hint):
        assert text == "\u00fc\ufffdx"
    for counts in (status.log.counts, status.link, port.drops, port.quarantine):
        assert counts == {"\u00fc\ufffdx": 1}


def test_a_status_of_a_later_agent_is_read_as_far_as_known():
    data = msgpack.packb(
        {"v": 2, "state": "online", "edge": "a", "new": [1.5], "log": {"bytes": 7, "new": "x"}}
    )
    status = decode_status(data)
    log = LogStatus({"bytes": 7})
    assert status == Status("a", "online", None, None, None, None, log, {}, ())


LOGS = (
    ("all of it",
     {"id": 0, "kind": "file", "first_seq": 5, "next_seq": 9, "bytes": 7, "trouble": None},
     LogStatus({"bytes": 7}, "file", None, 0, 5)),
    ("trouble", {"id": 7, "first_seq": 1, "trouble": "t" * 300},
     LogStatus({}, None, "t" * 199 + "\u2026", 7, 1)),
    ("a floor of no log", {"first_seq": 5}, LogStatus({})),
    ("no floor", {"id": 5}, LogStatus({})),
    ("a floor of 0", {"id": 5, "first_seq": 0}, LogStatus({})),
    ("nothing", None, LogStatus({})),
)  # fmt: skip


@pytest.mark.parametrize(("sent", "log"), [r[1:] for r in LOGS], ids=[r[0] for r in LOGS])
def test_what_is_said_of_the_log(sent, log):
    message = {"v": 2, "state": "online", "edge": "a", "log": sent}
    assert decode_status(msgpack.packb(message)).log == log


CRASH = {"boot": 7, "uptime_ms": 61_000, "text": "ValueError: x", "trace": ["a.py:1 f"]}
BOARD = {
    "heap_free": 5_000, "heap_min": 4_000, "rssi_dbm": -61, "wifi_reconnects": 2,
    "reset_cause": "watchdog", "wdt": None, "crash": CRASH,
    "release": "0.1.0+5", "update": "trial",
}  # fmt: skip
BOARDS = (
    ("all of it", BOARD,
     BoardStatus(5_000, 4_000, -61, 2, "watchdog", None,
                 Crash(7, 61_000, "ValueError: x", ("a.py:1 f",)), "0.1.0+5", "trial")),
    ("no crash", {"heap_free": 1, "crash": None},
     BoardStatus(1, None, None, None, None, None, None)),
    ("nothing known of it", {}, BoardStatus(None, None, None, None, None, None, None)),
    ("a torn crash", {"crash": {"boot": 7, "uptime_ms": None, "text": None, "trace": []}},
     BoardStatus(None, None, None, None, None, None, Crash(7, None, None, ()))),
    ("more than there is room for",
     {"wdt": "w" * 300, "crash": {"text": "t" * 300, "trace": [str(n) for n in range(9)]}},
     BoardStatus(None, None, None, None, None, "w" * 199 + "\u2026",
                 Crash(None, None, "t" * 199 + "\u2026", tuple("45678")))),
    ("a forged line", {"reset_cause": "a\nb", "crash": {"text": "\x1b", "trace": ["\u202e"]},
                       "update": "left: \x07"},
     BoardStatus(None, None, None, None, "a\ufffdb", None,
                 Crash(None, None, "\ufffd", ("\ufffd",)), None, "left: \ufffd")),
    ("no board", None, None),
)  # fmt: skip


@pytest.mark.parametrize(("sent", "board"), [r[1:] for r in BOARDS], ids=[r[0] for r in BOARDS])
def test_what_is_said_of_the_board(sent, board):
    message = {"v": 2, "state": "online", "edge": "a", "board": sent}
    assert decode_status(msgpack.packb(message)).board == board
