"""Every simulated meter read by another project's decoder, value for value."""

import pytest
from smllib import SmlStreamReader

from wattlog_sim.house import COMMISSIONED_EPOCH_S, House
from wattlog_sim.meters import MODELS, Meter, model_named

DAY_S = 86_400
# 2026-06-18: much sun, so that powers of both signs come.
MORNING_S = 1_781_740_800
MOMENTS = range(MORNING_S, MORNING_S + DAY_S, 1_709)


def decode(frame, model):
    """Return {obis: entry} and the three message bodies."""
    crc = "kermit" if model.name == "holley" else "x25"
    reader = SmlStreamReader(crc=crc)
    reader.add(frame)
    messages = reader.get_frame().parse_frame()
    opened, listed, closed = (message.message_body for message in messages)
    return {str(entry.obis): entry for entry in listed.val_list}, opened, listed, closed


def read(name, moments):
    """Yield each moment, the house, and what the decoder makes of the meter's frame."""
    model = model_named(name)
    house = House(1, model.solar_peak_w)
    meter = Meter(model, house)
    for epoch_s in moments:
        frame = meter.frame(epoch_s, epoch_s - COMMISSIONED_EPOCH_S)
        yield epoch_s, house, *decode(frame, model)


def test_mt681_tells_all():
    for epoch_s, house, entries, _, listed, _ in read("mt681", MOMENTS):
        import_ws, export_ws = house.energy_ws(epoch_s)
        phases_w = house.phases_w(epoch_s)
        wanted = {
            "0100010800ff": (import_ws // 360, -1, 30),
            "0100020800ff": (export_ws // 360, -1, 30),
            "0100100700ff": (sum(phases_w), 0, 27),
            "0100240700ff": (phases_w[0], 0, 27),
            "0100380700ff": (phases_w[1], 0, 27),
            "01004c0700ff": (phases_w[2], 0, 27),
        }
        for obis, (value, scaler, unit) in wanted.items():
            assert (entries[obis].value, entries[obis].scaler, entries[obis].unit) == (
                value,
                scaler,
                unit,
            ), obis
        assert entries["8181c78203ff"].value == "ISK"
        assert entries["0100000009ff"].value == listed.server_id == "090149534b000395693b"
        assert len(entries["8181c78205ff"].value) == 2 * 48
        assert list(entries)[-1] == "8181c78205ff"
        assert entries["0100010800ff"].status == (0x1A2 if sum(phases_w) < 0 else 0x182)
        assert listed.act_sensor_time == epoch_s - COMMISSIONED_EPOCH_S


def test_without_the_pin_there_are_whole_kwh_and_no_power():
    for epoch_s, house, entries, _, _, _ in read("reduced", MOMENTS[::8]):
        assert list(entries) == ["010060320101", "0100600100ff", "0100010800ff", "0100020800ff"]
        energy = entries["0100010800ff"]
        assert (energy.value, energy.scaler) == (house.energy_ws(epoch_s)[0] // 3_600_000, 3)
        assert energy.status == 0x100104


def test_dzg_is_as_odd_as_the_real_one():
    for epoch_s, house, entries, opened, _, _ in read("dzg", MOMENTS):
        import_ws, export_ws = house.energy_ws(epoch_s)
        power_w_e2 = 100 * house.power_w(epoch_s)
        sent = power_w_e2 - 65_536 if 32_768 <= power_w_e2 <= 65_535 else power_w_e2
        assert (entries["0100100700ff"].value, entries["0100100700ff"].scaler) == (sent, -2)
        assert entries["0100010800ff"].value == import_ws // 360
        assert entries["0100020800ff"].value == export_ws // 360
        status = 0x1C0104 | (0x800 if power_w_e2 < 0 else 0)
        for phase, value_w in enumerate(house.phases_w(epoch_s)):
            status |= 0x1000 << phase if value_w < 0 else 0
        assert entries["0100010800ff"].status == status
        maker = entries["010060320101"]
        assert (maker.value, maker.unit, maker.scaler, maker.val_time) == ("DZG", 0, 0, 0)
        assert opened.sml_version == 2


def test_edl_tells_the_direction_only_in_its_status():
    for epoch_s, house, entries, _, _, _ in read("edl", MOMENTS):
        power_w = house.power_w(epoch_s)
        assert entries["01000f0700ff"].value == abs(power_w) * 10
        assert entries["01000f0700ff"].scaler == -1
        assert entries["0100010800ff"].status == (0x1B0 if power_w < 0 else 0x190)
        assert "0100020800ff" not in entries


def test_holley_has_another_checksum_and_a_history():
    for epoch_s, house, entries, _, _, _ in read("holley", MOMENTS[::8]):
        midnight_s = epoch_s - epoch_s % DAY_S
        for direction, register in enumerate(("010001080060", "010002080060")):
            today_ws = house.energy_ws(midnight_s)[direction]
            for last, days in ((0x60, 1), (0x61, 7), (0x62, 30), (0x63, 365)):
                history = entries[f"{register[:10]}{last:02x}"]
                since_ws = house.energy_ws(midnight_s - days * DAY_S)[direction]
                assert (history.value, history.scaler) == ((today_ws - since_ws) // 360_000, 2)
            now = entries[register[:10] + "ff"]
            assert (now.value, now.scaler) == (house.energy_ws(epoch_s)[direction] // 360, -1)
            assert now.val_time == epoch_s - COMMISSIONED_EPOCH_S
        assert len(entries) == 18


def test_the_moments_show_both_directions_and_dzgs_wrong_sign():
    house = House(1, model_named("dzg").solar_peak_w)
    powers_w = [house.power_w(epoch_s) for epoch_s in MOMENTS]
    assert min(powers_w) < 0
    assert max(powers_w) > 656
    assert any(328 <= power_w <= 655 for power_w in powers_w)


def test_dzg_sometimes_pads_by_four_and_never_by_none():
    pads = {frame[-3] for frame in frames("dzg", MOMENTS)}
    assert 4 in pads
    assert 0 not in pads


def test_iskra_sometimes_shortens_a_message_checksum():
    # The frame keeps its length, and has one more byte of padding instead.
    seen = list(frames("reduced", range(MORNING_S, MORNING_S + 900)))
    assert len({len(frame) for frame in seen}) == 1
    shortened = [frame for frame in seen if frame[-3] == 2]
    assert {frame[-3] for frame in seen} == {1, 2}
    assert 0 < len(shortened) < 90


def frames(name, moments):
    model = model_named(name)
    meter = Meter(model, House(1, model.solar_peak_w))
    for epoch_s in moments:
        yield meter.frame(epoch_s, epoch_s - COMMISSIONED_EPOCH_S)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_registers_never_count_back_and_frames_fit_the_second(model):
    meter = Meter(model, House(7, model.solar_peak_w))
    before = {}
    for epoch_s in range(MORNING_S + 5 * 3_600, MORNING_S + 5 * 3_600 + 300):
        frame = meter.frame(epoch_s, epoch_s - COMMISSIONED_EPOCH_S)
        assert len(frame) < 900
        entries, *_ = decode(frame, model)
        for obis, entry in entries.items():
            if entry.unit == 30:
                assert entry.value >= before.get(obis, 0), obis
                before[obis] = entry.value


def test_serial_numbers_tell_meters_apart():
    model = model_named("mt681")
    house = House(1, 0)
    first, second = (Meter(model, house, serial) for serial in (1, 2))
    assert first.server_id != second.server_id
    assert first.frame(MORNING_S, 1) != second.frame(MORNING_S, 1)


def test_rows_are_complete_and_names_differ():
    assert len({model.name for model in MODELS}) == len(MODELS)
    for model in MODELS:
        assert all(field is not None for field in model), model.name
        assert model.title
