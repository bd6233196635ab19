"""Every title of every protocol becomes the right quantity, and nothing is dropped or invented."""

import json
from decimal import Decimal

import pytest

from wattlog.config import ConfigError
from wattlog_host.dess import devcodes, sensors
from wattlog_host.dess.mapping import readings_of, sensor_of
from wattlog_host.dess.parsing import Point

CATALOGUE = devcodes.load()
KNOWN = (518, 2334, 2361, 2376, 2428, 2449, 2451, 2452, 2477, 2507, 6416, 6422, 6514, 6515, 6544)
SUMMARY = ("outpower", "energyToday", "energyTotal")


@pytest.fixture(scope="module")
def book(facts):
    return json.loads((facts / "dessmonitor-devcodes.json").read_text())


def all_of(book):
    return {**book["devcodes"], **book["later_upstream"]}.items()


def one(readings, key):
    return readings.readings[key]


# --- the whole of what is known -------------------------------------------------------------


def test_there_is_a_file_for_each_protocol(book):
    assert tuple(one.number for one in CATALOGUE) == KNOWN
    assert {int(number) for number, _ in all_of(book)} == set(KNOWN)


def test_the_table_of_sensors_is_complete(book):
    for row in book["sensors"]:
        sensor = sensors.BY_ID[row["id"]]
        assert (sensor.label, sensor.unit or None) == (row["label"], row["unit"]), row["id"]
        assert sensor.device_class == row["device_class"], row["id"]
        if row["id"] != "software_version":
            assert sensor.state_class == row["state_class"], row["id"]
            assert sensor.is_text == (row["kind"] == "text"), row["id"]
        assert sensor.is_diagnostic == (row["category"] == "diagnostic"), row["id"]
        for title in row["titles"]:
            assert sensors.BY_TITLE[title.lower()] == row["id"], title
    assert len(sensors.SENSORS) == len(book["sensors"]) == 80


def test_every_title_of_every_protocol_means_its_sensor(book):
    seen = 0
    for number, row in all_of(book):
        devcode = CATALOGUE.of(int(number))
        parameters = {entry["raw"] for entry in row["from_parameters"]}
        for entry in [*row["titles"], *row.get("typical_points", [])]:
            if entry["raw"] in parameters:
                assert devcode.parameters[entry["raw"]] == entry["sensor"]
            else:
                assert sensor_of(entry["raw"].strip(), devcode) == entry["sensor"], (number, entry)
            seen += 1
    assert seen > 500


def test_every_complete_reply_becomes_its_readings_with_unit_and_class(book):
    values = 0
    for number, row in all_of(book):
        devcode = CATALOGUE.of(int(number))
        parameters = {entry["raw"] for entry in row["from_parameters"]}
        points, extra, summary, wanted = [], [], {}, {}
        for at, entry in enumerate(row.get("typical_points", [])):
            sensor = sensors.BY_ID.get(entry["sensor"])
            text = "Words" if sensor is not None and sensor.is_text else f"{at + 1}.5"
            point = Point(entry["raw"].strip(), text, entry["unit"])
            if entry["raw"] in SUMMARY:
                summary[entry["raw"]] = text
            else:
                (extra if entry["raw"] in parameters else points).append(point)
            if sensor is not None:
                scale = Decimal("0.001") if entry["unit"] == "Wh" else 1
                wanted.setdefault(sensor.id, None if sensor.is_text else Decimal(text) * scale)
        got = readings_of(devcode, points, extra, summary)
        for sensor_id, value in wanted.items():
            sensor, reading = sensors.BY_ID[sensor_id], one(got, sensor_id)
            assert (reading.unit, reading.device_class) == (sensor.unit, sensor.device_class)
            assert reading.state_class == sensor.state_class
            if value is None:
                assert reading.text == "Words", (number, sensor_id)
            else:
                assert reading.value == value, (number, sensor_id)
            values += 1
        # What no sensor has is there under its own name; nothing is lost.
        named = {reading.source for reading in got.readings.values()}
        assert {point.title for point in points} <= named, number
    assert values > 250


def test_every_text_of_every_protocol_has_its_words_and_its_class(book):
    tables = (
        ("operating_modes", "Operating mode", "operating_mode"),
        ("output_priorities", "Output priority", "output_priority"),
        ("charger_priorities", "Charger Source Priority", "charger_source_priority"),
    )
    for number, row in all_of(book):
        for name, title, key in tables:
            for entry in row[name]:
                for raw in (entry["raw"], f" {entry['raw']} "):
                    reading = one(
                        readings_of(CATALOGUE.of(int(number)), [Point(title, raw, None)]), key
                    )
                    assert (reading.text, reading.text_class) == (entry["shown"], entry["class"])


