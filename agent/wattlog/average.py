"""Average power from the counters, for a meter that sends fine steps of energy but no power."""

from wattlog.compat import const
from wattlog.reading import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_POWER_AVG_ID = const(60)  # channels: power_avg_w
_WINDOW_MS_MIN = const(30_000)  # 0.1 Wh in 30 s are 12 W; in one second they would be 360 W
_WINDOW_MS_MAX = const(300_000)  # over a longer silence an average says nothing about now
_CLOCKS_APART_MS = const(5_000)


class PowerAverage:
    """Adds the channel power_avg_w to the reading that ends a window of at least 30 s.

    It is import minus export. The other readings of the window stay as they are, and so do all
    of a meter that sends its power, or steps of more than 1 Wh. A counter that falls, another
    meter, other registers or a silence of five minutes begin a new window.
    """

    def __init__(self) -> None:
        self._begin: Reading | None = None
        self._begin_ms = 0

    def add(self, reading: Reading, taken_ms: int) -> Reading:
        """Return the reading, with the average power of the window where it ends one."""
        begin = self._begin
        if begin is None or begin.server_id != reading.server_id or reading.full_dataset:
            self._start(reading, taken_ms)
            return reading
        passed_ms = _by_meter(begin.sec_index, reading.sec_index, taken_ms - self._begin_ms)
        if passed_ms < _WINDOW_MS_MIN:
            return reading
        rise_wh_e12 = _rise_wh_e12(begin, reading)
        self._start(reading, taken_ms)
        if rise_wh_e12 is None or passed_ms > _WINDOW_MS_MAX:
            return reading
        power_w_e1 = (rise_wh_e12 * 36_000_000 // passed_ms + 5 * 10**11) // 10**12
        return Reading(
            reading.server_id,
            reading.sec_index,
            reading.values + [(_POWER_AVG_ID, power_w_e1, -1)],
            reading.full_dataset,
        )

    def _start(self, reading: Reading, taken_ms: int) -> None:
        self._begin = reading
        self._begin_ms = taken_ms


def _by_meter(begin_s: int | None, end_s: int | None, passed_ms: int) -> int:
    """Return the time passed by the meter's own clock, where it does not contradict ours."""
    if begin_s is not None and end_s is not None:
        by_meter_ms = (end_s - begin_s) * 1000
        if abs(by_meter_ms - passed_ms) <= _CLOCKS_APART_MS:
            return by_meter_ms
    return passed_ms


def _rise_wh_e12(begin: Reading, end: Reading) -> int | None:
    """Return by how much import has risen more than export; None where that is not known."""
    total = None
    for number, sign in ((1, 1), (4, -1)):  # channels: import_wh, export_wh
        before = _row(begin.values, number)
        after = _row(end.values, number)
        if before is None and after is None:
            continue
        if before is None or after is None or before[2] != after[2] or after[2] > 0:
            return None
        if after[1] < before[1]:
            return None
        total = (total or 0) + sign * (after[1] - before[1]) * 10 ** (12 + after[2])
    return total


def _row(rows: "Iterable[tuple[int, int, int]]", number: int) -> "tuple[int, int, int] | None":
    for row in rows:
        if row[0] == number:
            return row
    return None
