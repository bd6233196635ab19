"""Answers as JSON: here integers become floats, and here is what each answer's JSON looks like."""

from collections.abc import Mapping, Sequence
from datetime import time
from decimal import Decimal
from typing import Any

from wattlog.channels import COUNTER, label
from wattlog_host.history.answers import (
    Compared,
    CounterAnswer,
    CurveAnswer,
    EnergyAnswer,
    Summary,
    Usual,
)
from wattlog_host.history.columns import HOLD_MS, MeterInfo, Reading
from wattlog_host.history.energy import Energy, Power
from wattlog_host.history.figures import FULL_COVERAGE, Figures
from wattlog_host.history.gauge import channel_of
from wattlog_host.history.house import Member
from wattlog_host.history.tariff import CT_PER_EUR, Tariffs, Window
from wattlog_host.history.zone import Zone
from wattlog_host.units import BY_ID, BY_KEY
from wattlog_host.web.languages import WEEKDAYS

MONEY_PLACES = 6
MEAN_PLACES = {"W": 1}
MEAN_PLACES_ELSE = 3
COVERAGE_PLACES = 4
WH = 10**5
KWH = 10**8
DERIVED = b"\xff" * 5


def kwh(units: float | None) -> float | None:
    """Return a stored energy in kWh, as exact as the meter; of a mean no more places than that."""
    return None if units is None else round(units) / KWH


def _money(amount: Decimal | None) -> float | None:
    return None if amount is None else float(round(amount, MONEY_PLACES))


def _watts(stored: float | None) -> float | None:
    return None if stored is None else round(stored / 1000, MEAN_PLACES["W"])


def _share(part: float | None) -> float | None:
    return None if part is None else round(part, COVERAGE_PLACES)


def meters(found: Sequence[MeterInfo], zone: Zone, now_ms: int) -> dict[str, Any]:
    """Return /api/meters."""
    return {
        "meters": [
            {
                "id": meter.id,
                "server_id": meter.server_id.hex(),
                "label": meter.label,
                "name": None,
                "first_ms": meter.first_ms,
                "last_ms": meter.last_ms,
                "channels": [
                    {
                        "key": channel.key,
                        "label": label(channel),
                        "unit": channel.unit,
                        "kind": channel.kind,
                        "obis": _obis(channel.obis),
                    }
                    for channel in (BY_ID[one] for one in meter.channels if one in BY_ID)
                ],
            }
            for meter in found
        ],
        "zone": zone.name,
        "now_ms": now_ms,
    }


def _obis(obis: bytes) -> str | None:
    if obis.startswith(DERIVED):
        return None
    return "{}-{}:{}.{}.{}*{}".format(*obis)


def raw(member: Member, found: Sequence[Reading]) -> list[dict[str, Any]]:
    """Return readings as energy-monitor's pages know them."""
    channel, counters = channel_of(member, "power_w") or 0, member.channels("import")
    return [
        {
            "t": one.time_ms,
            "p": None if (p := one.values.get(channel)) is None else p / 1000,
            "e": None if (e := _sum_of(one.values, counters)) is None else e / KWH,
        }
        for one in found
    ]


def _sum_of(stored: Mapping[int, int], channels: Sequence[int]) -> int | None:
    """Return what these registers show together, None where one is missing."""
    if len(channels) == 1:
        return stored.get(channels[0])
    if not channels or any(channel not in stored for channel in channels):
        return None
    return sum(stored[channel] for channel in channels)


def _head(
    chosen: Sequence[Member], key: str, span: tuple[int, int], width_s: int
) -> dict[str, Any]:
    return {
        "meter": chosen[0].meter.id if len(chosen) == 1 else None,
        "channel": key,
        "unit": BY_KEY[key].unit,
        "step_s": width_s,
        "start": span[0],
        "end": span[1],
    }


def curve(
    chosen: Sequence[Member], key: str, span: tuple[int, int], found: CurveAnswer
) -> dict[str, Any]:
    """Return a gauge by buckets, in columns."""
    channel = BY_KEY[key]
    scale = 10**channel.decimals
    places = MEAN_PLACES.get(channel.unit, MEAN_PLACES_ELSE)
    width_ms = 1000 * found.width_s
    made, energy = found.curve, found.imported
    return {
        **_head(chosen, key, span, found.width_s),
        "t": made.start_ms,
        "min": [None if one is None else one / scale for one in made.minimum],
        "mean": [None if one is None else round(one / scale, places) for one in made.mean],
        "max": [None if one is None else one / scale for one in made.maximum],
        "covered": [round(one / width_ms, COVERAGE_PLACES) for one in made.covered_ms],
        "energy_wh": _amounts(energy),
        "estimated": _estimated(energy),
    }


