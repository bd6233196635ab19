"""What the core relies on in every interpreter it runs on, and where they differ silently."""

import struct
import sys
from collections import namedtuple

Point = namedtuple("Point", ("x", "y"))

ON_MICROPYTHON = sys.implementation.name == "micropython"


def test_int_from_bytes_reads_a_memoryview():
    view = memoryview(b"\xff\x01\x02\x03")
    assert int.from_bytes(view[1:4], "big") == 0x010203
    assert int.from_bytes(b"\x80\x00", "big") == 0x8000


def test_integers_have_no_size_limit():
    assert 2**64 - 1 == 18446744073709551615
    assert int.from_bytes(b"\xff" * 8, "big") == 2**64 - 1
    assert (2**63).to_bytes(8, "big") == b"\x80" + bytes(7)
    assert 2**30 + 2**30 == 2**31, "past the small integers of a 32-bit device"
    assert -(2**30) - 1 < -(2**30)


def test_floor_division_and_remainder_round_down():
    assert -7 // 2 == -4
    assert -7 % 2 == 1
    assert -7 >> 1 == -4


def test_a_bytearray_slice_is_replaced_in_place():
    buf = bytearray(b"abcdef")
    buf[0:3] = b"XYZ"
    assert buf == b"XYZdef"
    buf[:] = b""
    assert len(buf) == 0
    buf.extend(b"12")
    assert bytes(buf) == b"12"


def test_a_memoryview_writes_through_and_does_not_copy():
    buf = bytearray(8)
    view = memoryview(buf)[2:6]
    view[0:2] = b"ab"
    assert buf == b"\x00\x00ab\x00\x00\x00\x00"
    assert bytes(view) == b"ab\x00\x00"


def test_struct_packs_without_padding_when_an_order_is_given():
    packed = struct.pack(">BHIQ", 1, 2, 3, 4)
    assert len(packed) == struct.calcsize(">BHIQ") == 15
    assert struct.unpack(">BHIQ", packed) == (1, 2, 3, 4)
    buf = bytearray(6)
    struct.pack_into("<I", buf, 2, 0x01020304)
    assert struct.unpack_from("<I", buf, 2) == (0x01020304,)
    assert struct.unpack("<q", b"\xff" * 8) == (-1,)


def test_a_namedtuple_is_a_tuple_with_names():
    point = Point(1, y=2)
    assert point == (1, 2)
    assert (point.x, point.y) == (1, 2)


def test_bytes_find_starts_where_told():
    data = b"\x1b\x1b\x1b\x1b\x01\x1b\x1b\x1b\x1b"
    assert data.find(b"\x1b\x1b\x1b\x1b", 1) == 5
    assert bytearray(data).find(b"\x02") == -1


def test_text_and_bytes_convert():
    assert b"\x0a\x01ISK".hex() == "0a0149534b"
    assert "Zähler".encode() == b"Z\xc3\xa4hler"
    assert b"Z\xc3\xa4hler".decode() == "Zähler"
    assert "%02x-%d" % (10, 7) == "0a-7"


def test_an_exception_keeps_its_arguments():
    class LogCorrupt(Exception):
        pass

    try:
        raise LogCorrupt("length", 3)
    except LogCorrupt as error:
        assert error.args == ("length", 3)


def test_an_assert_is_kept():
    # The device keeps them too: files are compiled with opt=0.
    kept = False
    try:
        assert not kept, "stop before the erase"
        raise ValueError
    except ValueError:
        pass
    try:
        assert kept, "stop before the erase"
    except AssertionError:
        kept = True
    assert kept
