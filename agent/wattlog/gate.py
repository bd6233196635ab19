"""The gate behind the checksum: is this reading one that this meter can have sent now?

A checksum of 16 bits passes one broken frame in 65 000, and the two of SML are not independent.
So a reading has to fit the meter's last good one: the same meter, the same registers in the
same steps, counters that rise, and by no more than a house can draw in the time passed. One
that does not fit is held until the readings behind it tell: if one fits it, the change is
real and both pass; if one fits the last good reading, it was a glitch.
"""

from wattlog.compat import const
from wattlog.sml import server_id_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.reading import Reading

    Taken = tuple[Reading, int]

POWER_W_MAX = 100_000  # three times 100 A at 230 V are 69 kW
HELD_MAX = 3
FIRST_MS_MAX = 10_000  # so long is a first reading held when no second comes
BUFFERED_MS = 5_000  # so much may a receive buffer hold: frames then come closer than they were sent

_COUNTERS_END = const(10)  # channels: below are the counters
_SHAPES_MAX = const(4)

# Why a reading is held; the keys of Gate.counts, with the two ends that it can come to.
SET = "set"
FALLS = "falls"
JUMPS = "jumps"
ID = "id"
RELEASED = "released"
GLITCH = "glitch"


class Gate:
    """Lets pass, in order, what one serial port's meter can have sent; takes note of the rest.

    good    readings that passed unsuspected
    counts  readings held by reason (`set`, `falls`, `jumps`, `id`), and how that ended:
            `released` or `glitch`

    Nothing is lost from the books: good + released + glitch + held is what was checked.
    The first reading is held as well, without a reason, until a second fits it.
    """

    def __init__(self, power_w_max: int = POWER_W_MAX) -> None:
        self.good = 0
        self.counts: dict[str, int] = {}
        self._power_w_max = power_w_max
        self._last: Taken | None = None
        self._held: list[tuple[Reading, int, str | None]] = []
        self._shapes: list[bytes] = []  # other sets of registers that this meter has shown
        self._events: list[str] = []

    @property
    def held(self) -> int:
        """Return how many readings wait for the next ones."""
        return len(self._held)

    def events(self) -> "list[str]":
        """Return what a person should know, once."""
        events = self._events
        self._events = []
        return events

    def check(self, reading: "Reading", now_ms: int) -> "list[Taken]":
        """Take a reading; return those that may be logged now with their times, oldest first."""
        doubt = None
        if self._last is not None:
            doubt = self._doubt(self._last, reading, now_ms)
            if doubt is None:
                return self._pass(reading, now_ms)
        for index in range(len(self._held) - 1, -1, -1):
            if self._doubt(self._held[index], reading, now_ms) is None:
                return self._release(index) + self._pass(reading, now_ms)
        if doubt is not None:
            self._count(doubt)
        self._held.append((reading, now_ms, doubt))
        if len(self._held) > HELD_MAX:
            self._discard(self._held.pop(0))
        return []

    def flush(self, now_ms: int | None = None) -> "list[Taken]":
        """Return a first reading that nothing has confirmed or contradicted in ten seconds.

        At the end (None) it is not waited for. It stays open to doubt: what follows may
        contradict it.
        """
        if self._last is not None or len(self._held) != 1:
            return []
        reading, taken_ms, _ = self._held[0]
        if now_ms is not None and now_ms - taken_ms < FIRST_MS_MAX:
            return []
        self._held.pop()
        return self._pass(reading, taken_ms)

    def _pass(self, reading: "Reading", taken_ms: int) -> "list[Taken]":
        while self._held:
            self._discard(self._held.pop())
        self.good += 1
        self._last = (reading, taken_ms)
        return [self._last]

    def _release(self, index: int) -> "list[Taken]":
        reading, taken_ms, doubt = self._held.pop(index)
        if doubt is None:
            self.good += 1
        else:
            self._count(RELEASED)
        if self._last is not None:
            self._note(self._last[0], reading, doubt)
        return [(reading, taken_ms)]

    def _discard(self, held: "tuple[Reading, int, str | None]") -> None:
        self._count(GLITCH)
        if held[2] == SET:
            # Sent once more, the set is taken as the meter's own, even if it never sends it
            # twice in a row.
            self._learn(held[0])

    def _learn(self, reading: "Reading") -> None:
        self._shapes.append(_shape(reading))
        if len(self._shapes) > _SHAPES_MAX:
            self._shapes.pop(0)

    def _note(self, before: "Reading", reading: "Reading", doubt: str | None) -> None:
        """Take note of a change that turned out to be real."""
        meter = server_id_text(before.server_id)
        if doubt == SET:
            self._learn(before)
        elif doubt == ID:
            self._shapes = []
            new = server_id_text(reading.server_id)
            self._events.append("meter %s was exchanged for %s" % (meter, new))
        elif _all_fell(before, reading):
            self._events.append("the counters of meter %s were reset" % meter)
        else:
            self._events.append("a counter of meter %s %s: taken as it is" % (meter, doubt))

    def _count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def _doubt(self, before: "Taken", reading: "Reading", now_ms: int) -> str | None:
        """Return the reason why a reading cannot follow that one, or None."""
        then = before[0]
        if reading.server_id != then.server_id:
            return ID
        passed_ms = now_ms - before[1]
        if _keeps_time(then.sec_index, reading.sec_index, passed_ms):
            passed_ms += BUFFERED_MS
        limit_wh = self._power_w_max * passed_ms // 3_600_000
        rows = then.values
        is_same_set = len(rows) == len(reading.values)
        at = 0
        for number, value, scale in reading.values:
            while at < len(rows) and rows[at][0] < number:
                at += 1
            if at == len(rows) or rows[at][0] != number:
                is_same_set = False
                continue
            _, old, old_scale = rows[at]
            if scale != old_scale:
                is_same_set = False
            if number < _COUNTERS_END and (value != old or scale != old_scale):
                doubt = _step_doubt(old, old_scale, value, scale, limit_wh)
                if doubt:
                    return doubt
        if is_same_set or _shape(reading) in self._shapes:
            return None
        return SET


def _step_doubt(old: int, old_scale: int, value: int, scale: int, limit_wh: int) -> str | None:
    low = min(old_scale, scale)
    rise = value * 10 ** (scale - low) - old * 10 ** (old_scale - low)
    # One step of the coarser register: a meter that now shows whole kWh rounds down.
    step = 10 ** abs(scale - old_scale)
    if rise <= -step:
        return FALLS
    limit = limit_wh // 10**low if low > 0 else limit_wh * 10**-low
    return JUMPS if rise > limit + step else None


def _keeps_time(before_s: int | None, now_s: int | None, passed_ms: int) -> bool:
    """Tell whether the meter's clock does not contradict ours.

    A clock that does is no fault: it may start at zero again. But then nothing speaks for
    time that we have not seen pass.
    """
    if before_s is None or now_s is None:
        return True
    return abs((now_s - before_s) * 1000 - passed_ms) <= BUFFERED_MS + (passed_ms >> 8)


def _all_fell(before: "Reading", reading: "Reading") -> bool:
    old = {number: (value, scale) for number, value, scale in before.values}
    for number, value, scale in reading.values:
        if number < _COUNTERS_END and number in old:
            was, old_scale = old[number]
            if value * 10 ** (scale + 12) > was * 10 ** (old_scale + 12):
                return False
    return True


def _shape(reading: "Reading") -> bytes:
    """Return which registers in which steps a reading holds."""
    return bytes([part & 0xFF for row in reading.values for part in (row[0], row[2])])
