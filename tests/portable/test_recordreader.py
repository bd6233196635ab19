"""What was written is read; and whatever else the bytes are, nothing is invented."""

from wattlog import recordreader
from wattlog.reading import Reading
from wattlog.recordreader import BIN_REASONS, REASONS, RecordError, Row, Sync, decode, split
from wattlog.records import BATCH_BYTES, BatchBuffer, GroupWriter, group_seq
from wattlog_sim.lcg import Lcg

BOOT = 0xDEADBEEF
SEEDS = 90
RECORDS = 16
HOSTILE = 300


class ListLog:
    """Records in a list; now and then there is no room in the sector."""

    def __init__(self, lcg):
        self.payloads = []
        self.lcg = lcg

    def append(self, payload):
        self.payloads.append(payload)
        return len(self.payloads)

    def fits(self, size):
        return self.lcg.below(60) != 0


def number(lcg):
    """Of any size, of either sign; small ones more often."""
    value = 0
    for _ in range(lcg.below(5)):
        value = value << 16 | lcg.below(1 << 16)
    value &= (1 << 63) - 1
    return -value - 1 if lcg.below(3) == 0 else value


def shape(lcg):
    """(server id, has it a seconds counter, its channels and scales) of a meter."""
    channels = []
    channel = 0
    for _ in range(lcg.below(8)):
        channel += 1 + lcg.below(40)
        channels.append((channel, lcg.below(25) - 12))
    server_id = bytes([lcg.below(256) for _ in range(1 + lcg.below(32))])
    return server_id, lcg.below(4) != 0, channels


