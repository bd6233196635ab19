"""The calendar of the house, and times as visitors write them."""

from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlog_host.history.times import parse_time
from wattlog_host.history.zone import UNITS, NoSuchTime, machine_zone, named_zone, zone_or_offset

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
BERLIN = named_zone("Europe/Berlin")

LENGTHS = (
    ("Europe/Berlin", date(2026, 3, 29), 23),
    ("Europe/Berlin", date(2026, 10, 25), 25),
    ("Europe/Berlin", date(2026, 11, 27), 24),
    ("Africa/Cairo", date(2026, 4, 24), 23),  # the clock skips midnight itself
    ("America/Havana", date(2026, 11, 1), 25),  # midnight comes twice
    ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
)


@pytest.mark.parametrize(("name", "day", "hours"), LENGTHS)
def test_a_day_has_the_hours_that_the_clock_gives_it(name, day, hours):
    zone = named_zone(name)
    start, end = zone.day_start(day), zone.day_start(day + timedelta(days=1))
    assert (end - start) / HOUR_MS == hours
    assert (zone.day(start), zone.day(start - 1)) == (day, day - timedelta(days=1))
    assert zone.start("day", end - 1) == start
    assert zone.next("day", start) == end


# All zones took two minutes once: since 2020 every day of each begins on a quarter of an hour.
ODD = ("Asia/Kathmandu", "Pacific/Chatham", "Australia/Lord_Howe", "Australia/Eucla", "Africa/Cairo",
       "America/Havana", "America/St_Johns", "Antarctica/Troll", "Antarctica/Casey", "Asia/Beirut",
       "America/Nuuk", "Pacific/Apia", "Africa/El_Aaiun", "Europe/Dublin")  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_days_follow_each_other_and_begin_on_a_quarter_of_an_hour(name):
    zone, day, before = named_zone(name), date(2019, 12, 31), 0
    for _ in range(366 * 12):
        start = zone.day_start(day)
        assert start % 900_000 == 0
        assert before < start
        assert zone.day(start) == day > zone.day(start - 1)
        day, before = day + timedelta(days=1), start


def test_every_zone_of_this_machine_is_known_and_nothing_else():
    for name in sorted(available_timezones())[::40]:
        assert named_zone(name).name == name
    for name in ("", "Europe", "/etc/passwd", "../UTC", "Mars/Base", "europe/berlin\n", "a/b/c/d"):
        with pytest.raises(ValueError, match="Europe/Berlin"):
            named_zone(name)


instants = st.integers(1_577_836_800_000, 2_208_988_800_000)  # 2020 to 2040
zones = st.sampled_from([named_zone(name) for name in (*ODD, "Europe/Berlin", "UTC")])


@given(zones, st.sampled_from(UNITS), instants)
def test_every_instant_is_in_one_unit_and_the_next_one_follows(zone, unit, time_ms):
    start, end = zone.start(unit, time_ms), zone.next(unit, time_ms)
    assert start <= time_ms < end
    assert zone.start(unit, end) == end
    if unit != "hour":
        assert zone.start(unit, end - 1) == start


