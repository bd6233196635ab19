"""[house] and [[tariff]] of host.toml: what they mean, and that a mistake is one line."""

from datetime import date
from decimal import Decimal

import pytest

from wattlog_host import cli, settings
from wattlog_host.settings import load

GOOD = """
[house]
name = "Home"
zone = "Europe/Berlin"
currency = "CHF"

[[tariff]]
valid_from = 2025-01-01
valid_to = 2025-06-30
import_ct_per_kwh = 31.02

[[tariff]]                      # a comment
valid_from = 2026-01-01
import_ct_per_kwh = 35
export_ct_per_kwh = 8.11
standing_eur_per_year = 120.45

[[tariff.window]]
from = "22:00"
to = "06:00"
days = "mon-fri"
import_ct_per_kwh = 25.5

[[tariff.window]]
from = "00:00"
to = "24:00"
days = "sun"
import_ct_per_kwh = 20
"""


@pytest.fixture
def read(tmp_path):
    def of(text):
        path = tmp_path / "host.toml"
        path.write_text(text)
        return load(path, {"HOME": str(tmp_path)})

    return of


def test_the_house_and_its_tariffs(read):
    house = read(GOOD).house
    assert (house.name, house.zone.name, house.currency) == ("Home", "Europe/Berlin", "CHF")
    first, second = house.tariffs
    assert (first.valid_from, first.valid_to, first.windows) == (
        date(2025, 1, 1),
        date(2025, 6, 30),
        (),
    )
    # What is written is what counts: no binary fraction comes between.
    assert (first.import_ct_per_kwh, second.standing_per_year) == (
        Decimal("31.02"),
        Decimal("120.45"),
    )
    assert [len(window.days) for window in second.windows] == [5, 1]


PRICES = (
    ("a night", "2026-11-24", 3, 0, "25.5"),
    ("the end of a night", "2026-11-24", 5, 45, "25.5"),
    ("the day", "2026-11-24", 6, 0, "35"),
    ("the night from Friday to Saturday", "2026-11-28", 5, 45, "25.5"),
    ("Saturday's night is none", "2026-11-28", 23, 0, "35"),
    ("Sunday", "2026-11-29", 12, 0, "20"),
)


@pytest.mark.parametrize(
    ("day", "hour", "minute", "ct"), [row[1:] for row in PRICES], ids=[row[0] for row in PRICES]
)
def test_a_window_that_goes_over_midnight_belongs_to_the_day_on_which_it_begins(
    read, day, hour, minute, ct
):
    tariff = read(GOOD).house.tariffs[1]
    quarter = date.fromisoformat(day).weekday() * 96 + 4 * hour + minute // 15
    assert tariff.week[quarter] == Decimal(ct)


def test_a_tariff_is_in_effect_on_its_days(read):
    house = read(GOOD).house
    prices = house.prices()
    on = {
        day: prices.on(date.fromisoformat(day))
        for day in (
            "2024-12-31",
            "2025-01-01",
            "2025-06-30",
            "2025-07-01",
            "2026-01-01",
            "2030-01-01",
        )
    }
    assert list(on.values()) == [
        None,
        house.tariffs[0],
        house.tariffs[0],
        None,
        house.tariffs[1],
        house.tariffs[1],
    ]
    assert prices.last_day(house.tariffs[1]) is None


def test_the_standing_charge_is_pro_rata_of_real_days(read):
    house = read(
        '[house]\nzone = "Europe/Berlin"\n[[tariff]]\nvalid_from = 2024-01-01\nimport_ct_per_kwh = 1\nstanding_eur_per_year = 366'
    ).house
    prices, zone = house.prices(), house.zone

    def charge(start, end):
        ends = [zone.day_start(date.fromisoformat(day)) for day in (start, end)]
        return prices.standing_until(ends[1]) - prices.standing_until(ends[0])

    assert charge("2024-01-01", "2025-01-01") == 366
    assert round(charge("2025-01-01", "2026-01-01"), 20) == 366
    assert round(charge("2024-03-31", "2024-04-01"), 20) == 1  # 23 hours
    assert round(charge("2024-04-01", "2024-04-02"), 20) == 1
    assert charge("2023-01-01", "2024-01-01") == 0
    start = zone.day_start(date(2024, 5, 1))
    half = prices.standing_until(start + 12 * 3_600_000) - prices.standing_until(start)
    assert round(half, 20) == Decimal("0.5")


def test_without_settings_there_are_no_costs(read):
    house = read("").house
    assert (house.tariffs, house.currency, house.name) == ((), "EUR", "")


def test_what_check_config_shows_means_the_same(read, tmp_path):
    before = read(GOOD)
    after = read("\n".join(before.house.lines()))
    assert after.house.tariffs == before.house.tariffs
    assert after.house.zone.name == before.house.zone.name


