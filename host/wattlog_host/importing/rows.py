"""What every source of readings gives: rows that can be used, and rows that cannot, and why."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import NamedTuple, Protocol

from wattlog.channels import Channel
from wattlog_host.units import BY_KEY

Value = tuple[int, int, int]
"""(channel, value, scale): value * 10**scale in the channel's unit."""


class ImportFailed(Exception):
    """The file cannot be imported so; str() is one line that says what to change."""


class Good(NamedTuple):
    """A reading; number is its place in the file, meter the file's own name of it."""

    number: int
    time_ms: int
    meter: str | None
    values: Sequence[Value]
    refused: Sequence[str]
    """Why, for each of its values that cannot be kept."""


class Wrong(NamedTuple):
    """A row that is no reading, and why, in words that make a counter."""

    number: int
    reason: str


class Source(Protocol):
    """A file with readings."""

    what: str
    """What a row is called, as in "line 7"."""
    meters: Sequence[str]
    """The meters of the file where that is known before it is read."""

    def rows(self, tell: Callable[[int, int], None]) -> Iterator[Good | Wrong]:
        """Return all rows in order; raise ImportFailed where the file cannot be read on."""

    def notes(self) -> list[str]:
        """Return what a person should know about how it was read, once it was."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a file that is a channel; its numbers are in 10**exponent of its unit."""

    channel: Channel
    exponent: int
    has_zero: bool = True
    """Whether 0 is a value; else it says that the meter did not tell."""


# By what a unit is called: the unit of channels, and its power of ten.
UNITS = {
    "wh": ("Wh", 0), "kwh": ("Wh", 3), "mwh": ("Wh", 6), "w": ("W", 0), "kw": ("W", 3),
    "v": ("V", 0), "a": ("A", 0), "ma": ("A", -3), "hz": ("Hz", 0), "°": ("°", 0), "deg": ("°", 0),
}  # fmt: skip


def column_of(key: str, unit: str | None) -> Column:
    """Return the column that holds this channel in this unit; None is the channel's own.

    Raises ImportFailed where there is no such channel or unit.
    """
    channel = BY_KEY.get(key)
    if channel is None:
        raise ImportFailed(f"there is no channel {key}; there are: {', '.join(BY_KEY)}")
    if unit is None:
        return Column(channel, 0)
    found = UNITS.get(unit.lower())
    if found is None or found[0] != channel.unit:
        fits = [name for name, one in UNITS.items() if one[0] == channel.unit]
        raise ImportFailed(f"{unit} is no unit of {key}; it may be one of: {', '.join(fits)}")
    return Column(channel, found[1])


def value_of(column: Column, text: str, *, rounds: bool) -> Value | str | None:
    """Return the value that a text is; None for none, else why it cannot be kept.

    A number that is finer than the store keeps is no value, unless it is to be rounded.
    """
    # As nearly all numbers are; the long way gives the same, and takes five times as long.
    whole, _, places = text.partition(".")
    digits = whole.removeprefix("-") + places
    scale = column.exponent - len(places)
    channel = column.channel
    if scale >= -channel.decimals and scale <= 0 and digits.isdecimal() and digits.isascii():
        value = int(whole + places)
        if not value and not column.has_zero:
            return None
        if channel.low * 10**-scale <= value <= channel.high * 10**-scale:
            return channel.id, value, scale
    try:
        number = Decimal(text)
    except InvalidOperation:
        return "not a number"
    if not number.is_finite() or "_" in text:
        return "not a number"
    if not number and not column.has_zero:
        return None
    return _kept(column, number, rounds=rounds)


def _kept(column: Column, number: Decimal, *, rounds: bool) -> Value | str:
    channel = column.channel
    if number and not -20 < number.adjusted() < 20:
        return f"{channel.key} out of range"
    number = number.scaleb(column.exponent)
    finest = Decimal(1).scaleb(-channel.decimals)
    kept = number.quantize(finest)
    if kept != number and not rounds:
        return f"{channel.key} finer than is kept"
    if not channel.low <= kept <= channel.high:
        return f"{channel.key} out of range"
    # As the file has it, but for what is finer: few digits pack well.
    places = min(channel.decimals, max(0, -_exponent(number)))
    return channel.id, int(kept.scaleb(places)), -places


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent
