"""From the cloud's bytes to plain values; whatever comes, it is an error of ours or None.

The cloud mixes numbers and texts, wraps lists in objects, and has old actions that answer JSONP.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from wattlog_host.dess.errors import Garbled

POINTS_MAX = 500
ROWS_MAX = 1_000
TEXT_MAX = 120
NUMBER_MAX = Decimal(10) ** 12
PLACEHOLDERS = frozenset(("", "-", "--", "—", "n/a", "na", "null", "none", "nan"))
PLACES = Decimal("0.000001")
"""Finer than this nothing is kept; readings have at most four places."""

_JSONP = re.compile(r"\s*[\w.$]{1,40}\s*\((.*)\)\s*;?\s*", re.S)
_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,2})?")
_WITH_UNIT = re.compile(r"\s*([+-]?\d{1,15}(?:\.\d{1,15})?)\s*([^\d\s].{0,9})?\s*")
_DEPTH_MAX = 4


@dataclass(frozen=True, slots=True)
class Envelope:
    """One answer: the code, its description, and the data, None where there are none."""

    err: int
    desc: str
    dat: Any


@dataclass(frozen=True, slots=True)
class Point:
    """One reading as it came: title without outer blanks, value untouched, unit or None."""

    title: str
    value: Any
    unit: str | None


def envelope(body: bytes) -> Envelope:
    """Return what is in an answer; raise Garbled for anything that is none."""
    text = body.decode("utf-8-sig", "replace").strip()
    if not text:
        raise Garbled("the cloud's answer is empty")
    if text.startswith("<"):
        raise Garbled("the cloud's answer is a page, not data; it may be in maintenance")
    if text[0] not in "{[" and (match := _JSONP.fullmatch(text)):
        text = match[1]
    data = None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        # Raised below: what the parser quotes of the answer belongs into no traceback.
        data = None
    if not isinstance(data, dict):
        raise Garbled("the cloud's answer is not the JSON that it should be")
    err = integer(data.get("err"))
    if err is None:
        raise Garbled("the cloud's answer has no error code")
    return Envelope(err, text_of(data.get("desc")) or "", data.get("dat"))


def integer(value: Any) -> int | None:
    """Return a whole number that came as a number or as text."""
    number = decimal(value)
    if number is None or number != number.to_integral_value():
        return None
    return int(number)


def decimal(value: Any) -> Decimal | None:
    """Return a reading's number, None for a placeholder, a text, NaN or what is absurd."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        value = repr(value) if abs(value) < NUMBER_MAX else ""
    if not isinstance(value, str):
        return None
    value = value.strip()
    if _NUMBER.fullmatch(value) is None:
        return None
    number = Decimal(value)
    return number.quantize(PLACES).normalize() + 0 if abs(number) < NUMBER_MAX else None


def with_unit(value: Any) -> tuple[Decimal, str] | None:
    """Return number and unit of a setting's value, which may be "56.4V"; None for other texts."""
    if isinstance(value, str) and (match := _WITH_UNIT.fullmatch(value)):
        number = decimal(match[1])
        return None if number is None else (number, (match[2] or "").strip())
    number = decimal(value)
    return None if number is None else (number, "")


def is_placeholder(value: Any) -> bool:
    """Tell whether the value says that there is none."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or (isinstance(value, str) and value.strip().lower() in PLACEHOLDERS)


def text_of(value: Any, length_max: int = TEXT_MAX) -> str | None:
    """Return a text for people, one line, not too long; None where there is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, int) and abs(value) >= NUMBER_MAX:
        return None
    # Also the marks that change the direction of writing, and line separators.
    clean = "".join(c if c.isprintable() else " " for c in str(value)[: 4 * length_max])
    return " ".join(clean.split())[:length_max] or None


def rows(dat: Any, name: str) -> list[dict[str, Any]]:
    """Return the objects of a list that may come bare, below its name, or as a single object."""
    found = dat
    if isinstance(dat, dict):
        found = dat.get(name)
        if found is None:
            lists = [value for value in dat.values() if isinstance(value, list)]
            found = lists[0] if len(lists) == 1 else None
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list):
        return []
    return [row for row in found[:ROWS_MAX] if isinstance(row, dict)]


def points(dat: Any) -> list[Point]:
    """Return the readings wherever they are: bare, in an object, or grouped by device part."""
    found = []
    for row in _objects(dat, 0):
        title = next((row[key] for key in ("title", "name", "par") if row.get(key)), None)
        # Only the outside is trimmed: two titles differ from their usual form by a double blank.
        shown = title.strip()[:TEXT_MAX] if isinstance(title, str) else ""
        if shown and shown.isprintable():
            found.append(Point(shown, row.get("val"), text_of(row.get("unit"), 10)))
        if len(found) == POINTS_MAX:
            break
    return found


def _objects(dat: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEPTH_MAX:
        return
    if isinstance(dat, dict) and "val" in dat:
        yield dat
        return
    inner = dat.values() if isinstance(dat, dict) else dat if isinstance(dat, list) else ()
    for one in list(inner)[:ROWS_MAX]:
        if isinstance(one, (dict, list)):
            yield from _objects(one, depth + 1)
