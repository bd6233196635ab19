"""Settings of an inverter: what they may be, what they are, and a careful way to change one.

A setting is read, checked against what the device itself allows, noted, sent once, and read again.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from wattlog_host.dess import api, parsing
from wattlog_host.dess.client import Client
from wattlog_host.dess.errors import ControlRefused, DessError, Rejected
from wattlog_host.dess.model import Device
from wattlog_host.dess.parsing import text_of, with_unit

Kind = Literal["select", "number", "button"]
Outcome = Literal["confirmed", "accepted", "differs", "refused", "unknown"]

FIELDS_MAX = 300
READ_BACK_WAITS_S = (3.0, 5.0, 10.0)
"""So long after a write its value is read, and again where it is still the old one."""
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\s*[~\uff5e]\s*(-?\d+(?:\.\d+)?)")
_ID = re.compile(r"[\w.-]{1,80}")
_FINE_UNITS = ("V", "A")
_MIXED = Decimal("1.6")
"""Between the voltages of two kinds of batteries, and not within one."""
_PLAIN_RANGE = (Decimal(0), Decimal(100))
_AUDIT_BYTES_MAX = 5_000_000


@dataclass(frozen=True, slots=True)
class Control:
    """One setting: its options by key, or its ranges (a menu may list 24 V and 48 V models)."""

    id: str
    name: str
    unit: str
    hint: str
    options: Mapping[str, str]

    @property
    def kind(self) -> Kind:
        """Return select, number, or button where there is one thing only to choose."""
        if not self.options:
            return "number"
        return "select" if len(self.options) > 1 else "button"

    @property
    def step(self) -> Decimal:
        """Return the step of a number."""
        return Decimal("0.1") if self.hint and self.unit in _FINE_UNITS else Decimal(1)

    def ranges(self) -> list[tuple[Decimal, Decimal]]:
        """Return all ranges of the hint; 0 to 100 where there is none."""
        found = [(Decimal(low), Decimal(high)) for low, high in _RANGE.findall(self.hint)]
        return [pair for pair in found if pair[0] <= pair[1]] or [_PLAIN_RANGE]

    def range(self, live: Decimal | None) -> tuple[Decimal, Decimal] | None:
        """Return the range that holds for this device: the one its present value is in."""
        ranges = self.ranges()
        if live is not None:
            around = [pair for pair in ranges if pair[0] <= live <= pair[1]]
            if around:
                return around[0]
        return ranges[0] if len(ranges) == 1 else None

    def options_for(self, live: Any) -> Mapping[str, str]:
        """Return the options of this device; some menus mix those of 24 V and 48 V models."""
        numbers = {key: with_unit(label) for key, label in self.options.items()}
        values = [found[0] for found in numbers.values() if found is not None]
        current = with_unit(self.options.get(text_of(live) or "", live))
        if current is None or len(values) < len(numbers) or not values or min(values) <= 0:
            return self.options
        if max(values) < _MIXED * min(values) or current[0] <= 0:
            return self.options
        return {
            key: label
            for key, label in self.options.items()
            if (found := numbers[key]) is not None
            and current[0] / _MIXED < found[0] < current[0] * _MIXED
        }

    def shown(self, value: Any) -> str | None:
        """Return a value as its label, or its number without a unit; None where there is none."""
        if parsing.is_placeholder(value):
            return None
        text = text_of(value)
        if text is None:
            return None
        if self.options:
            return self.options.get(text, text)
        number = with_unit(value)
        return f"{number[0]:f}" if number is not None else text


def controls_of(rows: list[dict[str, Any]]) -> list[Control]:
    """Return the settings of a menu; what has no usable id is passed over."""
    out = []
    for row in rows[:FIELDS_MAX]:
        name, number = text_of(row.get("name")), row.get("id")
        if not isinstance(number, str) or _ID.fullmatch(number) is None:
            continue
        options: dict[str, str] = {}
        for item in parsing.rows(row.get("item"), "item"):
            key, label = text_of(item.get("key"), 60), text_of(item.get("val"), 60)
            if key is not None:
                options.setdefault(key, label or key)
        unit, hint = text_of(row.get("unit"), 10) or "", text_of(row.get("hint"), 200) or ""
        out.append(Control(number, name or number, unit, hint, options))
    return out


def key_for(control: Control, wanted: str, live: Any) -> str:
    """Return what to send for what a person wants; raise ControlRefused with what is allowed."""
    wanted = wanted.strip()
    if control.options:
        return _option(control, control.options_for(live), wanted)
    number = parsing.decimal(wanted)
    if number is None:
        raise ControlRefused(f"{control.name} must be a number, not {wanted!r:.60}")
    current = with_unit(live)
    allowed = control.range(current[0] if current is not None else None)
    if allowed is None:
        texts = ", ".join(f"{low:f} to {high:f}" for low, high in control.ranges())
        raise ControlRefused(
            f"{control.name}: its present value says not which of its ranges holds ({texts})"
        )
    low, high = allowed
    if not low <= number <= high:
        raise ControlRefused(
            f"{control.name} must be {low:f} to {high:f} {control.unit}".rstrip()
            + f", not {number:f}"
        )
    if number % control.step:
        raise ControlRefused(f"{control.name} goes in steps of {control.step:f}, not {number:f}")
    return f"{number:f}"


def _option(control: Control, options: Mapping[str, str], wanted: str) -> str:
    if wanted in options:
        return wanted
    keys = [key for key, label in options.items() if label == wanted] or [
        key for key, label in options.items() if label.lower() == wanted.lower()
    ]
    if len(keys) == 1:
        return keys[0]
    allowed = ", ".join(f"{label} ({key})" for key, label in options.items())
    word = "is more than one of" if keys else "must be one of"
    raise ControlRefused(f"{control.name} {word}: {allowed:.500}; not {wanted!r:.60}")


# --- changing one -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a wish: the values as shown before and after, and a line for a person."""

    control: Control
    before: str | None
    wanted: str
    after: str | None
    outcome: Outcome
    text: str


