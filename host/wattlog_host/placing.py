"""When was it? The clock of a batch: what to add to its edge's uptime. Pure.

In this order: the sure sync points of its boot; else the seconds counter of a meter that was also
read in a batch beside it whose time is known; else sync points of a clock that nobody has
confirmed; else its arrival. The last two are marked as uncertain.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

SYNC = "sync"
METER = "meter"
CLOCK = "clock"
ARRIVAL = "arrival"

# A clock that was never set says 1970 or 2000. Using it would put readings decades off; not
# using it costs little, because they are then placed otherwise. 2020-01-01, 2100-01-01.
EPOCH_MS_PLAUSIBLE = range(1_577_836_800_000, 4_102_444_800_000)

# Two clocks that are set by the network differ by less. Far behind is no error: it is a backlog.
CLOCK_AHEAD_MS_MAX = 60_000
_DAY_MS = 86_400_000
# By so much a sure clock may be ahead of ours, by whom ours was set: by nobody since the start (it
# may have lain in a drawer), by a chip with a battery, from the network.
SURE_AHEAD_MS_MAX = (3_650 * _DAY_MS, _DAY_MS, CLOCK_AHEAD_MS_MAX)
# So far behind its arrival a batch comes that did not wait for a connection.
CLOCK_BEHIND_MS_MAX = 120_000

# Quartzes differ by seconds a day; two readings of a counter of seconds by one more each.
DRIFT_MS_PER_DAY = 5_000
ROUNDING_MS = 3_000
# With such drift, half a minute in the end. It also bounds how many batches one sync point moves.
METER_MS_MAX = 7 * 86_400_000


# How good a sync point is: of a clock that was not set from the network; of such a one that agreed
# with ours when it came; of one that was.
UNSURE, AGREED, SURE = range(3)


class SyncPoint(NamedTuple):
    """At this uptime the edge's clock read so many ms since 1970 UTC."""

    uptime_ms: int
    epoch_ms: int
    grade: int


def usable(points: Sequence[SyncPoint]) -> tuple[list[tuple[int, int]], int]:
    """Return a boot's best (uptime_ms, epoch_ms), and of which grade they are.

    Uptimes do not step. So one sure point is worth more than all that a clock without a battery
    said before it was set, days behind and unaware of it.
    """
    best = max((point.grade for point in points), default=UNSURE)
    return [point[:2] for point in points if point.grade == best], best


@dataclass(frozen=True, slots=True)
class Clock:
    """What to add to an uptime for the time in ms since 1970 UTC.

    steps are (uptime_ms, offset_ms), rising: from this uptime on that offset holds.
    """

    offset_ms: int
    steps: tuple[tuple[int, int], ...] = ()

    def at(self, uptime_ms: int) -> int:
        """Return the time at this uptime."""
        offset_ms = self.offset_ms
        for from_ms, step_ms in self.steps:
            if uptime_ms >= from_ms:
                offset_ms = step_ms
        return offset_ms + uptime_ms


def clock_by_sync(
    points: Sequence[SyncPoint], first_ms: int, last_ms: int, received_ms: int, trust: int
) -> tuple[Clock, str] | None:
    """Return clock and source for the uptimes first_ms to last_ms; None where there is none.

    points are of their boot, by rising uptime. An uptime is placed by the last usable one at or
    before it, else by the first one. A clock that puts anything CLOCK_AHEAD_MS_MAX after its
    arrival is wrong: so no bad clock can make a reading the newest until that time has come. A
    sure clock may be further ahead where the time of arrival is of less trust.
    """
    syncs, grade = usable(points)
    if not syncs:
        return None
    at = max(0, bisect_right(syncs, (first_ms, 1 << 62)) - 1)
    offset_ms = last_offset_ms = syncs[at][1] - syncs[at][0]
    ahead_ms = received_ms + ahead_ms_max(grade, trust)
    steps = []
    for uptime_ms, epoch_ms in syncs[at + 1 :]:
        if uptime_ms > last_ms:
            break
        if uptime_ms + last_offset_ms > ahead_ms:
            return None
        if epoch_ms - uptime_ms != last_offset_ms:
            last_offset_ms = epoch_ms - uptime_ms
            steps.append((uptime_ms, last_offset_ms))
    if last_ms + last_offset_ms > ahead_ms:
        return None
    return Clock(offset_ms, tuple(steps)), SYNC if grade else CLOCK


