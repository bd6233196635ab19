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
# obis       the six groups A-B:C.D.E*F as bytes (IEC 62056-61); ff ff ff ff ff and a number,
#            which is no OBIS, for what no meter sends
# unit       unit symbol; unit_dlms is its number in IEC 62056-62
# decimals   decimal places in the store: stored = physical * 10**decimals
# low, high  physical range in whole units; outside is rejected and counted
# kind       "counter" (energy register, never falls) or "gauge" (instantaneous)

COUNTER = "counter"
GAUGE = "gauge"

# By unit: its DLMS number, decimals, low, high and kind, as in Channel.
# 10 uWh is the finest step a meter sends (eBZ, scaler -5). 10**12 Wh would take a 100 A
# three-phase connection 1600 years.
QUANTITIES = {
    "Wh": (30, 5, 0, 10**12, COUNTER),
    "W": (27, 3, -(10**6), 10**6, GAUGE),
    "V": (35, 3, 0, 1000, GAUGE),
    "A": (33, 3, -1000, 1000, GAUGE),
    "Hz": (44, 3, 0, 100, GAUGE),
    "°": (8, 3, -360, 360, GAUGE),
}

# One line a channel: id, OBIS in hex, unit, key. It is a text because a device holds it in
# 1 KiB and makes rows only of what its meter sends; as objects all rows take 6 KiB.
TABLE = """
 1 0100010800ff Wh import_wh
 2 0100010801ff Wh import_t1_wh
 3 0100010802ff Wh import_t2_wh
 4 0100020800ff Wh export_wh
 5 0100020801ff Wh export_t1_wh
 6 0100020802ff Wh export_t2_wh
10 0100100700ff W  power_w
11 0100240700ff W  power_l1_w
12 0100380700ff W  power_l2_w
13 01004c0700ff W  power_l3_w
14 01000f0700ff W  power_abs_w
15 0100010700ff W  power_import_w
16 0100020700ff W  power_export_w
17 0100010701ff W  power_import_t1_w
18 0100150700ff W  power_import_l1_w
19 0100290700ff W  power_import_l2_w
20 01003d0700ff W  power_import_l3_w
21 0100200700ff V  voltage_l1_v
22 0100340700ff V  voltage_l2_v
23 0100480700ff V  voltage_l3_v
31 01001f0700ff A  current_l1_a
32 0100330700ff A  current_l2_a
33 0100470700ff A  current_l3_a
41 01000e0700ff Hz frequency_hz
51 0100510701ff °  angle_u_l2_l1_deg
52 0100510702ff °  angle_u_l3_l1_deg
53 0100510704ff °  angle_i_u_l1_deg
54 010051070fff °  angle_i_u_l2_deg
55 010051071aff °  angle_i_u_l3_deg
60 FFFFFFFFFF01 W  power_avg_w
"""
# Capitals: no register, but derived by wattlog. No meter's OBIS finds such a row, not even one
# that sends just these bytes.

_by_obis: dict[bytes, Channel] = {}


def by_obis(obis: bytes) -> Channel | None:
    """Return the channel of these six groups, None where wattlog does not log it."""
    channel = _by_obis.get(obis)
    if channel is None:
        at = TABLE.find(" %s " % obis.hex())  # in small letters
        if len(obis) != 6 or at < 0:
            return None
        channel = _row(TABLE[TABLE.rfind("\n", 0, at) + 1 : TABLE.find("\n", at)])
        _by_obis[obis] = channel
    return channel


def by_id(number: int) -> Channel | None:
    """Return the channel with this number, None for one that does not exist."""
    at = TABLE.find("\n%2d " % number)
    return None if at < 0 else _row(TABLE[at + 1 : TABLE.find("\n", at + 1)])


def all_channels() -> "list[Channel]":
    """Return every channel, by rising id."""
    return [_row(line) for line in TABLE.strip("\n").split("\n")]


def _row(line: str) -> Channel:
    number, obis, unit, key = line.split()
    return Channel(int(number), key, bytes.fromhex(obis), unit, *QUANTITIES[unit])


def label(channel: Channel) -> str:
    """Return what to call the channel before a person: "power_l1_w" is "Power L1"."""
    words = channel.key.split("_")[:-1]
    return " ".join([words[0][0].upper() + words[0][1:]] + [_word(word) for word in words[1:]])


def _word(word: str) -> str:
    return word.upper() if len(word) <= 2 else word


def in_range(channel: Channel, value: int, scale: int) -> bool:
    """Tell whether value * 10**scale units lie within the channel's physical range."""
    low: int = channel.low
    high: int = channel.high
    if scale >= 0:
        return low <= value * _power_of_ten(scale) <= high
    divisor = _power_of_ten(-scale)
    return low * divisor <= value <= high * divisor


def rescaled(value: int, scale: int, decimals: int) -> int | None:
    """Return value * 10**scale as an integer with so many decimals, None where not exact."""
    shift = scale + decimals
    if shift >= 0:
        return value * _power_of_ten(shift)
    quotient, rest = divmod(value, _power_of_ten(-shift))
    return None if rest else quotient


def _power_of_ten(exponent: int) -> int:
    # For the type checker 10**n may be a float; this is an integer for n >= 0.
    power: int = 10**exponent
    return power
