"""From a meter's list of registers to one reading in wattlog's channels.

Values stay the meter's own integers with their decimal scale; signs are settled here.
"""

from collections import namedtuple

from wattlog import quirks
from wattlog.channels import by_obis, in_range
from wattlog.compat import const
from wattlog.layout import STATUS, VALUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.channels import Channel
    from wattlog.layout import Fields, LearnedList
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

_POWER_ID = const(10)  # channels: power_w
_POWER_IMPORT_ID = const(15)
_POWER_EXPORT_ID = const(16)
_OBIS_FNN = b"\x01\x00\x60\x32\x01\x01"  # 96.50.1*1, manufacturer: only in the list of 2012
_OBIS_MAKER_EDL = b"\x81\x81\xc7\x82\x03\xff"
_MAKER_NAMES = (_OBIS_FNN, _OBIS_MAKER_EDL)
# Where 16.7.0 is not sent, the first of these that is tells the same: signed power.
_POWER_SUBSTITUTES = (
    quirks.POWER_ABSOLUTE,
    quirks.POWER_IMPORT,
    b"\x01\x00\x01\x07\x01\xff",
)


class _Plan:
    """What of a list becomes which channel: the same for every list of one layout.

    slots   (channel, Entry, index among the moving integers or -1) of each usable register
    status  (the status word of the energy registers, its index or -1)
    maker   three letters
    is_fnn  does the meter follow FNN's list of 2012?
    drops   reasons of the registers that are not usable
    """

    def __init__(self, meter_list: "GetList | LearnedList", fields: "Fields") -> None:
        moving = {(field[0], field[1]): index for index, field in enumerate(fields)}
        self.slots: list[tuple[Channel, Entry, int]] = []
        self.status: tuple[int | None, int] = (None, -1)
        # An id of scheme 0A is of 2012 as well; but what a meter sends tells more.
        self.is_fnn = meter_list.server_id[:1] == b"\x0a"  # type: ignore[index]
        self.drops: list[str] = []
        status_register: tuple[int | None, int] = (None, -1)
        entries = meter_list.entries
        self.maker = _maker(meter_list.server_id, entries)
        for index, entry in enumerate(entries):
            if entry.obis in _MAKER_NAMES:
                self.is_fnn = entry.obis == _OBIS_FNN
            elif entry.obis == quirks.STATUS and entry.width:
                status_register = (entry.value, moving.get((index, VALUE), -1))
            is_first = self.status[0] is None and quirks.is_status(entry.obis)
            if is_first and _is_number(entry.status):
                self.status = (entry.status, moving.get((index, STATUS), -1))
            channel = by_obis(entry.obis)
            if channel is None:
                channel = by_obis(quirks.without_channel(entry.obis))
                # The plain register counts, where there is one.
                if channel in [slot[0] for slot in self.slots]:
                    continue
            if channel is None or entry.value is None:
                continue
            reason = _unusable(channel, entry)
            if reason is None:
                self.slots.append((channel, entry, moving.get((index, VALUE), -1)))
            else:
                self.drops.append(reason)
        if self.status[0] is None:
            self.status = status_register


class Interpreter:
    """Turns the lists of one meter into readings; remembers what the meter has shown.

    drops  dict reason -> number of registers (`unit`, `range`, `scale`, `type`), clocks
           (`sec_index`) or lists (`server_id`) that could not be used
    """

    def __init__(self) -> None:
        self.drops: dict[str, int] = {}
        self._server_id: bytes | None = None
        self._has_negative = False

    def read(self, meter_list: "GetList | LearnedList") -> "Reading | None":
        """Return the Reading of a list, or None (counted) for one without a server id."""
        server_id = meter_list.server_id
        if not server_id or len(server_id) > 32:
            self._count("server_id")
            return None
        if server_id != self._server_id:
            self._server_id = server_id
            self._has_negative = False
        layout = meter_list.layout
        if layout is None:
            plan = _Plan(meter_list, ())
        else:
            if layout.plan is None:
                layout.plan = _Plan(meter_list, layout.fields)
            plan = layout.plan
        moving = meter_list.values
        for reason in plan.drops:
            self._count(reason)
        values = self._values(plan, moving)
        rows = [(number, values[number][0], values[number][1]) for number in sorted(values)]
        return Reading(server_id, self._seconds(meter_list.sec_index), rows, _POWER_ID in values)

    def _values(self, plan: _Plan, moving: "tuple[int, ...]") -> "dict[int, tuple[int, int]]":
        """Return channel id -> (value, scale) of what the plan finds usable."""
        direction = self._direction(plan, moving)
        values: dict[int, tuple[int, int]] = {}
        substitutes: dict[bytes, tuple[int, int]] = {}
        for channel, entry, at in plan.slots:
            sent: int = entry.value if at < 0 else moving[at]
            value = sent
            scale = entry.scaler or 0  # absent means 10**0, says the specification
            if entry.unit == quirks.UNIT_W:
                value = quirks.meant(entry, sent, plan.maker, direction)
            if not in_range(channel, value, scale):
                self._count("range")
                continue
            if entry.obis in _POWER_SUBSTITUTES:
                substitutes[entry.obis] = (value, scale)
                is_absolute = entry.obis == quirks.POWER_ABSOLUTE
                value = abs(value) if is_absolute else max(value, sent)
            values[channel.id] = (value, scale)
        if _POWER_ID not in values:
            power = _substitute(substitutes, values, direction)
            if power is not None:
                values[_POWER_ID] = power
        return values

    def _seconds(self, sec_index: int | None) -> int | None:
        if sec_index is None or 0 <= sec_index <= SEC_INDEX_MAX:
            return sec_index
        self._count("sec_index")
        return None

    def _direction(self, plan: _Plan, moving: "tuple[int, ...]") -> quirks.Direction:
        status, at = plan.status
        if at >= 0:
            status = moving[at]
        direction = quirks.Direction(status, plan.is_fnn, self._has_negative)
        if not self._has_negative and direction.is_export(quirks.POWER):
            for _, entry, at in plan.slots:
                if entry.obis == quirks.POWER and (entry.value if at < 0 else moving[at]) < 0:
                    self._has_negative = True
        return direction

    def _count(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _maker(server_id: bytes | None, entries: "list[Entry]") -> bytes:
    """Return the three letters of the maker, from the server id or the register that names it."""
    if server_id and server_id[0] in (0x09, 0x0A):
        return server_id[2:5]
    for entry in entries:
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
    substitutes: "dict[bytes, tuple[int, int]]",
    values: "dict[int, tuple[int, int]]",
    direction: quirks.Direction,
) -> "tuple[int, int] | None":
    # A magnitude without a direction is not a power: nothing is guessed.
    if direction.is_export(quirks.POWER_ABSOLUTE) is None:
        substitutes.pop(quirks.POWER_ABSOLUTE, None)
    outward = values.get(_POWER_EXPORT_ID)
    if outward is not None and quirks.POWER_ABSOLUTE not in substitutes:
        inward = values.get(_POWER_IMPORT_ID, (0, outward[1]))
        # Two registers, one for each direction, of one step; of two steps none has been seen.
        return (inward[0] - outward[0], outward[1]) if inward[1] == outward[1] else None
    for obis in _POWER_SUBSTITUTES:
        if obis in substitutes:
            return substitutes[obis]
    return None
