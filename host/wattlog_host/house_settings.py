"""[house] and [[tariff]] of host.toml: where the house is, and what its energy costs."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from wattlog.config import ConfigError, Key, line_of
from wattlog_host.history.tariff import QUARTERS_DAY, Tariff, Tariffs, Window
from wattlog_host.history.zone import Zone, machine_zone, named_zone

HOUSE_SCHEMA = (
    Key("house.name", "text", "", 0, 60, "what the page calls the house"),
    Key("house.zone", "text", None, 1, 64, "zone of all times shown, like Europe/Berlin"),
    Key("house.currency", "text", "EUR", 1, 8, "the currency; prices are in its hundredths"),
)
TARIFF = "tariff"
CT_MAX = 100_000
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SHOWN_MAX = 60

REQUIRED = object()


class Field(NamedTuple):
    """One key of a table: its kind, its default, and what it is."""

    key: str
    kind: str
    default: Any
    about: str


TARIFF_FIELDS = (
    Field("valid_from", "date", REQUIRED, "the first day of the tariff"),
    Field("valid_to", "date", None, "its last day, where no other tariff follows"),
    Field("import_ct_per_kwh", "money", REQUIRED, "the price of energy from the grid"),
    Field("export_ct_per_kwh", "money", Decimal(0), "what is paid for energy into the grid"),
    Field("standing_eur_per_year", "money", Decimal(0), "the standing charge"),
    Field("window", "tables", (), "hours with a price of their own"),
)
WINDOW_FIELDS = (
    Field("from", "clock", REQUIRED, "when it begins"),
    Field("to", "clock", REQUIRED, "when it ends"),
    Field("days", "days", frozenset(range(7)), "on which days it begins"),
    Field("import_ct_per_kwh", "money", REQUIRED, "the price of energy from the grid"),
)
KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {}
"""Kind -> how a value is read, which raises ValueError, and what would be right."""


@dataclass(frozen=True, slots=True)
class HouseSettings:
    """What is set of the house; tariffs rise by valid_from."""

    name: str
    zone: Zone
    currency: str
    tariffs: tuple[Tariff, ...]

    def prices(self) -> Tariffs:
        """Return the tariffs by the calendar of the house."""
        return Tariffs(self.tariffs, self.zone)

    def lines(self) -> list[str]:
        """Return them as TOML lines."""
        shown = ["[house]", f'name = "{self.name}"', f'zone = "{self.zone.name}"']
        shown.append(f'currency = "{self.currency}"')
        for tariff in self.tariffs:
            shown += ["", "[[tariff]]", f"valid_from = {tariff.valid_from}"]
            if tariff.valid_to is not None:
                shown.append(f"valid_to = {tariff.valid_to}")
            shown.append(f"import_ct_per_kwh = {tariff.import_ct_per_kwh}")
            shown.append(f"export_ct_per_kwh = {tariff.export_ct_per_kwh}")
            shown.append(f"standing_eur_per_year = {tariff.standing_per_year}")
            for window in tariff.windows:
                shown += ["", "[[tariff.window]]", f'from = "{_clock_text(window.start)}"']
                shown.append(f'to = "{_clock_text(window.end)}"')
                days = ",".join(DAYS[day] for day in sorted(window.days))
                shown += [f'days = "{days}"', f"import_ct_per_kwh = {window.import_ct_per_kwh}"]
        return shown


def without_tariffs(text: str) -> dict[str, Any]:
    """Return a TOML text as tables, without those that house_settings() reads."""
    data = tomllib.loads(text)
    data.pop(TARIFF, None)
    return data


def house_settings(
    name: str, text: str, house: Mapping[str, Any], environ: Mapping[str, str]
) -> HouseSettings:
    """Return the settings of the house; raise ConfigError, which is one line.

    name, text  the file and what is in it, which is TOML
    house       its checked table [house]
    """
    zone = machine_zone(environ)
    if house["zone"] is not None:
        try:
            zone = named_zone(house["zone"])
        except ValueError as err:
            raise _error(name, line_of(text, "house.zone"), f"house.zone {err}") from err
    return HouseSettings(house["name"], zone, house["currency"], _tariffs(name, text))


def _tariffs(name: str, text: str) -> tuple[Tariff, ...]:
    rows = tomllib.loads(text, parse_float=Decimal).get(TARIFF, [])
    reader = _Reader(name, text)
    made: list[Tariff] = []
    for index, row in enumerate(reader.tables(rows, TARIFF, "[[tariff]]")):
        of = reader.fields(row, TARIFF_FIELDS, f"tariff[{index}]", "tariff", index)
        windows = [
            reader.window(one)
            for one in reader.tables(of["window"], f"tariff[{index}].window", "[[tariff.window]]")
        ]
        reader.check(made, of, index)
        made.append(
            Tariff(
                of["valid_from"],
                of["valid_to"],
                of["import_ct_per_kwh"],
                of["export_ct_per_kwh"],
                of["standing_eur_per_year"],
                tuple(windows),
            )
        )
    return tuple(made)


class _Reader:
    """Reads tables against their fields; a mistake is an error with its line."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self._windows = 0
        self._taken: dict[int, set[int]] = {}

    def tables(self, rows: Any, path: str, header: str) -> Sequence[Mapping[str, Any]]:
        """Return the rows; raise where they are no tables."""
        if not isinstance(rows, list | tuple) or not all(isinstance(row, dict) for row in rows):
            word = path.rpartition(".")[2]
            raise self.error(path, f"{word} must be a list of tables: write {header}")
        self._taken.clear()
        return rows

    def window(self, row: Mapping[str, Any]) -> Window:
        """Return one window; raise where another one has its hours."""
        index, self._windows = self._windows, self._windows + 1
        path = f"tariff.window[{index}]"
        of = self.fields(row, WINDOW_FIELDS, path, "tariff.window", index)
        if of["from"] == QUARTERS_DAY:
            raise self.error(f"{path}.from", 'from must lie before "24:00"')
        window = Window(of["days"], of["from"], of["to"], of["import_ct_per_kwh"])
        quarters = set(window.quarters())
        for other, taken in self._taken.items():
            if quarters & taken:
                raise self.error(
                    f"{path}.from",
                    f"[[tariff.window]] number {index + 1} has hours that number {other + 1} of "
                    "this tariff has too; give each hour one price",
                )
        self._taken[index] = quarters
        return window

    def fields(
        self, row: Mapping[str, Any], fields: Sequence[Field], path: str, table: str, index: int
    ) -> dict[str, Any]:
        """Return the checked values by key, defaults filled in."""
        where = f"(in [[{table}]] number {index + 1})"
        known = {field.key: field for field in fields}
        for key in row:
            if key not in known:
                raise self.error(
                    f"{path}.{key}",
                    f"unknown key {_shown(key)} {where}; known: {', '.join(known)}",
                )
        found = {}
        for field in fields:
            if field.key not in row:
                if field.default is REQUIRED:
                    raise self.error(path, f"{field.key} {where} is missing: it is {field.about}")
                found[field.key] = field.default
                continue
            read, right = KINDS[field.kind]
            try:
                found[field.key] = read(row[field.key])
            except ValueError:
                raise self.error(
                    f"{path}.{field.key}",
                    f"{field.key} {where} must be {right}, not {_shown(row[field.key])}; "
                    f"it is {field.about}",
                ) from None
        return found

    def check(self, made: Sequence[Tariff], of: Mapping[str, Any], index: int) -> None:
        """Raise where a tariff ends before it begins, or begins before the one before ends."""
        path, where = f"tariff[{index}]", f"(in [[tariff]] number {index + 1})"
        if of["valid_to"] is not None and of["valid_to"] < of["valid_from"]:
            raise self.error(f"{path}.valid_to", f"valid_to {where} lies before valid_from")
        if not made:
            return
        before = made[-1]
        if of["valid_from"] <= before.valid_from:
            raise self.error(
                f"{path}.valid_from",
                f"valid_from {where} must be later than {before.valid_from}, that of the tariff "
                "above it; put them in the order of their dates",
            )
        if before.valid_to is not None and of["valid_from"] <= before.valid_to:
            raise self.error(
                f"{path}.valid_from",
                f"valid_from {where} must be later than {before.valid_to}, valid_to of the "
                "tariff above it",
            )

    def error(self, path: str, why: str) -> ConfigError:
        """Return the error with the line of the path."""
        return _error(self._name, line_of(self._text, path), why)


