"""Tables for people, JSON for machines, and nothing that commands a terminal."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from wattlog_host.dess.controls import Control
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.parsing import decimal


class Inverter(NamedTuple):
    """One inverter as it is shown to others; is_fresh tells whether its readings are news."""

    key: str
    name: str
    devcode: int
    firmware: str | None
    time_ms: int | None
    is_fresh: bool
    readings: tuple[Reading, ...]


class Standing(NamedTuple):
    """How cloud and inverters are, for alerts; state and trouble as /api/solar has them."""

    state: str
    trouble: str | None
    since_ms: int | None
    inverters: Sequence[Inverter]


def value_of(reading: Reading) -> Decimal | str | None:
    """Return what a reading says."""
    return reading.value if reading.text is None else reading.text


def value_text(reading: Reading) -> str:
    """Return what a reading says as a cell of a table."""
    value = value_of(reading)
    return "-" if value is None else f"{value:f}" if isinstance(value, Decimal) else value


def as_json(value: Decimal | str | None) -> float | str | None:
    """Return a value as JSON has it; here numbers become floats, and nowhere else."""
    return float(value) if isinstance(value, Decimal) else value


def zone_text(offset_s: int | None) -> str:
    """Return a distance from UTC as people write it."""
    if offset_s is None:
        return "unknown"
    hours, rest = divmod(abs(offset_s), 3600)
    return f"UTC{'-' if offset_s < 0 else '+'}{hours:02}:{rest // 60:02}"


def allowed_text(entry: Mapping[str, Any]) -> str:
    """Return what a setting may be."""
    if entry["options"]:
        return ", ".join(f"{label} ({key})" for key, label in entry["options"].items())
    ranges = [entry["range"]] if entry.get("range") else entry["ranges"]
    return " or ".join(f"{low:g} to {high:g}" for low, high in ranges) + f" by {entry['step']:g}"


def control_json(control: Control) -> dict[str, Any]:
    """Return a setting as JSON has it."""
    return {
        "id": control.id,
        "name": control.name,
        "kind": control.kind,
        "unit": control.unit or None,
        "options": dict(control.options),
        "ranges": []
        if control.options
        else [[float(low), float(high)] for low, high in control.ranges()],
        "step": None if control.options else float(control.step),
    }


def live_json(control: Control, live: Any) -> dict[str, Any]:
    """Return a setting's present value, and what it says of the range."""
    shown = control.shown(live)
    out: dict[str, Any] = {"value": shown}
    if control.kind == "number":
        number = None if shown is None else decimal(shown)
        allowed = control.range(number)
        out["range"] = None if allowed is None else [float(allowed[0]), float(allowed[1])]
    else:
        out["options"] = dict(control.options_for(live))
    return out


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], *, is_json: bool) -> str:
    """Return rows below their head, or a list of objects."""
    if is_json:
        return json_text([dict(zip(head, row, strict=True)) for row in rows])
    texts = [[_cell(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in texts) for at in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    )


def json_text(body: Any) -> str:
    """Return JSON for a person who looks at it, too."""
    return json.dumps(body, ensure_ascii=False, indent=1)


def _cell(value: Any) -> str:
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
