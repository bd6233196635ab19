"""Units as the cloud spells them, and the way from one to another of the same quantity."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its quantity, how many of the quantity's first unit it is, and what is believed."""

    name: str
    quantity: str
    factor: Decimal
    low: Decimal
    high: Decimal


def _unit(name: str, quantity: str, factor: str, low: str, high: str) -> Unit:
    return Unit(name, quantity, Decimal(factor), Decimal(low), Decimal(high))


# The bounds reject what no home can have (0xFFFF of a register that was not read), nothing else.
_UNITS = (
    _unit("W", "power", "1", "-1e6", "1e6"),
    _unit("kW", "power", "1e3", "-1e3", "1e3"),
    _unit("MW", "power", "1e6", "-1", "1"),
    _unit("VA", "apparent_power", "1", "-1e6", "1e6"),
    _unit("kVA", "apparent_power", "1e3", "-1e3", "1e3"),
    _unit("Wh", "energy", "1", "0", "1e12"),
    _unit("kWh", "energy", "1e3", "0", "1e9"),
    _unit("MWh", "energy", "1e6", "0", "1e6"),
    _unit("V", "voltage", "1", "-2e3", "2e3"),
    _unit("mV", "voltage", "1e-3", "-2e6", "2e6"),
    _unit("A", "current", "1", "-2e3", "2e3"),
    _unit("mA", "current", "1e-3", "-2e6", "2e6"),
    _unit("Hz", "frequency", "1", "0", "1e3"),
    _unit("°C", "temperature", "1", "-100", "300"),
    _unit("%", "ratio", "1", "0", "1e3"),
    _unit("Ah", "charge", "1", "0", "1e9"),
)
UNITS = {unit.name: unit for unit in _UNITS}
_BY_SPELLING = {unit.name.lower(): unit for unit in _UNITS if unit.name not in ("MW", "MWh", "mV")}
_BY_SPELLING |= {"℃": UNITS["°C"], "c": UNITS["°C"], "mw": UNITS["MW"], "mwh": UNITS["MWh"]}
_BY_SPELLING |= {"kw.h": UNITS["kWh"], "kw·h": UNITS["kWh"], "degc": UNITS["°C"]}
_BY_SPELLING |= {"mv": UNITS["mV"]}
_CASED = {"mW": None, "mWh": None}
"""Milli and mega differ by the case alone, and by a factor of a thousand million."""


def known(text: str) -> Unit | None:
    """Return the unit of this spelling, None for one that we do not know."""
    text = text.strip()
    if text in UNITS:
        return UNITS[text]
    return None if text in _CASED else _BY_SPELLING.get(text.lower())


def convert(value: Decimal, given: Unit, wanted: Unit) -> Decimal | None:
    """Return the value in the wanted unit, None where the quantities differ."""
    if given.quantity != wanted.quantity:
        return None
    return value if given is wanted else value * given.factor / wanted.factor