@given(zones, st.sampled_from(UNITS), instants, st.integers(1, 40 * DAY_MS))
def test_cuts_have_no_hole(zone, unit, start_ms, length_ms):
    end_ms = start_ms + (length_ms if unit != "hour" else length_ms // 20 + 1)
    cuts = zone.cuts(unit, start_ms, end_ms, 2000)
    assert (cuts[0], cuts[-1]) == (start_ms, end_ms)
    assert all(before < after for before, after in pairwise(cuts))
    for cut in cuts[1:-1]:
        assert zone.start(unit, cut) == cut
    assert len(zone.cuts(unit, start_ms, end_ms, 3)) <= 3


def test_hours_are_full_hours_of_the_wall_clock():
    for name in ("Asia/Kathmandu", "America/St_Johns", "Europe/Berlin"):
        zone = named_zone(name)
        cuts = zone.cuts(
            "hour", zone.day_start(date(2026, 3, 28)), zone.day_start(date(2026, 3, 30)), 99
        )
        assert {zone.local(cut).minute for cut in cuts} == {0}
    assert len(cuts) - 1 == 47


def test_where_the_clock_moves_by_half_an_hour_hours_are_cut_there():
    zone = named_zone("Australia/Lord_Howe")
    for day, lengths in (
        (date(2026, 4, 5), [60, 60, 30, 60]),
        (date(2026, 10, 4), [60, 60, 30, 60]),
    ):
        start = zone.day_start(day)
        cuts = zone.cuts("hour", start, start + 5 * HOUR_MS, 99)
        assert [(after - before) // 60_000 for before, after in pairwise(cuts)][:4] == lengths


def test_the_week_begins_on_monday():
    friday = BERLIN.instant(datetime.fromisoformat("2026-11-27T09:30"))
    assert BERLIN.iso(BERLIN.start("week", friday)) == "2026-11-23T00:00:00+01:00"
    assert BERLIN.iso(BERLIN.next("month", friday)) == "2026-12-01T00:00:00+01:00"
    assert BERLIN.iso(BERLIN.start("year", friday)) == "2026-01-01T00:00:00+01:00"


def test_a_week_ago_the_clock_showed_the_same():
    after = BERLIN.instant(datetime.fromisoformat("2026-10-28T07:00"))
    assert after - BERLIN.shifted(after, -7) == 7 * DAY_MS + HOUR_MS
    assert BERLIN.local(BERLIN.shifted(after, -7)).hour == 7


def test_the_machines_zone_is_found(tmp_path):
    link = tmp_path / "localtime"
    assert machine_zone({}, link).name == "UTC"
    link.write_bytes(b"no zone")
    assert machine_zone({}, link).name == "UTC"
    folder = tmp_path / "zoneinfo" / "Europe"
    folder.mkdir(parents=True)
    (folder / "Berlin").write_bytes(b"")
    link.unlink()
    link.symlink_to(folder / "Berlin")
    assert machine_zone({}, link).name == "Europe/Berlin"
    assert machine_zone({"TZ": ":Asia/Tokyo"}, link).name == "Asia/Tokyo"
    assert machine_zone({"TZ": "/usr/share/zoneinfo/Asia/Tokyo"}, link).name == "Asia/Tokyo"
    for wrong in ("nonsense", "CET-1CEST,M3.5", "UTC-2\nUTC-2", "\u00e4-2", ":", "../Asia/Tokyo"):
        assert machine_zone({"TZ": wrong}, link).name == "Europe/Berlin", wrong


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ("CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Berlin"),
        ("AEST-10AEDT,M10.1.0,M4.1.0/3", "Australia/Sydney"),
        ("<-03>3", "America/Sao_Paulo"),
    ],
)
def test_rules_as_posix_has_them_are_a_zone(rules, name):
    zone, wanted = machine_zone({"TZ": rules}), named_zone(name)
    start_ms = BERLIN.instant(datetime.fromisoformat("2026-01-01T00:00"))
    for at_ms in range(start_ms, start_ms + 730 * DAY_MS, HOUR_MS):
        assert zone.offset_ms(at_ms) == wanted.offset_ms(at_ms), zone.iso(at_ms)


# --- times as they are written ---------------------------------------------------------------

SAME = (
    "2026-06-10T08:00:00+02:00", "2026-06-10T06:00:00Z", "2026-06-10T06:00:00.000Z", "2026-06-10T08:00",
    "2026-06-10 08:00", "2026-06-10T08:00:00 02:00", "2026-06-10T08:00 0200", "2026-06-10T06:00Z",
    "2026-06-10T08:00:00+0200", "2026-06-10t06:00:00z", "2026-06-10T02:00:00-04:00", "1781071200000",
    "2026-06-10T08:00:00+02", "2026-06-10T08:00:00.000000001", "2026-06-10T08:00:00,0", " 1781071200000 ",
    "2026-06-10 08:00 02", "2026-06-10 06:00:00 Z", "+1781071200000",
)  # fmt: skip


