"""From payload to registers: every form that meters send, and nothing believed unchecked."""

from wattlog.sml import SmlError, obis_text, parse, server_id_text
from wattlog_sim import sml_writer as w

SERVER_ID = bytes.fromhex("0a0145534d0000bc614e")
POWER = bytes.fromhex("0100100700ff")
ENERGY = bytes.fromhex("0100010800ff")


def get_list(entries, **more):
    content = w.get_list_response(SERVER_ID, entries, **more)
    return w.message(b"\x01", w.TAG_GET_LIST_RESPONSE, content)


def value_of(encoded, **more):
    """The one entry of a frame whose value is these encoded bytes."""
    return parse(get_list([w.entry(POWER, encoded, **more)]))[0].entries[0]


def reason(payload):
    try:
        parse(payload)
    except SmlError as error:
        return error.reason
    return None


def test_a_whole_frame():
    payload = (
        w.message(b"\x01", w.TAG_OPEN_RESPONSE, w.open_response(b"\x05", SERVER_ID))
        + get_list(
            [
                w.entry(
                    ENERGY,
                    w.unsigned(1989275, 4),
                    status=w.unsigned(0x1C0104, 3),
                    val_time=w.sec_index(77),
                    unit=30,
                    scaler=-1,
                ),
                w.entry(POWER, w.signed(-28, 2), unit=27, scaler=0),
            ],
            sensor_time=w.sec_index(4711),
        )
        + w.message(b"\x02", w.TAG_CLOSE_RESPONSE, w.close_response())
    )
    (found,) = parse(payload)
    assert found.server_id == SERVER_ID
    assert found.sec_index == 4711
    assert found.entries[0] == (ENERGY, 0x1C0104, 77, 30, -1, 1989275, 4)
    assert found.entries[1] == (POWER, None, None, 27, 0, -28, 2)


