"""What goes over the wire, byte for byte as SPEC.md says."""

from wattlog import records
from wattlog.msgpack import BYTES_MAX, ELEMENTS_MAX, pack, unpack
from wattlog.reading import Reading

BUF = bytearray(records.BATCH_BYTES_MIN)
SERVER_ID = bytes.fromhex("0a0145534d0000bc614e")
READING = Reading(SERVER_ID, 6825892, [(1, 1989275, -1), (10, -28, 0)], True)

GOLDEN_READING = (
    "95 01 cd03e8 c40a0a0145534d0000bc614e ce006827a4 96 01 ce001e5a9b ff 0a e4 00".replace(
        " ", ""
    )
)
GOLDEN_BATCH = "95 01 a66365 6c6c6172 cedeadbeef 07 92".replace(" ", "")


def test_a_reading_record():
    assert records.pack_reading(1000, READING).hex() == GOLDEN_READING
    assert unpack(records.pack_reading(1000, READING)) == [
        1,
        1000,
        SERVER_ID,
        6825892,
        [1, 1989275, -1, 10, -28, 0],
    ]


def test_a_reading_without_the_meters_seconds():
    packed = records.pack_reading(0, Reading(SERVER_ID, None, [], False))
    assert unpack(packed) == [1, 0, SERVER_ID, None, []]


def test_a_sync_record():
    assert unpack(records.pack_sync(5, 1795296211440)) == [0, 5, 1795296211440]


def test_a_batch_is_its_records_behind_a_head():
    packed = [records.pack_sync(5, 1795296211440), records.pack_reading(1000, READING)]
    batch = bytes(records.pack_batch(BUF, "cellar", 0xDEADBEEF, 7, packed))
    assert batch.hex() == GOLDEN_BATCH + packed[0].hex() + packed[1].hex()
    assert unpack(batch) == [1, "cellar", 0xDEADBEEF, 7, [unpack(packed[0]), unpack(packed[1])]]


def test_the_largest_batch_is_within_what_a_host_takes():
    # Without values a record is at its smallest, with all of them at its largest.
    assert 64 + records.VALUES_MAX * (1 + 9 + 1) <= records.RECORD_BYTES_MAX
    assert records.BATCH_BYTES_MAX <= BYTES_MAX
    assert len(records.batch_head("x" * 32, 0xFFFFFFFF, 1 << 40, 64)) <= records.HEAD_BYTES_MAX
    # An element takes a byte at least.
    assert records.BATCH_BYTES_MAX <= ELEMENTS_MAX
    values = [(number, -(1 << 63), -12) for number in range(1, 33)]
    packed = records.pack_reading(1 << 40, Reading(b"x" * 32, 1 << 31, values, True))
    assert unpack(bytes(records.pack_batch(BUF, "x" * 32, 0xFFFFFFFF, 1 << 40, [packed])))[4] == [
        unpack(packed)
    ]


def test_acknowledgements():
    assert records.unpack_ack(pack([1, 9, 7, 3, None])) == (9, 7, 3, None)
    assert records.unpack_ack(pack([1, 9, 7, 3, "no"])) == (9, 7, 3, "no")


def test_what_is_no_acknowledgement():
    for value in (
        [2, 9, 7, 3, None],
        [1, 9, 7, 3],
        [1, 9, 7, 3, None, 0],
        [1, 9, 7, 3, 0],
        [1, 9, -7, 3, None],
        [1, "9", 7, 3, None],
        [1, None, 7, 3, None],
        {"v": 1},
        None,
        5,
        "x",
    ):
        assert records.unpack_ack(pack(value)) is None, value
    for data in (b"", b"\x95", b"\xff" * 20, b"\xc1"):
        assert records.unpack_ack(data) is None, data


def test_status():
    fields = {"v": 1, "state": "online", "boot": 5, "meters": [{"port": "p", "drops": {}}]}
    assert records.unpack_status(records.pack_status(fields)) == fields
    assert records.unpack_status(pack({"v": 2})) is None
    assert records.unpack_status(pack([1])) is None
    assert records.unpack_status(b"") is None


def test_topics():
    assert records.topic("cellar", records.BATCH) == "wattlog/1/cellar/b"