class Audit:
    """A file with a line before each change and one after; what is not noted is not done."""

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        """Take the file's path."""
        self._path = path
        self._now_ms = now_ms

    def note(self, **entry: str | None) -> None:
        """Add a line, durable on return; raise ControlRefused where that is not possible."""
        line = json.dumps({"time_ms": self._now_ms(), **entry}, ensure_ascii=False) + "\n"
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(handle, line.encode())
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as err:
            raise ControlRefused(f"cannot note it in {self._path}: {err.strerror}") from err

    def entries(self, count_max: int) -> list[dict[str, Any]]:
        """Return the newest entries, newest first; a torn line is passed over."""
        try:
            with self._path.open("rb") as file:
                file.seek(max(0, self._path.stat().st_size - _AUDIT_BYTES_MAX))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        except OSError as err:
            raise ControlRefused(f"cannot read {self._path}: {err.strerror}") from err
        out: list[dict[str, Any]] = []
        for line in reversed(lines):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                out.append(entry)
            if len(out) == count_max:
                break
        return out


def require_writable(device: Device, writable: frozenset[str]) -> None:
    """Raise ControlRefused where the configuration does not allow to change the device."""
    if device.key not in writable:
        raise ControlRefused(
            f"settings of {device.key} may not be changed; to allow it, add it to "
            "dessmonitor.writable"
        )


def find(client: Client, device: Device, wanted: str) -> Control:
    """Return a device's setting by id or name; raise ControlRefused with what there is."""
    found = controls_of(api.control_fields(client, device))
    for control in found:
        if control.id == wanted:
            return control
    named = [control for control in found if control.name.lower() == wanted.lower()]
    if len(named) == 1:
        return named[0]
    if not found:
        raise ControlRefused(f"{device.label} offers no settings")
    names = ", ".join(f"{control.id} ({control.name})" for control in found[:40])
    raise ControlRefused(f"no setting {wanted!r:.60}; there are: {names}")


def change(
    client: Client,
    device: Device,
    control: Control,
    wanted: str,
    *,
    writable: frozenset[str],
    audit: Audit,
    wait_s: Callable[[float], None],
    by: str,
) -> Change:
    """Change one setting and say whether the device says so, too; raise DessError where not sent.

    by is who wished it, for the audit. Sent once, whatever happens.
    """
    require_writable(device, writable)
    live = api.control_value(client, device, control.id)
    key = key_for(control, wanted, live)
    before, label = control.shown(live), control.options.get(key, key)
    entry = {"device": device.key, "id": control.id, "name": control.name, "by": by}
    audit.note(event="asked", before=before, wanted=label, **entry)
    try:
        api.control_write(client, device, control.id, key)
    except Rejected as err:
        made = Change(control, before, label, before, "refused", f"not taken: {err}")
    except DessError as err:
        text = f"it is not known whether it was taken: {err}"
        made = _read_back(client, device, control, key, before, wait_s, text)
    else:
        made = _read_back(client, device, control, key, before, wait_s, None)
    audit.note(event=made.outcome, before=before, wanted=label, after=made.after, **entry)
    return made


def _read_back(
    client: Client,
    device: Device,
    control: Control,
    key: str,
    before: str | None,
    wait_s: Callable[[float], None],
    doubt: str | None,
) -> Change:
    label = control.options.get(key, key)
    if control.kind == "button":
        outcome: Outcome = "accepted" if doubt is None else "unknown"
        return Change(control, before, label, None, outcome, doubt or f"{control.name}: done")
    after: str | None = None
    for pause_s in READ_BACK_WAITS_S:
        wait_s(pause_s)
        try:
            after = control.shown(api.control_value(client, device, control.id))
        except DessError:
            after = None
            continue
        if _is_same(control, after, key):
            text = f"{control.name} is {after} {control.unit}".rstrip()
            return Change(control, before, label, after, "confirmed", text)
    if after is None:
        text = doubt or "accepted, but it cannot be read back"
        return Change(control, before, label, after, "unknown", text)
    text = f"{control.name} still says {after}; wanted was {label}"
    return Change(control, before, label, after, "differs", text)


def _is_same(control: Control, shown: str | None, key: str) -> bool:
    if shown is None:
        return False
    if control.options:
        return shown in (key, control.options[key])
    one, other = parsing.decimal(shown), parsing.decimal(key)
    return one is not None and one == other
