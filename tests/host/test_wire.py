"""Whatever the bytes are: a typed value, or WireError with a reason."""

import contextlib

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wattlog import recordreader
from wattlog.recordreader import Row, Sync, split
from wattlog_host import bounds
from wattlog_host.bounds import DEPTH_MAX, ELEMENTS_MAX, MESSAGE_BYTES_MAX, WireError
from wattlog_host.status import decode_status
from wattlog_host.wire import (
    BATCH_BYTES_MAX,
    Batch,
    Live,
    decode_batch,
    decode_live,
    pack_ack,
    pack_live_wish,
    pack_records,
    parse_topic,
)

METER = bytes.fromhex("0a0149534b0003382939")
# The layout of SPEC.md, byte for byte, written by hand: each record with its length before it.
GOLDEN_RECORDS = bytes.fromhex(
    "0e 00 11000000 e807 64 80b8aaab8c34"  # sync: boot 17, at 1000, every 10 s, epoch
    "1c 41 cf8c01 00 0a 0a0149534b0003382939 08 02"  # key 0: at 2000, counter at 7
    "   01 01 b6eaf201   0a 01 9324"  # channel 1, 10**-1, 0x1e5a9b; channel 10, -231.4
    "07 82 9f9902 05 02 09"  # delta: at 3000, the counter one ahead, channel 10 less by 0.5
    "00"  # a hole
    "02 84 00"  # delta: at 41 000, all as in the key, 39 s later: but cut short
)
GOLDEN_BATCH = bytes.fromhex("95 02 a6 63656c6c6172 ce f0000001 cd0107 c4 38") + GOLDEN_RECORDS
GOLDEN_EPOCH_MS = 0x01A0C56A9C00


def reason_of(data, decode=decode_batch):
    with pytest.raises(WireError) as caught:
        decode(data)
    return caught.value.reason


def test_the_golden_batch_reads_as_the_spec_says():
    assert decode_batch(GOLDEN_BATCH) == Batch(
        edge="cellar",
        log=0xF0000001,
        first_seq=263,
        count=5,
        boot=17,
        records=[
            Sync(263, 1000, GOLDEN_EPOCH_MS, True),
            Row(264, 2000, METER, 7, ((1, 0x1E5A9B, -1), (10, -2314, -1))),
            Row(265, 3000, METER, 9, ((1, 0x1E5A9B, -1), (10, -2319, -1))),
        ],
        rejected=[(266, "hole"), (267, "cut short")],
        packed=GOLDEN_RECORDS,
    )


def test_what_is_sent_has_the_bytes_of_the_spec():
    # The CRC-32 of "123456789", as every catalogue has it.
    assert pack_ack(0xF0000001, 263, b"123456789", None).hex() == (
        "9502cef0000001cd0107cecbf43926c0"
    )
    assert pack_ack(17, 1, b"", "no").hex() == "9502110100a26e6f"
    assert pack_live_wish(60).hex() == "9302a46c6976653c"


def test_a_long_reason_is_cut_to_whole_characters():
    reason = msgpack.unpackb(pack_ack(1, 1, b"", "ü" * 100))[4]
    assert reason == "ü" * 60


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=64))
def test_packing_is_the_inverse_of_splitting(payloads):
    assert split(pack_records(payloads)) == payloads


