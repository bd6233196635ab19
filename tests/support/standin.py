"""A host that is not one: the real pages over an API that answers from formulas, and can misbehave.

A house with a roof, by Berlin's clock, of which the night before the end of summer time is
missing. Everything follows from the time asked for, so that each picture is always the same.
"""

import math
from bisect import bisect_left
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Berlin")
QUARTER_MS = 900_000
DAY_MS = 86_400_000
CURRENCY = "EUR"
IMPORT_EUR, EXPORT_EUR, STANDING_EUR_DAY = 0.3102, 0.08, 120 / 365
TARIFF = {
    "valid_from": "2025-09-01", "valid_to": None, "is_in_effect": True, "import_ct_per_kwh": 31.02,
    "export_ct_per_kwh": 8.0, "standing_per_year": 120.0, "windows": [], "currency": CURRENCY,
}  # fmt: skip


def at(text: str) -> int:
    """Return ms since 1970 of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000)


# Monday evening; summer time ended the day before.
NOW_MS = at("2026-10-26T18:07:04")
FIRST_MS = at("2025-09-01T00:00")
GAP = (at("2026-10-23T14:00"), at("2026-10-24T02:00"))


def noise(number: int) -> float:
    """Return 0..1, always the same for a number."""
    number = (number * 2654435761 + 1013904223) & 0xFFFFFFFF
    number ^= number >> 15
    return ((number * 2246822519) & 0xFFFFFFFF) / 2**32


@cache
def power_w(time_ms: int) -> float:
    """Return the grid's power: what the house takes less what its roof gives."""
    moment = datetime.fromtimestamp(time_ms / 1000, ZONE)
    hour = moment.hour + moment.minute / 60 + moment.second / 3600
    minutes = time_ms // 60_000
    load = 165 + 80 * ((minutes // 17) % 3 == 0) + 25 * noise(minutes)
    load += 900 * math.exp(-((hour - 7.2) ** 2) / 0.9) + 1100 * math.exp(-((hour - 19) ** 2) / 3.5)
    if noise(minutes // 20) > 0.96 and 6 < hour < 23:
        load += 2100
    year_part = moment.timetuple().tm_yday / 365
    light = 0.55 - 0.45 * math.cos(2 * math.pi * (year_part - 0.03))
    cloud = 0.25 + 0.75 * noise(time_ms // DAY_MS)
    height = math.cos((hour - 13) / (3.2 + 4 * light) * math.pi / 2)
    roof = (
        4200 * light * cloud * max(0.0, height) ** 1.3 if abs(hour - 13) < 3.2 + 4 * light else 0
    )
    return round(load - roof * (0.85 + 0.15 * noise(minutes // 3)), 1)


PHASES = {"l1": 0.5, "l2": 0.3, "l3": 0.2}
CHANNELS = {
    "power_w": ("Power", "W", "gauge"),
    **{f"power_{one}_w": (f"Power {one.upper()}", "W", "gauge") for one in PHASES},
    **{f"voltage_{one}_v": (f"Voltage {one.upper()}", "V", "gauge") for one in PHASES},
    **{f"current_{one}_a": (f"Current {one.upper()}", "A", "gauge") for one in PHASES},
    "frequency_hz": ("Frequency", "Hz", "gauge"),
    "import_wh": ("Import", "Wh", "counter"),
    "export_wh": ("Export", "Wh", "counter"),
}


def gauge(channel: str, time_ms: int) -> float:
    """Return what a gauge says at this time, in its unit."""
    watts = power_w(time_ms)
    name, _, phase = channel.rpartition("_")[0].partition("_")
    if not phase:
        return watts if name == "power" else 50 + 0.04 * (noise(time_ms // 60_000) - 0.5)
    part = watts * PHASES[phase]
    volts = 231 + 3 * PHASES[phase] - part / 2000 + noise(time_ms // 60_000)
    return round({"power": part, "voltage": volts, "current": part / volts}[name], 3)


@cache
def quarters() -> tuple[list[int], list[float], list[float]]:
    """Return starts of quarter hours and the counters at them, in kWh: import and export."""
    starts = list(range(FIRST_MS, NOW_MS + 3_600_000, QUARTER_MS))
    taken, given = [14_230.0], [3_120.0]
    for start in starts:
        mean = sum(power_w(start + step * 180_000) for step in range(5)) / 5
        taken.append(taken[-1] + max(mean, 0) / 4000)
        given.append(given[-1] + max(-mean, 0) / 4000)
    return starts, taken, given


def counters(time_ms: int) -> tuple[float, float]:
    """Return import and export in kWh at this time."""
    starts, taken, given = quarters()
    index = min(max(bisect_left(starts, time_ms) - 1, 0), len(starts) - 1)
    part = min(max((time_ms - starts[index]) / QUARTER_MS, 0), 1)
    return tuple(many[index] + part * (many[index + 1] - many[index]) for many in (taken, given))


def missing_ms(start: int, end: int) -> int:
    """Return how much of a time lies in the gap or before the first reading."""
    lost = max(0, min(end, GAP[1]) - max(start, GAP[0]))
    return lost + max(0, min(end, FIRST_MS) - start)


def covered(start: int, end: int) -> float:
    return 1 - missing_ms(start, end) / (end - start) if end > start else 0.0


def energy(start: int, end: int, now_ms: int) -> dict:
    """Return one bucket of /api/energy."""
    until = min(end, now_ms)
    bucket = {"t": start, "end": end, "is_partial": end > now_ms, "resets": 0}
    if until <= max(start, FIRST_MS):
        nothing = dict.fromkeys(("import_kwh", "export_kwh", "cost"))
        return {**bucket, **nothing, "estimated_kwh": 0.0, "coverage": 0.0}
    (a, b), (c, d) = counters(max(start, FIRST_MS)), counters(until)
    gap_start, gap_end = max(start, GAP[0]), min(until, GAP[1])
    guessed = counters(gap_end)[0] - counters(gap_start)[0] if gap_end > gap_start else 0.0
    return {
        **bucket,
        "import_kwh": round(c - a, 4),
        "export_kwh": round(d - b, 4),
        "estimated_kwh": round(guessed, 4),
        "coverage": round(covered(start, until), 4),
        "cost": round(
            (c - a) * IMPORT_EUR - (d - b) * EXPORT_EUR
            + STANDING_EUR_DAY * (until - start) / DAY_MS, 4
        ),
    }  # fmt: skip


def local(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, ZONE)


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp() * 1000)


def borders(start: int, end: int, per: str) -> list[int]:
    """Return where the calendar's buckets begin that overlap a time, and the last one's end."""
    day = local(start).date()
    if per == "hour":
        first = start - start % 3_600_000
        return list(range(first, end + 3_600_000, 3_600_000))
    steps = {
        "day": lambda one: one + timedelta(1),
        "week": lambda one: one + timedelta(7),
        "month": lambda one: (one.replace(day=1) + timedelta(32)).replace(day=1),
        "year": lambda one: date(one.year + 1, 1, 1),
    }
    begin = {
        "day": day,
        "week": day - timedelta(day.weekday()),
        "month": day.replace(day=1),
        "year": date(day.year, 1, 1),
    }[per]
    found = [begin]
    while midnight(found[-1]) < end:
        found.append(steps[per](found[-1]))
    return [midnight(one) for one in found]


def buckets(start: int, end: int, per: str, now_ms: int) -> list[dict]:
    return [energy(a, b, now_ms) for a, b in pairwise(borders(start, end, per)) if a < now_ms]


@cache
def columns(start: int, end: int, points: int, after: int, now_ms: int, channel: str) -> dict:
    """Return /api/readings with points."""
    step_s = next(
        step for step in (60, 900, 3600, 7200, 14_400, 43_200, 86_400, 604_800)
        if (end - start) / 1000 / step <= points
    )  # fmt: skip
    step = step_s * 1000
    answer = {
        "meter": None, "channel": channel, "unit": CHANNELS[channel][1], "step_s": step_s, "start": start, "end": end,
        "t": [], "min": [], "mean": [], "max": [], "covered": [], "estimated": [], "energy_wh": None,
        "first": [], "last": [], "rise": [],
    }  # fmt: skip
    for begin in range(start - start % step, min(end, now_ms), step):
        if begin <= after:
            continue
        until = min(begin + step, now_ms)
        share = covered(begin, until) * (until - begin) / step
        answer["t"].append(begin)
        answer["covered"].append(round(share, 3))
        answer["estimated"].append(share == 0)
        values = [None] * 3
        reading = [None] * 3
        if share > 0:
            many = [
                power_w(begin)
                if channel.endswith("wh")
                else gauge(channel, begin + step * part // 6)
                for part in range(6)
            ]
            values = [min(many), round(sum(many) / 6, 3), max(many)]
            a, b = counters(begin)[0], counters(until)[0]
            reading = [round(1000 * a, 1), round(1000 * b, 1), round(1000 * (b - a), 1)]
        for key, value in zip(("min", "mean", "max"), values, strict=True):
            answer[key].append(value)
        for key, value in zip(("first", "last", "rise"), reading, strict=True):
            answer[key].append(value)
    return answer


def raw(start: int, end: int, after: int, now_ms: int) -> list[dict]:
    """Return /api/readings without points: one each 10 s."""
    first = max(start, after + 1, FIRST_MS)
    first += -first % 10_000
    return [
        {"t": time, "p": power_w(time), "e": round(counters(time)[0], 4)}
        for time in range(first, min(end, now_ms) + 1, 10_000)
        if not GAP[0] <= time < GAP[1]
    ]


@cache
def stats(start: int, end: int, now_ms: int) -> dict:
    until = min(end, now_ms)
    one = energy(start, until, now_ms)
    step = max(60_000, (until - start) // 500)
    many = [
        power_w(time) for time in range(start, max(until, start), step)
        if not GAP[0] <= time < GAP[1] and time >= FIRST_MS
    ]  # fmt: skip
    return {
        "start": start,
        "end": end,
        "stats": {
            "energy_used_kwh": one["import_kwh"],
            "export_kwh": one["export_kwh"],
            "min_power_watts": min(many, default=None),
            "max_power_watts": max(many, default=None),
            "avg_power_watts": round(sum(many) / len(many), 1) if many else None,
            "count": int((until - start - missing_ms(start, until)) / 10_000) if many else 0,
            "coverage": one["coverage"],
            "estimated_kwh": one["estimated_kwh"],
            "cost": one["cost"],
        },
    }


def typical_day(now_ms: int) -> float:
    start = now_ms - 365 * DAY_MS
    return (counters(now_ms)[0] - counters(start)[0]) / 365


@cache
def summary(now_ms: int) -> dict:
    today = local(now_ms).date()
    starts = {
        "today": midnight(today),
        "this_week": midnight(today - timedelta(today.weekday())),
        "this_month": midnight(today.replace(day=1)),
        "this_year": midnight(date(today.year, 1, 1)),
        "total": FIRST_MS,
        "last_24h": now_ms - DAY_MS,
        "last_7d": now_ms - 7 * DAY_MS,
        "last_30d": now_ms - 30 * DAY_MS,
    }
    periods = {}
    for name, start in starts.items():
        one = energy(start, now_ms, now_ms)
        typical = None if name == "total" else typical_day(now_ms) * (now_ms - start) / DAY_MS
        periods[name] = {
            "start": start, "end": now_ms,
            **{key: one[key] for key in ("import_kwh", "export_kwh", "cost", "coverage")},
            "typical_kwh": typical,
            "typical_cost": None if typical is None else typical * IMPORT_EUR,
            "difference_kwh": None if typical is None else one["import_kwh"] - typical,
            "is_partial": not name.startswith("last"),
        }  # fmt: skip
    found = sorted(
        ((power_w(time), time) for time in range(now_ms - 30 * DAY_MS, now_ms, QUARTER_MS)),
        reverse=True,
    )[:5]
    return {
        "periods": periods,
        "base_load_w": 186.4,
        "peaks": [{"t": time, "w": power} for power, time in found],
        "currency": CURRENCY,
    }


@cache
def energy_summary(start: int, end: int, now_ms: int) -> dict:
    daily, averages = [], []
    for bucket in buckets(start, end, "day", now_ms):
        noon = bucket["t"] + DAY_MS // 2
        before = max(bucket["t"] - 29 * DAY_MS, FIRST_MS)
        until = min(bucket["end"], now_ms)
        days = (until - before) / DAY_MS
        daily.append({"t": noon, "kwh": bucket["import_kwh"], "is_partial": bucket["is_partial"]})
        mean = (counters(until)[0] - counters(before)[0]) / days if days > 0 else None
        averages.append({"t": noon, "kwh": mean})
    return {"avg_daily": typical_day(now_ms), "daily": daily, "moving_avg_30d": averages}


def day_rows(month: str | None, year: str | None, now_ms: int) -> list[dict]:
    """Return the rows of /api/days: days of a month, or months of a year; newest last."""
    typical = typical_day(now_ms)
    if month:
        first = date.fromisoformat(f"{month}-01")
        last = (first + timedelta(32)).replace(day=1)
        per = "day"
    else:
        first, last, per = date(int(year), 1, 1), date(int(year) + 1, 1, 1), "month"
    rows = []
    for bucket in buckets(midnight(first), midnight(last), per, now_ms):
        until = min(bucket["end"], now_ms)
        usual = typical * (until - bucket["t"]) / DAY_MS
        used = bucket["import_kwh"]
        rows.append(
            {
                "date": local(bucket["t"]).date().isoformat()[: 10 if month else 7],
                **{key: bucket[key] for key in ("import_kwh", "export_kwh", "cost", "coverage", "is_partial")},
                "typical_kwh": usual,
                "difference_kwh": None if used is None else used - usual,
            }
        )  # fmt: skip
    return rows


def compared(start: int, end: int, now_ms: int) -> dict:
    until = min(end, now_ms)
    one = energy(start, end, now_ms)
    shown = stats(start, end, now_ms)["stats"]
    days = max(until - start, 1) / DAY_MS
    step = 900_000 if days <= 2 else 3_600_000 if days <= 10 else 6 * 3_600_000
    times = range(0, until - start, step)
    used = one["import_kwh"]
    return {
        "start": start, "end": end, "is_partial": one["is_partial"],
        "import_kwh": used, "export_kwh": one["export_kwh"], "cost": one["cost"],
        "coverage": one["coverage"], "avg_power_w": shown["avg_power_watts"],
        "daily_kwh": None if used is None else used / days,
        "daily_cost": None if used is None else one["cost"] / days,
        "curve": {
            "t": list(times),
            "w": [
                None if missing_ms(start + time, start + time + step) else power_w(start + time)
                for time in times
            ],
        },
    }  # fmt: skip


def as_long(start: int, of: tuple[int, int]) -> int:
    """Return when the wall clock has moved on from start as far as it does in a time."""
    naive = [local(time).replace(tzinfo=None) for time in (start, *of)]
    return int((naive[0] + (naive[2] - naive[1])).replace(tzinfo=ZONE).timestamp() * 1000)


def compare(a: tuple[int, int], b: tuple[int, int], now_ms: int) -> dict:
    if b[1] > now_ms:
        b = (b[0], now_ms)
        a = (a[0], as_long(a[0], b))
    one, two = compared(*a, now_ms), compared(*b, now_ms)
    difference = {}
    for key in ("import_kwh", "export_kwh", "cost", "avg_power_w", "daily_kwh", "daily_cost"):
        if one[key] is None or two[key] is None:
            difference[key] = {"abs": None, "percent": None}
            continue
        change = two[key] - one[key]
        percent = 100 * change / one[key] if one[key] else None
        difference[key] = {"abs": change, "percent": percent}
    return {"a": one, "b": two, "difference": difference, "currency": CURRENCY}


def preset(name: str, now_ms: int) -> tuple[tuple[int, int], tuple[int, int]]:
    today = local(now_ms).date()
    monday, first = today - timedelta(today.weekday()), today.replace(day=1)
    one = timedelta(1)
    later = (first + timedelta(32)).replace(day=1)
    before = (first - one).replace(day=1)
    last_year = first.replace(year=first.year - 1)
    spans = {
        "previous_day": ((today - one, today), (today, today + one)),
        "previous_week": ((monday - 7 * one, monday), (monday, monday + 7 * one)),
        "previous_month": ((before, first), (first, later)),
        "same_week_last_year": ((monday - 364 * one, monday - 357 * one), (monday, monday + 7 * one)),
        "same_month_last_year": (
            (last_year, (last_year + timedelta(32)).replace(day=1)), (first, later)
        ),
    }[name]  # fmt: skip
    (a, b), (c, d) = spans
    return (midnight(a), midnight(b)), (midnight(c), midnight(d))
