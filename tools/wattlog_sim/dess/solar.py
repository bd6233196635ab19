"""A roof, a battery and a load as physics: a pure function of (seed, local second).

Asked twice, or after a restart, it says the same, so that its counters never step back. The
battery's day begins at six in the morning, when the night has always emptied it; so each day can
be worked out alone, in steps of five minutes, and days add up.
"""

import math
import zlib
from functools import lru_cache
from typing import NamedTuple

STEP_S = 300
DAY_S = 86_400
DAWN_S = 6 * 3_600
FIRST_DAY = 20_454
"""2026-01-01, in days since 1970: its counters start here."""

FLOOR_PERCENT = 20.0
CAPACITY_WH = 5_000.0
CHARGE_W_MAX = 3_000.0
EFFICIENCY = 0.95


class Moment(NamedTuple):
    """Powers in W: grid positive for import, battery for charging; energies in Wh since dawn."""

    solar_w: float
    load_w: float
    grid_w: float
    battery_w: float
    soc_percent: float
    solar_wh: float
    load_wh: float
    import_wh: float
    export_wh: float
    charge_wh: float
    discharge_wh: float


class Totals(NamedTuple):
    """What was counted in Wh since the first day; today is the calendar's, the rest for ever."""

    solar_today_wh: float
    solar_wh: float
    load_wh: float
    import_wh: float
    export_wh: float
    charge_wh: float
    discharge_wh: float


class Roof:
    """One inverter's world."""

    def __init__(self, seed: int, peak_w: float = 6_000.0) -> None:
        """Take which house it is, and what the panels give at best."""
        self._seed = seed
        self._peak_w = peak_w
        self._days: dict[int, list[Moment]] = {}
        self._sums: list[tuple[float, ...]] = [(0.0,) * 6]

    def at(self, local_s: int) -> tuple[Moment, Totals]:
        """Return powers and counters at a second of the local clock."""
        day, second = divmod(local_s - DAWN_S, DAY_S)
        moment = self._day(day)[second // STEP_S]
        before = self._before(day)
        since = moment[5:]
        today_wh = moment.solar_wh if second < DAY_S - DAWN_S else 0.0
        totals = [one + other for one, other in zip(before, since, strict=True)]
        return moment, Totals(today_wh, *totals)

    def _before(self, day: int) -> tuple[float, ...]:
        count = max(0, day - FIRST_DAY)
        while len(self._sums) <= count:
            last = self._day(FIRST_DAY + len(self._sums) - 1)[-1]
            self._sums.append(
                tuple(one + other for one, other in zip(self._sums[-1], last[5:], strict=True))
            )
        return self._sums[count]

    def _day(self, day: int) -> list[Moment]:
        found = self._days.get(day)
        if found is None:
            found = self._days[day] = self._make(day)
            if len(self._days) > 40:
                del self._days[min(self._days)]
        return found

    def _make(self, day: int) -> list[Moment]:
        season = 0.55 - 0.45 * math.cos(2 * math.pi * (day % 365.25 - 355) / 365.25)
        sky = 0.25 + 0.75 * self._chance(day, 0)
        sums = [0.0] * 6
        soc_wh = CAPACITY_WH * FLOOR_PERCENT / 100
        out = []
        for step in range(DAY_S // STEP_S):
            hour = 6 + step * STEP_S / 3_600
            height = max(0.0, math.sin(math.pi * (hour - 6) / 14)) if hour < 20 else 0.0
            cloud = sky + (1 - sky) * self._chance(day, 1 + step // 4)
            solar = self._peak_w * season * height * cloud
            evening = math.exp(-(((hour - 19.5) / 2) ** 2)) + 0.6 * math.exp(-((hour - 12) ** 2))
            load = 380 + 1_500 * evening + 500 * self._chance(day, 1_000 + step // 3)
            battery, soc_wh = _battery(solar - load, soc_wh)
            grid = load + battery - solar
            hours = STEP_S / 3_600
            parts = (solar, load, max(grid, 0), max(-grid, 0), max(battery, 0), max(-battery, 0))
            sums = [total + part * hours for total, part in zip(sums, parts, strict=True)]
            soc = 100 * soc_wh / CAPACITY_WH
            out.append(Moment(solar, load, grid, battery, soc, *sums))
        return out

    def _chance(self, day: int, number: int) -> float:
        return zlib.crc32(b"%d %d %d" % (self._seed, day, number)) / 2**32


@lru_cache(64)
def roof(seed: int, peak_w: float = 6_000.0) -> Roof:
    """Return the world of this inverter; worked out once, for it never changes."""
    return Roof(seed, peak_w)


def _battery(surplus_w: float, soc_wh: float) -> tuple[float, float]:
    """Return what goes into the battery for one step, and what is in it then."""
    hours, floor_wh = STEP_S / 3_600, CAPACITY_WH * FLOOR_PERCENT / 100
    if surplus_w > 0:
        room_w = (CAPACITY_WH - soc_wh) / hours / EFFICIENCY
        power = min(surplus_w, CHARGE_W_MAX, room_w)
        return power, soc_wh + power * hours * EFFICIENCY
    power = max(surplus_w, -CHARGE_W_MAX, -(soc_wh - floor_wh) / hours)
    return power, soc_wh + power * hours
