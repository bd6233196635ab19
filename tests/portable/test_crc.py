"""The two checksums, by their published check values and known frames."""

from wattlog.crc import crc16_kermit, crc16_x25, ends_in_kermit, ends_in_x25

CHECK = b"123456789"


def test_the_published_check_values():
    assert crc16_x25(CHECK) == 0x906E
    assert crc16_kermit(CHECK) == 0x2189


def test_nothing_gives_the_preset_inverted():
    assert crc16_x25(b"") == 0
    assert crc16_kermit(b"") == 0


def test_any_kind_of_buffer_gives_the_same():
    for kind in (bytes, bytearray, memoryview):
        assert crc16_x25(kind(CHECK)) == 0x906E
        assert crc16_kermit(kind(CHECK)) == 0x2189


def test_the_register_after_a_start_sequence_is_as_measured_on_real_frames():
    start = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01"
    assert crc16_x25(start) ^ 0xFFFF == 0x91DC
    assert crc16_kermit(start) == 0xED50


def test_what_ends_in_its_own_checksum():
    for kind in (bytes, bytearray, memoryview):
        assert ends_in_x25(kind(CHECK + b"\x6e\x90"))
        assert ends_in_kermit(kind(CHECK + b"\x21\x89"))
        for wrong in (b"\x90\x6e", b"\x89\x21", b"\x6e\x91", b"\x20\x89", b"\x00\x00"):
            assert not ends_in_x25(kind(CHECK + wrong)), wrong
            assert not ends_in_kermit(kind(CHECK + wrong)), wrong