def written(seed):
    """Return (payloads, what they should be read as)."""
    lcg = Lcg(seed, 0)
    log = ListLog(lcg)
    writer = GroupWriter(log, BOOT)
    shapes = [shape(lcg) for _ in range(1 + lcg.below(20 if seed % 4 == 3 else 3))]
    wanted = []
    now_ms = lcg.below(1 << 16) << lcg.below(24)
    values = {}
    while len(wanted) < RECORDS:
        now_ms += lcg.below(20_000)
        what = lcg.below(20)
        if what == 0:
            writer.close()
            continue
        if what == 1:
            epoch_ms = 1_700_000_000_000 + now_ms
            is_sure = lcg.below(2) == 0
            seq = writer.sync(now_ms, epoch_ms, is_sure)
            wanted.append(Sync(seq, now_ms, epoch_ms, is_sure))
            continue
        at = lcg.below(len(shapes))
        server_id, has_seconds, channels = shapes[at]
        before = values.get(at)
        rows = []
        for index, (channel, scale) in enumerate(channels):
            value = number(lcg) if before is None or lcg.below(3) == 0 else before[index][1]
            rows.append((channel, value, scale))
        values[at] = rows
        taken_ms = now_ms if lcg.below(9) else max(0, now_ms - 4_000)
        seconds = (now_ms // 1000 + lcg.below(2)) % (1 << 32) if has_seconds else None
        seq = writer.reading(taken_ms, Reading(server_id, seconds, rows, True))
        wanted.append(Row(seq, taken_ms, server_id, seconds, tuple(rows)))
    return log.payloads, wanted


def groups(payloads):
    """Yield (first seq, payloads) of each group."""
    first = 1
    for seq in range(2, len(payloads) + 2):
        if seq > len(payloads) or group_seq(seq, payloads[seq - 1]) == seq:
            yield first, payloads[first - 1 : seq - 1]
            first = seq


def test_what_is_written_is_read():
    for seed in range(SEEDS):
        payloads, wanted = written(seed)
        read = []
        for first_seq, group in groups(payloads):
            result = decode(first_seq, group)
            assert result.boot == BOOT, "seed=%d" % seed
            assert result.rejected == [], "seed=%d" % seed
            read.extend(result.records)
        assert read == wanted, "seed=%d" % seed


def test_a_batch_is_taken_apart_into_its_records():
    for seed in range(SEEDS):
        payloads, _ = written(seed)
        for _, group in groups(payloads):
            buffer = BatchBuffer(bytearray(BATCH_BYTES))
            for payload in group:
                buffer.add(payload)
            packed = bytes(buffer.message("e", 0, 0))
            size = sum([len(payload) + (1 if len(payload) < 128 else 2) for payload in group])
            assert split(packed[-size:]) == group, "seed=%d" % seed


def test_a_record_that_is_lost_costs_itself_and_what_differs_from_it():
    for seed in range(SEEDS // 3):
        payloads, _ = written(seed)
        for first_seq, group in groups(payloads):
            whole = decode(first_seq, group).records
            for lost in range(0, len(group), 1 + len(group) // 8):
                result = decode(first_seq, group[:lost] + [b""] + group[lost + 1 :])
                where = "seed=%d first_seq=%d lost=%d" % (seed, first_seq, lost)
                reasons = dict(result.rejected)
                assert reasons[first_seq + lost] == "hole", where
                for record in result.records:
                    assert record == whole[record.seq - first_seq], where
                others = {reasons[seq] for seq in reasons if seq != first_seq + lost}
                if lost == 0:
                    assert result.records == [] and result.boot is None, where
                    assert others <= {"no head"}, where
                elif group[lost][0] >> 6 == 1:
                    assert others <= {"no key"}, where
                else:
                    assert others == set(), where


def test_records_are_never_completed_from_another_group():
    for seed in range(SEEDS // 3):
        payloads, wanted = written(seed)
        parts = list(groups(payloads))
        for number in range(len(parts) - 1):
            first_seq, group = parts[number]
            other = parts[number + 1][1]
            # The first of the second is unreadable: what follows must not be taken for ours.
            payloads = (group + [b""] + other[1:])[:64]
            result = decode(first_seq, payloads)
            where = "seed=%d first_seq=%d" % (seed, first_seq)
            assert result.records == wanted[first_seq - 1 :][: len(group)], where
            assert {reason for _, reason in result.rejected} <= {"hole", "index"}, where


def damaged(lcg, data):
    """Return data with a few bytes changed, missing, added or repeated."""
    out = bytearray(data)
    for _ in range(1 + lcg.below(3)):
        at = lcg.below(len(out)) if out else 0
        what = lcg.below(4)
        if what == 0 and out:
            out[at] ^= 1 << lcg.below(8)
        elif what == 1 and out:
            out[at] = (0, 0x7F, 0x80, 0xFF)[lcg.below(4)]
        elif what == 2:
            out = out[:at]
        else:
            out = out[:at] + bytes([lcg.below(256) for _ in range(lcg.below(12))]) + out[at:]
    return bytes(out)


def test_whatever_the_bytes_are_each_record_is_read_or_rejected_by_name():
    payloads, _ = written(1)
    parts = list(groups(payloads))
    for seed in range(HOSTILE):
        lcg = Lcg(seed, 1)
        first_seq, group = parts[seed % len(parts)]
        group = list(group)
        for _ in range(1 + lcg.below(4)):
            at = lcg.below(len(group))
            group[at] = damaged(lcg, group[at] if lcg.below(4) else payloads[lcg.below(RECORDS)])
        result = decode(first_seq, group)
        assert len(result.records) + len(result.rejected) == len(group), "seed=%d" % seed
        for _, reason in result.rejected:
            assert reason in REASONS, "seed=%d" % seed
        for record in result.records:
            check_bounds(record, "seed=%d" % seed)


def check_bounds(record, where):
    assert 0 <= record.uptime_ms < 1 << 40, where
    if isinstance(record, Sync):
        assert 0 <= record.epoch_ms < 1 << 48, where
        return
    assert 1 <= len(record.server_id) <= 32, where
    assert record.sec_index is None or 0 <= record.sec_index < 1 << 32, where
    assert len(record.values) <= 64, where
    last = -1
    for channel, value, scale in record.values:
        assert last < channel <= 1 << 16, where
        assert -(1 << 63) <= value < 1 << 63, where
        assert -12 <= scale <= 12, where
        last = channel


def test_whatever_the_bytes_are_a_batch_is_taken_apart_or_refused():
    payloads, _ = written(2)
    good = b"".join([bytes([len(p)]) + p for p in payloads[:20] if len(p) < 128])
    taken = 0
    for seed in range(HOSTILE):
        lcg = Lcg(seed, 2)
        data = damaged(lcg, good) if lcg.below(4) else damaged(lcg, b"")
        try:
            parts = split(data)
        except RecordError as err:
            assert err.reason in BIN_REASONS, "seed=%d" % seed
        else:
            taken += 1
            assert sum([len(part) for part in parts]) < len(data), "seed=%d" % seed
            assert 1 <= len(parts) <= 64, "seed=%d" % seed
    assert taken


KEY = "40 05000000 00 00 00 01 41"  # boot 5, uptime 0, no interval, row 0, server id "A"
MALFORMED = (
    ("an empty record", "", "hole"),
    ("no boot", "00 00000000 00 00 00", "boot"),
    ("an uptime of 2**40", "00 05000000 808080808020 00 00", "uptime_ms"),
    ("an epoch of 2**48", "00 05000000 00 00 80808080808040", "epoch_ms"),
    ("a sync point and more", "00 05000000 00 00 00 00", "surplus"),
    ("a number of eleven bytes", "00 05000000 00 00 8080808080808080808000", "number"),
    ("another group's record", "01 00 00", "index"),
    ("row 16", "40 05000000 00 00 10 01 41 00 00", "key"),
    ("a server id of no byte", "40 05000000 00 00 00 00 00 00", "server_id"),
    ("a server id of 33 bytes", "40 05000000 00 00 00 21" + "41" * 33 + "00 00", "server_id"),
    ("a seconds counter of 2**32", KEY + "8180808010 00", "sec_index"),
    ("65 values", KEY + "00 41" + "00" * 195, "values"),
    ("a channel beyond all", KEY + "00 01 818004 00 00", "channel"),
    ("a channel twice", KEY + "00 02 01 00 00 01 00 00", "channel"),
    ("a scale of 13", KEY + "00 01 01 1a 00", "scale"),
    ("a scale of -13", KEY + "00 01 01 19 00", "scale"),
    ("a value of 2**63", KEY + "00 01 01 00 80808080808080808002", "value"),
    ("a value that is cut", KEY + "00 01 01 00 80", "cut short"),
    ("a key and more", KEY + "00 00 00", "surplus"),
    ("a delta without a key", "80 05000000 00 00 00", "no key"),
)


def test_what_a_record_may_not_be():
    for name, text, reason in MALFORMED:
        payload = bytes.fromhex(text.replace(" ", ""))
        assert decode(1, [payload]).rejected == [(1, reason)], name
        if reason != "surplus":
            for end in range(1, len(payload)):
                assert decode(1, [payload[:end]]).records == [], (name, end)


def test_a_sync_point_is_sure_or_says_that_it_is_not():
    sure = bytes.fromhex("00 05000000 00 00 07".replace(" ", ""))
    assert decode(1, [sure]).records == [Sync(1, 0, 7, True)]
    assert decode(1, [sure + b"\x01"]).records == [Sync(1, 0, 7, False)]
    for surplus in (b"\x00", b"\x02", b"\x01\x01", b"\x81"):
        assert decode(1, [sure + surplus]).rejected == [(1, "surplus")], surplus


FOLLOWERS = (
    ("before the start of the boot", "81 01 00", "uptime_ms"),
    ("after its end", "81 80808080808080 01 00", "uptime_ms"),
    ("a value that the key has not", "81 00 04", "values"),
    ("a value out of bounds", "81 00 02 feffffffffffffffff01", "value"),
    ("seconds before zero", "81 00 01 0f", "sec_index"),
    ("a delta of a row that is not there", "c1 00 01 00", "no key"),
    ("a delta and more", "81 00 00 00", "surplus"),
    ("the same row again", "41 00 00 01 41 00 00", "key"),
)


def test_what_a_follower_may_not_be():
    key = bytes.fromhex((KEY + "05 01 01 00 02").replace(" ", ""))
    good = Row(1, 0, b"A", 4, ((1, 1, 0),))
    for name, text, reason in FOLLOWERS:
        payload = bytes.fromhex(text.replace(" ", ""))
        result = decode(1, [key, payload])
        assert result == (5, [good], [(2, reason)]), (name, result)
    result = decode(1, [bytes.fromhex((KEY + "00 00").replace(" ", "")), b"\x81\x00\x01\x02"])
    assert result.rejected == [(2, "sec_index")]


def test_what_is_no_group_is_refused():
    for payloads, reason in (([], "empty"), ([b"\0"] * 65, "records")):
        try:
            decode(1, payloads)
        except RecordError as err:
            assert err.reason == reason
        else:
            raise AssertionError(reason)


def test_every_reason_is_met_above():
    met = {row[2] for row in MALFORMED + FOLLOWERS}
    assert met | {"no head"} == set(recordreader.REASONS)
