"""The simulated house and meters, on the interpreter of the device too."""

from wattlog_sim.house import House
from wattlog_sim.meters import MODELS, Meter, model_named
from wattlog_sim.registers import signed_as_dzg
from wattlog_sim.sml_writer import ESCAPE, START

# Registers that start to count a day before the tests look: the device is slow with long years.
FIRST_S = 1_781_740_800
NOON_S = FIRST_S + 86_400 + 11 * 3_600


def test_energy_is_the_sum_of_power_by_sign():
    house = House(3, 6_000, FIRST_S)
    for begin_s, seconds in ((NOON_S, 100), (NOON_S + 7 * 3_600 - 30, 100), (FIRST_S, 61)):
        import_ws, export_ws = house.energy_ws(begin_s)
        for second in range(begin_s, begin_s + seconds):
            power_w = house.power_w(second)
            import_ws += max(power_w, 0)
            export_ws += max(-power_w, 0)
            assert house.energy_ws(second + 1) == (import_ws, export_ws), second


def test_before_commissioning_nothing_is_counted():
    house = House(3, 6_000, FIRST_S)
    assert house.energy_ws(FIRST_S) == house.energy_ws(FIRST_S - 1) == (0, 0)
    assert house.energy_ws(FIRST_S + 1) != (0, 0)


def test_every_model_writes_a_whole_frame():
    for model in MODELS:
        house = House(1, model.solar_peak_w, FIRST_S)
        frame = Meter(model, house, 12_345_678).frame(NOON_S, 126_000)
        assert frame[:8] == START, model.name
        assert len(frame) % 4 == 0, model.name
        assert frame[-8:-3] == ESCAPE + b"\x1a", model.name
        assert model.dialect.checksum(frame[:-2]) == frame[-2:], model.name
        # At 960 bytes a second, once a second.
        assert len(frame) < 900, model.name
        assert frame.count((12_345_678).to_bytes(4, "big")) == 3, model.name


def test_the_id_is_shown_as_printed():
    house = House(1, 0, FIRST_S)
    assert Meter(model_named("mt681"), house, 1234).label == "1 ISK00 00001234"
    assert Meter(model_named("holley"), house, 99_999_999).label == "1 HLY02 99999999"
    assert Meter(model_named("edl"), house, 0x7156CD45 & 0xFFFFFF).label == "06454d4801020056cd45"
    assert model_named("nonsense") is None


def test_dzg_marks_powers_between_327_and_655_w_wrongly():
    assert signed_as_dzg(32_767) == b"\x53\x7f\xff"
    assert signed_as_dzg(32_768) == b"\x53\x80\x00"
    assert signed_as_dzg(65_535) == b"\x53\xff\xff"
    assert signed_as_dzg(65_536) == b"\x54\x01\x00\x00"
    assert signed_as_dzg(-10_550) == b"\x53\xd6\xca"
