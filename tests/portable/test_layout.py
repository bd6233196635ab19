"""What is read through a learned layout is what a full parse gives, or a full parse it is."""

from wattlog.decoder import LAYOUTS_MAX, LEARN_AFTER, SmlDecoder
from wattlog.framing import FrameDecoder
from wattlog.layout import SECONDS, SENSOR_SECONDS, STATUS
from wattlog.sml import SmlError, parse
from wattlog_sim import sml_writer as w

SERVER_ID = bytes.fromhex("0a0149534b0004ca5943")
OTHER_ID = bytes.fromhex("0a0149534b0004ca5944")
HOLLEY_ID = bytes.fromhex("0a01484c590200000001")
ENERGY = bytes.fromhex("0100010800ff")
POWER = bytes.fromhex("0100100700ff")
MAKER = bytes.fromhex("010060320101")


def frame(
    entries=None,
    number=1,
    server_id=SERVER_ID,
    seconds=None,
    checksum=w.x25_low_first,
    more=b"",
):
    """One frame; `number` moves everything that moves in a meter's frames."""
    if entries is None:
        entries = [
            w.entry(MAKER, w.octets(b"ISK")),
            w.entry(
                ENERGY, w.unsigned(number * 77, 5), w.unsigned(number & 0xFFFF, 4), w.sec_index(number),
                30, -1,
            ),
            w.entry(POWER, w.signed(-number, 4), unit=27, scaler=0),
        ]  # fmt: skip
    seconds = w.sec_index(number) if seconds is None else seconds
    content = w.get_list_response(server_id, entries, seconds, w.LIST_CURRENT_VALUES)
    ident = number.to_bytes(4, "big")
    payload = (
        w.message(ident, w.TAG_OPEN_RESPONSE, w.open_response(ident, server_id), checksum)
        + w.message(ident, w.TAG_GET_LIST_RESPONSE, content, checksum)
        + more
        + w.message(ident, w.TAG_CLOSE_RESPONSE, w.close_response(), checksum)
    )
    return w.transport(payload, checksum)


def taught(**more):
    """A decoder that has learned these frames."""
    decoder = SmlDecoder()
    for number in range(1, LEARN_AFTER + 2):
        assert len(decoder.push(frame(number=number, **more))) == 1
    assert decoder.learned == 1
    return decoder


def in_full(stream):
    return [as_rows(one) for one in parsed(stream)]


def parsed(stream):
    found = []
    for payload in FrameDecoder().push(stream):
        try:
            found.extend(parse(payload))
        except SmlError:
            continue
    return found


def as_rows(one):
    return (one.server_id, one.sec_index, one.entries)


def assert_same(decoder, stream, name=None):
    found = decoder.push(stream)
    wanted = parsed(stream)
    assert [as_rows(one) for one in found] == [as_rows(one) for one in wanted], name
    for one, two in zip(found, wanted):  # noqa: B905 - MicroPython has no strict
        if one.layout is not None:
            assert one.values == moving(two, one.layout.fields), name


def moving(one, fields):
    """What the moving integers of a layout are in this list."""
    values = []
    for index, what, _, _, _ in fields:
        entry = None if what == SENSOR_SECONDS else one.entries[index]
        values.append(
            one.sec_index
            if entry is None
            else entry.status
            if what == STATUS
            else entry.sec_index
            if what == SECONDS
            else entry.value
        )
    return tuple(values)


def with_checksum(body):
    return body + w.x25_low_first(body)


def test_after_a_few_frames_the_layout_is_known():
    decoder = SmlDecoder()
    for number in range(1, 30):
        assert_same(decoder, frame(number=number * 1000), number)
    assert decoder.frames == 29
    assert decoder.learned == 29 - LEARN_AFTER
    assert decoder.drops == {}


