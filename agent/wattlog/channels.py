"""The vocabulary: every quantity that wattlog logs, in one table.

Device, wire, store, page and Home Assistant all read it; an id is never reused. A value
travels as the meter's own integer with its decimal scale (`value * 10**scale` units) and
is stored as an integer with the channel's fixed `decimals`, so that nothing is ever a float.
"""

from collections import namedtuple

Channel = namedtuple(
    "Channel", ("id", "key", "obis", "unit", "unit_dlms", "decimals", "low", "high", "kind")
)
# id         number on the wire and in the store, for ever
# key        name in JSON, unit last
# obis       the six groups A-B:C.D.E*F as bytes (IEC 62056-61)
# unit       unit symbol; unit_dlms is its number in IEC 62056-62
# decimals   decimal places in the store: stored = physical * 10**decimals
# low, high  physical range in whole units; outside is rejected and counted
# kind       "counter" (energy register, never falls) or "gauge" (instantaneous)

COUNTER = "counter"
GAUGE = "gauge"

# 10 uWh is the finest step a meter sends (eBZ, scaler -5). A counter of 10**9 Wh is a
# 100 A three-phase connection at full load for 1650 days.
_WH = ("Wh", 30, 5, 0, 10**12, COUNTER)
_W = ("W", 27, 3, -(10**6), 10**6, GAUGE)
_V = ("V", 35, 3, 0, 1000, GAUGE)
_A = ("A", 33, 3, -1000, 1000, GAUGE)
_HZ = ("Hz", 44, 3, 0, 100, GAUGE)
_DEGREE = ("°", 8, 3, -360, 360, GAUGE)


def _row(number: int, key: str, obis: str, base: tuple) -> Channel:  # type: ignore[type-arg]
    return Channel(number, key, bytes.fromhex(obis), *base)


CHANNELS = (
    _row(1, "import_wh", "0100010800ff", _WH),
    _row(2, "import_t1_wh", "0100010801ff", _WH),
    _row(3, "import_t2_wh", "0100010802ff", _WH),
    _row(4, "export_wh", "0100020800ff", _WH),
    _row(5, "export_t1_wh", "0100020801ff", _WH),
    _row(6, "export_t2_wh", "0100020802ff", _WH),
    _row(10, "power_w", "0100100700ff", _W),
    _row(11, "power_l1_w", "0100240700ff", _W),
    _row(12, "power_l2_w", "0100380700ff", _W),
    _row(13, "power_l3_w", "01004c0700ff", _W),
    _row(14, "power_abs_w", "01000f0700ff", _W),
    _row(15, "power_import_w", "0100010700ff", _W),
    _row(16, "power_export_w", "0100020700ff", _W),
    _row(17, "power_import_t1_w", "0100010701ff", _W),
    _row(18, "power_import_l1_w", "0100150700ff", _W),
    _row(19, "power_import_l2_w", "0100290700ff", _W),
    _row(20, "power_import_l3_w", "01003d0700ff", _W),
    _row(21, "voltage_l1_v", "0100200700ff", _V),
    _row(22, "voltage_l2_v", "0100340700ff", _V),
    _row(23, "voltage_l3_v", "0100480700ff", _V),
    _row(31, "current_l1_a", "01001f0700ff", _A),
    _row(32, "current_l2_a", "0100330700ff", _A),
    _row(33, "current_l3_a", "0100470700ff", _A),
    _row(41, "frequency_hz", "01000e0700ff", _HZ),
    _row(51, "angle_u_l2_l1_deg", "0100510701ff", _DEGREE),
    _row(52, "angle_u_l3_l1_deg", "0100510702ff", _DEGREE),
    _row(53, "angle_i_u_l1_deg", "0100510704ff", _DEGREE),
    _row(54, "angle_i_u_l2_deg", "010051070fff", _DEGREE),
    _row(55, "angle_i_u_l3_deg", "010051071aff", _DEGREE),
)

BY_ID = {channel.id: channel for channel in CHANNELS}
BY_OBIS = {channel.obis: channel for channel in CHANNELS}


def label(channel: Channel) -> str:
    """Return what to call the channel before a person: "power_l1_w" is "Power L1"."""
    words = channel.key.split("_")[:-1]
    return " ".join([words[0][0].upper() + words[0][1:]] + [_word(word) for word in words[1:]])


def _word(word: str) -> str:
    return word.upper() if len(word) <= 2 else word


def in_range(channel: Channel, value: int, scale: int) -> bool:
    """Tell whether value * 10**scale units lie within the channel's physical range."""
    if scale >= 0:
        return channel.low <= value * 10**scale <= channel.high
    divisor = 10**-scale
    return channel.low * divisor <= value <= channel.high * divisor


def rescaled(value: int, scale: int, decimals: int) -> int | None:
    """Return value * 10**scale as an integer with so many decimals, None where not exact."""
    shift = scale + decimals
    if shift >= 0:
        return value * 10**shift
    quotient, rest = divmod(value, 10**-shift)
    return None if rest else quotient
