"""The gate behind the checksum: lets pass what this meter can have sent now.

A checksum of 16 bits passes one broken frame in 65 000, and the two of SML are not independent.
So a reading has to fit the meter's last good one: the same meter, the same registers in the
same steps, counters that rise, and by no more than a house can draw in the time passed. One
that does not fit is held until those behind it tell: if one of them fits it, the change is
real and both pass; if one fits the last good reading, it was a glitch.
"""

from wattlog.compat import const
from wattlog.sml import server_id_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.reading import Reading

    Taken = tuple[Reading, int]

HELD_MAX = 3
_POWER_W_MAX = const(100_000)  # three times 100 A at 230 V are 69 kW
_FIRST_MS_MAX = const(10_000)  # so long is a first reading held when no second comes
_BUFFERED_MS = const(5_000)  # so much a receive buffer holds: frames may come all at once
_COUNTERS_END = const(10)  # channels: below are the counters
_SHAPES_MAX = const(4)


class Gate:
    """Lets pass, in order, what the meter of one port can have sent; keeps books of the rest.

    good    readings that were never suspected
    held    (reading, its time, why it is suspected) of those that wait for the next
    counts  suspected readings by reason (`set`, `falls`, `jumps`, `id`), and how that ended:
            `released` or `glitch`

    good + released + glitch + len(held) is what was checked. The first reading is held as
    well, without a reason, until a second fits it.
    """

    def __init__(self, power_w_max: int = _POWER_W_MAX) -> None:
        self.good = 0
        self.held: list[tuple[Reading, int, str | None]] = []
        self.counts: dict[str, int] = {}
        self._power_w_max = power_w_max
        self._last: Taken | None = None
        self._shapes: list[bytes] = []  # sets of registers that this meter has shown
        self._events: list[str] = []

    def check(self, reading: "Reading", now_ms: int) -> "list[Taken]":
        """Take a reading; return those that may be logged now with their times, oldest first."""
        doubt = None
        if self._last is not None:
            doubt = self._doubt(self._last, reading, now_ms)
            if doubt is None:
                return self._pass(reading, now_ms)
        held = self.held
        for index in range(len(held)):
            if self._doubt(held[index][:2], reading, now_ms) is None:
                return self._release(index) + self._pass(reading, now_ms)
        if doubt:
            self._count(doubt)
        held.append((reading, now_ms, doubt))
        if len(held) > HELD_MAX:
            self._discard()
        return []

    def flush(self, now_ms: int | None = None) -> "list[Taken]":
        """Return a first reading that nothing has confirmed or contradicted in ten seconds.

        At the end (None) it is not waited for. It stays open to doubt: what follows may
        contradict it.
        """
        if self._last is None and len(self.held) == 1:
            reading, taken_ms, _ = self.held[0]
            if now_ms is None or now_ms - taken_ms >= _FIRST_MS_MAX:
                self.held.pop()
                return self._pass(reading, taken_ms)
        return []

    def events(self) -> "list[str]":
        """Return what a person should know, once."""
        events = self._events
        self._events = []
        return events

    def _pass(self, reading: "Reading", taken_ms: int) -> "list[Taken]":
        while self.held:
            self._discard()
        self.good += 1
        self._last = (reading, taken_ms)
        return [self._last]

    def _release(self, index: int) -> "list[Taken]":
        reading, taken_ms, doubt = self.held.pop(index)
        if doubt and self._last is not None:
            self._count("released")
            self._note(self._last[0], reading, doubt)
        else:
            self.good += 1
        return [(reading, taken_ms)]

    def _discard(self) -> None:
        self._count("glitch")
        reading, _, doubt = self.held.pop(0)
        if doubt == "set":
            # Sent once more, the set is the meter's own, even if never sent twice in a row.
            self._learn(reading)

    def _learn(self, reading: "Reading") -> None:
        for one in (reading, self._last[0] if self._last else reading):
            shape = _shape(one)
            if shape not in self._shapes:
                self._shapes = self._shapes[1 - _SHAPES_MAX :] + [shape]

    def _note(self, before: "Reading", reading: "Reading", doubt: str) -> None:
        """Take note of a change that turned out to be real."""
        if doubt == "set":
            self._learn(reading)
            return
        meter = "meter " + server_id_text(before.server_id)
        if doubt == "id":
            self._shapes = []
            text = meter + " was exchanged for " + server_id_text(reading.server_id)
        elif _all_fell(before, reading):
            text = "the counters of %s were reset" % meter
        else:
            text = "a counter of %s %s" % (meter, doubt)
        self._events.append(text)

    def _count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def _doubt(self, before: "Taken", reading: "Reading", now_ms: int) -> str | None:
        """Return the reason why a reading cannot follow that one, or None."""
        then = before[0]
        if reading.server_id != then.server_id:
            return "id"
        passed_ms = now_ms - before[1]
        if _keeps_time(then.sec_index, reading.sec_index, passed_ms):
            passed_ms += _BUFFERED_MS
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
            elif value == old:
                continue
            if number < _COUNTERS_END:
                doubt = _step_doubt(old, old_scale, value, scale, limit_wh)
                if doubt:
                    return doubt
        return None if is_same_set or _shape(reading) in self._shapes else "set"


def _step_doubt(old: int, old_scale: int, value: int, scale: int, limit_wh: int) -> str | None:
    low = min(old_scale, scale)
    rise = value * 10 ** (scale - low) - old * 10 ** (old_scale - low)
    # One step of the coarser register: a meter that now shows whole kWh rounds down.
    step = 10 ** abs(scale - old_scale)
    if rise <= -step:
        return "falls"
    limit = limit_wh // 10**low if low > 0 else limit_wh * 10**-low
    return "jumps" if rise > limit + step else None


def _keeps_time(before_s: int | None, now_s: int | None, passed_ms: int) -> bool:
    """Tell whether the meter's clock does not contradict ours.

    A clock that does is no fault: it may start at zero again. But then nothing speaks for
    time that we have not seen pass.
    """
    if before_s is None or now_s is None:
        return True
    limit_ms: int = _BUFFERED_MS
    return abs((now_s - before_s) * 1000 - passed_ms) <= limit_ms


def _all_fell(before: "Reading", reading: "Reading") -> bool:
    for number, value, scale in reading.values:
        for other, old, old_scale in before.values:
            is_counter = number == other and number < _COUNTERS_END
            if is_counter and _step_doubt(old, old_scale, value, scale, 0) == "jumps":
                return False
    return True


def _shape(reading: "Reading") -> bytes:
    """Return which registers in which steps a reading holds."""
    return bytes([part & 0xFF for row in reading.values for part in (row[0], row[2])])