def test_integers_of_every_width_and_sign():
    for width in range(1, 9):
        top = 1 << 8 * width
        signed = [w.signed(number, width) for number in (0, 1, top // 2 - 1, -1, -top // 2)]
        unsigned = [w.unsigned(number, width) for number in (0, 1, top // 2, top - 1)]
        for values in (signed, unsigned):
            decoder = SmlDecoder()
            for value in values[:2] + values:
                assert_same(decoder, frame([w.entry(POWER, value)]), (width, value))
            assert decoder.learned == len(values) + 2 - LEARN_AFTER, width


def test_times_in_every_spelling():
    def second_in(spelling, number):
        return {
            "absent": w.ABSENT,
            "usual": w.sec_index(number),
            "three bytes": w.sec_index(number, 3),
            "bare": w.unsigned(number, 4),
            "timestamp": w.list_of((w.unsigned(2, 1), w.unsigned(number, 4))),
            "a wide tag": w.list_of((w.unsigned(1, 4), w.unsigned(number, 4))),
            "local": w.list_of(
                (
                    w.unsigned(3, 1),
                    w.list_of((w.unsigned(number, 4), w.signed(60, 2), w.signed(0, 2))),
                )
            ),
            "no tag": w.list_of((w.unsigned(number, 4), w.signed(60, 2), w.signed(0, 2))),
        }[spelling]

    for spelling in (
        "absent",
        "usual",
        "three bytes",
        "bare",
        "timestamp",
        "a wide tag",
        "local",
        "no tag",
    ):
        decoder = SmlDecoder()
        for number in range(1, 8):
            when = second_in(spelling, number)
            entries = [w.entry(ENERGY, w.unsigned(number, 4), val_time=when)]
            assert_same(decoder, frame(entries, number, seconds=when), spelling)


def test_any_other_byte_means_a_full_parse():
    changes = (
        ("another meter", {"server_id": OTHER_ID}),
        ("another unit", {"entries": [w.entry(POWER, w.signed(5, 4), unit=30, scaler=0)]}),
        ("another scaler", {"entries": [w.entry(POWER, w.signed(5, 4), unit=27, scaler=-1)]}),
        ("another register", {"entries": [w.entry(ENERGY, w.signed(5, 4), unit=27, scaler=0)]}),
        ("unsigned", {"entries": [w.entry(POWER, w.unsigned(5, 4), unit=27, scaler=0)]}),
        ("octets", {"entries": [w.entry(POWER, w.octets(b"abcd"), unit=27, scaler=0)]}),
        ("split otherwise", {"entries": [w.entry(POWER, w.signed(5, 3), w.octets(b"x"), unit=27, scaler=0)]}),
    )  # fmt: skip
    plain = [w.entry(POWER, w.signed(-5, 4), unit=27, scaler=0)]
    for name, change in changes:
        decoder = taught(entries=plain)
        change.setdefault("entries", plain)
        assert_same(decoder, frame(**change), name)
        assert decoder.learned == 1, name


def test_every_byte_of_a_frame_may_change():
    good = frame(number=9)
    for at in range(8, len(good) - 8):
        for byte in (0x00, 0x01, 0x1B, 0x72, 0xFF):
            decoder = known()
            body = good[:at] + bytes((byte,)) + good[at + 1 : -2]
            assert_same(decoder, with_checksum(body), (at, byte))


_KNOWN = []


def known():
    """One decoder for many frames: what it learns on the way must not matter either."""
    if not _KNOWN:
        _KNOWN.append(taught())
    return _KNOWN[0]


def test_a_wrong_checksum_is_never_read_through_a_layout():
    decoder = taught()
    good = frame(number=9)
    for at in range(8, len(good) - 8):
        bad = good[:at] + bytes((good[at] ^ 0x04,)) + good[at + 1 :]
        assert list(decoder.push(bad)) == [], at
    assert decoder.learned == 1
    assert_same(decoder, good)
    assert decoder.learned == 2


def test_an_escape_in_a_value_is_what_it_is():
    # Eight escape bytes on the wire are four; the frame then has the length of another.
    def of(value):
        return [w.entry(ENERGY, value)]

    decoder = SmlDecoder()
    for _ in range(LEARN_AFTER + 1):
        assert_same(decoder, frame(of(w.unsigned(7, 8))))
    assert decoder.learned == 1
    eight = b"\x1b" * 8
    raw = frame(of(w.unsigned(7, 8)))
    at = raw.find(b"\x69" + (7).to_bytes(8, "big")) + 1
    assert_same(decoder, with_checksum(raw[:at] + eight + raw[at + 8 : -2]), "eight on the wire")
    assert_same(decoder, frame(of(w.unsigned(int.from_bytes(eight, "big"), 8))), "eight meant")
    for ahead in range(5):
        number = int.from_bytes(b"\x00" * ahead + b"\x1b" * 4 + b"\x00" * (4 - ahead), "big")
        assert_same(decoder, frame(of(w.unsigned(number, 8))), ahead)
    assert_same(decoder, raw)
    assert decoder.learned == 2


def test_kermit_frames_are_learned_too():
    decoder = SmlDecoder()
    for number in range(1, 10):
        stream = frame(number=number, server_id=HOLLEY_ID, checksum=w.kermit_high_first)
        assert_same(decoder, stream, number)
    assert decoder.learned == 9 - LEARN_AFTER


def test_a_meter_that_changes_its_checksum_is_read_all_the_same():
    decoder = SmlDecoder()
    for number in range(1, 25):
        checksum = (w.kermit_high_first, w.x25_low_first)[number // 6 & 1]
        stream = frame(number=number, server_id=HOLLEY_ID, checksum=checksum)
        found = decoder.push(stream)
        assert [one.sec_index for one in found] == [number]
    assert decoder.learned == 24 - 4 * LEARN_AFTER - 1  # the turns are 5, 6, 6, 6 and 1 long
    assert decoder.drops == {}


def test_integers_in_close_quarters():
    # Bare seconds one byte behind a status: an odd width leaves no room to read more than it has.
    for width in range(1, 9):
        decoder = SmlDecoder()
        for number in range(1, 8):
            entries = [
                w.entry(
                    ENERGY, w.unsigned(number, 4), w.unsigned(number, width), w.unsigned(number, 4)
                )
            ]
            assert_same(decoder, frame(entries, number), (width, number))
        assert decoder.learned == (0 if width in (5, 6) else 7 - LEARN_AFTER), width


def test_a_shape_without_a_layout_is_parsed_in_full():
    second = w.message(
        b"\x01",
        w.TAG_GET_LIST_RESPONSE,
        w.get_list_response(SERVER_ID, [w.entry(POWER, w.signed(1, 1))]),
    )
    a_list = w.list_of((w.unsigned(1, 1), w.sec_index(99)))
    cases = (
        ("two lists", {"more": second}),
        ("a list as value", {"entries": [w.entry(ENERGY, a_list)]}),
    )
    for name, change in cases:
        decoder = SmlDecoder()
        for number in range(1, 8):
            assert_same(decoder, frame(number=number, **change), name)
        assert decoder.learned == 0, name


def test_a_list_whose_content_leads_beyond_the_end():
    # What stands behind a list is not where it seems: the search for a layout has to end in it.
    entries = [w.entry(ENERGY, w.octets(b"")), w.entry(POWER, w.unsigned(5, 1))]
    for size in range(16, 32):
        lost = b"\x01\x77" + w.octets(ENERGY) + b"\x01\x01" + w.type_length(0, size, 2)
        entries[0] = w.entry(ENERGY, w.list_of([w.octets(lost)]))
        content = w.get_list_response(SERVER_ID, entries, w.sec_index(1))
        stream = w.transport(w.message(b"\x01", w.TAG_GET_LIST_RESPONSE, content))
        decoder = SmlDecoder()
        for number in range(LEARN_AFTER + 1):
            assert_same(decoder, stream, (size, number))
        assert decoder.frames == LEARN_AFTER + 1, size
        assert decoder.learned == 0, size


def test_no_more_layouts_than_allowed_whatever_the_lengths():
    decoder = SmlDecoder()
    for turn in range(3):
        for width in range(1, 13):
            for number in range(1, LEARN_AFTER + 2):
                stream = frame([w.entry(MAKER, w.octets(b"x" * 4 * width))], number + turn)
                assert_same(decoder, stream, width)
                assert len(decoder._layouts) <= LAYOUTS_MAX
    assert decoder.learned >= 12


def test_lengths_that_change_with_every_frame():
    # A hostile sender may keep the decoder from learning, and no more than that.
    decoder = SmlDecoder()
    for number in range(1, 60):
        stream = frame([w.entry(MAKER, w.octets(b"x" * 4 * (number % 12)))], number)
        assert_same(decoder, stream, number)
        assert len(decoder._layouts) <= LAYOUTS_MAX


def test_the_same_length_in_two_shapes():
    decoder = SmlDecoder()
    for number in range(1, 20):
        entries = (
            [w.entry(POWER, w.signed(-number, 4))],
            [w.entry(POWER, w.unsigned(number, 4))],
        )[number // 2 & 1]
        assert_same(decoder, frame(entries, number), number)


def test_a_large_read_gives_what_single_frames_give():
    frames = [frame(number=number) for number in range(1, 7)]
    wanted = [in_full(one)[0] for one in frames]
    for noise in (b"", b"\x00", b"\x1b\x1b", frames[0][:50], frames[0][30:], frames[0][:-1]):
        decoder = SmlDecoder(400, 1000)
        found = []
        for data in (b"".join(frames[:3]) + noise + frames[3], frames[4] + frames[5]):
            found.extend([as_rows(one) for one in decoder.push(data)])
        assert found == wanted, noise
        assert decoder.learned == 6 - LEARN_AFTER, noise