BIN = b"\x01\x00"
WRONG_BATCHES = (
    ("a map", msgpack.packb({}), "batch is not an array of 5"),
    ("four elements", msgpack.packb([2, "a", 1, 1]), "batch is not an array of 5"),
    ("format 1", msgpack.packb([1, "a", 1, 1, [[0, 0, 0]]]), "format is not 2: update the agent"),
    ("format 3", msgpack.packb([3, "a", 1, 1, BIN]), "format is not 2: update the host"),
    ("format true", msgpack.packb([True, "a", 1, 1, BIN]), "format is not 2: update the agent"),
    ("format 2.0", msgpack.packb([2.0, "a", 1, 1, BIN]), "format is not 2: update the agent"),
    ("edge in capitals", msgpack.packb([2, "A", 1, 1, BIN]), "edge is not an id"),
    ("edge too long", msgpack.packb([2, "a" * 33, 1, 1, BIN]), "edge is not an id"),
    ("edge with a line end", msgpack.packb([2, "a\n", 1, 1, BIN]), "edge is not an id"),
    ("edge as bytes", msgpack.packb([2, b"a", 1, 1, BIN]), "edge is not an id"),
    ("log true", msgpack.packb([2, "a", True, 1, BIN]), "log is not 0..2^32-1"),
    ("log of 33 bits", msgpack.packb([2, "a", 2**32, 1, BIN]), "log is not 0..2^32-1"),
    ("first_seq 0", msgpack.packb([2, "a", 1, 0, BIN]), "first_seq is not 1..2^48"),
    ("first_seq of 49 bits", msgpack.packb([2, "a", 1, 2**48 + 1, BIN]),
     "first_seq is not 1..2^48"),
    ("records as a list", msgpack.packb([2, "a", 1, 1, [BIN]]), "records are not bytes"),
    ("no records", msgpack.packb([2, "a", 1, 1, b""]), "records: empty"),
    ("65 records", msgpack.packb([2, "a", 1, 1, b"\0" * 65]), "records: records"),
    ("a length too great", msgpack.packb([2, "a", 1, 1, b"\x05abcd"]), "records: length"),
    ("a batch too long", msgpack.packb([2, "a", 1, 1, b"\0" * BATCH_BYTES_MAX]),
     "message too long"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"), [w[1:] for w in WRONG_BATCHES], ids=[w[0] for w in WRONG_BATCHES]
)
def test_a_wrong_batch_is_refused(data, reason):
    assert reason_of(data) == reason


NAMES = (
    ("all of it", [2, "cellar", 17, 5, b""], ("cellar", 17, 5)),
    ("log 0 is one, too", [2, "cellar", 0, 5, b""], ("cellar", 0, 5)),
    ("nothing of it", [2, 4, "x", -1, b"\0"], (None, None, None)),
    ("another format is answered to nobody", [1, "cellar", 17, 5, []], (None, None, None)),
    ("nor a later one", [3, "cellar", 17, 5, b"\0"], (None, None, None)),
)


@pytest.mark.parametrize(("message", "name"), [n[1:] for n in NAMES], ids=[n[0] for n in NAMES])
def test_a_refused_batch_is_named_as_far_as_it_can_be_read(message, name):
    with pytest.raises(WireError) as caught:
        decode_batch(msgpack.packb(message))
    err = caught.value
    assert (err.edge, err.log, err.first_seq) == name


LIVE = [2, "cellar", 17, 5000, METER, 7, [1, 1989275, -1, 10, -2314, -1]]
WRONG_LIVES = (
    ("a map", {}, "live is not an array of 7 in format 2"),
    ("six elements", LIVE[:6], "live is not an array of 7 in format 2"),
    ("format 1", [1, *LIVE[1:]], "live is not an array of 7 in format 2"),
    ("edge in capitals", [2, "A", *LIVE[2:]], "edge is not an id"),
    ("boot 0", [*LIVE[:2], 0, *LIVE[3:]], "boot is not 1..2^32-1"),
    ("boot of 33 bits", [*LIVE[:2], 2**32, *LIVE[3:]], "boot is not 1..2^32-1"),
    ("uptime below 0", [*LIVE[:3], -1, *LIVE[4:]], "uptime_ms"),
    ("uptime beyond a lifetime", [*LIVE[:3], 2**40 + 1, *LIVE[4:]], "uptime_ms"),
    ("server_id as text", [*LIVE[:4], "x", *LIVE[5:]], "server_id"),
    ("server_id of 33 bytes", [*LIVE[:4], b"x" * 33, *LIVE[5:]], "server_id"),
    ("sec_index of 33 bits", [*LIVE[:5], 2**32, LIVE[6]], "sec_index"),
    ("values nil", [*LIVE[:6], None], "values"),
    ("values not in threes", [*LIVE[:6], [1, 2]], "values"),
    ("65 triples", [*LIVE[:6], [v for c in range(65) for v in (c, 0, 0)]], "values"),
    ("a channel twice", [*LIVE[:6], [1, 0, 0, 1, 0, 0]], "channels do not rise"),
    ("a channel true", [*LIVE[:6], [True, 0, 0]], "channels do not rise"),
    ("a value of 65 bits", [*LIVE[:6], [1, 2**63, 0]], "value"),
    ("a value as a float", [*LIVE[:6], [1, 1.0, 0]], "value"),
    ("a scale of 13", [*LIVE[:6], [1, 1, 13]], "scale"),
)


def test_a_live_reading_is_read():
    assert decode_live(msgpack.packb(LIVE)) == Live(
        "cellar", 17, 5000, METER, 7, ((1, 1989275, -1), (10, -2314, -1))
    )
    assert decode_live(msgpack.packb([*LIVE[:5], None, []])).sec_index is None


@pytest.mark.parametrize(
    ("message", "reason"), [w[1:] for w in WRONG_LIVES], ids=[w[0] for w in WRONG_LIVES]
)
def test_a_wrong_live_reading_is_refused(message, reason):
    assert reason_of(msgpack.packb(message), decode_live) == reason


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
def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch, data, reason):
    if reason != "not MessagePack as we use it":
        monkeypatch.setattr(msgpack, "unpackb", None)
    assert reason_of(data, bounds.decode) == reason
    for decode in (decode_batch, decode_live, decode_status):
        assert reason_of(data, decode) in (reason, "message too long")


