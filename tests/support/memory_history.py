"""A past made from a list of readings, each answer worked out from all of them, the slow way.

It shares nothing with the store but the types: what a host makes of its database must be the same.
"""

from collections import namedtuple
from functools import cache
from itertools import pairwise

from wattlog_host.history.columns import (
    HOLD_MS,
    STEPS_S,
    Gauges,
    Lost,
    MeterInfo,
    Reading,
    Registers,
)
from wattlog_host.units import BY_ID, BY_KEY

POWER, IMPORT, EXPORT = (BY_KEY[key].id for key in ("power_w", "import_wh", "export_wh"))
WH = 10**5
W = 1000

Truth = namedtuple("Truth", "climb covered_ms falls estimated")


class MemoryHistory:
    """readings: {meter id: [(time_ms, {channel: stored value})]}, rising."""

    def __init__(self, readings, losses=()):
        self.all = {
            meter_id: sorted(rows, key=lambda row: row[0]) for meter_id, rows in readings.items()
        }
        self.lost = list(losses)
        self.asked = []
        self._gauges, self._registers = cache(self._all_gauges), cache(self._all_registers)

    def meters(self):
        return [
            MeterInfo(
                meter_id, bytes([9, meter_id]), f"1 TST00 {meter_id:08}", rows[0][0], rows[-1][0],
                sorted({channel for _, values in rows for channel in values}),
            )
            for meter_id, rows in sorted(self.all.items())
            if rows
        ]  # fmt: skip

    def meter(self, name):
        return next((one for one in self.meters() if one.is_called(name)), None)

    def has_more_meters_than(self, count):
        return len(self.all) > count

    def points(self, meter_id, channel):
        return [(at, values[channel]) for at, values in self.all[meter_id] if channel in values]

    def gauges(self, meter_id, channel, start_ms, end_ms, step_s):
        assert step_s in STEPS_S and BY_ID[channel].kind == "gauge"
        self.asked.append(("gauges", meter_id, channel, start_ms, end_ms, step_s))
        rows = [
            row
            for row in self._gauges(meter_id, channel, step_s)
            if row[0] < end_ms and row[0] + 1000 * step_s > start_ms
        ]
        return (
            Gauges(*map(list, zip(*rows, strict=True)))
            if rows
            else Gauges(*([] for _ in range(6)))
        )

    def _all_gauges(self, meter_id, channel, step_s):
        step_ms = 1000 * step_s
        found = {}

        def bucket(start):
            return found.setdefault(
                start, {"values": [], "integral": 0, "covered": 0, "readings": 0}
            )

        for at, value in (points := self.points(meter_id, channel)):
            one = bucket(at // step_ms * step_ms)
            one["values"].append(value)
            one["readings"] += 1
        for (before, _), (at, value) in pairwise(points):
            if at - before <= HOLD_MS:
                for start, spoken in parts(before, at, step_ms):
                    one = bucket(start)
                    one["values"].append(value)
                    one["integral"] += value * spoken
                    one["covered"] += spoken
        return [
            (
                start,
                min(one["values"]),
                max(one["values"]),
                one["integral"],
                one["covered"],
                one["readings"],
            )
            for start, one in sorted(found.items())
        ]

    def registers(self, meter_id, channel, start_ms, end_ms, step_s):
        assert step_s in STEPS_S and BY_ID[channel].kind == "counter"
        self.asked.append(("registers", meter_id, channel, start_ms, end_ms, step_s))
        step_ms, rows = 1000 * step_s, self._registers(meter_id, channel, step_s)
        low = [row for row in rows if row[0] + step_ms <= start_ms][-1:]
        high = [row for row in rows if row[0] >= end_ms][:1]
        inside = [row for row in rows if row[0] < end_ms and row[0] + step_ms > start_ms]
        chosen = low + inside + high
        return (
            Registers(*map(list, zip(*chosen, strict=True)))
            if chosen
            else Registers(*([] for _ in range(9)))
        )

    def _all_registers(self, meter_id, channel, step_s):
        step_ms = 1000 * step_s
        points = self.points(meter_id, channel)
        covered = {}
        for (before, _), (at, _) in pairwise(points):
            if at - before <= HOLD_MS:
                for start, spoken in parts(before, at, step_ms):
                    covered[start] = covered.get(start, 0) + spoken
        within = {}
        for at, value in points:
            within.setdefault(at // step_ms * step_ms, []).append((at, value))
        rows = []
        for start, own in sorted(within.items()):
            steps = [after - before for (_, before), (_, after) in pairwise(own)]
            rows.append(
                (start, *own[0], *own[-1], sum(step for step in steps if step > 0),
                 sum(step < 0 for step in steps), covered.get(start, 0), len(own))
            )  # fmt: skip
        return rows

    def readings(self, meter_id, start_ms, end_ms, count_max):
        rows = [(at, values) for at, values in self.all[meter_id] if start_ms <= at < end_ms]
        return [Reading(at, "sync", values) for at, values in rows[:count_max]]

    def losses(self, start_ms, end_ms, count_max):
        found = [
            lost
            for lost in self.lost
            if (lost.start_ms or start_ms) < end_ms and (lost.end_ms or end_ms) > start_ms
        ]
        return [Lost(*lost) for lost in found[:count_max]]


def parts(before, at, step_ms):
    """(start of the bucket, ms of it) for all buckets between two times."""
    while before < at:
        start = before // step_ms * step_ms
        end = min(start + step_ms, at)
        yield start, end - before
        before = end


def truth(points, start_ms, end_ms):
    """What the readings say of a time: each pair of neighbours on its own."""
    climb = covered = falls = estimated = 0
    for (before_ms, before), (at_ms, after) in pairwise(points):
        low, high = max(before_ms, start_ms), min(at_ms, end_ms)
        falls += after < before and start_ms < at_ms <= end_ms
        if low >= high:
            continue
        rise, length = max(0, after - before), at_ms - before_ms
        part = rise * (high - before_ms) // length - rise * (low - before_ms) // length
        climb += part
        if length <= HOLD_MS:
            covered += high - low
        elif before_ms < start_ms or at_ms > end_ms:
            estimated += part
    return Truth(climb, covered, falls, estimated)
