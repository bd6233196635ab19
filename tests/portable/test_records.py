"""What is logged and sent, byte for byte as SPEC.md says; and when a group ends."""

from wattlog import records
from wattlog.msgpack import BYTES_MAX, pack, unpack
from wattlog.reading import Reading
from wattlog.records import GroupWriter

SERVER_ID = bytes.fromhex("0a0145534d0000bc614e")
OTHER_ID = bytes.fromhex("0a01445a470000000001")
EPOCH_MS = 1795296211440


class ListLog:
    """Records in a list; a sector that holds so many, and failures, as the test says."""

    id = 0xC0FFEE

    def __init__(self, sector_records=1000):
        self.payloads = []
        self.sector_records = sector_records
        self.failure = None

    def append(self, payload):
        if self.failure:
            raise self.failure
        self.payloads.append(payload)
        return len(self.payloads)

    def fits(self, size):
        return len(self.payloads) % self.sector_records != 0


def reading(power=28, second=6825892, import_wh_e1=1989275, server_id=SERVER_ID):
    return Reading(server_id, second, [(1, import_wh_e1, -1), (10, power, 0)], True)


def made():
    log = ListLog()
    return log, GroupWriter(log, 0xDEADBEEF)


def indexes(log):
    return [payload[0] & 63 for payload in log.payloads]


def kinds(log):
    return [payload[0] >> 6 for payload in log.payloads]


def test_the_first_record_of_a_group_says_boot_time_and_the_expected_distance():
    log, writer = made()
    assert writer.sync(1000, EPOCH_MS, True) == 1
    assert log.payloads[0].hex() == "00" + "efbeadde" + "e807" + "00" + "f0e3f8ff9f34"


def test_a_key_has_all_and_a_delta_what_differs():
    log, writer = made()
    writer.reading(1000, reading())
    writer.reading(2010, reading(power=-3, second=6825893))
    writer.reading(3000, reading(power=-3, second=6825895, import_wh_e1=1989280))
    writer.reading(4000, reading(second=6825895))
    head = "40 efbeadde e807 00 00 0a" + SERVER_ID.hex()
    key, small, more, none = [payload.hex() for payload in log.payloads]
    # seconds + 1; two values: channel, scale, value
    assert key == (head + "a5cfa003 02 01 01 b6eaf201 0a 00 38").replace(" ", "")
    # index 1, 1010 ms later; value 2 of the key's; 31 less
    assert small == "81" + "e40f" + "04" + "3d"
    # a second ahead of our time; both values
    assert more == "82" + "a01f" + "07" + "02" + "0a" + "3d"
    assert none == "83" + "f02e" + "00"


def test_time_is_told_as_what_differs_from_the_expected():
    log, writer = made()
    for second in range(5):
        writer.reading(second * 10_000, reading(second=None))
    writer.close()
    for second in range(5, 8):
        writer.reading(second * 10_000 + second, reading(second=None))
    assert log.payloads[5][7:9].hex() == "0364"  # 10 s
    assert [payload.hex() for payload in log.payloads[6:]] == ["810200", "820400"]


def test_a_time_before_the_one_before_is_told_as_well():
    log, writer = made()
    writer.sync(1000, EPOCH_MS, True)
    writer.reading(990, reading())
    assert log.payloads[1][1] == 19  # -10


def test_another_meter_has_a_key_and_a_number_of_its_own():
    log, writer = made()
    for second in range(3):
        writer.reading(second * 1000, reading(second=second))
        writer.reading(second * 1000 + 500, reading(second=second, server_id=OTHER_ID))
    assert kinds(log) == [records.KEY, records.KEY] + [records.DELTA, records.DELTA_OF] * 2
    assert log.payloads[5].hex() == "c5" + "8827" + "01" + "00"


