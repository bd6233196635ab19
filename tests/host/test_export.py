"""What is exported is what is stored: exact, whole, a page at a time."""

import csv
import io
import itertools
import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from foreign import energy_monitor
from stored import stored_readings
from toolbox import unavailable
from wattlog_host import cli
from wattlog_host.history import export
from wattlog_host.history.columns import MeterInfo, Reading, Registers
from wattlog_host.history.export import RAW, Selection, csv_text, number_text, pages
from wattlog_host.history.zone import named_zone

METER = "0a0149534b0003382939"
BERLIN = ZoneInfo("Europe/Berlin")


def utc_ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "host.toml").write_text(f'data = "{tmp_path / "data"}"\n[store]\nraw_days = 0\n')
    return tmp_path


@pytest.fixture
def host(folder, capsys):
    """Run a command in Berlin; what it printed."""

    def run(*arguments, status=0):
        found = cli.main(["--config", str(folder / "host.toml"), *map(str, arguments)])
        out, err = capsys.readouterr()
        assert found == status, err
        assert (err == "") == (status == 0)
        return out or err

    return run


# Every ten minutes over the autumn's day of 25 hours, but for the night before noon; 0.1 kWh each.
GAP = range(utc_ms("2025-10-26T06:05:00"), utc_ms("2025-10-26T10:55:00"))
START_MS, END_MS = utc_ms("2025-10-25T20:00:00"), utc_ms("2025-10-27T01:00:00")


def rows():
    for index, at_ms in enumerate(range(START_MS, END_MS, 240_000)):
        if at_ms in GAP:
            continue
        stamp = datetime.fromtimestamp(at_ms / 1000, BERLIN).strftime("%Y-%m-%d %H:%M:%S.%f")
        power = float(index * 37 % 101) - 20.5
        # In the hour that comes twice the clock reads the same again: its key must differ.
        stamp = stamp[:-6] + f"{index % 1000:03}000"
        yield stamp, METER, power, round(100 + index * 0.1, 4), None, power if index % 2 else None


@pytest.fixture
def filled(folder, host):
    host("import", "--zone", "Europe/Berlin", energy_monitor(folder / "energy.db", rows()))
    return stored_readings(folder / "data" / "wattlog.db")


def table(text, **form):
    return list(csv.DictReader(io.StringIO(text), **form))


def exact(value, decimals):
    return None if value is None else Decimal(value).scaleb(-decimals)


def decimals(text):
    return None if text in ("", None) else Decimal(str(text))


def test_raw_readings_are_all_there_exactly(host, filled):
    found = table(host("export", "--zone", "Europe/Berlin"))
    assert list(found[0]) == ["time", "import_wh", "power_w", "power_l1_w", "time_source"]
    assert found[0]["time"] == "2025-10-25T22:00:00.000+02:00"
    for row, one in zip(found, filled, strict=True):
        moment = datetime.fromisoformat(row["time"])
        assert utc_ms(moment.astimezone(UTC).replace(tzinfo=None).isoformat()) == one.time_ms
        assert decimals(row["import_wh"]) == exact(one.values[1], 5)
        assert decimals(row["power_w"]) == exact(one.values[10], 3)
        assert decimals(row["power_l1_w"]) == exact(one.values.get(11), 3)
        assert row["time_source"] == "sync"


def test_what_is_exported_can_be_imported_and_is_the_same(host, folder, filled):
    host("export", "-o", folder / "out.csv")
    other = folder / "other.toml"
    other.write_text(f'data = "{folder / "other"}"\n[store]\nraw_days = 0\n')
    host("--config", other, "import", "--meter", METER, folder / "out.csv")
    again = stored_readings(folder / "other" / "wattlog.db")
    assert [(one.time_ms, one.values) for one in again] == [
        (one.time_ms, one.values) for one in filled
    ]


def test_json_lines_say_the_same_with_null_for_what_is_missing(host, filled):
    lines = host("export", "--format", "jsonl", "--zone", "+00:00").splitlines()
    assert len(lines) == len(filled)
    for line, one in zip(lines, filled, strict=True):
        row = json.loads(line, parse_float=Decimal, parse_int=Decimal)
        assert row["power_w"] == exact(one.values[10], 3)
        assert row["power_l1_w"] == exact(one.values.get(11), 3)
    assert '"power_l1_w":null' in lines[0]
    assert '"time":"2025-10-25T20:00:00.000+00:00"' in lines[0]


def test_german_csv_has_commas_where_numbers_are(host, filled):
    text = host("export", "--german", "--to", "2025-10-25T22:05:00+02:00")
    assert text.splitlines()[1].split(";")[1:4] == ["100000", "-20,5", ""]
    assert len(table(text, delimiter=";")) == 2