def _error(name: str, line: int | None, why: str) -> ConfigError:
    return ConfigError(f"{name}: {why}" if line is None else f"{name} line {line}: {why}")


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Decimal | date) else repr(value)
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[:SHOWN_MAX])
    return clean + "..." if len(text) > SHOWN_MAX else clean


def _date(value: Any) -> date:
    if not isinstance(value, date) or isinstance(value, datetime) or not 2000 <= value.year < 3000:
        raise ValueError
    return value


def _money(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError
    amount = Decimal(value)
    if not amount.is_finite() or abs(amount) > CT_MAX or amount != round(amount, 6):
        raise ValueError
    return amount


def _clock(value: Any) -> int:
    found = isinstance(value, str) and re.fullmatch(r"(\d\d):(00|15|30|45)", value, re.ASCII)
    if not found:
        raise ValueError
    quarter = 4 * int(found[1]) + int(found[2]) // 15
    if quarter > QUARTERS_DAY:
        raise ValueError
    return quarter


def _clock_text(quarter: int) -> str:
    return f"{quarter // 4:02}:{quarter % 4 * 15:02}"


def _days(value: Any) -> frozenset[int]:
    if not isinstance(value, str):
        raise ValueError
    found: set[int] = set()
    for part in value.replace(" ", "").lower().split(","):
        first, dash, last = part.partition("-")
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        found.update((start + offset) % 7 for offset in range((end - start) % 7 + 1))
    return frozenset(found)


KINDS |= {
    "date": (_date, "a date like 2026-01-01, without quotes"),
    "money": (_money, "a number like 31.02, with at most six decimals"),
    "clock": (_clock, 'a time on a quarter of an hour, like "22:00"'),
    "days": (_days, 'days like "mon-fri" or "sat,sun"'),
    "tables": (lambda rows: rows, "tables"),
}
