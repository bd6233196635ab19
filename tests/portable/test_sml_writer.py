"""The SML writer against bytes made by hand, so that it can stand for a meter elsewhere."""

from wattlog_sim import sml_writer as sml

TYPE_LENGTHS = (
    ("nothing there", sml.octets(b""), b"\x01"),
    ("three letters", sml.octets(b"ISK"), b"\x04ISK"),
    ("the longest with one length byte", sml.octets(bytes(14)), b"\x0f" + bytes(14)),
    ("the shortest with two", sml.octets(bytes(15)), b"\x81\x01" + bytes(15)),
    ("a public key of 48", sml.octets(bytes(48)), b"\x83\x02" + bytes(48)),
    ("the longest with two", sml.octets(bytes(253)), b"\x8f\x0f" + bytes(253)),
    ("the shortest with three", sml.octets(bytes(254)), b"\x81\x80\x01" + bytes(254)),
    ("an empty list", sml.list_of(()), b"\x70"),
    ("a list of 15", sml.list_of([b"\x01"] * 15), b"\x7f" + b"\x01" * 15),
    ("a list of 16", sml.list_of([b"\x01"] * 16), b"\xf1\x00" + b"\x01" * 16),
    ("a list of 20", sml.list_of([b"\x01"] * 20), b"\xf1\x04" + b"\x01" * 20),
    ("true", sml.boolean(True), b"\x42\x01"),
    ("false", sml.boolean(False), b"\x42\x00"),
)

NUMBERS = (
    ("zero takes a byte", sml.unsigned(0), b"\x62\x00"),
    ("the largest byte", sml.unsigned(255), b"\x62\xff"),
    ("one more", sml.unsigned(256), b"\x63\x01\x00"),
    ("a status word of three bytes", sml.unsigned(0x1C0104), b"\x64\x1c\x01\x04"),
    ("the same in four", sml.unsigned(0x1C0104, 4), b"\x65\x00\x1c\x01\x04"),
    ("eight bytes", sml.unsigned((1 << 64) - 1), b"\x69" + b"\xff" * 8),
    ("minus one", sml.signed(-1), b"\x52\xff"),
    ("the scaler of 0.1 Wh", sml.signed(-1, 1), b"\x52\xff"),
    ("127 needs one byte", sml.signed(127), b"\x52\x7f"),
    ("128 needs two, or it were negative", sml.signed(128), b"\x53\x00\x80"),
    ("-128 needs one", sml.signed(-128), b"\x52\x80"),
    ("-129 needs two", sml.signed(-129), b"\x53\xff\x7f"),
    ("-105.50 W as DZG sends it", sml.signed(-10550), b"\x53\xd6\xca"),
    ("168 W in four bytes", sml.signed(168, 4), b"\x55\x00\x00\x00\xa8"),
    ("energy in five", sml.signed(0x0A472D14, 5), b"\x56\x00\x0a\x47\x2d\x14"),
    ("+356.24 W with DZG's wrong mark", sml.signed_raw(35624, 2), b"\x53\x8b\x28"),
)

TIMES = (
    ("with its choice", sml.sec_index(0x068279), b"\x72\x62\x01\x65\x00\x06\x82\x79"),
    ("no time, as DZG says it", sml.sec_index(0, None), b"\x72\x62\x01\x62\x00"),
    ("a young meter's", sml.sec_index(9424220, None), b"\x72\x62\x01\x64\x8f\xcd\x5c"),
)

ESCAPES = (
    ("none", b"\x1b\x1b\x1b", b"\x1b\x1b\x1b"),
    ("one", b"a\x1b\x1b\x1b\x1bz", b"a\x1b\x1b\x1b\x1b\x1b\x1b\x1b\x1bz"),
    ("one and a half", b"\x1b" * 6, b"\x1b" * 10),
    ("two", b"\x1b" * 8, b"\x1b" * 16),
)

PAYLOAD_BYTES_BY_PAD = ((0, 4), (1, 3), (2, 2), (3, 1))


def test_type_and_length_of():
    for name, encoded, wanted in TYPE_LENGTHS:
        assert encoded == wanted, name


def test_number():
    for name, encoded, wanted in NUMBERS:
        assert encoded == wanted, name


def test_time():
    for name, encoded, wanted in TIMES:
        assert encoded == wanted, name


def test_integers_of_all_widths_come_back():
    for width in range(1, 9):
        half = 1 << (8 * width - 1)
        for value in (0, 1, half - 1, half // 2, half, 2 * half - 1):
            coded = sml.unsigned(value, width)
            assert coded[0] == 0x61 + width
            assert int.from_bytes(coded[1:], "big") == value
        for value in (0, 1, -1, half - 1, -half, half // 3, -(half // 3) - 1):
            coded = sml.signed(value, width)
            assert coded[0] == 0x51 + width
            assert _signed(coded[1:]) == value, (value, width)


def test_without_a_width_the_shortest_is_taken():
    for width in range(1, 9):
        half = 1 << (8 * width - 1)
        assert len(sml.signed(half - 1)) == len(sml.signed(-half)) == 1 + width
        assert len(sml.unsigned(2 * half - 1)) == 1 + width
        if width < 8:
            assert len(sml.signed(half)) == len(sml.signed(-half - 1)) == 2 + width


def test_what_does_not_fit_is_refused():
    for encode, value, width in (
        (sml.unsigned, 256, 1),
        (sml.unsigned, -1, 1),
        (sml.unsigned, 0, 9),
        (sml.signed, 128, 1),
        (sml.signed, -129, 1),
        (sml.signed, 0, 9),
    ):
        try:
            encode(value, width)
        except AssertionError:
            continue
        raise ValueError((encode, value, width))


def test_an_entry_has_seven_fields():
    encoded = sml.entry(b"\x01\x00\x10\x07\x00\xff", sml.signed(-42), unit=sml.UNIT_W, scaler=0)
    assert encoded == b"\x77\x07\x01\x00\x10\x07\x00\xff\x01\x01\x62\x1b\x52\x00\x52\xd6\x01"
    assert sml.entry(b"\x00" * 6, sml.ABSENT) == b"\x77\x07" + bytes(6) + b"\x01" * 6


def test_a_message_carries_its_checksum():
    made = sml.message(b"\x01\x02", sml.TAG_CLOSE_RESPONSE, sml.close_response())
    body = b"\x76\x03\x01\x02\x62\x00\x62\x00\x72\x63\x02\x01\x71\x01"
    assert made == body + b"\x63" + sml.x25_low_first(body) + b"\x00"
    wide = sml.message(
        b"\x01\x02", sml.TAG_CLOSE_RESPONSE, sml.close_response(), sml.kermit_high_first, 4
    )
    body = b"\x76\x03\x01\x02\x62\x00\x62\x00\x72\x65\x00\x00\x02\x01\x71\x01"
    assert wide == body + b"\x63" + sml.kermit_high_first(body) + b"\x00"


def test_a_checksum_that_starts_with_zero_may_be_one_byte():
    shortened = 0
    for count in range(2000):
        transaction_id = count.to_bytes(4, "big")
        content = sml.close_response()
        full = sml.message(transaction_id, sml.TAG_CLOSE_RESPONSE, content)
        short = sml.message(transaction_id, sml.TAG_CLOSE_RESPONSE, content, shorten_crc=True)
        if full[-4:-2] == b"\x63\x00":
            assert short == full[:-4] + b"\x62" + full[-2:]
            shortened += 1
        else:
            assert short == full
    assert 0 < shortened < 40


def test_the_checksums_are_the_published_ones():
    # Check values of CRC-16/X-25 (0x906e) and CRC-16/KERMIT (0x2189), in their order on the wire.
    assert sml.x25_low_first(b"123456789") == b"\x6e\x90"
    assert sml.kermit_high_first(b"123456789") == b"\x21\x89"


def test_padding_is_counted_and_the_frame_is_a_multiple_of_four():
    for pad_bytes, payload_bytes in PAYLOAD_BYTES_BY_PAD:
        payload = b"\x76" * payload_bytes
        frame = sml.transport(payload)
        wanted = sml.START + payload + bytes(pad_bytes) + sml.ESCAPE + bytes((0x1A, pad_bytes))
        assert frame == wanted + sml.x25_low_first(wanted)
        assert len(frame) % 4 == 0


def test_dzg_pads_an_aligned_payload_by_four():
    frame = sml.transport(b"\x76" * 8, pad_aligned=True)
    assert frame[:-2] == sml.START + b"\x76" * 8 + bytes(4) + sml.ESCAPE + b"\x1a\x04"
    assert sml.transport(b"\x76" * 7, pad_aligned=True) == sml.transport(b"\x76" * 7)


def test_escapes_are_doubled():
    for name, payload, wanted in ESCAPES:
        frame = sml.transport(payload)
        assert frame[8 : 8 + len(wanted)] == wanted, name
        assert frame[8 + len(wanted) : -8] == bytes(-len(wanted) % 4), name


def test_the_kermit_frame_covers_the_same_bytes():
    frame = sml.transport(b"\x76" * 4, sml.kermit_high_first)
    assert frame[-2:] == sml.kermit_high_first(frame[:-2])


def _signed(data):
    value = int.from_bytes(data, "big")
    return value - (1 << (8 * len(data))) if data[0] & 0x80 else value