def test_other_channels_scales_or_seconds_are_another_row_of_the_same_meter():
    log, writer = made()
    shapes = (
        reading(),
        Reading(SERVER_ID, 7, [(1, 5, -1)], False),
        Reading(SERVER_ID, 7, [(1, 5, -1), (10, 5, -1)], False),
        Reading(SERVER_ID, None, [(1, 5, -1), (10, 5, 0)], False),
        Reading(SERVER_ID, None, [], False),
    )
    for _ in range(2):
        for shape in shapes:
            writer.reading(0, shape)
    assert kinds(log) == [records.KEY] * 5 + [records.DELTA] + [records.DELTA_OF] * 4
    assert [payload[-2] for payload in log.payloads[6:]] == [1, 2, 3, 4]


def test_a_group_ends_when_it_has_enough_records():
    log, writer = made()
    for second in range(130):
        writer.reading(second * 1000, reading())
    assert indexes(log) == list(range(64)) * 2 + [0, 1]
    assert writer.open_seq == 129


def test_a_full_group_waits_for_no_further_record():
    _, writer = made()
    for second in range(64):
        assert writer.open_seq == (1 if second else None)
        writer.reading(second * 1000, reading())
    assert writer.open_seq is None


def test_a_group_ends_when_it_has_enough_bytes():
    log, writer = made()
    for second in range(200):
        power = second % 2 * (1 << 62)
        writer.reading(second, Reading(SERVER_ID, None, [(n, power, 0) for n in range(9)], True))
    sizes = []
    for payload in log.payloads:
        if payload[0] & 63 == 0:
            sizes.append(0)
        sizes[-1] += len(payload) + 2
    assert len(sizes) > 2
    assert max(sizes) <= records.GROUP_BYTES_MAX
    assert min(sizes[:-1]) > records.GROUP_BYTES_MAX - 110


def test_a_group_ends_when_it_has_too_many_rows():
    log, writer = made()
    for number in range(records.ROWS_MAX + 1):
        writer.reading(number, reading(server_id=bytes([number + 1])))
    assert indexes(log) == list(range(16)) + [0]


def test_a_group_ends_where_the_log_opens_another_sector():
    log = ListLog(sector_records=10)
    writer = GroupWriter(log, 5)
    for second in range(21):
        writer.sync(second, EPOCH_MS, True) if second % 3 else writer.reading(second, reading())
    assert indexes(log) == list(range(10)) * 2 + [0]
    assert kinds(log)[20] == records.SYNC
    assert kinds(log)[21:] == []


def test_a_group_ends_when_it_is_closed():
    log, writer = made()
    writer.close()
    writer.reading(0, reading())
    writer.close()
    assert writer.open_seq is None
    writer.reading(1, reading())
    assert indexes(log) == [0, 0]
    assert writer.open_seq == 2


def test_a_group_ends_when_the_log_fails():
    log, writer = made()
    writer.reading(0, reading())
    log.failure = OSError(5)
    for log_one in (lambda: writer.reading(1, reading()), lambda: writer.sync(1, EPOCH_MS, True)):
        try:
            log_one()
        except OSError:
            assert writer.open_seq is None
        else:
            raise AssertionError("a failure of the log was swallowed")
    log.failure = None
    assert writer.reading(2, reading()) == 2
    assert indexes(log) == [0, 0]
    assert kinds(log) == [records.KEY, records.KEY]


def test_the_largest_record_is_as_large_as_said():
    log, writer = made()
    values = [(65000 + number, -(1 << 63), -12) for number in range(records.VALUES_MAX)]
    for ms in (0, 0xFFFFFFFFFF):  # the second has the largest interval
        writer.reading(ms, Reading(b"x" * 32, (1 << 32) - 1, values, True))
    writer.close()
    writer.reading(0xFFFFFFFFFF, Reading(b"x" * 32, (1 << 32) - 1, values, True))
    assert len(log.payloads[-1]) <= records.RECORD_BYTES_MAX


def test_a_batch_is_its_records_behind_a_head():
    log, writer = made()
    writer.sync(5, EPOCH_MS, True)
    writer.reading(1000, reading())
    buffer = records.BatchBuffer(bytearray(2048))
    for _ in range(2):  # it is used again and again
        buffer.clear()
        for payload in log.payloads:
            buffer.add(payload)
        buffer.add(b"")
        first, second = log.payloads
        bin_ = bytes([len(first)]) + first + bytes([len(second)]) + second + b"\0"
        batch = bytes(buffer.message("cellar", 0xDEADBEEF, 7))
        assert batch == pack([2, "cellar", 0xDEADBEEF, 7, bin_])
        assert buffer.count == 3