TOPICS = (
    ("wattlog/1/cellar/b", ("cellar", "b")),
    ("wattlog/1/a_b-9/s", ("a_b-9", "s")),
    ("wattlog/1/a/l", ("a", "l")),
    ("wattlog/1/a/u", ("a", "u")),
    ("wattlog/1/a/a", None),
    ("wattlog/1/a/c", None),
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
    for decode in (decode_batch, decode_live, decode_status):
        try:
            decode(data)
        except WireError as err:
            assert len(err.reason) <= 120


@given(st.lists(ANY, min_size=7, max_size=7), st.integers(0, 6), st.binary(max_size=80))
def test_no_spoilt_message_raises_anything_but_wire_error(rows, at, records):
    live = list(LIVE)
    live[at] = rows[at]
    with contextlib.suppress(WireError):
        decode_live(msgpack.packb(live))
    batch = [2, "cellar", 17, 1, records]
    batch[at % 5] = rows[at] if at < 4 else records
    with contextlib.suppress(WireError):
        decode_batch(msgpack.packb(batch))


@given(
    st.lists(st.integers(-(2**64), 2**64 - 1), max_size=5),
    st.integers(0, 9),
    st.binary(max_size=3),
    st.booleans(),
    st.integers(0, 80),
)
@example([0, 2**64 - 2], 2, b"", False, 80)  # beyond 64 bits
def test_the_quick_way_through_a_record_says_what_the_long_way_says(
    numbers, changed, tail, is_plain, cut
):
    head = GOLDEN_RECORDS[1:15], GOLDEN_RECORDS[16:44]
    delta = bytearray([0x82])
    for number in [*numbers[:1], changed, *numbers[1:]]:
        number &= 127 if is_plain else 2**64 - 1
        while number > 127:
            delta.append(number & 127 | 128)
            number >>= 7
        delta.append(number)
    payloads = [*head, bytes(delta + tail)[: 1 + cut]]
    quick = recordreader.decode(1, payloads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordreader._Decoder, "_plain_delta", lambda *_: None)
        assert recordreader.decode(1, payloads) == quick
