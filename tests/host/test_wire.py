"""Whatever the bytes are: a typed value, or WireError with a reason."""

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlog_host.wire import (
    DEPTH_MAX,
    DROPS_MAX,
    ELEMENTS_MAX,
    MESSAGE_BYTES_MAX,
    Batch,
    Reading,
    Status,
    SyncPoint,
    WireError,
    decode_batch,
    decode_status,
    pack_ack,
    parse_topic,
)

# The layout of SPEC.md, byte for byte, written by hand.
GOLDEN_BATCH = bytes.fromhex(
    "95 01 a6 63656c6c6172 11 01 92"  # [1, "cellar", 17, 1, [
    " 93 00 cd03e8 cf000001a0c56a9c00"  # [0, 1000, epoch],
    " 95 01 cd07d0 c4 0a 0a0149534b0003382939 07 96 01 ce001e5a9b ff 0a d1f6f6 ff"
)
GOLDEN_EPOCH_MS = 0x01A0C56A9C00


def reason_of(data, decode=decode_batch):
    with pytest.raises(WireError) as caught:
        decode(data)
    return caught.value.reason


def test_the_golden_batch_reads_as_the_spec_says():
    assert decode_batch(GOLDEN_BATCH) == Batch(
        "cellar",
        17,
        1,
        (
            SyncPoint(1, 1000, GOLDEN_EPOCH_MS),
            Reading(
                2,
                2000,
                bytes.fromhex("0a0149534b0003382939"),
                7,
                ((1, 0x1E5A9B, -1), (10, -2314, -1)),
            ),
        ),
        GOLDEN_BATCH,
    )


def test_an_acknowledgement_has_the_bytes_of_the_spec():
    assert pack_ack(17, 1, 2, None).hex() == "9501110102c0"
    assert pack_ack(17, 1, 2, "no").hex() == "9501110102a26e6f"


def test_a_long_reason_is_cut_to_whole_characters():
    reason = msgpack.unpackb(pack_ack(1, 1, 1, "ü" * 100))[4]
    assert reason == "ü" * 60