def test_long_records_have_lengths_of_two_bytes():
    buffer = records.BatchBuffer(bytearray(records.BATCH_BYTES))
    for size in (127, 128, 300):
        buffer.clear()
        buffer.add(b"x" * size)
        bin_ = unpack(bytes(buffer.message("cellar", 1, 1)))[4]
        length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        assert bin_ == length + b"x" * size, size


def test_what_cannot_be_a_record_of_ours_is_left_out_of_a_batch():
    buffer = records.BatchBuffer(bytearray(records.BATCH_BYTES))
    for size in (records.GROUP_BYTES_MAX, 1 << 14, 5):
        buffer.add(b"x" * size)
    assert unpack(bytes(buffer.message("cellar", 1, 1)))[4] == b"\0\0\x05xxxxx"


def test_the_largest_batch_is_within_what_a_host_takes():
    buffer = records.BatchBuffer(bytearray(records.BATCH_BYTES))
    buffer.add(b"x" * (records.GROUP_BYTES_MAX - 2))
    batch = buffer.message("x" * 32, 0xFFFFFFFF, 1 << 47)
    assert len(unpack(bytes(batch))[4]) == records.GROUP_BYTES_MAX
    assert len(batch) <= records.BATCH_BYTES <= records.MESSAGE_BYTES_MAX <= BYTES_MAX


def test_acknowledgements():
    assert records.unpack_ack(pack([2, 9, 7, 0xFFFFFFFF, None])) == (9, 7, 0xFFFFFFFF, None)
    assert records.unpack_ack(pack([2, 9, 7, 3, "no"])) == (9, 7, 3, "no")


def test_what_is_no_acknowledgement():
    for value in (
        [1, 9, 7, 3, None],
        [2, 9, 7, 3],
        [2, 9, 7, 3, None, 0],
        [2, 9, 7, 3, 0],
        [2, 9, -7, 3, None],
        [2, "9", 7, 3, None],
        [2, None, 7, 3, None],
        {"v": 2},
        None,
        5,
        "x",
    ):
        assert records.unpack_ack(pack(value)) is None, value
    for data in (b"", b"\x95", b"\xff" * 20, b"\xc1"):
        assert records.unpack_ack(data) is None, data


def test_a_wish_for_every_reading():
    assert records.unpack_live_wish(pack([2, "live", 1])) == 1
    assert records.unpack_live_wish(pack([2, "live", 600])) == 600


def test_what_is_no_wish():
    for value in (
        [1, "live", 60],
        [2, "live", 0],
        [2, "live", 601],
        [2, "live", True],
        [2, "live", None],
        [2, "live"],
        [2, "live", 60, 0],
        [2, "reboot", 60],
        [2, 5, 60],
        {"v": 2},
        "live",
    ):
        assert records.unpack_live_wish(pack(value)) is None, value
    assert records.unpack_live_wish(b"\xff\xff") is None


def test_a_live_message():
    packed = records.pack_live("cellar", 5, 1000, reading())
    assert unpack(packed) == [
        2, "cellar", 5, 1000, SERVER_ID, 6825892, [1, 1989275, -1, 10, 28, 0]
    ]  # fmt: skip
    assert unpack(records.pack_live("c", 5, 0, Reading(SERVER_ID, None, [], False)))[5:] == [
        None, []
    ]  # fmt: skip


def test_status():
    fields = {"v": 2, "state": "online", "boot": 5, "meters": [{"port": "p", "drops": {}}]}
    assert records.unpack_status(records.pack_status(fields)) == fields
    assert records.unpack_status(pack({"v": 1})) is None
    assert records.unpack_status(pack([1])) is None
    assert records.unpack_status(b"") is None


def test_topics():
    assert records.topic("cellar", records.BATCH) == "wattlog/1/cellar/b"