def test_the_common_modes_have_their_class_on_every_device(book):
    bare = CATALOGUE.of(999_999)
    for entry in (*book["base_modes"], *book["all_mode_options"]):
        reading = one(
            readings_of(bare, [Point("Operating mode", entry["shown"], None)]), "operating_mode"
        )
        assert reading.text_class == entry["class"], entry
    assert set(book["mode_classes"]) == set(sensors.MODE_CLASSES)


# --- the rules, one by one ------------------------------------------------------------------

NUMBERS = (
    ("as it is", "1009", "W", Decimal(1009)),
    ("without a unit", "1009", None, Decimal(1009)),
    ("from kW", "1.0086", "kW", Decimal("1008.6")),
    ("a unit in other letters", "1.5", "KW", Decimal(1500)),
    ("negative", "-12.5", "W", Decimal("-12.5")),
    ("a JSON number", 3.25, "W", Decimal("3.25")),
    ("a JSON whole number", 7, "W", Decimal(7)),
    ("blanks around", " 5 ", "W", Decimal(5)),
    ("a dash", "-", "W", None),
    ("two dashes", "--", "W", None),
    ("n/a", "N/A", "W", None),
    ("nothing", None, "W", None),
    ("NaN as text", "NaN", "W", None),
    ("NaN as a number", float("nan"), "W", None),
    ("infinite", float("inf"), "W", None),
    ("true", True, "W", None),
    ("a word", "Charging", "W", None),
    ("a list", [1], "W", None),
    ("a unit of another quantity", "5", "A", None),
    ("a unit that nobody knows", "5", "furlong", None),
    ("absurd", "99999999", "W", None),
    ("milli is not mega", "5", "mW", None),
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "unit", "wanted"), [row[1:] for row in NUMBERS], ids=[r[0] for r in NUMBERS]
)
def test_a_number(value, unit, wanted):
    got = readings_of(CATALOGUE.of(2376), [Point("PV Power", value, unit)])
    assert one(got, "solar_power").value == wanted
    assert sum(got.counts.values()) == (wanted is None)


def test_wh_and_kwh_never_differ_by_a_thousand():
    for number in (2452, 2376):
        for value, unit in (("15221", "Wh"), ("15.221", "kWh"), ("0.015221", "MWh")):
            title = "Today generation" if number == 2452 else "Energy Today"
            got = readings_of(CATALOGUE.of(number), [Point(title, value, unit)])
            assert one(got, "energy_today").value == Decimal("15.221")
    # This protocol is known to mean Wh where it says nothing.
    got = readings_of(CATALOGUE.of(2452), [Point("Today generation", "15221", None)])
    assert one(got, "energy_today").value == Decimal("15.221")


def test_the_first_of_two_same_titles_counts():
    got = readings_of(
        CATALOGUE.of(2376), [Point("PV Power", "1", "W"), Point("PV Power", "2", "W")]
    )
    assert one(got, "solar_power").value == 1
    assert got.counts["duplicate"] == 1


def test_two_titles_of_one_sensor_are_both_shown():
    points = [
        Point("Main Output Priority", "SBU", None),
        Point("Current output priority", "SUB", None),
    ]
    got = readings_of(CATALOGUE.of(6515), points)
    assert one(got, "output_priority").text_class == "solar_battery_utility"
    assert one(got, "current_output_priority").text == "SUB"


def test_the_devices_own_energy_comes_before_the_summarys():
    summary = {"energyToday": "0.0000", "energyTotal": "5", "outpower": "1.5"}
    got = readings_of(
        CATALOGUE.of(6515), [Point("Daily PV energy generation", "7.5", "kWh")], [], summary
    )
    assert one(got, "energy_today").value == Decimal("7.5")
    assert one(got, "energy_today").source == "Daily PV energy generation"
    assert one(got, "energy_total").value == 5
    assert one(got, "total_pv_power").unit == "kW"


def test_2376_has_its_power_from_itself_and_the_total_from_the_summary():
    summary = {"outpower": "1.0086"}
    got = readings_of(CATALOGUE.of(2376), [Point("PV Power", "1009", "W")], [], summary)
    assert one(got, "solar_power").value == 1009
    assert one(got, "total_pv_power").value == Decimal("1.0086")
    got = readings_of(CATALOGUE.of(2376), [], [], summary)
    assert one(got, "solar_power").value == Decimal("1008.6")


