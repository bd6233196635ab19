"""The bytes of a log: headers and items, and which errors their checksums find."""

from binascii import crc32

from wattlog.ringsector import (
    HEADER_BYTES,
    ITEM_BYTES_MIN,
    PAYLOAD_BYTES_MAX,
    LogError,
    Sectors,
    cursor,
    pack_header,
    parse_header,
    record,
    seal_of,
    seam,
    size_of,
)
from wattlog_sim.flash import FakeFlash

FIELDS = (0xFEDCBA98, 5, 1000, 900, 800, 70)


def hexed(data):
    return bytes(data).hex()


def on_flash(item, offset=HEADER_BYTES, sector_bytes=1024):
    flash = FakeFlash(2, sector_bytes)
    flash.writeblocks(0, item, offset)
    return Sectors(flash)


def stands(item, seq, offset=HEADER_BYTES):
    sectors = on_flash(item, offset)
    size = sectors.item_size(0, offset)
    return size > 0 and sectors.verify(0, offset, seq, size)


def test_the_bytes_of_every_kind():
    for name, item, wanted in (
        ("a record", record(b"abc", 1), "03616263478f28"),
        ("a record of 239 bytes", record(b"x" * 239, 7)[:2], "ef78"),
        ("a record of 240 bytes", record(b"x" * 240, 7)[:3], "f00078"),
        ("a record of 600 bytes", record(b"x" * 600, 7)[:3], "f16878"),
        ("the longest", record(b"x" * PAYLOAD_BYTES_MAX, 7)[:3], "fbff78"),
        ("a cursor near by", cursor(90, 101)[:-3], "fe0a"),
        ("a cursor at 255", cursor(1, 257)[:-3], "feff"),
        ("a cursor at 256", cursor(1, 258)[:-3], "fd0001"),
        ("a cursor at 65536", cursor(1, 65538)[:-3], "fc00000100"),
        ("a seam", seam(3)[:-3], "0000"),
        (
            "a header",
            pack_header(256, 4096, FIELDS)[:-3],
            "5701000198badcfe05000000e80300008403000020030000460000000c",
        ),
    ):
        assert hexed(item) == wanted, (name, hexed(item))


def test_the_head_tells_the_size():
    for length in (1, 2, 0xEF, 0xF0, 0xF1, 0x1EF, 0x1F0, 1000, PAYLOAD_BYTES_MAX):
        item = record(bytes(length), 9)
        assert size_of(item[:2]) == len(item) == length + (4 if length < 0xF0 else 5)
    for distance in (0, 255, 256, 65535, 65536, 1 << 20):
        item = cursor(1, distance + 2)
        assert size_of(item[:2]) == len(item)
    assert size_of(seam(1)[:2]) == len(seam(1)) == ITEM_BYTES_MIN
    assert size_of(b"\xff\x00") == 0


def test_an_item_stands_under_its_own_number_only():
    for item in (record(b"payload", 100), record(bytes(700), 100), cursor(60, 100), seam(100)):
        assert stands(item, 100)
        for seq in (0, 98, 99, 101, 102, 104, 1 << 20):
            assert not stands(item, seq), seq


def test_a_payload_comes_back():
    for length in (1, 61, 62, 63, 64, 65, 66, 67, 128, 129, 239, 240, 300, 900):
        payload = bytes([length * 7 + i & 0xFF for i in range(length)])
        item = record(payload, 5)
        sectors = on_flash(item)
        assert sectors.item_size(0, HEADER_BYTES) == len(item)
        assert sectors.verify(0, HEADER_BYTES, 5, len(item)), length
        assert sectors.payload(0, HEADER_BYTES, 5, len(item)) == payload
        assert sectors.payload(0, HEADER_BYTES, 6, len(item)) is None


def test_the_last_byte_is_never_blank():
    assert seal_of(0x12FF3456) == 0x7F3456
    assert seal_of(0xFF) == 0xFF
    for seq in range(3000):
        assert record(b"z", seq)[-1] != 0xFF
        assert seam(seq)[-1] != 0xFF


def test_an_item_without_its_last_byte_does_not_stand():
    for seq in range(300):
        assert not stands(record(b"some", seq)[:-1], seq)


def test_one_or_two_wrong_bits_are_found():
    for item in (record(b"four", 77), cursor(70, 77), seam(77)):
        bits = 8 * len(item)
        for first in range(bits):
            for second in range(first, bits):
                broken = bytearray(item)
                broken[first >> 3] ^= 1 << (first & 7)
                if second != first:
                    broken[second >> 3] ^= 1 << (second & 7)
                assert not stands(broken, 77), (first, second)


def test_a_header_comes_back():
    header = pack_header(256, 4096, FIELDS)
    assert len(header) == HEADER_BYTES
    assert parse_header(header, 256, 4096) == FIELDS
    for bit in range(8 * HEADER_BYTES):
        header[bit >> 3] ^= 1 << (bit & 7)
        assert parse_header(header, 256, 4096) is None
        header[bit >> 3] ^= 1 << (bit & 7)


def test_a_torn_header_is_none():
    header = pack_header(256, 4096, FIELDS)
    for cut in range(HEADER_BYTES):
        torn = bytes(header[:cut]) + b"\xff" * (HEADER_BYTES - cut)
        assert parse_header(torn, 256, 4096) is None


def refused(header, count, size):
    try:
        parse_header(header, count, size)
    except LogError as error:
        return str(error)
    return None


def newer(header):
    """Return the header of a log of the next version."""
    header = bytearray(header)
    header[1] += 1
    seal = seal_of(crc32(header[:-3], 0))
    header[-3:] = seal.to_bytes(3, "little")
    return header


def test_a_newer_version_and_another_geometry_are_refused_in_words():
    header = pack_header(256, 4096, FIELDS)
    assert refused(newer(header), 256, 4096) == "the log has format 2; this is for 1"
    words = "the log was made for 256 sectors of 4096 bytes; here are 128 of 4096"
    assert refused(header, 128, 4096) == words
    words = "the log was made for 256 sectors of 4096 bytes; here are 256 of 8192"
    assert refused(header, 256, 8192) == words


def test_a_device_that_cannot_hold_a_log_is_refused():
    for count, size in ((1, 4096), (4, 128), (4, 1000)):
        try:
            Sectors(FakeFlash(count, size))
        except LogError as error:
            assert "cannot hold a log" in str(error)
        else:
            raise AssertionError((count, size))
