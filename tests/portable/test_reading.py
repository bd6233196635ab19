"""From registers to a reading: signs settled, quirks cured, nothing invented."""

from wattlog.reading import Interpreter
from wattlog.sml import Entry, GetList

EMH = bytes.fromhex("0a01454d480000bc614e")
DZG = bytes.fromhex("0a01445a47000282225e")
EDL = bytes.fromhex("06454d4801027156cd45")
HOLLEY = bytes.fromhex("0a01484c59020003a910")

IMPORT = bytes.fromhex("0100010800ff")
EXPORT = bytes.fromhex("0100020800ff")
POWER = bytes.fromhex("0100100700ff")
POWER_L1 = bytes.fromhex("0100240700ff")
POWER_ABSOLUTE = bytes.fromhex("01000f0700ff")
POWER_IMPORT = bytes.fromhex("0100010700ff")
POWER_IMPORT_T1 = bytes.fromhex("0100010701ff")
POWER_EXPORT = bytes.fromhex("0100020700ff")
STATUS = bytes.fromhex("0100600500ff")
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


def test_dzg_captures():
    # (status, register, bytes, sent, meant): what owners saw on the display.
    cases = (
        ("DVS7412 importing", 0x1C0104, POWER, 2, -29912, 35624),
        ("WS7412, one phase, importing", 0x040104, POWER_L1, 2, -14836, 50700),
        ("WS7412, one phase, exporting", 0x040904, POWER_L1, 2, -14836, -14836),
        ("DVS7420 exporting on L2 and L3", 0x1C6904, POWER, 2, -10550, -10550),
        ("DWSB20 exporting, two bytes", 0x1C7904, POWER, 2, -31064, -31064),
        ("DWSB20 exporting, three bytes", 0x1C7904, POWER, 3, -40000, -40000),
        ("DVS7420 importing", 0x1C0004, POWER, 2, 622, 622),
    )
    for name, status, obis, width, sent, meant in cases:
        rows = fnn(energy(1, status), power(sent, width, obis, -2))
        (value,) = [v for number, v in read(DZG, *rows).items() if number != ID_IMPORT]
        assert value == (meant, -2), name


def test_dzg_three_bytes_are_not_made_a_power_that_no_house_draws():
    # -400 W while the status still says import: as unsigned it would be 167 kW.
    rows = fnn(energy(1, FNN_IMPORTING), power(-40000, 3, scaler=-2))
    assert read(DZG, *rows)[ID_POWER] == (-40000, -2)


def test_directions_of_other_captures():
    cases = (
        ("Holley DTZ541, signed", 0x1C1904, POWER, -1602, -1602),
        ("Holley DTZ541, a magnitude", 0x1C1904, POWER, 1602, -1602),
        ("Holley DTZ541, importing", 0x1C0104, POWER, 376, 376),
    )
    for name, status, obis, sent, meant in cases:
        assert read(HOLLEY, *fnn(energy(1, status), power(sent, 2, obis)))[ID_POWER][0] == meant, (
            name
        )
    cases = (
        ("ED300L delivery", 0x1B0, POWER_ABSOLUTE, 1266, -1266),
        ("HW8", 0x182, POWER_ABSOLUTE, 1635, 1635),
        ("MT175 sends its own minus", 0x101A2, POWER, -250, -250),
        ("Hager means its minus though bit 5 is clear", 0x82, POWER_IMPORT_T1, -56321, -56321),
        ("GW8 importing", 0x180, POWER_IMPORT, 138, 138),
        ("GW8 exporting", 0x1A0, POWER_IMPORT, 138, -138),
    )
    for name, status, obis, sent, meant in cases:
        values = read(EDL, energy(1, status), power(sent, 4, obis, -1))
        assert values[ID_POWER] == (meant, -1), name


def test_the_status_may_stand_on_any_energy_register():
    # EMH GW8 and Holley ZDBA send no total, DrNeuhaus no import.
    for obis in ("0100010801ff", "0100020800ff", "0100020801ff"):
        status = energy(1, EDL_EXPORTING, bytes.fromhex(obis))
        assert read(EDL, status, power(5, 2, POWER_ABSOLUTE))[ID_POWER] == (-5, 0), obis
    elsewhere = Entry(POWER_L1, EDL_EXPORTING, None, 27, 0, 5, 2)
    assert ID_POWER not in read(EDL, elsewhere, power(5, 2, POWER_ABSOLUTE))


