"""Energy that adds up: a counter's climb at any instant, from its readings by buckets.

The climb C(t) is the sum of all rises of a counter up to t. Between the last reading before t and
the first one after it, it grows in proportion to the time, rounded down once, so that the energy
of a time is C(end) - C(start) and parts always add up to their whole, which is what the counter
shows. A fall (a reset, another device) is counted and is no energy. Before the first reading and
after the last one C does not move.

A bucket says what was read first and last within it, so C is known exactly at the borders of
buckets, whatever their length: whoever needs another instant looks into the buckets of a minute
(`points`). Within a minute C grows in proportion from its first to its last reading.

Where no reading came for longer than HOLD_MS, C is a guess at every instant between; the part of
an energy that hangs on such a guess, at its start or at its end, is estimated. An energy that has
the whole silence within is not: the counter tells it exactly.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import add, sub
from typing import NamedTuple

from wattlog_host.history.columns import HOLD_MS, STEPS_S, Gauges, Registers

FINEST_S = STEPS_S[0]


class Point(NamedTuple):
    """Everything that adds up, until one instant; only differences mean something.

    climb       the counter's, in stored units
    covered_ms  for how long readings speak
    falls       how often the counter fell
    silence_ms  when the silence began that this instant lies in, None where it is in none
    since       how much of climb is a guess since then
    until       how much is still to come in that silence
    """

    climb: int = 0
    covered_ms: int = 0
    falls: int = 0
    silence_ms: int | None = None
    since: int = 0
    until: int = 0


class Energy(NamedTuple):
    """What a counter says about a time, in stored units; estimated is a part of amount."""

    amount: int
    estimated: int
    covered_ms: int
    falls: int


def between(start: Point, end: Point) -> Energy:
    """Return the energy from one instant to a later one."""
    amount = end.climb - start.climb
    if start.silence_ms is not None and start.silence_ms == end.silence_ms:
        estimated = amount
    else:
        estimated = start.until + end.since
    return Energy(amount, estimated, end.covered_ms - start.covered_ms, end.falls - start.falls)


def moved(point: Point, start: Point, base: Point) -> Point:
    """Return a point that was counted from start as one that is counted from base."""
    return point._replace(
        climb=point.climb - start.climb + base.climb,
        covered_ms=point.covered_ms - start.covered_ms + base.covered_ms,
        falls=point.falls - start.falls + base.falls,
    )


class Climb:
    """C(t) from the buckets of one length; exact at their borders and outside of them."""

    def __init__(self, registers: Registers, step_s: int, *, tells_coverage: bool = True) -> None:
        """Take the buckets, those beside the range included.

        Without coverage, which takes half of the time, what points say of it means nothing.
        """
        self._step_ms = 1000 * step_s
        self._of = registers
        # From the last reading of each bucket to the first one of the next. What is mapped over
        # is as long as a year has hours: a loop of Python takes twice the time.
        steps = list(map(sub, registers.first[1:], registers.last))
        silent_ms = map(sub, registers.first_ms[1:], registers.last_ms)
        # What adds up until the first reading of each bucket, and at the end until the last one.
        rises = [step if step > 0 else 0 for step in steps] + [0]
        falls = [step < 0 for step in steps] + [0]
        spoken = [ms if ms <= HOLD_MS else 0 for ms in silent_ms] + [0]
        self._within_ms = self._spoken_within(spoken) if tells_coverage else spoken
        self._climb = [0, *accumulate(map(add, registers.rise, rises))]
        self._falls = [0, *accumulate(map(add, registers.falls, falls))]
        self._covered = [0, *accumulate(map(add, self._within_ms, spoken))]

    def _spoken_within(self, spoken: Sequence[int]) -> list[int]:
        """Return for how long readings speak from each bucket's first to its last.

        What is covered before and after them, these times tell themselves: a bucket without a
        reading is absent, covered or not.
        """
        of, step_ms = self._of, self._step_ms
        found = []
        before_ms = 0
        for start_ms, first_ms, last_ms, covered_ms, after_ms in zip(
            of.start_ms, of.first_ms, of.last_ms, of.covered_ms, spoken, strict=False
        ):
            lead_ms, rest_ms = first_ms - start_ms, start_ms + step_ms - last_ms
            within_ms = covered_ms - (before_ms if before_ms < lead_ms else lead_ms)
            within_ms -= after_ms if after_ms < rest_ms else rest_ms
            length_ms = last_ms - first_ms
            # Of the first bucket nobody knows what was before it; it does not matter there.
            found.append(max(0, min(within_ms, length_ms)))
            before_ms = after_ms
        return found

    def at(self, time_ms: int) -> Point:
        """Return what there was until then; within a bucket it is spread by time."""
        of = self._of
        index = bisect_left(of.start_ms, time_ms) - 1
        if index < 0:
            return Point()
        first_ms, last_ms = of.first_ms[index], of.last_ms[index]
        if time_ms < first_ms:
            return self._beside(index - 1, time_ms)
        if time_ms >= last_ms:
            return self._beside(index, time_ms)
        elapsed_ms, length_ms = time_ms - first_ms, last_ms - first_ms
        return Point(
            self._climb[index] + of.rise[index] * elapsed_ms // length_ms,
            self._covered[index] + self._within_ms[index] * elapsed_ms // length_ms,
            self._falls[index],
        )

    def _beside(self, index: int, time_ms: int) -> Point:
        """Return the point between the last reading of this bucket and the first of the next."""
        of = self._of
        if index < 0:
            return Point()
        climb = self._climb[index] + of.rise[index]
        covered = self._covered[index] + self._within_ms[index]
        falls = self._falls[index] + of.falls[index]
        if index + 1 == len(of.start_ms):
            return Point(climb, covered, falls)
        before_ms, after_ms = of.last_ms[index], of.first_ms[index + 1]
        if time_ms >= after_ms:
            return Point(self._climb[index + 1], self._covered[index + 1], self._falls[index + 1])
        rise = self._climb[index + 1] - climb
        part = rise * (time_ms - before_ms) // (after_ms - before_ms)
        if after_ms - before_ms <= HOLD_MS:
            return Point(climb + part, covered + time_ms - before_ms, falls)
        if time_ms == before_ms:
            return Point(climb, covered, falls)
        return Point(climb + part, covered, falls, before_ms, part, rise - part)

    def last_ms_before(self, time_ms: int) -> int | None:
        """Return when the last reading came in the buckets that begin before."""
        count = bisect_left(self._of.start_ms, time_ms)
        return self._of.last_ms[count - 1] if count else None

    def has_within(self, time_ms: int) -> bool:
        """Tell whether this instant lies within a bucket, where only shorter ones know more."""
        count = bisect_left(self._of.start_ms, time_ms)
        return count > 0 and time_ms - self._of.start_ms[count - 1] < self._step_ms


def step_for(times: Sequence[int]) -> int:
    """Return the longest buckets that have a border at each of these instants, or the shortest."""
    for step_s in reversed(STEPS_S):
        if all(time_ms % (1000 * step_s) == 0 for time_ms in times):
            return step_s
    return FINEST_S


Load = Callable[[int, int, int], Registers]
"""Registers of start_ms <= t < end_ms by step_s, and the nearest on both sides."""


def points(load: Load, times: Sequence[int]) -> list[Point]:
    """Return the points of rising instants, all counted from one beginning.

    The instants between decide how long the buckets are; what is odd of the first and the last
    one is looked up in the minutes around them.
    """
    if not times:
        return []
    step_s = step_for(times[1:-1])
    climb = Climb(load(times[0], times[-1] + 1, step_s), step_s)
    found = [climb.at(time_ms) for time_ms in times]
    if step_s == FINEST_S:
        return found
    for index in {0, len(times) - 1}:
        time_ms = times[index]
        if climb.has_within(time_ms):
            border_ms = time_ms - time_ms % (1000 * step_s)
            minutes = Climb(load(border_ms, time_ms + 1, FINEST_S), FINEST_S)
            found[index] = moved(minutes.at(time_ms), minutes.at(border_ms), climb.at(border_ms))
    return found


class Power(NamedTuple):
    """A gauge over a time: extremes of what was read, and value * ms over what is covered."""

    minimum: int | None = None
    maximum: int | None = None
    integral: int = 0
    covered_ms: int = 0
    readings: int = 0

    def mean(self) -> float | None:
        """Return the mean weighted by time; of a lone reading nobody knows for how long."""
        return self.integral / self.covered_ms if self.covered_ms else None


def power(gauges: Gauges, step_s: int, start_ms: int, end_ms: int) -> Power:
    """Return these buckets as one; of those at the ends only the part within counts.

    Within a bucket the value is taken as even, and its extremes count wherever a part does.
    """
    if not gauges.start_ms:
        return Power()
    integral, covered_ms = sum(gauges.integral), sum(gauges.covered_ms)
    step_ms = 1000 * step_s
    for index in {0, len(gauges.start_ms) - 1}:
        begin = gauges.start_ms[index]
        outside = max(0, start_ms - begin) + max(0, begin + step_ms - end_ms)
        integral -= gauges.integral[index] * outside // step_ms
        covered_ms -= gauges.covered_ms[index] * outside // step_ms
    return Power(
        min(gauges.minimum), max(gauges.maximum), integral, covered_ms, sum(gauges.readings)
    )


def joined(parts: Sequence[Power]) -> Power:
    """Return several times as one."""
    return Power(
        min((part.minimum for part in parts if part.minimum is not None), default=None),
        max((part.maximum for part in parts if part.maximum is not None), default=None),
        sum(part.integral for part in parts),
        sum(part.covered_ms for part in parts),
        sum(part.readings for part in parts),
    )
