"""From registers to a reading: signs settled, quirks cured, nothing invented."""

from wattlog.reading import Interpreter
from wattlog.sml import Entry, GetList

EMH = bytes.fromhex("0a01454d480000bc614e")
DZG = bytes.fromhex("0a01445a47000282225e")
EDL = bytes.fromhex("06454d4801027156cd45")

IMPORT = bytes.fromhex("0100010800ff")
EXPORT = bytes.fromhex("0100020800ff")
POWER = bytes.fromhex("0100100700ff")
POWER_L1 = bytes.fromhex("0100240700ff")
POWER_ABSOLUTE = bytes.fromhex("01000f0700ff")
POWER_IMPORT = bytes.fromhex("0100010700ff")
MAKER = bytes.fromhex("010060320101")

FNN_IMPORTING = 0x1C0104
FNN_EXPORTING = 0x1C0904
EDL_IMPORTING = 0x182
EDL_EXPORTING = 0x1A2

ID_IMPORT = 1
ID_POWER = 10
ID_POWER_L1 = 11
ID_POWER_ABSOLUTE = 14


def energy(value, status=None, obis=IMPORT):
    return Entry(obis, status, None, 30, -1, value, 4)


def power(value, width=4, obis=POWER, scaler=0):
    return Entry(obis, None, None, 27, scaler, value, width)


def fnn(*entries):
    return (Entry(MAKER, None, None, 0, 0, b"EMH", 0),) + entries


def read(server_id, *entries, interpreter=None):
    reading = (interpreter or Interpreter()).read(GetList(server_id, 7, list(entries)))
    return {number: (value, scale) for number, value, scale in reading.values}


def test_a_plain_reading():
    interpreter = Interpreter()
    reading = interpreter.read(GetList(EMH, 7, list(fnn(energy(1989275), power(28)))))
    assert reading.server_id == EMH
    assert reading.sec_index == 7
    assert reading.values == [(ID_IMPORT, 1989275, -1), (ID_POWER, 28, 0)]
    assert reading.full_dataset
    assert interpreter.drops == {}


def test_channels_rise_whatever_the_wire_order():
    assert sorted(read(EMH, power(1), energy(2))) == [ID_IMPORT, ID_POWER]
    reading = Interpreter().read(GetList(EMH, None, [power(1), energy(2)]))
    assert [row[0] for row in reading.values] == [ID_IMPORT, ID_POWER]


def test_what_the_meter_does_not_send_is_not_there():
    reading = Interpreter().read(GetList(EMH, None, [energy(2043)]))
    assert reading.values == [(ID_IMPORT, 2043, -1)]
    assert reading.sec_index is None
    assert not reading.full_dataset


def test_a_register_without_a_value_is_not_there():
    assert read(EMH, Entry(POWER, None, None, 27, 0, None, 0)) == {}


def test_an_absent_scaler_means_one():
    assert read(EMH, Entry(POWER, None, None, 27, None, 5, 1)) == {ID_POWER: (5, 0)}


def test_a_list_without_a_server_id_is_counted_and_dropped():
    interpreter = Interpreter()
    for server_id in (None, b"", b"x" * 33):
        assert interpreter.read(GetList(server_id, 1, [power(1)])) is None
    assert interpreter.drops == {"server_id": 3}


def test_a_seconds_counter_that_is_none_is_counted_and_the_reading_kept():
    interpreter = Interpreter()
    for seconds in (-1, 1 << 32, 1 << 63):
        reading = interpreter.read(GetList(EMH, seconds, [power(1)]))
        assert reading.sec_index is None
        assert reading.values == [(ID_POWER, 1, 0)]
    assert interpreter.drops == {"sec_index": 3}
    assert interpreter.read(GetList(EMH, (1 << 32) - 1, [power(1)])).sec_index == (1 << 32) - 1


def test_registers_that_cannot_be_their_channel_are_counted_and_dropped():
    cases = (
        ("unit", Entry(POWER, None, None, 30, 0, 5, 1)),
        ("unit", Entry(POWER, None, None, None, 0, 5, 1)),
        ("type", Entry(POWER, None, None, 27, 0, b"28", 0)),
        ("type", Entry(POWER, None, None, 27, 0, True, 0)),
        ("scale", Entry(POWER, None, None, 27, 13, 5, 1)),
        ("range", Entry(POWER, None, None, 27, 0, 1000001, 4)),
        ("range", Entry(IMPORT, None, None, 30, -1, -5, 4)),
    )
    for reason, entry in cases:
        interpreter = Interpreter()
        assert read(EMH, entry, energy(9, obis=EXPORT), interpreter=interpreter) == {4: (9, -1)}
        assert interpreter.drops == {reason: 1}, reason


