"""Whatever the cloud sends is a value, None, or one clear error."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlog_host.dess import model, parsing
from wattlog_host.dess.errors import DessError, Garbled
from wattlog_host.dess.parsing import Point, envelope, points, rows

WELL = (
    ("plain", b'{"err":0,"desc":"ERR_NONE","dat":[1]}', (0, [1])),
    ("the code as text", b'{"err":"0","dat":[1]}', (0, [1])),
    ("no data", b'{"err":0,"desc":"x"}', (0, None)),
    ("null for data", b'{"err":0,"dat":null}', (0, None)),
    ("JSONP", b'null({"err":12,"desc":"x"});', (12, None)),
    ("JSONP by name", b'jQuery_1.cb ( {"err":0,"dat":{}} )', (0, {})),
    ("a byte order mark", b'\xef\xbb\xbf{"err":0}', (0, None)),
    ("an error", b'{"err":10,"desc":"ERR_NO_AUTH"}', (10, None)),
    ("a code with a fraction of nothing", b'{"err":0.0}', (0, None)),
)
BADLY = (
    ("nothing", b""),
    ("blanks", b" \n"),
    ("a page", b"<html>502</html>"),
    ("cut", b'{"err":0,"dat":[{"ti'),
    ("not UTF-8", b"\x00\xff\xfe"),
    ("a list", b"[]"),
    ("a number", b"7"),
    ("no code", b'{"dat":[]}'),
    ("a code that is a word", b'{"err":"none"}'),
    ("a code that is true", b'{"err":true}'),
    ("deep", b'{"err":0,"dat":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ("deep objects", b'{"a":' * 50_000),
    ("a number of many digits", b'{"err":' + b"9" * 10_000 + b"}"),
)


@pytest.mark.parametrize(("body", "wanted"), [row[1:] for row in WELL], ids=[r[0] for r in WELL])
def test_an_answer_is_read(body, wanted):
    found = envelope(body)
    assert (found.err, found.dat) == wanted


@pytest.mark.parametrize("body", [row[1] for row in BADLY], ids=[row[0] for row in BADLY])
def test_what_is_no_answer_is_one_error(body):
    with pytest.raises(Garbled):
        envelope(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_our_error(body):
    try:
        envelope(body)
    except DessError as err:
        assert "\n" not in str(err)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                ["dat", "title", "val", "unit", "par", "name", "pid", "pn", "sn", "err"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON)
def test_any_json_is_rows_points_plants_and_devices_without_an_exception(dat):
    for row in rows(dat, "plant"):
        model.plant_of(row)
        model.collector_of(row, "1")
        model.device_of(row, "pn", "1")
    record = model.record_of(points(dat))
    assert len(record.points) <= parsing.POINTS_MAX
    for point in record.points:
        number = parsing.decimal(point.value)
        assert number is None or number.is_finite()
    json.dumps(parsing.text_of(dat))


ONE = {"title": "PV Power", "val": "5", "unit": "W"}
SHAPES = (
    ("a list", [ONE]),
    ("a list in an object", {"title": [ONE]}),
    ("a list of another name", {"x": {"y": [ONE]}}),
    ("grouped", {"gts": "2026-06-15 12:00:18", "pars": {"gd_": [], "pv_": [{"par": "PV Power", "val": "5", "unit": "W"}]}}),
    ("one alone", ONE),
    ("between nonsense", [None, 5, "x", [], ONE, {"val": "1"}, {"title": 5, "val": "2"}, {"title": " ", "val": "2"}]),
    ("blanks around the title", [{"title": " PV Power ", "val": "5", "unit": "W"}]),
)  # fmt: skip


@pytest.mark.parametrize("dat", [row[1] for row in SHAPES], ids=[row[0] for row in SHAPES])
def test_points_are_found_in_every_shape(dat):
    assert points(dat) == [Point("PV Power", "5", "W")]


@pytest.mark.parametrize("dat", [None, [], {}, "x", 5, [None], {"a": None}])
def test_no_points_are_none(dat):
    assert points(dat) == []


def test_a_double_blank_inside_a_title_stays():
    assert (
        points([{"title": " PV module  temperature", "val": "1"}])[0].title
        == "PV module  temperature"
    )


TIMES = (
    ("2026-06-15 12:00:18", 7200, 1_781_517_618_000),
    ("2026-06-15 12:00:18", 0, 1_781_524_818_000),
    ("2026-06-15 12:00:18", -10_800, 1_781_535_618_000),
    ("2026-6-5 2:00:18", 0, 1_780_624_818_000),
    ("2026-06-15T12:00", 0, 1_781_524_800_000),
    ("2026-06-15 12:00:18.250", 0, 1_781_524_818_000),
    ("2026-06-15 12:00:18", None, None),
    ("2026-13-15 12:00:18", 0, None),
    ("2026-02-30 12:00:18", 0, None),
    ("2026-06-15 25:00:18", 0, None),
    ("1999-06-15 12:00:18", 0, None),
    ("now", 0, None),
    (None, 0, None),
)


@pytest.mark.parametrize(("text", "offset_s", "wanted"), TIMES)
def test_a_local_time_is_utc_by_the_collectors_zone(text, offset_s, wanted):
    assert model.utc_ms(text, offset_s) == wanted


def test_a_setting_with_its_unit_is_a_number():
    assert parsing.with_unit("56.4V") == (Decimal("56.4"), "V")
    assert parsing.with_unit(" 60 A ") == (Decimal(60), "A")
    assert parsing.with_unit("SBU") is None
    assert parsing.with_unit("--") is None


def test_a_device_without_what_names_it_is_none():
    whole = {"pn": "P", "devcode": "2376", "devaddr": 1, "sn": "S", "alias": None}
    assert model.device_of(whole, "", "1").pairs() == (
        ("pn", "P"), ("devcode", "2376"), ("devaddr", "1"), ("sn", "S"),
    )  # fmt: skip
    for key in ("devcode", "devaddr", "sn"):
        assert model.device_of({**whole, key: None}, "", "1") is None, key