TARIFF = "[[tariff]]\nvalid_from = 2026-01-01\nimport_ct_per_kwh = 31\n"
WINDOW = '[[tariff.window]]\nfrom = "22:00"\nto = "06:00"\nimport_ct_per_kwh = 3\n'
MISTAKES = (
    ("a zone that is none", '[house]\nzone = "Berlin"', 2, "house.zone is no time zone"),
    ("a zone as a number", "[house]\nzone = 1", 2, "house.zone must be a text"),
    ("an unknown key", '[house]\nzoen = "UTC"', 2, "did you mean zone?"),
    ("a date in quotes", '[[tariff]]\nvalid_from = "2026-01-01"\nimport_ct_per_kwh = 1', 2,
     "valid_from (in [[tariff]] number 1) must be a date like 2026-01-01, without quotes, not '2026-01-01'"),
    ("a date with a time", "[[tariff]]\nvalid_from = 2026-01-01T00:00:00\nimport_ct_per_kwh = 1", 2, "must be a date"),
    ("no date", "[[tariff]]\nimport_ct_per_kwh = 1", 1, "valid_from (in [[tariff]] number 1) is missing"),
    ("no price", "[[tariff]]\nvalid_from = 2026-01-01", 1, "import_ct_per_kwh (in [[tariff]] number 1) is missing"),
    ("a price in quotes", '[[tariff]]\nvalid_from = 2026-01-01\nimport_ct_per_kwh = "31,02"', 3, "must be a number like 31.02"),
    ("a price that is none", "[[tariff]]\nvalid_from = 2026-01-01\nimport_ct_per_kwh = nan", 3, "not NaN"),
    ("a price without end", "[[tariff]]\nvalid_from = 2026-01-01\nimport_ct_per_kwh = 1e400", 3, "must be a number"),
    ("a price too fine", "[[tariff]]\nvalid_from = 2026-01-01\nimport_ct_per_kwh = 0.1234567", 3, "at most six decimals"),
    ("a truth as a price", "[[tariff]]\nvalid_from = 2026-01-01\nimport_ct_per_kwh = true", 3, "must be a number"),
    ("an unknown key of a tariff", TARIFF + "price = 3", 4, "unknown key 'price' (in [[tariff]] number 1); known: valid_from"),
    ("one table", "[tariff]\nvalid_from = 2026-01-01", 1, "write [[tariff]]"),
    ("a number", "tariff = 3", 1, "write [[tariff]]"),
    ("the wrong order", TARIFF + "[[tariff]]\nvalid_from = 2025-01-01\nimport_ct_per_kwh = 1", 5,
     "valid_from (in [[tariff]] number 2) must be later than 2026-01-01"),
    ("the same day", TARIFF + TARIFF, 5, "must be later than 2026-01-01"),
    ("an end before the start", TARIFF + "valid_to = 2025-12-31", 4, "lies before valid_from"),
    ("two at once", TARIFF + "valid_to = 2026-12-31\n[[tariff]]\nvalid_from = 2026-12-31\nimport_ct_per_kwh = 1", 6,
     "later than 2026-12-31, valid_to of the tariff above"),
    ("a window that begins at no quarter", TARIFF + WINDOW.replace("22:00", "22:10"), 5,
     'from (in [[tariff.window]] number 1) must be a time on a quarter of an hour, like "22:00"'),
    ("a window that ends never", TARIFF + WINDOW.replace("06:00", "24:15"), 6, "must be a time on a quarter"),
    ("a window that begins at midnight's end", TARIFF + WINDOW.replace("22:00", "24:00"), 5, 'before "24:00"'),
    ("a window without a price", TARIFF + '[[tariff.window]]\nfrom = "22:00"\nto = "06:00"', 4, "import_ct_per_kwh (in [[tariff.window]] number 1) is missing"),
    ("a day that is none", TARIFF + WINDOW + 'days = "mon-fry"', 8, "must be days like"),
    ("two windows at once", TARIFF + WINDOW + WINDOW.replace("22:00", "05:45"), 9, "number 2 has hours that number 1"),
    ("a mistake in the second tariff's window", TARIFF + WINDOW + "[[tariff]]\nvalid_from = 2026-02-01\nimport_ct_per_kwh = 1\n" + WINDOW.replace("06:00", "6"), 13,
     "to (in [[tariff.window]] number 2)"),
    ("no tables of windows", TARIFF + "window = 3", 4, "write [[tariff.window]]"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "words"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, capsys, text, line, words):
    path = tmp_path / "host.toml"
    path.write_text(text)
    assert cli.main(["--config", str(path), "--check-config"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err
    assert f"line {line}:" in err


def test_windows_of_two_tariffs_may_have_the_same_hours(read):
    house = read(
        TARIFF + WINDOW + "[[tariff]]\nvalid_from = 2026-02-01\nimport_ct_per_kwh = 1\n" + WINDOW
    ).house
    assert [len(tariff.windows) for tariff in house.tariffs] == [1, 1]


def test_every_setting_of_the_house_is_in_the_schema():
    assert {"house.name", "house.zone", "house.currency"} <= {key.path for key in settings.SCHEMA}