def test_the_status_may_be_a_register_of_its_own():
    own = Entry(STATUS, None, None, None, None, FNN_EXPORTING, 4)
    assert read(HOLLEY, *fnn(energy(1), power(7), own))[ID_POWER] == (-7, 0)
    # That of 1.8.0 counts where there is one, whatever comes first.
    assert read(HOLLEY, *fnn(own, energy(1, FNN_IMPORTING), power(7)))[ID_POWER] == (7, 0)
    text = Entry(STATUS, None, None, None, None, b"\x00\x1c\x09\x04", 0)
    assert read(HOLLEY, *fnn(energy(1), power(7), text))[ID_POWER] == (7, 0)


def test_which_list_a_meter_follows():
    # Bit 5 is set in no FNN status, bit 11 in no EDL one: so the family decides.
    named_edl = Entry(bytes.fromhex("8181c78203ff"), None, None, None, None, b"EMH", 0)
    cases = (
        ("scheme 0A alone", EMH, (), FNN_EXPORTING, -7),
        ("the register of 2012", EDL, fnn(), FNN_EXPORTING, -7),
        ("scheme 0A with the old register", EMH, (named_edl,), EDL_EXPORTING, -7),
        ("scheme 0A with the old register", EMH, (named_edl,), FNN_EXPORTING, 7),
        ("another scheme", EDL, (), FNN_EXPORTING, 7),
    )
    for name, server_id, named, status, wanted in cases:
        values = read(server_id, *named, energy(1, status), power(7))
        assert values[ID_POWER] == (wanted, 0), name


def test_easymeter_numbers_its_directions_in_group_b():
    import_b1 = bytes.fromhex("0101010800ff")
    export_b2 = bytes.fromhex("0102020800ff")
    values = read(EDL, energy(5, obis=import_b1), energy(6, obis=export_b2))
    assert values == {ID_IMPORT: (5, -1), 4: (6, -1)}
    # The plain register counts where there is one, whatever comes first.
    for rows in ((energy(5, obis=import_b1), energy(9)), (energy(9), energy(5, obis=import_b1))):
        assert read(EDL, *rows) == {ID_IMPORT: (9, -1)}
    for other in ("0102010800ff", "0103010800ff", "010101080060"):
        assert read(EDL, energy(5, obis=bytes.fromhex(other))) == {}, other
    assert read(EDL, power(5, obis=bytes.fromhex("0110100700ff"))) == {}


def test_history_does_not_overwrite_the_counter():
    for last in range(0x60, 0x65):
        past = energy(5, obis=IMPORT[:5] + bytes((last,)))
        assert read(HOLLEY, energy(9), past) == {ID_IMPORT: (9, -1)}


def test_a_total_that_is_not_sent_is_not_made_up():
    # EMH GW8 sends tariffs only: a total would be ours, not the meter's. The host may add.
    tariffs = [energy(7, obis=bytes.fromhex("01000108%02xff" % number)) for number in (1, 2)]
    assert read(EDL, *tariffs) == {2: (7, -1), 3: (7, -1)}


def test_import_and_export_power_in_two_registers_are_one():
    cases = (
        (((500, POWER_IMPORT), (0, POWER_EXPORT)), 500),
        (((0, POWER_IMPORT), (700, POWER_EXPORT)), -700),
        (((700, POWER_EXPORT),), -700),
        (((1, POWER), (700, POWER_EXPORT)), 1),
    )
    for rows, wanted in cases:
        for status in (EDL_IMPORTING, EDL_EXPORTING):
            one_w = [power(value, 4, obis, -1) for value, obis in rows]
            values = read(EDL, energy(1, status), *one_w)
            assert abs(values[ID_POWER][0]) == abs(wanted), rows
            if rows[0][1] != POWER:
                assert values[ID_POWER] == (wanted, -1), rows
    two_steps = (power(500, 4, POWER_IMPORT, -1), power(0, 4, POWER_EXPORT))
    assert ID_POWER not in read(EDL, *two_steps)


def test_without_a_unit_a_number_is_no_quantity():
    for unit in (None, 0, 255):
        interpreter = Interpreter()
        entry = Entry(IMPORT, None, None, unit, -1, 5, 4)
        assert read(EMH, entry, interpreter=interpreter) == {}
        assert interpreter.drops == {"unit": 1}, unit


def test_four_bytes_are_never_reinterpreted():
    rows = fnn(energy(1, FNN_IMPORTING), power(-29912, 4, scaler=-2))
    assert read(DZG, *rows)[ID_POWER] == (-29912, -2)
    # Not even where the result would be a power: 42 kW.
    rows = fnn(energy(1, FNN_IMPORTING), power(-100_000_000, 4, scaler=-5))
    assert read(DZG, *rows)[ID_POWER] == (-100_000_000, -5)


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
