"""What was missed while we were away, from either of the cloud's two memories.

Records of a day have everything, but are slow or not to be had. Series have five quantities and no
unit: one counts only where its overlap with what we stored ourselves proves which unit it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from wattlog_host.dess import ledger, model, parsing, units
from wattlog_host.dess.devcodes import Devcode
from wattlog_host.dess.ledger import Delivery
from wattlog_host.dess.mapping import Reading, readings_of
from wattlog_host.dess.model import Device, Record
from wattlog_host.dess.sensors import BY_ID

Sample = tuple[int, Decimal]

SERIES = (
    ("PV_OUTPUT_POWER", "solar_power"),
    ("LOAD_ACTIVE_POWER", "output_power"),
    ("GRID_ACTIVE_POWER", "grid_power"),
    ("BATTERY_ACTIVE_POWER", "battery_power"),
    ("BT_BATTERY_CAPACITY", "state_of_charge"),
)
PAIRS_MIN = 4
"""So many moments must agree, and nearly all that can be compared."""
SAME_MS = 60_000
_SMALL = Decimal(30)
_FACTORS = tuple(map(Decimal, (1, 1000, -1, -1000)))
_AGREE = Decimal("0.9")


def of_records(
    device: Device, devcode: Devcode, records: Iterable[Record], offset_s: int, now_ms: int
) -> list[Delivery]:
    """Return records as deliveries; one without a time that can be is passed over."""
    out = []
    for record in records:
        at_ms = model.utc_ms(record.local_time, offset_s)
        if at_ms is not None and at_ms <= now_ms:
            readings = tuple(readings_of(devcode, record.points).readings.values())
            out.append(Delivery(device, at_ms, now_ms, ledger.BY_HISTORY, readings))
    return out


def of_series(rows: Iterable[Mapping[str, Any]], offset_s: int, now_ms: int) -> list[Sample]:
    """Return a series' samples in whatever unit it has."""
    out = []
    for row in rows:
        text = parsing.text_of(row.get("ts", row.get("gts")), 40)
        at_ms, value = model.utc_ms(text, offset_s), parsing.decimal(row.get("val"))
        if at_ms is not None and at_ms <= now_ms and value is not None:
            out.append((at_ms, value))
    return out


def factor_of(
    parameter: str, samples: Sequence[Sample], known: Sequence[tuple[int, Decimal | str | None]]
) -> Decimal | None:
    """Return what to multiply a series by, None where that is not proven.

    W or kW, and for what has two directions either sign; exactly one of them must fit.
    """
    if parameter == "BT_BATTERY_CAPACITY":
        return Decimal(1)
    pairs = _pairs(samples, known)
    if len(pairs) < PAIRS_MIN:
        return None
    fitting = [
        factor
        for factor in _FACTORS
        if sum(_fits(value * factor, stored) for value, stored in pairs) >= _AGREE * len(pairs)
    ]
    return fitting[0] if len(fitting) == 1 else None


def of_all_series(
    device: Device, series: Mapping[str, Sequence[Sample]], now_ms: int
) -> list[Delivery]:
    """Return the series' samples as records, one for each moment."""
    moments: dict[int, list[Reading]] = {}
    for sensor_id, samples in series.items():
        sensor = BY_ID[sensor_id]
        unit = units.UNITS[sensor.unit]
        for at_ms, value in samples:
            if not unit.low <= value <= unit.high:
                continue
            moments.setdefault(at_ms, []).append(
                Reading(
                    sensor.id,
                    sensor.label,
                    sensor.unit,
                    value,
                    "history",
                    device_class=sensor.device_class,
                    state_class=sensor.state_class,
                )
            )
    return [
        Delivery(device, at_ms, now_ms, ledger.BY_HISTORY, tuple(readings))
        for at_ms, readings in sorted(moments.items())
    ]


def _pairs(
    samples: Sequence[Sample], known: Sequence[tuple[int, Decimal | str | None]]
) -> list[tuple[Decimal, Decimal]]:
    """Return the values that both have at the same moment, and that are large enough to tell."""
    stored = {at_ms // SAME_MS: value for at_ms, value in known}
    out = []
    for at_ms, value in samples:
        other = stored.get(at_ms // SAME_MS)
        if isinstance(other, Decimal) and abs(other) >= _SMALL:
            out.append((value, other))
    return out


def _fits(value: Decimal, stored: Decimal) -> bool:
    return abs(value - stored) <= max(abs(stored) / 20, Decimal(5))
