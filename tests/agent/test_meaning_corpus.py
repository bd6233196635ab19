"""What real meters mean: sign, full set, and that the gate lets all of each capture pass."""

import json

import pytest

from wattlog.channels import by_id
from wattlog.decoder import SmlDecoder
from wattlog.gate import Gate
from wattlog.reading import Interpreter
from wattlog.sml import server_id_text

# capture: (id as printed, power_w and its scale in the first frame)
MEANT = {
    "DZG_DVS-7412.2_jmberg.bin": ("1 DZG00 42082910", (35624, -2)),
    "DZG_DVS-7420.2V.G2_mtr1.bin": ("1 DZG00 60694613", (622, -2)),
    "DZG_DVS-7420.2V.G2_mtr2_neg.bin": ("1 DZG00 60694611", (-10550, -2)),
    "DrNeuhaus_SMARTY_ix-130.bin": ("1 DNT01 00008240", (0, 0)),
    "EMH-ED300L_delivery.bin": ("06-45-4d-48-01-02-71-56-cd-45", (-1266, -1)),
    "EMH_eHZ-GW8E2A500AK2.bin": ("02280816", (138, -1)),
    "EMH_eHZ-HW8E2A5L0EK2P.bin": ("06-45-4d-48-01-02-71-53-c8-c6", (1635, -1)),
    "EMH_eHZ-IW8E2A5L0EK2P_with_error.bin": ("06-45-4d-48-01-07-19-7c-24-56", (1367, -1)),
    "EMH_eHZ361L5R.bin": ("1001185", (-56321916, -4)),
    "EMH_mME40-AE6AKF0K0.bin": ("1 EMH00 10599732", (2623, 0)),
    "EasyMeter_Q3A_A1064V1009.bin": ("1 ESY11 62232997", (81026, -2)),
    "HOLLEY_DTZ541-BDBA_with_PIN.bin": ("1 HLY02 00879590", (376, 0)),
    "HOLLEY_DTZ541-ZDBA.bin": ("1 HLY02 00239888", (460, 0)),
    "ISKRA_MT175_eHZ.bin": ("1 ISK00 67362659", (168, 0)),
    "ISKRA_MT631-D1A52-K0z-H01_without_PIN.bin": ("1 ISK00 75126084", None),
    "ISKRA_MT631-D2A51-V22-K0z_with_PIN.bin": ("1 ISK00 72657247", (0, 0)),
    "ISKRA_MT691_eHZ-MS2020.bin": ("1 ISK00 70409925", (26, 0)),
    "ITRON_OpenWay-3.HZ_with_PIN.bin": ("1 ITR00 55046208", (542, 0)),
    "dzg_dwsb20_2th_2byte.bin": ("1 DZG00 40051478", (-31064, -2)),
    "eBZ_DD3_DD32R06DTA-SMZ1.bin": ("1 EBZ01 00191547", None),
}
NO_FRAME = "DZG_DVS-7420.2V.G2_mtr1_error.bin"
# Only their tariffs are sent, and no total is made up.
NO_TOTAL = {"EMH_eHZ-GW8E2A500AK2.bin", "EMH_eHZ361L5R.bin"}
NO_IMPORT = {"DrNeuhaus_SMARTY_ix-130.bin", "HOLLEY_DTZ541-ZDBA.bin", *NO_TOTAL}


def readings(data):
    interpreter = Interpreter()
    found = [interpreter.read(meter_list) for meter_list in SmlDecoder(8192).push(data)]
    assert interpreter.drops == {}
    return found


def values(reading):
    return {by_id(number).key: (value, scale) for number, value, scale in reading.values}


def test_every_capture_has_a_row(corpus):
    assert {*MEANT, NO_FRAME} == set(json.loads((corpus / "golden.json").read_text()))


@pytest.mark.parametrize("name", MEANT)
def test_id_power_and_set(corpus, name):
    text, power = MEANT[name]
    first = readings((corpus / name).read_bytes())[0]
    assert server_id_text(first.server_id) == text
    assert values(first).get("power_w") == power
    assert first.full_dataset is (power is not None)
    assert ("import_wh" in values(first)) is (name not in NO_IMPORT)
    assert ("export_wh" in values(first) or "import_wh" in values(first)) is (name not in NO_TOTAL)


@pytest.mark.parametrize("name", MEANT)
def test_the_gate_holds_nothing_of_a_capture(corpus, name):
    gate = Gate()
    found = readings((corpus / name).read_bytes())
    out = []
    for count, reading in enumerate(found):
        second = count * 2 if reading.sec_index is None else reading.sec_index
        out += [passed for passed, _ in gate.check(reading, second * 1000)]
    out += [passed for passed, _ in gate.flush()]
    assert out == found
    assert gate.counts == {}
    assert gate.events() == []
