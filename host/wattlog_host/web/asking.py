"""What can be asked in an address: one table that parses it and that the document is made from."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

from wattlog_host.history.times import EXAMPLE, parse_time
from wattlog_host.history.zone import Zone

SHOWN_MAX = 60
TEXT_MAX = 100


class BadQuestion(Exception):
    """A question that cannot be; str() names the parameter, what is wrong and what is right."""


class Parameter(NamedTuple):
    """One parameter of an address.

    kind     "time", "integer", "choice", "text", "month" or "year"
    low, high  bounds of an integer, inclusive
    choices  what a choice may be
    """

    name: str
    kind: str
    about: str
    example: str
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()
    is_required: bool = False


_TIME = 'ISO-8601 with offset or Z; without an offset, or only a date, it is local time; or ms since 1970'  # fmt: skip  # noqa: E501
START = Parameter("start", "time", f"From then on. {_TIME}.", EXAMPLE)
END = Parameter("end", "time", f"Until then, that moment excluded. {_TIME}.", "2026-11-28")
METER = Parameter(
    "meter", "text", "A meter's id, its server id in hex, or its label; else the whole house.", "1"
)


def required(parameter: Parameter) -> Parameter:
    """Return a parameter without which there is no answer."""
    return parameter._replace(is_required=True)


def parse(
    parameters: Sequence[Parameter], asked: Iterable[tuple[str, str]], zone: Zone
) -> dict[str, Any]:
    """Return what was asked by name, None for what was not; raise BadQuestion."""
    known = {parameter.name: parameter for parameter in parameters}
    found: dict[str, Any] = dict.fromkeys(known)
    for name, text in asked:
        parameter = known.get(name)
        if parameter is None:
            names = ", ".join(known) or "none"
            raise BadQuestion(f"there is no parameter {_shown(name)} here; known: {names}")
        if found[name] is not None:
            raise BadQuestion(f"{name} is there twice; give it once, like {_like(parameter)}")
        found[name] = _value(parameter, text, zone)
    for parameter in parameters:
        if parameter.is_required and found[parameter.name] is None:
            raise BadQuestion(f"{parameter.name} is missing; give it like {_like(parameter)}")
    return found


def _value(parameter: Parameter, text: str, zone: Zone) -> Any:
    name = parameter.name
    try:
        value = _KINDS[parameter.kind](parameter, text, zone)
    except ValueError as err:
        raise BadQuestion(f"{name}: {_shown(text)} {err}") from err
    return value


def _time(_: Parameter, text: str, zone: Zone) -> int:
    return parse_time(text, zone)


def _integer(parameter: Parameter, text: str, _: Zone) -> int:
    low, high = parameter.low, parameter.high
    if not re.fullmatch(r"-?\d{1,15}", text, re.ASCII) or not low <= int(text) <= high:
        raise ValueError(f"must be a whole number from {low} to {high}, like {_like(parameter)}")
    return int(text)


def _choice(parameter: Parameter, text: str, _: Zone) -> str:
    if text not in parameter.choices:
        raise ValueError(f"must be one of {', '.join(parameter.choices)}")
    return text


def _text(parameter: Parameter, text: str, _: Zone) -> str:
    if not text.strip() or len(text) > TEXT_MAX or not text.isprintable():
        raise ValueError(f"must be a text of 1 to {TEXT_MAX} letters, like {_like(parameter)}")
    return text


def _month(parameter: Parameter, text: str, _: Zone) -> date:
    if not re.fullmatch(r"(19[7-9]\d|2\d{3})-(0[1-9]|1[0-2])", text, re.ASCII):
        raise ValueError(f"is no month, like {_like(parameter)}")
    return date.fromisoformat(f"{text}-01")


def _year(parameter: Parameter, text: str, _: Zone) -> date:
    if not re.fullmatch(r"19[7-9]\d|2\d{3}", text, re.ASCII):
        raise ValueError(f"is no year, like {_like(parameter)}")
    return date(int(text), 1, 1)


_KINDS = {
    "time": _time,
    "integer": _integer,
    "choice": _choice,
    "text": _text,
    "month": _month,
    "year": _year,
}


def _like(parameter: Parameter) -> str:
    return f"{parameter.name}={parameter.example}"


def _shown(text: str) -> str:
    """Return what may be shown of a visitor's text, in one line."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[:SHOWN_MAX])
    return f'"{clean}..."' if len(text) > SHOWN_MAX else f'"{clean}"'


def schema_of(parameter: Parameter) -> dict[str, Any]:
    """Return a parameter as OpenAPI describes it."""
    kind: dict[str, Any] = {"type": "string"}
    if parameter.kind == "integer":
        kind = {"type": "integer", "minimum": parameter.low, "maximum": parameter.high}
    elif parameter.kind == "choice":
        kind["enum"] = list(parameter.choices)
    elif parameter.kind == "text":
        kind |= {"minLength": 1, "maxLength": TEXT_MAX}
    elif parameter.kind == "month":
        kind["pattern"] = r"^(19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])$"
    elif parameter.kind == "year":
        kind["pattern"] = r"^(19[7-9][0-9]|2[0-9]{3})$"
    else:
        # The day may not exist, and the clock may skip an hour: then the answer is 400.
        kind["pattern"] = r"^(\d{12,14}|\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?)$"  # fmt: skip  # noqa: E501
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.is_required,
        "description": parameter.about,
        "schema": kind,
        "example": int(parameter.example) if parameter.kind == "integer" else parameter.example,
    }