def test_the_state_of_charge_comes_from_the_parameters_where_only_they_have_it():
    parameters = [
        Point("Battery percentage", "85.0000", "%"),
        Point("Output Active Power", "0.5960", "kW"),
    ]
    got = readings_of(CATALOGUE.of(2376), [Point("PV Power", "1", "W")], parameters)
    assert one(got, "state_of_charge").value == 85
    assert "output_power" not in got.readings


def test_an_unknown_protocol_and_unknown_titles_are_shown():
    points = [
        Point("PV Power", "1", "kW"),
        Point("Flux reading", "2.5", "kX"),
        Point("Bus voltage", "381.2", "V"),
        Point("Serial number", "0012345", None),
        Point("Curious state", "half asleep", None),
    ]
    got = readings_of(CATALOGUE.of(999_999), points)
    assert one(got, "solar_power").value == 1000
    assert (one(got, "flux_reading").value, one(got, "flux_reading").unit) == (
        Decimal("2.5"),
        "kX",
    )
    assert one(got, "bus_voltage").device_class == "voltage"
    assert one(got, "serial_number").text == "0012345"
    assert one(got, "curious_state").text == "half asleep"
    assert got.unknown == ["Flux reading", "Bus voltage", "Serial number", "Curious state"]


def test_titles_that_would_collide_keep_apart():
    points = [
        Point("Odd  title", "1", "W"),
        Point("odd-title", "2", "W"),
        Point("Energy-today", "3", "W"),
    ]
    got = readings_of(CATALOGUE.of(1), points)
    assert [one(got, key).value for key in ("odd_title", "odd_title_2", "other_energy_today")] == [
        1,
        2,
        3,
    ]


def test_an_unknown_mode_keeps_its_text():
    reading = one(
        readings_of(CATALOGUE.of(6515), [Point("Operating mode", "Dancing", None)]),
        "operating_mode",
    )
    assert (reading.text, reading.text_class) == ("Dancing", "unknown")


def test_a_text_from_the_cloud_commands_no_terminal():
    point = Point("Operating mode", "\x1b[31mGrid\u202e\n\u2028Mode" + "x" * 500, None)
    reading = one(readings_of(CATALOGUE.of(1), [point]), "operating_mode")
    assert reading.text.isprintable()
    assert len(reading.text) <= 120


# --- files of the user ----------------------------------------------------------------------


def test_own_files_add_and_win(tmp_path):
    (tmp_path / "2376.toml").write_text(
        '[titles]\n"PV Power" = "pv_charge_power"\n"Mine" = "rated_power"\n'
    )
    (tmp_path / "4711.toml").write_text('models = ["X"]\n[titles]\n"Sun" = "solar_power"\n')
    (tmp_path / "_notes.toml").write_text("not read")
    own = devcodes.load(tmp_path)
    assert sensor_of("PV Power", own.of(2376)) == "pv_charge_power"
    assert sensor_of("Mine", own.of(2376)) == "rated_power"
    assert own.of(2376).modes == CATALOGUE.of(2376).modes
    assert sensor_of("Sun", own.of(4711)) == "solar_power"


WRONG = (
    ("no TOML", "1.toml", "[titles", "not valid TOML"),
    ("a name without a number", "mine.toml", "", "like 2376.toml"),
    ("an unknown key", "1.toml", "[title]", "unknown key 'title'; known here: models"),
    (
        "no such sensor",
        "1.toml",
        '[titles]\n"A" = "solar_pow"',
        "'A' must be a sensor, such as solar_",
    ),
    (
        "no such unit",
        "1.toml",
        '[titles]\n"A" = "solar_power"\n[units]\n"A" = "hp"',
        "must be one of W, kW",
    ),
    ("a unit of nothing", "1.toml", '[units]\n"A" = "W"', "'A' is not among the titles"),
    ("no such mode", "1.toml", '[modes]\n"A" = ["a", "asleep"]', "class must be one of grid"),
    ("half a mode", "1.toml", '[modes]\n"A" = "a"', "must be two texts"),
    ("titles as a list", "1.toml", "titles = []", "must be a table"),
    ("models as a text", "1.toml", 'models = "a"', "must be a list"),
    ("a note as a number", "1.toml", "note = 1", "must be a text"),
    ("too large", "1.toml", "#" * 300_000, "larger than"),
)


@pytest.mark.parametrize(
    ("name", "text", "words"), [row[1:] for row in WRONG], ids=[r[0] for r in WRONG]
)
def test_a_mistake_in_an_own_file_is_one_line(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as raised:
        devcodes.load(tmp_path)
    assert str(tmp_path / name) in str(raised.value)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_template_is_a_file_that_works():
    template = (devcodes._HERE / "_template.toml").read_text()
    assert devcodes.parse(1, template, "template").titles["Today generation"] == "energy_today"
