"""Our MessagePack: known bytes both ways, and nothing else accepted."""

from wattlog.msgpack import (
    BYTES_MAX,
    DEPTH_MAX,
    ELEMENTS_MAX,
    MsgpackError,
    pack,
    pack_into,
    unpack,
)

# value, MessagePack in hex (from the specification's format table)
KNOWN = (
    (None, "c0"),
    (False, "c2"),
    (True, "c3"),
    (0, "00"),
    (127, "7f"),
    (128, "cc80"),
    (255, "ccff"),
    (256, "cd0100"),
    (65535, "cdffff"),
    (65536, "ce00010000"),
    (4294967295, "ceffffffff"),
    (4294967296, "cf0000000100000000"),
    (18446744073709551615, "cfffffffffffffffff"),
    (-1, "ff"),
    (-32, "e0"),
    (-33, "d0df"),
    (-128, "d080"),
    (-129, "d1ff7f"),
    (-32768, "d18000"),
    (-32769, "d2ffff7fff"),
    (-2147483648, "d280000000"),
    (-2147483649, "d3ffffffff7fffffff"),
    (-9223372036854775808, "d38000000000000000"),
    ("", "a0"),
    ("ä", "a2c3a4"),
    (b"", "c400"),
    (b"\x0a\x01", "c4020a01"),
    ([], "90"),
    ([1, [2]], "92019102"),
    ({}, "80"),
    ({"b": 1, "a": None}, "82a161c0a16201"),
)


def reason(data):
    try:
        unpack(data)
    except MsgpackError as error:
        return error.reason
    return None


def test_known_values_pack_to_known_bytes():
    for value, wanted in KNOWN:
        assert pack(value).hex() == wanted, (value, pack(value).hex())


def test_known_bytes_unpack_to_known_values():
    for value, data in KNOWN:
        assert unpack(bytes.fromhex(data)) == value, data


def test_lengths_of_every_form_come_back():
    for size in (0, 1, 15, 16, 31, 32, 255, 256, 300):
        for value in ("x" * size, b"x" * size, [0] * size):
            assert unpack(pack(value)) == value, size


def test_a_tuple_is_an_array():
    assert pack((1, 2)) == pack([1, 2])


def test_what_is_outside_of_the_subset_is_refused_by_reason():
    cases = (
        ("truncated", "", "cd01", "c402 0a", "92 01", "a2 61", "81 a161"),
        ("type", "ca 00000000", "cb 0000000000000000", "d4 01 00", "c7 00 01", "c1"),
        ("surplus", "00 00", "c0 c0"),
        ("utf8", "a1 ff"),
        ("key", "81 01 01", "82 a161 01 a161 02", "81 c0 01"),
    )
    for case in cases:
        for data in case[1:]:
            assert reason(bytes.fromhex(data.replace(" ", ""))) == case[0], (case[0], data)


def test_a_length_that_cannot_be_true_allocates_nothing():
    for data in ("ddffffffff", "dfffffffff", "c6ffffffff", "dbffffffff", "dcffff", "deffff"):
        assert reason(bytes.fromhex(data)) == "truncated", data


def test_limits():
    assert reason(b"\x00" * (BYTES_MAX + 1)) == "too_long"
    assert reason(b"\x91" * DEPTH_MAX + b"\x00") is None
    assert reason(b"\x91" * (DEPTH_MAX + 1) + b"\x00") == "depth"
    many = ELEMENTS_MAX
    assert reason(b"\xdc" + bytes((many >> 8, many & 255)) + b"\x00" * many) == "elements"


def test_every_truncation_of_a_good_message_is_refused():
    data = pack([1, "edge", {"k": b"\x01\x02"}, [-5, 70000]])
    for size in range(len(data)):
        assert reason(data[:size]) == "truncated", size


def test_memory_that_is_there_is_written_to_and_never_beyond():
    value = {"a": [1, -70_000, None, True], "b": b"\x1b" * 40, "c": "u" * 300}
    packed = pack(value)
    buf = bytearray(b"\xee" * (len(packed) + 8))
    view = memoryview(buf)
    assert pack_into(view, value) == len(packed)
    assert buf[: len(packed)] == packed
    assert buf[len(packed) :] == b"\xee" * 8
    for size in range(len(packed)):
        try:
            pack_into(view[:size], value)
        except IndexError:
            assert buf[len(packed) :] == b"\xee" * 8, size
            continue
        raise AssertionError(size)
