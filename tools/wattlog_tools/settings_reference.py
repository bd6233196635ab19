"""`wattlog-tools settings`: writes the reference of all settings from their tables."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wattlog.config import REQUIRED, Key
from wattlog_host import house_settings as house
from wattlog_host import settings as host
from wattlog_pi import settings as agent
from wattlog_tools import head_settings as head

ROOT = Path(__file__).resolve().parents[2]
MADE = """\
Made by `wattlog-tools settings` from the tables that check the file: what is not here is
refused, with its line and what would be right. "–" is none, or one that is worked out;
`--check-config` prints what is in effect.\
"""


class Row(NamedTuple):
    """One setting: its name, what it is, what it is without being given, what it may be."""

    name: str
    about: str
    default: str
    allowed: str


class Reference(NamedTuple):
    """One page: where it is, the file that it is of, what more it says, its settings by table."""

    path: str
    file: str
    about: str
    tables: Iterable[tuple[str, Sequence[Row]]]


def references() -> tuple[Reference, ...]:
    """Return all pages."""
    prices = (
        ("[[tariff]]", [_row_of_field(one) for one in house.TARIFF_FIELDS]),
        ("[[tariff.window]]", [_row_of_field(one) for one in house.WINDOW_FIELDS]),
    )
    return (
        Reference(
            "agent/SETTINGS.md",
            "agent.toml",
            "Of `wattlog-agent`, on a Raspberry Pi or any Linux.",
            _tables(agent.SCHEMA),
        ),
        Reference(
            "firmware/SETTINGS.md",
            "head.toml",
            "Of an IR head, from which `wattlog-tools flash` builds its image.",
            _tables(head.schema()),
        ),
        Reference(
            "host/SETTINGS.md",
            "host.toml",
            "Of `wattlog-host`.",
            (*_tables(host.SCHEMA), *prices),
        ),
    )


def page(of: Reference) -> str:
    """Return the Markdown of a page."""
    lines = [f"# {of.file}", "", of.about, "", MADE]
    for title, rows in of.tables:
        lines += ["", f"## {title}", "", "| setting | what it is | without it | may be |"]
        lines.append("|---|---|---|---|")
        lines += [
            f"| `{row.name}` | {row.about} | {row.default} | {row.allowed} |" for row in rows
        ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write all pages; return 0."""
    parser = argparse.ArgumentParser(prog="wattlog-tools settings", description=main.__doc__)
    parser.parse_args(arguments)
    for of in references():
        (ROOT / of.path).write_text(page(of))
        print(of.path)
    return 0


def _tables(schema: Sequence[Key]) -> Iterator[tuple[str, list[Row]]]:
    """Yield each table of the file with its settings, in the order of the schema."""
    found: dict[str, list[Row]] = {}
    for key in schema:
        table, _, name = key.path.rpartition(".")
        title = f"[[{table[:-2]}]]" if table.endswith("[]") else f"[{table}]"
        found.setdefault(title if table else "Before all tables", []).append(
            Row(name, _cell(key.about), _default(key.default), _allowed(key))
        )
    yield from found.items()


def _row_of_field(field: house.Field) -> Row:
    _, right = house.KINDS[field.kind]
    return Row(field.key, _cell(field.about), _default_of_field(field), _cell(right))


def _default_of_field(field: house.Field) -> str:
    if field.default is house.REQUIRED:
        return "must be given"
    if field.kind == "days":
        return "every day"
    return f"`{field.default}`" if field.kind == "money" else "–"


def _default(value: Any) -> str:
    if value is REQUIRED:
        return "must be given"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"


def _allowed(key: Key) -> str:
    if isinstance(key.kind, tuple):
        return ", ".join(f"`{one}`" for one in key.kind)
    if key.kind == "boolean":
        return "`true`, `false`"
    if key.kind == "text":
        return f"text, {key.low} to {key.high} letters"
    return f"{key.low} to {key.high}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
