"""The reference of all settings says what the tables say that check them."""

import pytest

from toolbox import ROOT
from wattlog.config import REQUIRED, Key
from wattlog_host import settings as host
from wattlog_tools import settings_reference
from wattlog_tools.cli import main
from wattlog_tools.settings_reference import Reference, page, references

PAGES = [of.path for of in references()]


@pytest.mark.parametrize("path", PAGES)
def test_what_is_written_is_what_the_tables_say(path):
    (of,) = (one for one in references() if one.path == path)
    assert (ROOT / path).read_text() == page(of), "run wattlog-tools settings"
    assert f"({path})" in (ROOT / "README.md").read_text()


def test_the_command_writes_all_of_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settings_reference, "ROOT", tmp_path)
    for path in PAGES:
        (tmp_path / path).parent.mkdir()
    assert main(["settings"]) == 0
    assert capsys.readouterr().out.splitlines() == PAGES
    assert all((tmp_path / path).read_text() == (ROOT / path).read_text() for path in PAGES)


KEYS = (
    Key("top", "text", None, 1, 9, "first | of all"),
    Key("a.needed", "integer", REQUIRED, 2, 3, "a number"),
    Key("a.empty", "text", "", 0, 9, "a text"),
    Key("rows[].on", "boolean", True, None, None, "whether"),
    Key("a.word", ("x", "y"), "x", None, None, "a choice"),
)


def test_a_row_says_what_it_is_what_it_is_without_and_what_it_may_be():
    made = page(Reference("x.md", "x.toml", "Of x.", settings_reference._tables(KEYS)))
    rows = [line for line in made.splitlines() if line.startswith(("## ", "| `"))]
    assert rows == [
        "## Before all tables",
        "| `top` | first \\| of all | – | text, 1 to 9 letters |",
        "## [a]",
        "| `needed` | a number | must be given | 2 to 3 |",
        "| `empty` | a text | empty | text, 0 to 9 letters |",
        "| `word` | a choice | `x` | `x`, `y` |",
        "## [[rows]]",
        "| `on` | whether | `true` | `true`, `false` |",
    ]


def test_every_setting_of_the_host_and_of_prices_has_a_row():
    text = (ROOT / "host/SETTINGS.md").read_text()
    assert text.count("\n| `") == len(host.SCHEMA) + 6 + 4
    for row in (
        "| `days` | on which days it begins | every day |",
        "| `valid_to` | its last day, where no other tariff follows | – |",
    ):
        assert row in text