@pytest.mark.parametrize("text", SAME)
def test_however_an_instant_is_spelled_it_is_the_same(text):
    assert parse_time(text, BERLIN) == 1_781_071_200_000


def test_a_date_is_the_local_day():
    assert parse_time("2026-06-10", BERLIN) == BERLIN.day_start(date(2026, 6, 10))
    assert parse_time("2026-04-24", named_zone("Africa/Cairo")) == 1_776_981_600_000


@given(zones, instants)
def test_what_we_write_we_read(zone, time_ms):
    assert parse_time(zone.iso(time_ms), zone) == time_ms
    assert parse_time(zone.iso(time_ms).replace("+", " "), zone) == time_ms
    assert parse_time(str(time_ms), zone) == time_ms


WRONG = (
    ("garbage", "is no time"), ("", "is no time"), ("1767225600", "multiply it by 1000"),
    ("20260101", "multiply it by 1000"), ("-1", "multiply it by 1000"), ("0", "multiply it by 1000"),
    ("1767225600000.5", "is no time"), ("2026-02-30", "no time that exists"),
    ("2026-13-01T00:00Z", "no time that exists"), ("2026-01-01T25:00Z", "no time that exists"),
    ("2026-01-01T00:00+24:00", "no time that exists"), ("2026-W05-1", "is no time"),
    ("1e12", "is no time"), ("99999999999999999", "between 1970 and 3000"),
    ("0001-01-01", "between 1970 and 3000"), ("9999-12-31T23:59-12:00", "no time that exists|between 1970 and 3000"),
    ("2026-03-29T02:30", "does not exist in Europe/Berlin"),
    ("2026-10-25T02:30", "comes twice in Europe/Berlin: say 2026-10-25T02:30:00.02:00 or"),
    ("\u0661\u0662\u0663\u0664-01-01", "is no time"), ("2026-01-01T00:00:00Europe/Berlin", "is no time"),
    ("1781071200000 ms", "is no time"), ("now", "is no time"), ("1" * 30, "is no time"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_what_is_no_time_is_refused_and_says_why(text, why):
    with pytest.raises(ValueError, match=why):
        parse_time(text, BERLIN)


@given(st.text(alphabet="0123456789-T:+Z. ", max_size=30) | st.text(max_size=30))
def test_no_text_does_worse_than_be_refused(text):
    try:
        found = parse_time(text, BERLIN)
    except ValueError:
        return
    assert -86_400_000 <= found < 32_503_680_000_000


def test_every_local_time_is_read_as_the_standard_library_reads_it():
    for hours in range(0, 24 * 366, 7):
        moment = datetime.fromisoformat("2026-01-01") + timedelta(hours=hours, minutes=11)
        try:
            found = parse_time(moment.isoformat(), BERLIN)
        except NoSuchTime:
            continue
        assert found == moment.replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000


# --- an offset all year --------------------------------------------------------------------------


def test_an_offset_is_a_zone_that_never_changes():
    for name, hours in (("+01:00", 1), ("-03:30", -3.5), ("+14:59", 14 + 59 / 60), ("-00:00", 0)):
        zone = zone_or_offset(name)
        assert zone.name == name
        for time_ms in (0, 1_781_071_200_000):
            assert zone.offset_ms(time_ms) == round(hours * 3_600_000)
    assert zone_or_offset("Europe/Berlin").name == "Europe/Berlin"


@pytest.mark.parametrize("name", ["Berlin", "+1:00", "+25:00", "+01:60", "../etc/passwd", ""])
def test_a_zone_that_is_none_is_refused_and_says_what_would_be_one(name):
    with pytest.raises(ValueError, match=r"is no time zone; .*, or an offset like \+01:00"):
        zone_or_offset(name)