def counter(
    chosen: Sequence[Member], key: str, span: tuple[int, int], found: CounterAnswer
) -> dict[str, Any]:
    """Return a counter by buckets, in columns."""
    width_ms = 1000 * found.width_s
    return {
        **_head(chosen[:1], key, span, found.width_s),
        "t": found.start_ms,
        "first": [None if one is None else one / WH for one in found.first],
        "last": [None if one is None else one / WH for one in found.last],
        "rise": _amounts(found.energy),
        "covered": [
            0 if one is None else round(one.covered_ms / width_ms, COVERAGE_PLACES)
            for one in found.energy
        ],
        "estimated": _estimated(found.energy),
    }


def _amounts(energy: Sequence[Energy | None] | None) -> list[float | None] | None:
    if energy is None:
        return None
    return [None if one is None else one.amount / WH for one in energy]


def _estimated(energy: Sequence[Energy | None] | None) -> list[bool] | None:
    if energy is None:
        return None
    return [one is None or one.estimated > 0 for one in energy]


def figures(found: Figures) -> dict[str, Any]:
    """Return what a time took, without when it was."""
    bill = found.bill
    return {
        "import_kwh": kwh(found.imported),
        "export_kwh": kwh(found.exported),
        "estimated_kwh": kwh(found.estimated),
        "coverage": _share(found.coverage),
        "is_partial": found.is_partial,
        "resets": found.resets,
        "cost": None if bill is None else _money(bill.cost),
        "standing_cost": None if bill is None else _money(bill.standing),
        "export_credit": None if bill is None else _money(bill.credit),
        "unpriced_kwh": None if bill is None else kwh(bill.unpriced),
    }


def energy(found: EnergyAnswer, zone: Zone, currency: str) -> dict[str, Any]:
    """Return /api/energy."""
    total = found.total
    return {
        "zone": zone.name,
        "currency": currency,
        "buckets": [{"t": row.start_ms, "end": row.end_ms, **figures(row)} for row in found.rows],
        "total": None
        if total is None
        else {"t": total.start_ms, "end": total.end_ms, **figures(total)},
    }


def usual(found: Usual, zone: Zone) -> dict[str, Any]:
    """Return /api/energy_summary."""
    noons = [(zone.at(row.day, time(12)), row) for row in found.rows]
    return {
        "avg_daily": kwh(found.daily),
        "daily": [
            {
                "t": noon,
                "kwh": kwh(row.figures.imported),
                "is_partial": row.figures.is_partial,
            }
            for noon, row in noons
        ],
        "moving_avg_30d": [
            {"t": noon, "kwh": kwh(row.typical)} for noon, row in noons if row.typical is not None
        ],
    }


def days(found: Usual, currency: str, letters: int) -> dict[str, Any]:
    """Return /api/days; of each date so many letters; one that is partial is not compared."""
    return {
        "currency": currency,
        "rows": [
            {
                "date": row.day.isoformat()[:letters],
                "t": row.figures.start_ms,
                "end": row.figures.end_ms,
                **figures(row.figures),
                "typical_kwh": kwh(row.typical),
                "difference_kwh": kwh(row.figures.imported - row.typical)
                if row.is_usual and row.typical is not None and row.figures.imported is not None
                else None,
            }
            for row in found.rows
        ],
    }


def power(found: Power) -> dict[str, Any]:
    """Return the power of a time."""
    return {
        "min_power_watts": None if found.minimum is None else found.minimum / 1000,
        "max_power_watts": None if found.maximum is None else found.maximum / 1000,
        "avg_power_watts": _watts(found.mean()),
        "count": found.readings,
    }


def stats(span: tuple[int, int], found: Figures | None, powers: Power) -> dict[str, Any]:
    """Return /api/stats."""
    more: dict[str, Any] = dict.fromkeys(FIGURES) if found is None else figures(found)
    if found is None:
        more |= {"is_partial": True, "resets": 0}
    used = more.pop("import_kwh")
    return {
        "start": span[0],
        "end": span[1],
        "stats": {"energy_used_kwh": used, **power(powers), **more},
    }


FIGURES = (
    "import_kwh", "export_kwh", "estimated_kwh", "coverage", "is_partial", "resets", "cost",
    "standing_cost", "export_credit", "unpriced_kwh",
)  # fmt: skip