WRONG_BATCHES = (
    ("a map", msgpack.packb({}), "batch is not an array of 5"),
    ("four elements", msgpack.packb([1, "a", 1, 1]), "batch is not an array of 5"),
    ("format 2", msgpack.packb([2, "a", 1, 1, [[0, 0, 0]]]), "format is not 1"),
    ("format true", msgpack.packb([True, "a", 1, 1, [[0, 0, 0]]]), "format is not 1"),
    ("format 1.0", msgpack.packb([1.0, "a", 1, 1, [[0, 0, 0]]]), "format is not 1"),
    ("edge in capitals", msgpack.packb([1, "A", 1, 1, [[0, 0, 0]]]), "edge is not an id"),
    ("edge too long", msgpack.packb([1, "a" * 33, 1, 1, [[0, 0, 0]]]), "edge is not an id"),
    ("edge with a line end", msgpack.packb([1, "a\n", 1, 1, [[0, 0, 0]]]), "edge is not an id"),
    ("edge as bytes", msgpack.packb([1, b"a", 1, 1, [[0, 0, 0]]]), "edge is not an id"),
    ("boot 0", msgpack.packb([1, "a", 0, 1, [[0, 0, 0]]]), "boot is not 1..2^32-1"),
    ("boot true", msgpack.packb([1, "a", True, 1, [[0, 0, 0]]]), "boot is not 1..2^32-1"),
    ("boot of 33 bits", msgpack.packb([1, "a", 2**32, 1, [[0, 0, 0]]]), "boot is not 1..2^32-1"),
    ("first_seq 0", msgpack.packb([1, "a", 1, 0, [[0, 0, 0]]]), "first_seq is not 1..2^48"),
    ("no records", msgpack.packb([1, "a", 1, 1, []]), "records are not an array of 1..256"),
    ("257 records", msgpack.packb([1, "a", 1, 1, [[0, 0, 0]] * 257]),
     "records are not an array of 1..256"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"), [w[1:] for w in WRONG_BATCHES], ids=[w[0] for w in WRONG_BATCHES]
)
def test_a_wrong_batch_is_refused(data, reason):
    assert reason_of(data) == reason


WRONG_RECORDS = (
    ("a record that is none", 5, "not an array"),
    ("an empty record", [], "not an array"),
    ("an unknown kind", [2, 0], "unknown kind"),
    ("kind true", [True, 0, b"x", None, []], "unknown kind"),
    ("kind as a list", [[1], 0, 0], "unknown kind"),
    ("a short reading", [1, 0, b"x", None], "wrong number of elements"),
    ("a long sync point", [0, 0, 0, 0], "wrong number of elements"),
    ("uptime below 0", [0, -1, 0], "uptime_ms"),
    ("uptime as a float", [0, 1.5, 0], "uptime_ms"),
    ("uptime beyond a lifetime", [0, 2**40 + 1, 0], "uptime_ms"),
    ("epoch below 0", [0, 0, -1], "epoch_ms"),
    ("epoch nil", [0, 0, None], "epoch_ms"),
    ("server_id as text", [1, 0, "x", None, []], "server_id"),
    ("server_id empty", [1, 0, b"", None, []], "server_id"),
    ("server_id of 33 bytes", [1, 0, b"x" * 33, None, []], "server_id"),
    ("sec_index below 0", [1, 0, b"x", -1, []], "sec_index"),
    ("sec_index of 33 bits", [1, 0, b"x", 2**32, []], "sec_index"),
    ("values nil", [1, 0, b"x", None, None], "values"),
    ("values not in threes", [1, 0, b"x", None, [1, 2]], "values"),
    ("65 triples", [1, 0, b"x", None, [v for c in range(65) for v in (c, 0, 0)]], "values"),
    ("a channel twice", [1, 0, b"x", None, [1, 0, 0, 1, 0, 0]], "channels do not rise"),
    ("channels falling", [1, 0, b"x", None, [2, 0, 0, 1, 0, 0]], "channels do not rise"),
    ("a channel true", [1, 0, b"x", None, [True, 0, 0]], "channels do not rise"),
    ("a value of 65 bits", [1, 0, b"x", None, [1, 2**63, 0]], "value"),
    ("a value as a float", [1, 0, b"x", None, [1, 1.0, 0]], "value"),
    ("a scale of 13", [1, 0, b"x", None, [1, 1, 13]], "scale"),
    ("a scale of -13", [1, 0, b"x", None, [1, 1, -13]], "scale"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("row", "reason"), [w[1:] for w in WRONG_RECORDS], ids=[w[0] for w in WRONG_RECORDS]
)
def test_a_wrong_record_is_passed_over_alone(row, reason):
    good = [1, 5, b"x", None, [1, 2, 3]]
    batch = decode_batch(msgpack.packb([1, "cellar", 17, 7, [good, row, good]]))
    assert [record.seq for record in batch.records] == [7, 9]
    assert (batch.rejected, batch.count) == ((reason,), 3)


MANY = dict.fromkeys(map(str, range(DROPS_MAX + 1)), 1)
WRONG_STATUSES = (
    ("no v", {"v": None}, "v is not 1"),
    ("v true", {"v": True}, "v is not 1"),
    ("no edge", {"edge": None}, "edge is not an id"),
    ("a foreign state", {"state": "away"}, "state is unknown"),
    ("boot as text", {"boot": "1"}, "boot"),
    ("uptime below 0", {"uptime_ms": -1}, "uptime_ms"),
    ("version as a number", {"version": 1}, "version"),
    ("platform too long", {"platform": "x" * 201}, "platform"),
    ("log as a list", {"log": []}, "log"),
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
)


@pytest.mark.parametrize(
    ("change", "reason"), [w[1:] for w in WRONG_STATUSES], ids=[w[0] for w in WRONG_STATUSES]
)
def test_a_wrong_status_is_refused(change, reason):
    message = {"v": 1, "state": "online", "edge": "cellar", "boot": 17, **change}
    assert reason_of(msgpack.packb(message), decode_status) == reason


def test_a_long_trouble_or_hint_is_cut_and_costs_no_status():
    meter = {"port": "a" * 200, "trouble": "t" * 201, "hint": "h" * 300}
    message = {"v": 1, "state": "online", "edge": "a", "meters": [meter] * 16}
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
    message = {"v": 1, "state": "online", "edge": "a", "meters": [{"port": "a", key: sent}]}
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
    message = {"v": 1, "state": "online", "edge": "a", "version": evil, "platform": evil}
    maps = {"log": {evil: 1}, "link": {evil: 1}}
    status = decode_status(msgpack.packb({**message, **maps, "meters": [meter]}))
    port = status.meters[0]
    for text in (status.version, status.platform, port.port, port.state, port.trouble, port.hint):
        assert text == "\u00fc\ufffdx"
    for counts in (status.log, status.link, port.drops, port.quarantine):
        assert counts == {"\u00fc\ufffdx": 1}


def test_a_status_of_a_later_agent_is_read_as_far_as_known():
    data = msgpack.packb(
        {"v": 1, "state": "online", "edge": "a", "new": [1.5], "log": {"bytes": 7, "new": "x"}}
    )
    status = decode_status(data)
    assert status == Status("a", "online", None, None, None, None, {"bytes": 7}, {}, ())


BOMBS = (
    ("an array of 2^32-1", b"\xdd\xff\xff\xff\xff", "too many elements"),
    ("a map of 2^31", b"\xdf\x80\x00\x00\x00", "too many elements"),
    ("a text of 2^32-1", b"\xdb\xff\xff\xff\xff", "message cut short"),
    ("bytes of 2^32-1", b"\xc6\xff\xff\xff\xff", "message cut short"),
    ("many arrays of 4000", b"\x95" + b"\xdc\x0f\xa0" * 5, "too many elements"),
    ("deep arrays", b"\x91" * (DEPTH_MAX + 1) + b"\x01", "nested too deep"),
    ("very deep arrays", b"\x91" * MESSAGE_BYTES_MAX, "nested too deep"),
    ("an extension", b"\xd4\x01\x00", "type not in the format"),
    ("the byte that is never used", b"\xc1", "type not in the format"),
    ("nothing", b"", "message cut short"),
    ("half a size", b"\xdc\x00", "message cut short"),
    ("a byte too many", b"\x01\x01", "bytes after the message"),
    ("too long", b"\x00" * (MESSAGE_BYTES_MAX + 1), "message too long"),
    ("text that is no UTF-8", b"\xa1\xff", "not MessagePack as we use it"),
    ("a map with a list as key", b"\x81\x90\x01", "not MessagePack as we use it"),
    ("elements one too many", b"\xdc\x10\x01" + b"\x00" * (ELEMENTS_MAX + 1), "too many elements"),
)


@pytest.mark.parametrize(("data", "reason"), [b[1:] for b in BOMBS], ids=[b[0] for b in BOMBS])
@pytest.mark.parametrize("decode", [decode_batch, decode_status])
def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch, decode, data, reason):
    if reason != "not MessagePack as we use it":
        monkeypatch.setattr(msgpack, "unpackb", None)
    assert reason_of(data, decode) == reason


def test_a_refused_batch_is_named_as_far_as_it_can_be_read():
    with pytest.raises(WireError) as caught:
        decode_batch(msgpack.packb([1, "cellar", 17, 5, [[9]] * 257]))
    err = caught.value
    assert (err.edge, err.boot, err.first_seq, err.count) == ("cellar", 17, 5, 257)
    assert str(err) == "records are not an array of 1..256"
    with pytest.raises(WireError) as caught:
        decode_batch(msgpack.packb([1, 4, "x", -1, None]))
    err = caught.value
    assert (err.edge, err.boot, err.first_seq, err.count) == (None, None, None, 0)


TOPICS = (
    ("wattlog/1/cellar/b", ("cellar", "b")),
    ("wattlog/1/a_b-9/s", ("a_b-9", "s")),
    ("wattlog/2/cellar/b", None),
    ("wattlog/1/Cellar/b", None),
    ("wattlog/1/cellar/b/x", None),
    ("wattlog/1/cellar/b\n", None),
    ("wattlog/1//b", None),
)


@pytest.mark.parametrize(("topic", "parts"), TOPICS)
def test_a_topic_is_ours_or_none(topic, parts):
    assert parse_topic(topic) == parts


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | ANY.map(msgpack.packb))
def test_no_bytes_raise_anything_but_wire_error(data):
    for decode in (decode_batch, decode_status):
        try:
            decode(data)
        except WireError as err:
            assert len(err.reason) <= 120


@given(st.lists(ANY, min_size=5, max_size=5), st.data())
def test_no_spoilt_batch_raises_anything_but_wire_error(rows, data):
    message = [1, "cellar", 17, 1, [[1, 5, b"x", None, [1, 2, 3]], [0, 5, 5]]]
    at = data.draw(st.integers(0, 4))
    message[at] = rows[at]
    message[4] = [message[4], [rows], [[1, *rows[:4]]], [[0, *rows[:2]]]][
        data.draw(st.integers(0, 3))
    ]
    with contextlib.suppress(WireError):
        decode_batch(msgpack.packb(message))