@pytest.mark.parametrize(("resolution", "minutes"), [("1m", 1), ("15m", 15), ("1h", 60)])
def test_buckets_are_what_the_readings_in_them_say(host, filled, resolution, minutes):
    found = table(host("export", "--resolution", resolution, "--zone", "+00:00"))
    by_start = {}
    for one in filled:
        by_start.setdefault(one.time_ms - one.time_ms % (60_000 * minutes), []).append(one)
    told = {}
    for row in found:
        start_ms = utc_ms(row["time"].removesuffix("+00:00"))
        assert utc_ms(row["end"].removesuffix("+00:00")) == start_ms + 60_000 * minutes
        if row["import_wh_first"]:
            told[start_ms] = row
    assert told.keys() == by_start.keys()
    for start_ms, readings in by_start.items():
        row = told[start_ms]
        assert decimals(row["import_wh_first"]) == exact(readings[0].values[1], 5)
        assert decimals(row["import_wh_last"]) == exact(readings[-1].values[1], 5)
        assert decimals(row["power_w_min"]) <= exact(min(r.values[10] for r in readings), 3)
        assert decimals(row["power_w_max"]) >= exact(max(r.values[10] for r in readings), 3)
        low, high = decimals(row["power_w_min"]), decimals(row["power_w_max"])
        assert low <= decimals(row["power_w_mean"] or low) <= high


@pytest.mark.parametrize("resolution", ["1m", "15m", "1h", "1d"])
def test_rises_and_what_was_counted_in_gaps_make_the_whole(host, filled, resolution):
    found = table(host("export", "--resolution", resolution, "--zone", "Europe/Berlin"))
    rises = sum(decimals(row["import_wh_rise"]) for row in found if row["import_wh_rise"])
    gaps = sum(
        exact(after.values[1] - before.values[1], 5)
        for before, after in itertools.pairwise(filled)
        if after.time_ms - before.time_ms > 300_000
    )
    whole = exact(filled[-1].values[1] - filled[0].values[1], 5)
    assert gaps > 0
    # Within a day the gap lies between two readings of its row.
    assert rises + (gaps if resolution != "1d" else 0) == whole


def test_days_are_those_of_the_zone(host, filled):
    found = table(host("export", "--resolution", "1d", "--zone", "Europe/Berlin"))
    assert [(row["time"], row["end"]) for row in found] == [
        ("2025-10-25T00:00:00+02:00", "2025-10-26T00:00:00+02:00"),
        ("2025-10-26T00:00:00+02:00", "2025-10-27T00:00:00+01:00"),
        ("2025-10-27T00:00:00+01:00", "2025-10-28T00:00:00+01:00"),
    ]
    assert 19 * 3600 < float(found[1]["covered_s"]) < 21 * 3600


def test_a_range_is_from_its_beginning_to_before_its_end(host, filled):
    found = table(host("export", "--from", "2025-10-26T01:00:00+00:00", "--to", "1761440880000"))
    assert [row["time"][11:19] for row in found] == ["01:00:00", "01:04:00"]


def test_parquet_has_the_same_numbers(host, folder, filled):
    parquet = pytest.importorskip("pyarrow.parquet")
    file = folder / "out.parquet"
    host("export", "--format", "parquet", "--output", file)
    found = parquet.read_table(file).to_pylist()
    assert [row["power_w"] for row in found] == [one.values[10] / 1000 for one in filled]
    assert found[0]["power_l1_w"] is None
    assert utc_ms(found[0]["time"].replace(tzinfo=None).isoformat()) == filled[0].time_ms
    assert sorted(one.name for one in folder.iterdir()) == [
        "data", "energy.db", "host.toml", "out.parquet"
    ]  # fmt: skip


def test_parquet_without_its_library_says_what_to_install(host, folder, filled, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = host("export", "--format", "parquet", "-o", folder / "x", status=2)
    assert "install wattlog[parquet]" in said
    assert not (folder / "x").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "parquet"], "needs a file"),
        (["--meter", "kitchen"], "no meter is called kitchen; there are: 1 ISK00 54012217"),
        (["--from", "soon"], "soon is no time"),
        (["--from", "1761440880"], "looks like seconds"),
        (["--from", "2025-10-28", "--to", "2025-10-27"], "--from is not before --to"),
        (["--zone", "Berlin"], "--zone Berlin is no time zone"),
        (["--output", "/nowhere/x"], "cannot write /nowhere/x: No such file"),
    ],
)
def test_a_mistake_is_one_line(host, filled, options, words):
    said = host("export", *options, status=2)
    assert words in said
    assert said.count("\n") == 1