def summary(
    found: Summary, known: tuple[int, int], ct_per_kwh: Decimal | None, currency: str
) -> dict[str, Any]:
    """Return /api/summary; known is from the first to the last reading.

    ct_per_kwh is what a kWh costs on the mean.
    """
    return {
        "currency": currency,
        "periods": {
            one.name: {
                "start": one.figures.start_ms,
                "end": one.figures.end_ms,
                **figures(one.figures),
                "is_partial": one.is_running or one.figures.is_partial,
                "typical_kwh": kwh(one.typical),
                "typical_cost": _typical_cost(one.typical, one.figures, ct_per_kwh),
                "difference_kwh": _against(one.typical, one.figures, known),
            }
            for one in found.periods
        },
        "base_load_w": _watts(found.base_load),
        "peaks": [{"t": one.start_ms, "w": _watts(one.mean)} for one in found.peaks],
    }


def _typical_cost(
    typical: float | None, found: Figures, ct_per_kwh: Decimal | None
) -> float | None:
    if typical is None or found.bill is None or ct_per_kwh is None:
        return None
    return _money(Decimal(typical) * ct_per_kwh / (KWH * CT_PER_EUR) + found.bill.standing)


def _against(typical: float | None, found: Figures, known: tuple[int, int]) -> float | None:
    """Return what a time took more than is usual.

    None where it began long before the first reading, or ended long after the last one: the usual
    energy of a year says nothing about three weeks of one.
    """
    if typical is None or found.imported is None:
        return None
    start_ms, end_ms = found.start_ms, found.end_ms
    lost_ms = max(0, known[0] - start_ms) + max(0, end_ms - known[1])
    if lost_ms > max(HOLD_MS, (1 - FULL_COVERAGE) * (end_ms - start_ms)):
        return None
    return kwh(found.imported - typical)


def compare(one: Compared, other: Compared, currency: str, now_ms: int) -> dict[str, Any]:
    """Return /api/compare: b against a."""
    a, b = _side(one, now_ms), _side(other, now_ms)
    difference = {key: _difference(a[key], b[key]) for key in COMPARED}
    return {"currency": currency, "a": a, "b": b, "difference": difference}


COMPARED = (
    "import_kwh", "export_kwh", "cost", "daily_kwh", "daily_cost", "avg_power_w", "max_power_w",
)  # fmt: skip


def _side(found: Compared, now_ms: int) -> dict[str, Any]:
    shown = figures(found.figures)
    shown["is_partial"] |= found.figures.end_ms >= now_ms
    maximum, minimum = found.power.maximum, found.power.minimum
    return {
        "start": found.figures.start_ms,
        "end": found.figures.end_ms,
        **shown,
        "min_power_w": None if minimum is None else minimum / 1000,
        "avg_power_w": _watts(found.power.mean()),
        "max_power_w": None if maximum is None else maximum / 1000,
        "days": round(found.days, 6),
        "daily_kwh": _per(shown["import_kwh"], found.days),
        "daily_cost": _per(shown["cost"], found.days),
        "curve": {
            "t": list(found.course),
            "w": [_watts(mean) for mean in found.course.values()],
        },
    }


def _per(amount: float | None, days: float) -> float | None:
    return None if amount is None or days <= 0 else round(amount / days, MONEY_PLACES)


def _difference(a: float | None, b: float | None) -> dict[str, Any]:
    if a is None or b is None:
        return {"abs": None, "percent": None}
    percent = round(100 * (b - a) / abs(a), 2) if a else None
    return {"abs": round(b - a, 8), "percent": percent}


def tariffs(found: Tariffs, currency: str, zone: Zone, now_ms: int) -> dict[str, Any]:
    """Return /api/tariffs."""
    now = found.on(zone.day(now_ms))
    return {
        "currency": currency,
        "tariffs": [
            {
                "valid_from": one.valid_from.isoformat(),
                "valid_to": None if (last := found.last_day(one)) is None else last.isoformat(),
                "is_in_effect": one is now,
                "import_ct_per_kwh": float(one.import_ct_per_kwh),
                "export_ct_per_kwh": float(one.export_ct_per_kwh),
                "standing_per_year": float(one.standing_per_year),
                "windows": [_window(window) for window in one.windows],
            }
            for one in found.tariffs
        ],
    }


def _window(window: Window) -> dict[str, Any]:
    return {
        "from": _clock(window.start),
        "to": _clock(window.end),
        "days": [WEEKDAYS[day] for day in sorted(window.days)],
        "import_ct_per_kwh": float(window.import_ct_per_kwh),
    }


def _clock(quarter: int) -> str:
    return f"{quarter // 4:02}:{quarter % 4 * 15:02}"


def is_counter(key: str) -> bool:
    """Tell whether a channel is a counter."""
    return bool(BY_KEY[key].kind == COUNTER)
