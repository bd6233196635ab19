"""From a meter's list of registers to one reading in wattlog's channels.

Values stay the meter's own integers with their decimal scale; signs are settled here.
"""

from collections import namedtuple

from wattlog import quirks
from wattlog.channels import by_obis, in_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.channels import Channel
    from wattlog.sml import Entry, GetList

Reading = namedtuple("Reading", ("server_id", "sec_index", "values", "full_dataset"))
# server_id     bytes, never empty
# sec_index     the meter's own seconds counter, or None
# values        list of (channel id, value, scale), channels strictly rising
# full_dataset  does the meter send its power? False means: no PIN entered, or InF is off

HINT_PIN = "this meter sends whole kWh and no power: enter its PIN and switch InF on"

SEC_INDEX_MAX = (1 << 32) - 1
SCALE_MIN = -12
SCALE_MAX = 12

_POWER_ID = 10  # channels: power_w
_OBIS_FNN = b"\x01\x00\x60\x32\x01\x01"  # 96.50.1*1, manufacturer: only in the list of 2012
_OBIS_MAKER_EDL = b"\x81\x81\xc7\x82\x03\xff"
_MAKER_NAMES = (_OBIS_FNN, _OBIS_MAKER_EDL)
# Where 16.7.0 is not sent, the first of these that is tells the same: signed power.
_POWER_SUBSTITUTES = (
    quirks.POWER_ABSOLUTE,
    b"\x01\x00\x01\x07\x00\xff",
    b"\x01\x00\x01\x07\x01\xff",
)


class Interpreter:
    """Turns the lists of one meter into readings; remembers what the meter has shown.

    drops  dict reason -> number of registers (`unit`, `range`, `scale`, `type`), clocks
           (`sec_index`) or lists (`server_id`) that could not be used
    """

    def __init__(self) -> None:
        self.drops: dict[str, int] = {}
        self._server_id: bytes | None = None
        self._has_negative = False

    def read(self, meter_list: "GetList") -> "Reading | None":
        """Return the Reading of a sml.GetList, or None (counted) for one without a server id."""
        server_id = meter_list.server_id
        if not server_id or len(server_id) > 32:
            self._count("server_id")
            return None
        if server_id != self._server_id:
            self._server_id = server_id
            self._has_negative = False
        sec_index = self._seconds(meter_list.sec_index)
        direction = self._direction(meter_list)
        maker = _maker(meter_list)
        values: dict[int, tuple[int, int]] = {}
        substitutes: dict[bytes, tuple[int, int]] = {}
        for entry in meter_list.entries:
            channel = by_obis(entry.obis)
            if channel is None or entry.value is None:
                continue
            reason = _unusable(channel, entry)
            if reason:
                self._count(reason)
                continue
            scale = entry.scaler or 0  # absent means 10**0, says the specification
            value = quirks.meant(entry, maker, direction)
            if not in_range(channel, value, scale):
                self._count("range")
                continue
            if entry.obis in _POWER_SUBSTITUTES:
                substitutes[entry.obis] = (value, scale)
                value = abs(value) if entry.obis == quirks.POWER_ABSOLUTE else value
            values[channel.id] = (value, scale)
        if _POWER_ID not in values:
            power = _substitute(substitutes, direction)
            if power is not None:
                values[_POWER_ID] = power
        rows = [(number, values[number][0], values[number][1]) for number in sorted(values)]
        return Reading(server_id, sec_index, rows, _POWER_ID in values)

    def _seconds(self, sec_index: int | None) -> int | None:
        if sec_index is None or 0 <= sec_index <= SEC_INDEX_MAX:
            return sec_index
        self._count("sec_index")
        return None

    def _direction(self, meter_list: "GetList") -> quirks.Direction:
        status = None
        negative = False
        is_fnn = False
        for entry in meter_list.entries:
            is_number = isinstance(entry.status, int) and not isinstance(entry.status, bool)
            if is_number and entry.obis in (quirks.IMPORT, quirks.EXPORT):
                status = entry.status if status is None else status
            is_fnn = is_fnn or entry.obis == _OBIS_FNN
            if entry.obis == quirks.POWER and entry.width and entry.value < 0:
                negative = True
        direction = quirks.Direction(status, is_fnn, self._has_negative)
        if negative and direction.is_export(quirks.POWER):
            self._has_negative = True
        return direction

    def _count(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1


def _maker(meter_list: "GetList") -> bytes:
    """Return the three letters of the maker, from the server id or the register that names it."""
    if meter_list.server_id[0] in (0x09, 0x0A):
        maker: bytes = meter_list.server_id[2:5]
        return maker
    for entry in meter_list.entries:
        if entry.obis in _MAKER_NAMES and isinstance(entry.value, bytes):
            return entry.value
    return b""


def _unusable(channel: "Channel", entry: "Entry") -> str | None:
    """Return the reason why the register cannot be a value of its channel, or None."""
    if not entry.width:
        return "type"
    if entry.unit != channel.unit_dlms:
        return "unit"
    if not SCALE_MIN <= (entry.scaler or 0) <= SCALE_MAX:
        return "scale"
    return None


def _substitute(
    substitutes: "dict[bytes, tuple[int, int]]", direction: quirks.Direction
) -> "tuple[int, int] | None":
    for obis in _POWER_SUBSTITUTES:
        if obis in substitutes:
            # A magnitude without a direction is not a power: nothing is guessed.
            if obis == quirks.POWER_ABSOLUTE and direction.is_export(obis) is None:
                continue
            return substitutes[obis]
    return None
