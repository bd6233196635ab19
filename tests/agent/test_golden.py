"""The bytes on the wire and in the log are those that SPEC.md promises to whoever reads them later.

tests/golden holds one message per file, in hex. A change of format changes them, the number of
the format and SPEC.md together.
"""

import zlib

import pytest

from layers import ROOT
from wattlog import records
from wattlog.msgpack import pack, unpack
from wattlog.reading import Reading
from wattlog.recordreader import Row, Sync, decode, split
from wattlog.records import BatchBuffer, GroupWriter

EDGE = "cellar"
BOOT = 0xDEADBEEF
LOG_ID = 0xC0FFEE42
FIRST_SEQ = 4711
EPOCH_MS = 1_795_296_211_440
ISKRA = bytes.fromhex("0a0149534b000432612d")
DZG = bytes.fromhex("0a01445a470003a1b2c3")


def iskra(second, import_wh_e1, power_w):
    values = [(1, import_wh_e1, -1), (4, 5, -1), (10, power_w, 0)]
    return Reading(ISKRA, second, values, True)


def dzg(import_wh, power_w_e2):
    return Reading(DZG, None, [(1, import_wh, 0), (10, power_w_e2, -2)], True)


RECORDS = (
    (61_000, EPOCH_MS),
    (61_040, iskra(6_825_892, 198_927_501, 431)),
    (61_500, dzg(4_321, -123_456)),
    (62_030, iskra(6_825_893, 198_927_503, 431)),
    (62_520, dzg(4_321, 98_765)),
    (63_050, iskra(6_825_895, 198_927_503, -28)),
)


class Payloads(list):
    """A log that is a list."""

    def append(self, payload):
        super().append(bytes(payload))
        return FIRST_SEQ + len(self) - 1

    def fits(self, size):
        return True


def payloads():
    log = Payloads()
    writer = GroupWriter(log, BOOT)
    for uptime_ms, what in RECORDS:
        if isinstance(what, Reading):
            writer.reading(uptime_ms, what)
        else:
            writer.sync(uptime_ms, what, True)
    return [*log[:4], b"", *log[5:]]  # one has become unreadable


def batch():
    buffer = BatchBuffer(bytearray(records.BATCH_BYTES))
    for payload in payloads():
        buffer.add(payload)
    return bytes(buffer.message(EDGE, LOG_ID, FIRST_SEQ))


def status():
    return records.pack_status(
        {
            "v": records.FORMAT_WIRE,
            "state": "online",
            "edge": EDGE,
            "boot": BOOT,
            "uptime_ms": 63_100,
            "version": "0.4.0",
            "platform": "esp32",
            "reply_to": None,
            "log": {
                "id": LOG_ID, "kind": "flash", "first_seq": FIRST_SEQ, "next_seq": 4717,
                "records": 6, "bytes": 130, "bytes_max": 1 << 20, "evicted": 12, "damaged": 1,
                "unlogged": 0, "trouble": None,
            },
            "link": {"connects": 2, "resent": 1, "refused": 0},
            "meters": [
                {
                    "port": "uart1", "state": "open", "trouble": None, "server_id": ISKRA,
                    "frames": 63, "drops": {"crc": 1}, "bytes": 18_000, "frame_age_ms": 50,
                    "full_dataset": True, "hint": None, "quarantine": {"held": 0},
                }
            ],
        }
    )  # fmt: skip


MESSAGES = {
    "batch": batch(),
    "ack": pack([2, LOG_ID, FIRST_SEQ, zlib.crc32(batch()), None]),
    "ack_refused": pack([2, LOG_ID, FIRST_SEQ, zlib.crc32(batch()), "edge is not an id"]),
    "live": records.pack_live(EDGE, BOOT, 63_050, RECORDS[5][1]),
    "command": pack([2, "live", 60]),
    "status": status(),
}


def golden(name):
    return bytes.fromhex((ROOT / f"tests/golden/{name}.hex").read_text())


@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_are_those_of_the_golden_file(name):
    assert MESSAGES[name] == golden(name)


def test_every_golden_file_is_made_here():
    assert {path.stem for path in (ROOT / "tests/golden").iterdir()} == set(MESSAGES)


def test_the_golden_batch_is_read_as_it_was_written():
    version, edge, log_id, first_seq, data = unpack(golden("batch"))
    assert (version, edge, log_id, first_seq) == (2, EDGE, LOG_ID, FIRST_SEQ)
    boot, read, rejected = decode(first_seq, split(data))
    assert boot == BOOT
    assert rejected == [(FIRST_SEQ + 4, "hole")]
    wanted = []
    for seq, (uptime_ms, what) in enumerate(RECORDS, FIRST_SEQ):
        if isinstance(what, Reading):
            values = tuple(what.values)
            wanted.append(Row(seq, uptime_ms, what.server_id, what.sec_index, values))
        else:
            wanted.append(Sync(seq, uptime_ms, what, True))
    del wanted[4]
    assert read == wanted


def test_the_golden_answers_are_understood():
    assert records.unpack_ack(golden("ack")) == (
        LOG_ID,
        FIRST_SEQ,
        zlib.crc32(golden("batch")),
        None,
    )
    refused = (LOG_ID, FIRST_SEQ, zlib.crc32(golden("batch")), "edge is not an id")
    assert records.unpack_ack(golden("ack_refused")) == refused
    assert records.unpack_live_wish(golden("command")) == 60
    assert records.unpack_status(golden("status"))["log"]["first_seq"] == FIRST_SEQ
