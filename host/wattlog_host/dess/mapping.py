"""From what a device said to readings: titles to sensors, units, texts to classes.

Nothing is dropped: a title without a sensor becomes a reading of its own. Nothing is invented: a
value that is none is None, and counted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from wattlog_host.dess import units
from wattlog_host.dess.devcodes import Devcode, Words
from wattlog_host.dess.parsing import PLACES, Point, decimal, is_placeholder, text_of
from wattlog_host.dess.sensors import (
    BY_ID,
    BY_TITLE,
    MODES,
    NEVER,
    PRIORITIES,
    SUMMARY,
    Period,
    Sensor,
)

KEY_MAX = 60
_TEXT_NUMBER = re.compile(r"[+-]?0\d")


@dataclass(frozen=True, slots=True)
class Reading:
    """One quantity of one device at one moment; value in unit, or text and its class.

    source is the title that it came under: a counter that changes its source begins anew.
    """

    key: str
    label: str
    unit: str
    value: Decimal | None
    source: str
    text: str | None = None
    text_class: str | None = None
    device_class: str | None = None
    state_class: str | None = None
    period: Period = ""
    is_diagnostic: bool = False
    is_generic: bool = False


@dataclass(slots=True)
class Mapped:
    """The readings of one record, and what was passed over, by reason."""

    readings: dict[str, Reading] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def sensor_of(title: str, devcode: Devcode) -> str | None:
    """Return the id of the sensor that a title means on this protocol."""
    folded = _folded(title)
    if title in devcode.titles:
        return devcode.titles[title]
    if title.lower() in BY_TITLE:
        return BY_TITLE[title.lower()]
    for known, sensor in devcode.titles.items():
        if _folded(known) == folded:
            return sensor
    return BY_TITLE.get(folded)


def readings_of(
    devcode: Devcode,
    points: Sequence[Point],
    parameters: Sequence[Point] = (),
    summary: Mapping[str, object] | None = None,
) -> Mapped:
    """Return the readings of a record; for each sensor the first title that means it counts."""
    out = Mapped()
    seen: set[str] = set()
    for point in points:
        if point.title in seen:
            out.counts["duplicate"] += 1
        elif point.title.lower() not in NEVER:
            _add_point(out, point, devcode)
        seen.add(point.title)
    for point in parameters:
        sensor_id = devcode.parameters.get(point.title)
        if sensor_id is not None and sensor_id not in out.readings:
            _add(out, BY_ID[sensor_id], point, devcode)
    for point in _summary_points(summary or {}):
        # The device's own word comes first; its other names are no readings of their own.
        for sensor_id in {devcode.titles.get(point.title), BY_TITLE.get(point.title.lower())}:
            if sensor_id is not None and sensor_id not in out.readings:
                _add(out, BY_ID[sensor_id], point, devcode)
    return out


def _add_point(out: Mapped, point: Point, devcode: Devcode) -> None:
    sensor_id = sensor_of(point.title, devcode)
    if sensor_id is None:
        out.unknown.append(point.title)
    if sensor_id is None or sensor_id in out.readings:
        _add_generic(out, point)
    else:
        _add(out, BY_ID[sensor_id], point, devcode)


def _summary_points(summary: Mapping[str, object]) -> Iterable[Point]:
    for title, unit in SUMMARY:
        if title in summary:
            yield Point(title, summary[title], unit)


def _add(out: Mapped, sensor: Sensor, point: Point, devcode: Devcode) -> None:
    value, text, text_class = None, None, None
    if is_placeholder(point.value):
        out.counts["placeholder"] += 1
    elif sensor.is_text:
        text, text_class = _text(sensor, point, devcode)
    else:
        value = _number(sensor, point, devcode, out.counts)
    out.readings[sensor.id] = Reading(
        sensor.id,
        sensor.label,
        sensor.unit,
        value,
        point.title,
        text,
        text_class,
        sensor.device_class,
        sensor.state_class,
        sensor.period,
        sensor.is_diagnostic,
    )


def _number(
    sensor: Sensor, point: Point, devcode: Devcode, counts: Counter[str]
) -> Decimal | None:
    value = decimal(point.value)
    if value is None:
        counts["not a number"] += 1
        return None
    wanted = units.UNITS[sensor.unit]
    given = wanted
    if (name := point.unit or devcode.units.get(point.title)) is not None:
        found = units.known(name)
        if found is None:
            counts["unit"] += 1
            return None
        given = found
    converted = units.convert(value, given, wanted)
    if converted is None:
        counts["unit"] += 1
        return None
    if not wanted.low <= converted <= wanted.high:
        counts["range"] += 1
        return None
    return converted.quantize(PLACES).normalize() + 0


def _text(sensor: Sensor, point: Point, devcode: Devcode) -> tuple[str | None, str | None]:
    text = text_of(point.value)
    if text is None:
        return None, None
    if sensor.id == "operating_mode":
        return _named(text, devcode.modes, MODES)
    if sensor.id == "output_priority":
        return _named(text, devcode.output_priorities, PRIORITIES)
    if sensor.id == "charger_source_priority":
        return _named(text, devcode.charger_priorities, PRIORITIES)
    return text, None


def _named(text: str, known: Mapping[str, Words], common: Mapping[str, str]) -> tuple[str, str]:
    """Return what to show and the class of a text; one that nobody knows stays as it is."""
    words = known.get(text) or next(
        (one for raw, one in known.items() if raw.lower() == text.lower()), None
    )
    if words is not None:
        return words.shown, words.name
    return text, common.get(text.lower(), "unknown")


def _add_generic(out: Mapped, point: Point) -> None:
    """Show what no table knows, as a number where it is one."""
    value, text, unit, quantity = None, None, "", None
    shown = point.value if isinstance(point.value, str) else str(point.value)
    if is_placeholder(point.value):
        out.counts["placeholder"] += 1
    # A number that begins with a zero is a name: a serial number, a time.
    elif (number := decimal(point.value)) is not None and not _TEXT_NUMBER.match(shown.strip()):
        value = number
    else:
        text = text_of(point.value)
    if point.unit is not None:
        known = units.known(point.unit)
        unit = known.name if known else point.unit
        quantity = known.quantity if known and known.quantity != "ratio" else None
    key = _free_key(out, point.title)
    state = "measurement" if value is not None and unit else None
    out.readings[key] = Reading(
        key, point.title, unit, value, point.title, text, None, quantity, state, is_generic=True
    )


def _free_key(out: Mapped, title: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:KEY_MAX] or "reading"
    if slug in BY_ID:
        slug = "other_" + slug
    key, count = slug, 1
    while key in out.readings:
        count += 1
        key = f"{slug}_{count}"
    return key


def _folded(title: str) -> str:
    return " ".join(title.split()).lower()