def test_integers_of_every_width_and_sign():
    for width in range(1, 9):
        top = 1 << 8 * width
        for number in (0, 1, top // 2 - 1, -1, -top // 2):
            entry = value_of(w.signed(number, width))
            assert (entry.value, entry.width) == (number, width)
        for number in (0, 1, top // 2, top - 1):
            entry = value_of(w.unsigned(number, width))
            assert (entry.value, entry.width) == (number, width)


def test_nine_bytes_are_no_integer():
    assert reason(get_list([w.entry(POWER, b"\x5a" + b"\x00" * 9)])) == "type_length"


def test_other_values():
    cases = (
        (w.ABSENT, None),
        (w.octets(b"ESM"), b"ESM"),
        (w.octets(b"k" * 48), b"k" * 48),
        (w.boolean(True), True),
        (w.boolean(False), False),
        (b"\x42\x07", True),
        (w.list_of((w.unsigned(1, 1), w.sec_index(99))), 99),
        (w.list_of((w.octets(b"a"), w.octets(b"b"), w.octets(b"c"))), None),
    )
    for encoded, wanted in cases:
        assert value_of(encoded).value == wanted, encoded


def test_lengths_in_more_bytes_than_needed():
    assert value_of(b"\x80\x05abc").value == b"abc"
    assert value_of(b"\xd0\x04\xff\xfe").value == -2  # signed, two bytes of type-length


def test_times_in_every_spelling():
    cases = (
        ("absent", w.ABSENT, None),
        ("seconds index", w.sec_index(5), 5),
        ("seconds index in three bytes", w.sec_index(70000, 3), 70000),
        ("zero", w.sec_index(0, 1), 0),
        ("bare seconds", w.unsigned(6, 4), 6),
        ("timestamp", w.list_of((w.unsigned(2, 1), w.unsigned(7, 4))), 7),
        ("a wide tag", w.list_of((w.unsigned(1, 4), w.unsigned(8, 4))), 8),
        (
            "local timestamp",
            w.list_of(
                (
                    w.unsigned(3, 1),
                    w.list_of((w.unsigned(9, 4), w.signed(60, 2), w.signed(60, 2))),
                )
            ),
            9,
        ),
        (
            "three without a tag",
            w.list_of((w.unsigned(10, 4), w.signed(60, 2), w.signed(0, 2))),
            10,
        ),
    )
    for name, encoded, wanted in cases:
        entry = value_of(w.signed(1, 1), val_time=encoded)
        assert entry.sec_index == wanted, name
        assert entry.value == 1, name


def test_lists_longer_than_fifteen():
    for count in (15, 16, 17, 20, 31, 32):
        entries = [w.entry(POWER, w.signed(number, 2)) for number in range(count)]
        found = parse(get_list(entries))[0].entries
        assert [entry.value for entry in found] == list(range(count)), count


def test_more_entries_than_allowed():
    entries = [w.entry(POWER, w.signed(0, 1))] * 129
    assert reason(get_list(entries)) == "limit"


def test_a_register_with_more_fields_than_we_know_keeps_its_value():
    fields = (w.octets(POWER), w.ABSENT, w.ABSENT, w.ABSENT, w.ABSENT, w.signed(5, 1))
    assert parse(get_list([w.list_of(fields)]))[0].entries[0].value == 5
    extra = (w.ABSENT, w.octets(b"later"), w.list_of((w.ABSENT,)))
    assert parse(get_list([w.list_of(fields + extra)]))[0].entries[0].value == 5


def test_a_checksum_shortened_to_one_byte():
    content = w.get_list_response(SERVER_ID, [w.entry(POWER, w.signed(1, 1))])
    for number in range(1000):
        payload = w.message(bytes((number >> 8, number & 255)), 0x0701, content, shorten_crc=True)
        if payload[-3] == 0x62:
            assert len(parse(payload)) == 1
            return
    raise AssertionError("no checksum with a leading zero found")


def test_unknown_messages_are_passed_over_by_structure():
    for tag in (0x0301, 0x0501, 0x0999, 0xFF01):
        other = w.message(b"\x01", tag, w.list_of((w.octets(b"x"), w.list_of((w.ABSENT,)))))
        assert len(parse(other + get_list([]))) == 1, tag
        assert parse(other) == [], tag


def test_zeros_between_and_behind_messages():
    payload = get_list([]) + b"\x00\x00\x00" + get_list([]) + b"\x00\x00"
    assert len(parse(payload)) == 2


def test_no_message_at_all():
    assert parse(b"") == []
    assert parse(b"\x00\x00\x00\x00") == []


def test_nesting_is_bounded():
    assert reason(get_list([w.entry(POWER, b"\x71" * 4 + w.ABSENT)])) is None
    assert reason(get_list([w.entry(POWER, b"\x71" * 200 + w.ABSENT)])) == "depth"


def test_a_count_that_cannot_be_true():
    assert reason(get_list([w.entry(POWER, b"\xff\x8f\x8f\x0f")])) == "truncated"
    assert reason(get_list([w.entry(POWER, b"\xff\x8f\x8f\x8f\x8f\x0f")])) == "type_length"
    assert reason(get_list([w.entry(POWER, b"\x8f\x8f\x8f\x0f")])) == "truncated"


def test_broken_structures_are_refused_by_reason():
    good = get_list([w.entry(POWER, w.signed(1, 1))])
    cases = (
        ("structure", b"\x65" + good[1:]),
        ("structure", b"\x05abcd"),
        ("type_length", get_list([w.entry(POWER, b"\x12\x00")])),
        ("type_length", get_list([w.entry(POWER, b"\x40")])),
        ("type_length", get_list([w.entry(POWER, b"\x50")])),
        ("type_length", get_list([w.entry(POWER, b"\xc1\x50")])),
        ("limit", get_list([w.entry(POWER, w.octets(b"x" * 300))])),
        ("structure", get_list([w.entry(POWER, w.signed(1, 1))])[:-1] + b"\x01"),
    )
    for wanted, payload in cases:
        assert reason(payload) == wanted, (wanted, payload)


def test_every_truncation_is_refused_or_holds_nothing_new():
    good = get_list([w.entry(POWER, w.signed(1, 1)), w.entry(ENERGY, w.unsigned(9, 8))])
    for size in range(1, len(good)):
        assert reason(good[:size]) in ("truncated", "structure"), size


def test_any_single_changed_byte_never_raises_anything_else():
    good = get_list([w.entry(POWER, w.signed(1, 1)), w.entry(ENERGY, w.unsigned(9, 8))])
    for at in range(len(good)):
        for byte in (0x00, 0x01, 0x0F, 0x1B, 0x42, 0x55, 0x62, 0x71, 0x7F, 0x80, 0x8F, 0xF0, 0xFF):
            parse_or_refuse(good[:at] + bytes((byte,)) + good[at + 1 :])


def parse_or_refuse(payload):
    reason(payload)  # anything but SmlError fails the test


def test_server_ids_as_printed():
    cases = (
        ("0a01454d480000bc614e", "1 EMH00 12345678"),
        ("09014553591103b599a5", "1 ESY11 62232997"),
        ("0901454d480000abd62a", "1 EMH00 11261482"),
        ("06454d4801027156cd45", "06-45-4d-48-01-02-71-56-cd-45"),
        ("3032323830383136", "02280816"),
        ("0a01454d4800ffffffff", "0a-01-45-4d-48-00-ff-ff-ff-ff"),
        ("0a01000d0a0000000001", "0a-01-00-0d-0a-00-00-00-00-01"),
        ("00", "00"),
        ("01a815986480020102", "EMH 02806498"),
        ("01ffff986480020102", "01-ff-ff-98-64-80-02-01-02"),
        ("01a8159a6480020102", "01-a8-15-9a-64-80-02-01-02"),
    )
    for server_id, wanted in cases:
        assert server_id_text(bytes.fromhex(server_id)) == wanted, server_id


def test_obis_as_printed():
    assert obis_text(POWER) == "1-0:16.7.0"
    assert obis_text(bytes.fromhex("010060320101")) == "1-0:96.50.1*1"
    assert obis_text(bytes.fromhex("8181c78203ff")) == "129-129:199.130.3"
    assert obis_text(b"\x01\x02") == "01-02"
