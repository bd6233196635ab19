"""What another program has read becomes readings of ours: each once, none guessed."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from foreign import energy_monitor
from stored import stored_readings
from wattlog_host import cli
from wattlog_host.history.zone import NoSuchTime, zone_or_offset
from wattlog_host.importing.importer import chosen_meter, server_id_of
from wattlog_host.importing.local_time import LocalTimes
from wattlog_host.importing.rows import ImportFailed, column_of, value_of
from wattlog_host.store.imports import KnownMeter
from wattlog_host.store.records import Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch

METER = bytes.fromhex("0a0149534b0003382939")
LABEL = "1 ISK00 54012217"
IMPORT, EXPORT, POWER, L1 = 1, 4, 10, 11
# 2025-06-01T00:00:00 in Berlin.
JUNE_MS = 1_748_728_800_000


def utc_ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "wattlog.db"


@pytest.fixture
def bring(tmp_path, path, capsys):
    """Run the import of a file; its report as text, or what was wrong with it."""
    config = tmp_path / "host.toml"
    config.write_text(f'data = "{path.parent}"\n[store]\nraw_days = 0\n')

    def run(file, *options, status=0):
        arguments = ["import", "--config", config, "--zone", "Europe/Berlin", *options, file]
        found = cli.main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        assert found == status, err + out
        assert (err == "") == (status == 0)
        return out or err

    return run


def days(count, first=1):
    """Rows of a meter that is read every ten minutes, each day from noon to one."""
    return [
        (f"2025-06-{day:02} 12:{minute:02}:00.250000", METER.hex(), 100.5 + minute, 10 * day + minute / 1000, 0.0)
        for day in range(first, first + count)
        for minute in range(0, 60, 10)
    ]  # fmt: skip


# --- energy-monitor -----------------------------------------------------------------------------


def test_its_rows_are_readings_in_our_units_at_their_time(bring, path, tmp_path):
    rows = [
        ("2025-06-01 00:00:00.123456", METER.hex().upper(), 231.4, 1234.5678, 7.5, 1.0, -2.5, 0.0),
        ("2025-12-01 00:00:00.000000", METER.hex(), -12.0, None, 0.0),
        ("2025-12-01 00:00:10.000000", METER.hex(), None, 0.0, None),
        ("2025-12-01 00:00:20.000000", METER.hex(), None, 1235.0, None),
    ]
    said = bring(energy_monitor(tmp_path / "energy.db", rows))
    assert [(one.time_ms, one.time_source, one.server_id, one.values) for one in stored_readings(path)] == [
        (JUNE_MS + 123, "sync", METER,
         {1: 123456780000, 4: 750000000, 10: 231400, 11: 1000, 12: -2500, 13: 0}),
        (utc_ms("2025-11-30T23:00:00"), "sync", METER, {10: -12000}),
        (utc_ms("2025-11-30T23:00:20"), "sync", METER, {1: 123500000000}),
    ]  # fmt: skip
    assert "4 rows read" in said
    assert f"meter {LABEL}: 3 readings are new, 2025-06-01 00:00:00+02:00" in said
    assert "1 rows left out: no value; first in row 3" in said
    assert {one.edge for one in stored_readings(path)} == {"import-energy-monitor"}


def test_twice_is_nothing_new_and_a_file_that_grew_brings_what_it_grew_by(bring, path, tmp_path):
    file = energy_monitor(tmp_path / "energy.db", days(3))
    assert "18 readings are new" in bring(file)
    before = stored_readings(path)
    said = bring(file)
    assert "nothing is new" in said
    assert "18 rows left out: already stored" in said
    assert stored_readings(path) == before
    energy_monitor(file, days(2, first=4))
    copy = tmp_path / "another name.bak"
    copy.write_bytes(file.read_bytes())
    assert "12 readings are new" in bring(copy)
    times = [one.time_ms for one in stored_readings(path)]
    assert times == sorted(set(times))
    assert len(times) == 30


def test_a_file_of_which_the_beginning_is_gone_brings_nothing_twice(bring, path, tmp_path):
    bring(energy_monitor(tmp_path / "energy.db", days(3)))
    assert "6 readings are new" in bring(energy_monitor(tmp_path / "late.db", days(3, first=2)))
    assert len(stored_readings(path)) == 24


def test_other_values_at_a_time_that_is_stored_change_nothing(bring, path, tmp_path):
    bring(energy_monitor(tmp_path / "energy.db", days(1)))
    before = stored_readings(path)
    other = [(stamp, meter, power + 1, *more) for stamp, meter, power, *more in days(1)]
    said = bring(energy_monitor(tmp_path / "other.db", other))
    assert "6 rows left out: another reading is stored at this time" in said
    assert stored_readings(path) == before


def test_a_dry_run_says_the_same_and_stores_nothing(bring, path, tmp_path):
    file = energy_monitor(tmp_path / "energy.db", days(3))
    assert "18 readings would be new" in bring(file, "--dry-run")
    assert not path.exists()
    bring(energy_monitor(tmp_path / "less.db", days(2)))
    before = path.read_bytes()
    said = bring(file, "--dry-run")
    assert "6 readings would be new" in said
    assert "12 rows left out: already stored" in said
    assert path.read_bytes() == before


def test_where_its_agent_has_read_the_meter_the_file_is_left_out(bring, path, tmp_path, wire):
    """From its first to its last reading and so long beside them as a reading speaks."""
    store = Writer(path, "1", utc_ms("2025-07-01T00:00:00"))
    at_ms = utc_ms("2025-06-01T10:20:00")
    payload = wire.batch(
        wire.sync(0, at_ms), wire.reading(1000, meter=METER), wire.reading(601_000, meter=METER)
    )
    item = Incoming("t", decode_batch(payload), utc_ms("2025-07-01T00:00:00"), payload)
    assert [one.reason for one in store.commit([item]).outcomes] == [None]
    store.close(0)
    rows = [(f"2025-06-01 12:{minute}:00.000000", METER.hex(), 1.0) for minute in range(10, 50, 4)]
    said = bring(energy_monitor(tmp_path / "energy.db", rows))
    assert "5 rows left out: the meter's own agent has read it then" in said
    own = [one.time_ms for one in stored_readings(path) if one.edge.startswith("import-")]
    assert own == [utc_ms(f"2025-06-01T10:{minute}:00") for minute in (10, 14, 38, 42, 46)]


def test_an_hour_that_comes_twice_is_told_apart_by_the_order(bring, path, tmp_path):
    walls = ["01:59:50", "02:00:00", "02:59:50", "02:00:00", "02:59:50", "03:00:00"]
    rows = [(f"2025-10-26 {wall}.{n}00000", METER.hex(), 5.0) for n, wall in enumerate(walls)]
    said = bring(energy_monitor(tmp_path / "energy.db", rows))
    assert [one.time_ms for one in stored_readings(path)] == [
        utc_ms(f"2025-10-2{text}")
        for text in ("5T23:59:50", "6T00:00:00.100", "6T00:59:50.200", "6T01:00:00.300",
                     "6T01:59:50.400", "6T02:00:00.500")
    ]  # fmt: skip
    assert "4 rows lie in an hour that came twice" in said


def test_an_hour_that_never_was_tells_of_a_clock_with_one_offset(bring, path, tmp_path):
    rows = [(f"2025-03-30 0{hour}:30:00.000000", METER.hex(), 5.0) for hour in (1, 2, 3)]
    file = energy_monitor(tmp_path / "energy.db", rows)
    said = bring(file, "--dry-run")
    assert "1 rows left out: a time that the zone never had; first in row 2" in said
    assert "try --zone +01:00" in said
    bring(file, "--zone", "+01:00")
    assert [one.time_ms for one in stored_readings(path)] == [
        utc_ms(f"2025-03-30T0{hour}:30:00") for hour in (0, 1, 2)
    ]


def test_rows_that_are_wrong_are_counted_by_reason(bring, path, tmp_path):
    rows = [
        ("yesterday", METER.hex(), 5.0),
        (None, METER.hex(), 5.0),
        ("2004-12-31 00:00:00.000000", METER.hex(), 5.0),
        ("2099-01-01 00:00:00.000000", METER.hex(), 5.0),
        ("2025-06-01 00:00:00.000000", "None", 5.0),
        ("2025-06-01 00:00:10.000000", METER.hex(), 2e9, 5.0),
        ("2025-06-01 00:00:20.000000", METER.hex(), 0.12345, -1.0),
        ("2025-06-01 00:00:30.000000", METER.hex(), "much", 6.0),
    ]
    file = tmp_path / "energy.db"
    rows = [(stamp or "", *more) for stamp, *more in rows]
    said = bring(energy_monitor(file, rows))
    for line in (
        "2 rows left out: not a time; first in row 1",
        "1 rows left out: before 2005; first in row 3",
        "1 rows left out: in the future; first in row 4",
        "1 rows left out: no meter id; first in row 5",
        "1 values left out: power_w out of range; first in row 6",
        "1 values left out: power_w finer than is kept; first in row 7",
        "1 values left out: import_wh out of range; first in row 7",
        "1 values left out: not a number; first in row 8",
        "--round",
        "--meter LABEL",
    ):
        assert line in said
    assert [one.values for one in stored_readings(path)] == [{1: 500000000}, {1: 600000000}]
    assert "2 readings are new" in bring(file, "--meter", LABEL, "--round")
    assert {10: 123} in [one.values for one in stored_readings(path)]


def test_two_meters_stay_two(bring, path, tmp_path):
    rows = [(f"2025-06-01 00:00:0{n}.000000", f"0a0{n % 2}", float(n)) for n in range(6)]
    file = energy_monitor(tmp_path / "energy.db", rows)
    assert "has several meters, not only one: 0a00, 0a01" in bring(
        file, "--meter", "0a00", status=2
    )
    bring(file)
    by_meter = {}
    for one in stored_readings(path):
        by_meter.setdefault(one.server_id.hex(), []).append(one.values[POWER])
    assert by_meter == {"0a00": [0, 2000, 4000], "0a01": [1000, 3000, 5000]}


KILLED = """
import os, signal, sys
from wattlog_host import cli
from wattlog_host.store.writer import Writer
left = int(sys.argv[1])
commit = Writer.commit
def killed(self, items):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return commit(self, items)
Writer.commit = killed
sys.exit(cli.main(sys.argv[2:]))
"""


def test_killed_it_goes_on_where_it_was(bring, path, tmp_path):
    file = energy_monitor(tmp_path / "energy.db", days(9))
    config = tmp_path / "host.toml"
    arguments = ["import", "--config", config, "--zone", "Europe/Berlin", file]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "4", *map(str, arguments)], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    count = len(stored_readings(path))
    assert 0 < count < 54
    assert f"{54 - count} readings are new" in bring(file)
    times = [one.time_ms for one in stored_readings(path)]
    assert times == sorted(set(times))
    assert len(times) == 54


def test_what_is_imported_is_in_the_buckets(bring, path, tmp_path):
    bring(energy_monitor(tmp_path / "energy.db", days(2)))
    store = Writer(path, "1", 0)
    assert store.roll() == 0
    info, hours = store.ask(
        lambda history: (
            history.meters(),
            history.registers(1, IMPORT, JUNE_MS, JUNE_MS + 2 * 86_400_000, 3600),
        )
    )
    assert [(one.server_id, one.channels) for one in info] == [(METER, [IMPORT, POWER])]
    assert list(hours.readings) == [6, 6]
    (event,) = store.events(1)
    assert event.text == "imported 12 readings from energy.db"
    store.close(0)


def test_what_was_let_go_does_not_come_again(bring, path, tmp_path):
    file = energy_monitor(tmp_path / "energy.db", days(3))
    bring(file)
    store = Writer(path, "1", 0)
    while store.let_go_before(JUNE_MS + 2 * 86_400_000):
        pass
    assert len(list(store.readings())) == 6
    store.close(0)
    said = bring(file)
    assert "nothing is new" in said
    assert "18 rows left out: already stored" in said


def test_a_host_that_runs_keeps_it_out_but_for_a_look(make_host, run_host, tmp_path):
    host = make_host()
    host.start()
    file = energy_monitor(tmp_path / "energy.db", days(1))
    done = run_host("import", "--config", host.config_path, file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "another wattlog-host uses" in done.stderr
    done = run_host("import", "--config", host.config_path, "--dry-run", file)
    assert "6 readings would be new" in done.stdout, done.stderr


# --- CSV ----------------------------------------------------------------------------------------

CSVS = (
    ("our own", "time,import_wh,power_w\n2025-06-01T00:00:00+02:00,1989275.5,-231.4\n", []),
    ("energies in kWh", "time,import_kwh,power_w\n2025-05-31T22:00:00Z,1989.2755,-231.4\n", []),
    ("German", "Zeit;Import_kWh;Power_W\n01.06.2025 00:00;1989,2755;-231,4\n", []),
    ("with units", "Datum;Bezug [kWh];Leistung (kW)\n2025-06-01;1989,2755;-0,2314\n",
     ["--column", "import_wh=Bezug", "--column", "power_w=leistung"]),
    ("date and time apart", "Tag\tUhr\tb\tp\n01.06.2025\t00:00:00\t1989.2755\t-231.4\n",
     ["--time", "Tag+Uhr", "--column", "import_wh:kWh=b", "--column", "power_w:W=p"]),
    ("no header", "1748728800000;1989275,5;-231,4\n",
     ["--time", "1", "--column", "import_wh:Wh=2", "--column", "power_w:W=3"]),
    ("seconds, a quote, an empty line", '\ufefftime,"power_w",import_wh\n\n1748728800,"-231.4",1989275.5\n\n',
     []),
    ("another form", "t|import_wh|power_w\n06/01/25 00h00|1989275.5|-231.4\n",
     ["--time-format", "%m/%d/%y %Hh%M"]),
    ("another encoding", "Zähler;t;import_wh;power_w\nx;2025-06-01;1989275,5;-231,4\n".encode("cp1252"),
     ["--encoding", "cp1252"]),
    ("a comma that is told", "t\timport_wh\tpower_w\n2025-06-01\t1989275,5\t-231,4\n", ["--decimal", ","]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "options"), [row[1:] for row in CSVS], ids=[row[0] for row in CSVS]
)
def test_a_csv_file_is_read_as_it_is_meant(bring, path, tmp_path, text, options):
    file = tmp_path / "file.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "1 lines read" in bring(file, "--meter", METER.hex(), *options)
    (one,) = stored_readings(path)
    assert (one.time_ms, one.server_id) == (JUNE_MS, METER)
    assert one.values == {IMPORT: 198927550000, POWER: -231400}
    assert one.edge == "import-csv"


MISTAKES = (
    ("nothing in it", "", [], "is empty"),
    ("one column", "time\n2025-06-01\n", [], "line 1 has one column"),
    ("no time", "a,power_w\n1,2\n", [], "line 1: no column is known to be the time"),
    ("two times", "date,time,power_w\n1,2,3\n", [], "more than one column may be known"),
    ("no channel", "time,a\n2025-06-01,2\n", [], "no column is known to be a channel"),
    ("no such column", "time,a\n2025-06-01,2\n", ["--column", "power_w:W=b"],
     "there is no column b; there are: time, a"),
    ("no such channel", "time,a\n2025-06-01,2\n", ["--column", "watts:W=a"], "there is no channel watts"),
    ("no such unit", "time,a\n2025-06-01,2\n", ["--column", "power_w:kWh=a"], "kWh is no unit of power_w"),
    ("which unit", "time,a\n2025-06-01,2\n", ["--column", "power_w=a"], "--column power_w:UNIT=a"),
    ("not like a column", "time,a\n2025-06-01,2\n", ["--column", "power_w"], "like import_wh:kWh=NAME"),
    ("one channel twice", "time,power_w,power_kw\n2025-06-01,2,3\n", [], "two columns are the same channel"),
    ("another encoding", "time,power_w,n\n2025-06-01,2,\n2025-06-02,3,\xe4\n", [], "line 3 is not utf-8"),
    ("no encoding", "time,power_w\n2025-06-01,2\n", ["--encoding", "klingon"], "no encoding klingon"),
    ("an open quote", 'time,power_w\n2025-06-01,"2\n', [], "line 2: unexpected end of data"),
    ("no zone", "time,power_w\n2025-06-01,2\n", ["--zone", "Berlin"], "--zone Berlin is no time zone"),
    ("no name", "time,power_w\n2025-06-01,2\n", ["--name", "My File"], "--name My File"),
    ("a long delimiter", "time,power_w\n2025-06-01,2\n", ["--delimiter", "::"], "--delimiter ::"),
    ("no meter", "time,power_w\n2025-06-01,2\n", ["--meter", "kitchen"], "no meter is called kitchen"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "options", "words"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_what_is_not_clear_is_one_line_that_says_what_to_do(bring, tmp_path, text, options, words):
    file = tmp_path / "file.csv"
    file.write_bytes(text.encode("latin-1"))
    said = bring(file, "--meter", METER.hex(), *options, status=2)
    assert said.startswith("wattlog-host: ")
    assert said.count("\n") == 1
    assert words in said


def test_lines_that_are_wrong_are_counted_by_reason(bring, path, tmp_path):
    file = tmp_path / "file.csv"
    file.write_text(
        "time;import_kwh;power_w\n"
        "2025-06-01 00:00;1,5;\n"
        "2025-06-01 00:10;1,6\n"
        "soon;1,6;2\n"
        "2025-06-01 00:20;1.7;2\n"
        "2025-06-01 00:30;;\n"
        "1748;1,9;2\n"
        "2025-06-01 00:00;1,5;\n"
    )
    said = bring(file, "--meter", "text:Ferraris 7")
    for line in (
        "7 lines read",
        "1 lines left out: 2 columns instead of 3; first in line 3",
        "2 lines left out: not a time; first in line 4",
        "1 values left out: not a number; first in line 5",
        "1 lines left out: no value; first in line 6",
        "1 lines left out: already stored; first in line 8",
    ):
        assert line in said
    assert [one.values for one in stored_readings(path)] == [{1: 150000000}, {10: 2000}]
    assert stored_readings(path)[0].server_id == b"Ferraris 7"


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_lines_is_of_no_matter(bring, path, tmp_path, order):
    file = tmp_path / "file.csv"
    lines = [
        f"2025-06-{day:02} {hour:02}:00,{day * hour}\n"
        for day in range(1, 9)
        for hour in range(24)
    ]
    file.write_text("time,power_w\n" + "".join(lines[::order]))
    assert f"{len(lines)} readings are new" in bring(file, "--meter", METER.hex())
    file.write_text("time,power_w\n" + "".join(lines[::-order]))
    assert "nothing is new" in bring(file, "--meter", LABEL)
    assert len(stored_readings(path)) == len(lines)


def test_a_line_that_comes_again_much_later_counts_once(bring, path, tmp_path):
    file = tmp_path / "file.csv"
    lines = [f"2025-06-{day:02} 12:00,{day}\n" for day in range(1, 9)]
    file.write_text("time,power_w\n" + "".join(lines * 2))
    said = bring(file, "--meter", METER.hex())
    assert "8 readings are new" in said
    assert "8 lines left out: already stored; first in line 10" in said
    assert len(stored_readings(path)) == 8


def test_the_zone_is_that_of_the_house_unless_it_is_given(tmp_path, capsys):
    config = tmp_path / "host.toml"
    config.write_text(f'data = "{tmp_path / "data"}"\n[house]\nzone = "Asia/Kathmandu"\n')
    file = tmp_path / "x.csv"
    file.write_text("time,power_w\n2025-06-01 00:00:00,2\n")
    arguments = ["--config", str(config), "import", "--dry-run", "--meter", METER.hex()]
    cases = (([], "Asia/Kathmandu", "+05:45"), (["--zone=-03:30"], "-03:30", "-03:30"))
    for options, zone, offset in cases:
        assert cli.main([*arguments, *options, str(file)]) == 0
        said = capsys.readouterr().out
        assert f"times without an offset taken as those of {zone}" in said
        assert f"2025-06-01 00:00:00{offset}" in said


# --- parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "+01:00"]
)
def test_each_minute_of_a_year_is_found_again(zone):
    """Whatever the zone does: clock readings in their order give the times they were taken at."""
    times = LocalTimes(zone_or_offset(zone))
    start_ms = utc_ms("2025-01-01T00:00:00")
    for minute in range(0, 366 * 1440, 10):
        at_ms = start_ms + minute * 60_000
        wall = times.zone.local(at_ms).replace(tzinfo=None, fold=0)
        assert times.ms(wall) == at_ms
    assert times.unsure == 0
    assert (times.doubled > 0) == (zone in ("Europe/Berlin", "Australia/Lord_Howe"))


def test_after_a_pause_a_doubled_hour_is_unsure():
    times = LocalTimes(zone_or_offset("Europe/Berlin"))
    at = datetime.fromisoformat
    assert times.ms(at("2025-10-26 02:30")) == utc_ms("2025-10-26T00:30:00")
    assert times.ms(at("2025-10-26 02:40")) == utc_ms("2025-10-26T00:40:00")
    assert (times.doubled, times.unsure) == (2, 1)
    with pytest.raises(NoSuchTime):
        times.ms(at("2025-03-30 02:30"))


@pytest.mark.parametrize(
    ("key", "unit", "text", "value"),
    [
        ("import_wh", "kWh", "12345.6789", (1, 123456789, -1)),
        ("import_wh", None, "7", (1, 7, 0)),
        ("import_wh", "MWh", "1e-3", (1, 1000, 0)),
        ("power_w", "W", "-0", (10, 0, 0)),
        ("power_w", "kW", "0.2314000000", (10, 231400, -3)),
        ("current_l1_a", "mA", "250", (31, 250, -3)),
        ("power_w", "W", "0.0004", "power_w finer than is kept"),
        ("power_w", "W", "1e99", "power_w out of range"),
        ("import_wh", "Wh", "-0.1", "import_wh out of range"),
        ("power_w", "W", "1_0", "not a number"),
        ("power_w", "W", "inf", "not a number"),
        ("power_w", "W", "12 W", "not a number"),
    ],
)
def test_a_number_is_exact_or_none(key, unit, text, value):
    assert value_of(column_of(key, unit), text, rounds=False) == value


def test_a_meter_is_chosen_by_what_it_is_called():
    known = [KnownMeter(1, METER, LABEL)]
    assert chosen_meter(LABEL, known) == METER
    assert chosen_meter(METER.hex(), known) == METER
    assert chosen_meter("0a-01", known) == b"\x0a\x01"
    assert chosen_meter("text:0a01", known) == b"0a01"
    assert server_id_of("0A01") == b"\x0a\x01"
    assert server_id_of("hall") == b"hall"
    for text in ("kitchen", "", "text:", "ab" * 33):
        with pytest.raises(ImportFailed):
            chosen_meter(text, known)


def test_a_file_that_is_not_there_is_said(bring, tmp_path):
    assert "cannot read" in bring(tmp_path / "no.db", status=2)
    assert os.listdir(tmp_path) == ["host.toml"]