def ahead_ms_max(grade: int, trust: int) -> int:
    """Return by how much a clock may be ahead of an arrival by a clock of such trust."""
    return SURE_AHEAD_MS_MAX[trust] if grade == SURE else CLOCK_AHEAD_MS_MAX


def ahead_by_sync(points: Sequence[SyncPoint], last_ms: int, received_ms: int) -> int:
    """Return by how many ms the clock is ahead, that places the uptime last_ms, of its arrival."""
    syncs, _ = usable(points)
    at = max(0, bisect_right(syncs, (last_ms, 1 << 62)) - 1)
    return syncs[at][1] - syncs[at][0] + last_ms - received_ms


def offset_by_arrival(received_ms: int, last_ms: int, following: tuple[int, int] | None) -> int:
    """Return when the boot began, as far as the arrival of a batch tells.

    last_ms is the batch's last uptime; following is (uptime_ms, time_ms) of what the same boot
    has measured next, which a backlog that comes late must stay before.
    """
    offset_ms = received_ms - last_ms
    if following is None:
        return offset_ms
    uptime_ms, time_ms = following
    return min(offset_ms, time_ms - uptime_ms)


@dataclass(frozen=True, slots=True)
class Counted:
    """A meter's seconds counter in a batch, in ms; zero_ms is when it stood at 0.

    first_ms and last_ms are times where zero_ms is known, else uptimes, and then zero_ms is
    uptime minus counter.
    """

    zero_ms: int
    first_ms: int
    last_ms: int

    @property
    def first_count_ms(self) -> int:
        """What the counter showed at the first reading."""
        return self.first_ms - self.zero_ms

    @property
    def last_count_ms(self) -> int:
        """What the counter showed at the last reading."""
        return self.last_ms - self.zero_ms


def zero_of(samples: Sequence[tuple[int, int]]) -> int | None:
    """Return uptime minus counter in ms, of (uptime_ms, sec_index); None where they disagree.

    The counter shows whole seconds, so that the sample with the least difference is the best.
    """
    zeros = [uptime_ms - 1000 * sec_index for uptime_ms, sec_index in samples]
    if not zeros:
        return None
    span_ms = max(samples)[0] - min(samples)[0]
    low = min(zeros)
    return low if max(zeros) - low <= _tolerance_ms(span_ms) else None


def offset_by_meter(
    counted: Counted, before: Counted | None, after: Counted | None, received_ms: int
) -> int | None:
    """Return when the boot began, by a meter's counter; None where that is not to be believed.

    counted is of the batch to be placed, in uptimes; before and after are the same meter's in
    the nearest batches of the log whose time is known. Not believed is a counter that fell, or
    disagrees with the two times around it (it stood still in a power cut, and nobody knows on
    which side), is more than METER_MS_MAX away, or leads to a time out of order or in the future.
    """
    zeros = []
    if before is not None:
        ahead_ms = counted.first_count_ms - before.last_count_ms
        zeros.append(before.zero_ms if -ROUNDING_MS < ahead_ms <= METER_MS_MAX else None)
    if after is not None:
        behind_ms = after.first_count_ms - counted.last_count_ms
        zeros.append(after.zero_ms if -ROUNDING_MS < behind_ms <= METER_MS_MAX else None)
    known = [zero_ms for zero_ms in zeros if zero_ms is not None]
    if not known:
        return None
    zero_ms = known[0]
    if len(known) == 2 and before is not None and after is not None:
        span_ms = after.first_count_ms - before.last_count_ms
        drift_ms = after.zero_ms - before.zero_ms
        if abs(drift_ms) > _tolerance_ms(span_ms):
            return None
        part_ms = max(0, counted.first_count_ms - before.last_count_ms)
        zero_ms += drift_ms * min(part_ms, span_ms) // span_ms if span_ms > 0 else 0
    offset_ms = zero_ms - counted.zero_ms
    first_ms, last_ms = offset_ms + counted.first_ms, offset_ms + counted.last_ms
    if before is not None and first_ms < before.last_ms - ROUNDING_MS:
        return None
    if after is not None and last_ms > after.first_ms + ROUNDING_MS:
        return None
    return offset_ms if last_ms <= received_ms + CLOCK_AHEAD_MS_MAX else None


def _tolerance_ms(span_ms: int) -> int:
    return ROUNDING_MS + DRIFT_MS_PER_DAY * max(0, span_ms) // _DAY_MS