def test_dzg_sends_positive_power_as_a_negative_number():
    # A DVS7412's frame: 53 8b28 while importing is 356.24 W.
    rows = fnn(energy(1, FNN_IMPORTING), power(-29912, 2, scaler=-2))
    assert read(DZG, *rows)[ID_POWER] == (35624, -2)


def test_dzg_means_its_minus_while_exporting():
    rows = fnn(energy(1, FNN_EXPORTING), power(-10438, 2, scaler=-2))
    assert read(DZG, *rows)[ID_POWER] == (-10438, -2)


def test_dzg_around_zero_is_left_alone():
    rows = fnn(energy(1, FNN_IMPORTING), power(-100, 2, scaler=-2))
    assert read(DZG, *rows)[ID_POWER] == (-100, -2)


def test_dzg_phases_have_bits_of_their_own():
    status = FNN_EXPORTING | 1 << 12  # the sum and L1 flow out, L2 and L3 in
    rows = fnn(
        energy(1, status),
        power(-15000, 2, POWER_L1, -2),
        power(-15000, 2, bytes.fromhex("0100380700ff"), -2),
    )
    values = read(DZG, *rows)
    assert values[ID_POWER_L1] == (-15000, -2)
    assert values[12] == (50536, -2)


def test_four_bytes_are_never_reinterpreted():
    rows = fnn(energy(1, FNN_IMPORTING), power(-29912, 4, scaler=-2))
    assert read(DZG, *rows)[ID_POWER] == (-29912, -2)


def test_other_makers_mean_their_minus():
    rows = fnn(energy(1, FNN_IMPORTING), power(-29912, 2, scaler=-2))
    assert read(EMH, *rows)[ID_POWER] == (-29912, -2)


def test_an_absolute_power_gets_its_sign_from_the_status():
    cases = ((EDL_IMPORTING, 1265), (EDL_EXPORTING, -1265))
    for status, wanted in cases:
        values = read(EDL, energy(1, status), power(1265, 2, POWER_ABSOLUTE, -1))
        assert values[ID_POWER] == (wanted, -1)
        assert values[ID_POWER_ABSOLUTE] == (1265, -1)


def test_an_absolute_power_without_a_status_is_no_power():
    assert ID_POWER not in read(EDL, energy(1), power(1265, 2, POWER_ABSOLUTE, -1))


def test_an_import_power_stands_in_where_no_other_is_sent():
    assert read(EDL, power(144, 2, POWER_IMPORT, -1))[ID_POWER] == (144, -1)
    values = read(EDL, power(144, 2, POWER_IMPORT, -1), power(-5))
    assert values[ID_POWER] == (-5, 0)


def test_a_magnitude_gets_its_sign_until_the_meter_shows_a_minus_of_its_own():
    interpreter = Interpreter()
    exporting = fnn(energy(1, FNN_EXPORTING), power(700))
    assert read(EMH, *exporting, interpreter=interpreter)[ID_POWER] == (-700, 0)
    signed = fnn(energy(1, FNN_EXPORTING), power(-650))
    assert read(EMH, *signed, interpreter=interpreter)[ID_POWER] == (-650, 0)
    # Now a plus while the status still says export is a status that lags.
    assert read(EMH, *exporting, interpreter=interpreter)[ID_POWER] == (700, 0)


def test_another_meter_on_the_line_starts_afresh():
    interpreter = Interpreter()
    read(EMH, *fnn(energy(1, FNN_EXPORTING), power(-650)), interpreter=interpreter)
    rows = fnn(energy(1, FNN_EXPORTING), power(700))
    assert read(DZG, *rows, interpreter=interpreter)[ID_POWER] == (-700, 0)


def test_a_status_of_octets_says_nothing():
    entry = Entry(IMPORT, b"\x01\xa2", None, 30, -1, 5, 4)
    assert ID_POWER not in read(EDL, entry, power(1265, 2, POWER_ABSOLUTE, -1))