def test_the_zone_is_that_of_the_house_unless_it_is_given(folder, host, filled):
    config = folder / "host.toml"
    config.write_text(config.read_text() + '[house]\nzone = "Asia/Kathmandu"\n')
    ours, given = host("export"), host("export", "--zone=-03:30")
    times = [[line.split(",")[0] for line in text.splitlines()[1:]] for text in (ours, given)]
    assert all(one.endswith("+05:45") for one in times[0])
    assert all(one.endswith("-03:30") for one in times[1])
    instants = [[datetime.fromisoformat(one) for one in column] for column in times]
    assert instants[0] == instants[1]
    middle = times[0][len(times[0]) // 2][:23]
    rest = host("export", "--from", middle).splitlines()[1:]
    assert [line.split(",")[0] for line in rest] == [one for one in times[0] if one[:23] >= middle]


def test_a_time_that_the_clock_shows_twice_is_asked_for_again(host, filled):
    said = host("export", "--zone", "Europe/Berlin", "--from", "2025-10-26T02:30", status=2)
    assert "comes twice in Europe/Berlin: say 2025-10-26T02:30:00+02:00 or" in said


def test_without_a_database_there_is_nothing_to_export(host):
    assert "there is no database" in host("export", status=2)


def test_a_reader_that_stops_ends_it_quietly(folder, host, filled):
    command = [sys.executable, "-m", "wattlog_host", "--config", folder / "host.toml", "export"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")


UTC_ZONE = named_zone("UTC")


class Many:
    """A history of one meter with so many readings, all that are asked for at a time."""

    def __init__(self, times):
        self.times = times
        self.asked = []

    def readings(self, meter_id, start_ms, end_ms, count_max):
        self.asked.append(count_max)
        found = [at for at in self.times if start_ms <= at < end_ms][:count_max]
        return [Reading(at, "sync", {10: index}) for index, at in enumerate(found)]


def selection(end_ms, resolution=RAW):
    return Selection(MeterInfo(1, b"x", "x", 0, end_ms - 1, [10]), 0, end_ms, resolution, UTC_ZONE)


@pytest.mark.parametrize(
    "times",
    [list(range(23)), [0] * 3 + [7] * 4 + [9], [5] * 12, [], [0, 0, 0, 0, 1, 1, 1, 1, 2]],
)
def test_pages_have_every_reading_once_also_those_of_one_instant(monkeypatch, times):
    monkeypatch.setattr(export, "ROWS_MAX", 4)
    history = Many(times)
    found = list(pages(history, selection(100)))
    assert [row[0] for page in found for row in page.rows] == times
    assert max(history.asked) <= 16


class Counted:
    """A history whose only channel is a counter, by these buckets of a minute."""

    def __init__(self, *buckets):
        self.buckets = buckets

    def registers(self, meter_id, channel, start_ms, end_ms, step_s):
        return Registers(*zip(*self.buckets, strict=True))


def test_a_rise_is_of_no_gap_and_of_no_exchange():
    """(start, first_ms, first, last_ms, last, rise, falls, covered_ms, readings)"""
    history = Counted(
        (-60_000, -9_000, 5, -9_000, 5, 0, 0, 0, 1),
        (0, 1_000, 7, 59_000, 9, 2, 0, 60_000, 2),
        (60_000, 61_000, 3, 119_000, 4, 1, 0, 60_000, 2),
        (600_000, 600_000, 50, 600_000, 50, 0, 0, 0, 1),
    )
    chosen = Selection(MeterInfo(1, b"x", "x", 0, 0, [1]), 0, 660_000, "1m", UTC_ZONE)
    assert [tuple(row) for page in pages(history, chosen) for row in page.rows] == [
        (0, 60_000, 7, 9, 4, 60_000),
        (60_000, 120_000, 3, 4, 1, 60_000),
        (600_000, 660_000, 50, 50, 0, 0),
    ]


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [(0, 3, "0"), (5, 3, "0.005"), (-231400, 3, "-231.4"), (-5, 3, "-0.005"), (12000, 3, "12"),
     (10**17, 5, "1000000000000"), (1, 0, "1")],
)  # fmt: skip
def test_a_number_has_the_digits_it_has(value, places, text):
    assert number_text(value, places) == text


def test_the_header_is_there_without_rows():
    assert csv_text(selection(1), ()) == "time,power_w,time_source\n"


def test_pyarrow_is_there_where_it_has_a_wheel():
    try:
        import pyarrow
    except ImportError:
        unavailable("pyarrow is missing: it has no wheel for this machine")
    else:
        assert pyarrow.__version__
