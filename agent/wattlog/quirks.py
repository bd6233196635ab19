"""Meters that deviate: each row a name, a maker, a fix and the evidence for it.

A fix changes one register's value where the meter's own status word proves that what was
sent is not what was meant. Nothing else in the core knows a maker.
"""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.sml import Entry

Quirk = namedtuple("Quirk", ("name", "maker", "applies", "fix"))
# name      what it cures
# maker     three letters as in the server id, b"" for all
# applies   applies(entry, value, direction) -> bool
# fix       fix(entry, value) -> the value that was meant

POWER = b"\x01\x00\x10\x07\x00\xff"
POWER_ABSOLUTE = b"\x01\x00\x0f\x07\x00\xff"
POWER_L1 = b"\x01\x00\x24\x07\x00\xff"
POWER_L2 = b"\x01\x00\x38\x07\x00\xff"
POWER_L3 = b"\x01\x00\x4c\x07\x00\xff"
POWER_IMPORT = b"\x01\x00\x01\x07\x00\xff"
STATUS = b"\x01\x00\x60\x05\x00\xff"  # Holley: the status word as a register

UNIT_W = 27
POWER_W_MAX = 75_000  # three times 100 A at 250 V: no house draws more

# Bits of the status word of the energy registers that say "energy flows out".
EDL_EXPORT = 1 << 5
FNN_EXPORT = 1 << 11
FNN_EXPORT_PHASE = {POWER_L1: 1 << 12, POWER_L2: 1 << 13, POWER_L3: 1 << 14}
FNN_VOLTAGES = 7 << 18  # a bit per phase that has voltage


class Direction:
    """What the status word says about the flow of energy.

    status       the word, or None where the meter sent none
    is_fnn       does the meter follow FNN's list of 2012 (else the older EDL one)?
    has_negative has this meter sent a negative power while exporting?
    """

    def __init__(self, status: int | None, is_fnn: bool, has_negative: bool) -> None:
        self.status = status
        self.is_fnn = is_fnn
        self.has_negative = has_negative

    def is_export(self, obis: bytes) -> bool | None:
        """Tell whether this power flows out; None where the meter does not say."""
        status = self.status
        if status is None:
            return None
        if not self.is_fnn:
            return bool(status & EDL_EXPORT)
        voltages = status & FNN_VOLTAGES
        if obis in FNN_EXPORT_PHASE and voltages & voltages - 1:
            return bool(status & FNN_EXPORT_PHASE[obis])
        return bool(status & FNN_EXPORT)


def _is_unsigned_sent_as_signed(entry: "Entry", value: int, direction: Direction) -> bool:
    # Around zero the status may lag a sample: a true -1 W must not turn into 654 W.
    one_w: int = 10 ** -min(0, entry.scaler or 0)
    return (
        value < -2 * one_w
        and entry.unit == UNIT_W
        and entry.width <= 3
        # Three bytes of 0.01 W would mean 84 kW and more: such a minus is one, the status lags.
        and _unsigned(entry, value) <= POWER_W_MAX * one_w
        and direction.is_export(entry.obis) is False
    )


def _unsigned(entry: "Entry", value: int) -> int:
    fixed: int = value + (1 << 8 * entry.width)
    return fixed


def _is_magnitude_while_exporting(entry: "Entry", value: int, direction: Direction) -> bool:
    if entry.obis not in (POWER, POWER_ABSOLUTE, POWER_IMPORT) or value <= 0:
        return False
    # A meter that sends its own minus at times means what it says: its status may lag.
    if entry.obis == POWER and direction.has_negative:
        return False
    return direction.is_export(entry.obis) is True


def _negated(entry: "Entry", value: int) -> int:
    return -value


# The evidence stands as a comment above each row: on a device it would cost memory.
QUIRKS = (
    # DVS7412: 53 8b28 with status 1c0104 is +356.24 W, said its owner; WS7412 36.7.0 53 c60c
    # is +507.00 W; DVS7420 and DWSB20 set the export bit and mean their minus.
    Quirk("dzg-unsigned-as-signed", b"DZG", _is_unsigned_sent_as_signed, _unsigned),
    # EMH ED300L and HW8 send 15.7.0 always positive, with bit 5; some Holley DTZ541 firmware
    # sends 16.7.0 without a sign, with bit 11; where 1.7.0 is all there is, it counts both ways.
    # ISKRA MT175 sends its own minus: left alone.
    Quirk("magnitude-with-direction", b"", _is_magnitude_while_exporting, _negated),
)


def is_status(obis: bytes) -> bool:
    """Tell whether the status word of this register speaks of the direction.

    DZG has one on 1.8.0 only, DrNeuhaus on 2.8.0; EMH GW8 and Holley ZDBA, which send no
    total, on 1.8.1. Within a frame they are all the same.
    """
    return len(obis) == 6 and obis[3] == 8 and obis[2] in (1, 2)


def without_channel(obis: bytes) -> bytes:
    """Return an energy register's OBIS without its channel: 1-1:1.8.0 and 1-2:2.8.0 are plain.

    EasyMeter Q3C numbers the directions in group B as well.
    """
    if is_status(obis) and obis[1] == obis[2]:
        return b"\x01\x00" + obis[2:]
    return obis


def meant(entry: "Entry", value: int, maker: bytes, direction: Direction) -> int:
    """Return the value that a register was meant to have: the first quirk that applies, cured.

    The value is handed in beside its register, whose own may be that of an earlier frame.
    """
    for quirk in QUIRKS:
        if quirk.maker in (b"", maker) and quirk.applies(entry, value, direction):
            fixed: int = quirk.fix(entry, value)
            return fixed
    return value
