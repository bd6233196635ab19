"""What buckets must say, worked out the slow way, one ms range at a time, from all readings."""

from collections import defaultdict
from itertools import pairwise

from wattlog_host.history.columns import HOLD_MS
from wattlog_sim.lcg import Lcg

HOUR_MS = 3_600_000
WOBBLE = 50 * 10**5


class Rng:
    """Chance, the same for the same seed."""

    def __init__(self, seed):
        self._lcg = Lcg(seed, 1)

    def randrange(self, end):
        number = self._lcg.below(1 << 16) << 16 | self._lcg.below(1 << 16)
        return number % end

    def choice(self, some):
        return some[self._lcg.below(len(some))]

    def chance(self, percent):
        return self._lcg.below(100) < percent


def gauge_buckets(points, step_ms):
    """points are (time_ms, value), rising -> {start: [min, max, integral, covered_ms, readings]}."""
    buckets = defaultdict(lambda: [None, None, 0, 0, 0])

    def speak(start, value):
        one = buckets[start]
        one[0] = value if one[0] is None else min(one[0], value)
        one[1] = value if one[1] is None else max(one[1], value)
        return one

    before = None
    for time_ms, value in points:
        if before is not None and time_ms - before <= HOLD_MS:
            edges = [before, *range((before // step_ms + 1) * step_ms, time_ms, step_ms), time_ms]
            for low, high in pairwise(edges):
                one = speak(low // step_ms * step_ms, value)
                one[2] += value * (high - low)
                one[3] += high - low
        speak(time_ms // step_ms * step_ms, value)[4] += 1
        before = time_ms
    return dict(buckets)


def counter_buckets(points, step_ms):
    """As above -> {start: [first_ms, first, last_ms, last, rise, falls, readings]}."""
    found = {}
    high = hour = before = None
    for time_ms, value in points:
        if before is not None and time_ms // HOUR_MS != before // HOUR_MS:
            # What an hour goes by is what was read shortly before it.
            hour = time_ms // HOUR_MS * HOUR_MS
            high = None
            for at_ms, old in points:
                if hour - HOLD_MS <= at_ms < hour:
                    high = old if high is None or old > high or old < high - WOBBLE else high
        if high is not None and high - WOBBLE <= value < high:
            value = high
        high = value
        before = time_ms
        start = time_ms // step_ms * step_ms
        if start not in found:
            found[start] = [time_ms, value, time_ms, value, 0, 0, 1]
            continue
        one = found[start]
        one[4] += max(0, value - one[3])
        one[5] += value < one[3]
        one[2], one[3] = time_ms, value
        one[6] += 1
    return found
