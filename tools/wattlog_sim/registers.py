"""What a simulated meter's register shows, how it is coded, and what the status word says.

A register takes its number from a *source* (a function of the moment), and a *coding* puts that
number on the wire. Runs on MicroPython and CPython.
"""

from wattlog_sim.house import SECONDS_PER_DAY, House
from wattlog_sim.sml_writer import signed, signed_raw, unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Source = Callable[["Moment"], int]
    Coding = Callable[[int], bytes]

_WS_PER_WH = 3_600

_STATUS_EDL = 0x0182
_STATUS_EDL_EXPORT = 0x0020
_STATUS_ED300L = 0x0190

_STATUS_FNN_ONE_PHASE = 0x10_0004
_STATUS_FNN_THREE_PHASE = 0x1C_0004
_STATUS_FNN_RUNNING = 0x00_0100
_STATUS_FNN_EXPORT = 0x00_0800
_STATUS_FNN_EXPORT_L1 = 0x00_1000

_DZG_FAULTY_W_E2_MIN = 0x8000
_DZG_FAULTY_W_E2_MAX = 0xFFFF


class Moment:
    """What the meter sees at one second; each register takes its value from here."""

    def __init__(self, house: House, epoch_s: int) -> None:
        """Look at the house's connection at `epoch_s`."""
        self.house = house
        self.epoch_s = epoch_s
        self.phases_w = house.phases_w(epoch_s)
        self.power_w = sum(self.phases_w)
        self.import_ws, self.export_ws = house.energy_ws(epoch_s)


# ---- what a register shows -------------------------------------------------------------------


def import_wh(scaler: int) -> "Source":
    """Return the source of the import register, in steps of 10**scaler Wh."""
    return lambda moment: _wh(moment.import_ws, scaler)


def export_wh(scaler: int) -> "Source":
    """Return the source of the export register, in steps of 10**scaler Wh."""
    return lambda moment: _wh(moment.export_ws, scaler)


def past_wh(direction: int, days: int, scaler: int) -> "Source":
    """Return the source of the energy of the last `days` whole days; direction 1 is export."""

    def source(moment: Moment) -> int:
        midnight = moment.epoch_s - moment.epoch_s % SECONDS_PER_DAY
        until_ws = moment.house.energy_ws(midnight)[direction]
        since_ws = moment.house.energy_ws(midnight - days * SECONDS_PER_DAY)[direction]
        return _wh(until_ws - since_ws, scaler)

    return source


def power_w(scaler: int) -> "Source":
    """Return the source of the signed sum of the phases, in steps of 10**scaler W."""
    steps_per_w: int = 10**-scaler
    return lambda moment: moment.power_w * steps_per_w


def power_abs_w(scaler: int) -> "Source":
    """Return the source of the power without its sign: only the status word knows the way."""
    steps_per_w: int = 10**-scaler
    return lambda moment: abs(moment.power_w) * steps_per_w


def phase_w(phase: int) -> "Source":
    """Return the source of one phase's signed power in W."""
    return lambda moment: moment.phases_w[phase]


def nothing(moment: Moment) -> int:
    """Show the register of a tariff that is never switched to."""
    return 0


def _wh(energy_ws: int, scaler: int) -> int:
    steps_per_wh: int = 10 ** max(-scaler, 0)
    wh_per_step: int = 10 ** max(scaler, 0)
    return energy_ws * steps_per_wh // (_WS_PER_WH * wh_per_step)


# ---- how a number goes on the wire -----------------------------------------------------------


def signed_4(value: int) -> bytes:
    """Encode as meters with fixed widths send power."""
    return signed(value, 4)


def signed_5(value: int) -> bytes:
    """Encode as EMH meters send energy."""
    return signed(value, 5)


def signed_8(value: int) -> bytes:
    """Encode as Iskra's and others' older meters send energy."""
    return signed(value, 8)


def signed_as_dzg(power_w_e2: int) -> bytes:
    """Encode power as old DZG meters do: 327.68 to 655.35 W look like negative numbers."""
    if _DZG_FAULTY_W_E2_MIN <= power_w_e2 <= _DZG_FAULTY_W_E2_MAX:
        return signed_raw(power_w_e2, 2)
    return signed(power_w_e2)


# ---- the status word -------------------------------------------------------------------------


def status_edl(moment: Moment) -> bytes:
    """Encode the status of older meters: bit 5 says export."""
    return unsigned(_STATUS_EDL | (_STATUS_EDL_EXPORT if moment.power_w < 0 else 0), 4)


def status_ed300l(moment: Moment) -> bytes:
    """Encode the status of an EMH ED300L: two bytes, bit 5 says export."""
    return unsigned(_STATUS_ED300L | (_STATUS_EDL_EXPORT if moment.power_w < 0 else 0), 2)


def status_fnn_4(moment: Moment) -> bytes:
    """Encode the status of modern three-phase meters: bit 11 export, 12 to 14 by phase."""
    return unsigned(_status_fnn(moment), 4)


def status_fnn_short(moment: Moment) -> bytes:
    """Encode the status of modern three-phase meters without its leading zero byte."""
    return unsigned(_status_fnn(moment))


def status_fnn_one_phase(moment: Moment) -> bytes:
    """Encode the status of modern single-phase meters in four bytes."""
    return unsigned(_status_fnn_sum(_STATUS_FNN_ONE_PHASE, moment), 4)


def _status_fnn_sum(status: int, moment: Moment) -> int:
    if moment.power_w != 0:
        status |= _STATUS_FNN_RUNNING
    if moment.power_w < 0:
        status |= _STATUS_FNN_EXPORT
    return status


def _status_fnn(moment: Moment) -> int:
    status = _status_fnn_sum(_STATUS_FNN_THREE_PHASE, moment)
    for phase, value_w in enumerate(moment.phases_w):
        if value_w < 0:
            status |= _STATUS_FNN_EXPORT_L1 << phase
    return status
