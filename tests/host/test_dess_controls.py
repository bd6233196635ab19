"""Settings of an inverter: checked, noted, sent once, read again."""

import json
from decimal import Decimal

import pytest

from dess_world import IMPATIENT, world
from wattlog_host.dess import api, controls
from wattlog_host.dess.controls import Audit, controls_of, key_for
from wattlog_host.dess.errors import ControlRefused, DessError

PRIORITY, VOLTAGE, CURRENT, CLEAR = (
    "bse_eybond_ctrl_49", "bat_eybond_ctrl_68", "bat_eybond_ctrl_70", "sys_eybond_ctrl_75",
)  # fmt: skip


@pytest.fixture
def w(tmp_path):
    with world(tmp_path, limits=IMPATIENT) as made:
        made.client.login()
        made.audit = Audit(tmp_path / "changes.jsonl", made.clock.now_ms)
        (made.device, *_) = api.devices(made.client, made.cloud.devices[0].pn, "512001")
        yield made


def change(w, setting, value, writable=None):
    control = controls.find(w.client, w.device, setting)
    return controls.change(
        w.client, w.device, control, value,
        writable=frozenset([w.device.key]) if writable is None else writable,
        audit=w.audit, wait_s=w.clock.wait_s, by="test",
    )  # fmt: skip


def control(**more):
    return controls_of([{"id": "x", "name": "It", **more}])[0]


# --- what it may be -------------------------------------------------------------------------

KINDS = (
    ("a select", [{"key": "0", "val": "A"}, {"key": "1", "val": "B"}], "select"),
    ("a button", [{"key": "1", "val": "Clear"}], "button"),
    ("a number", None, "number"),
    ("no items are a number", [], "number"),
)


@pytest.mark.parametrize(
    ("items", "kind"), [row[1:] for row in KINDS], ids=[row[0] for row in KINDS]
)
def test_a_kind(items, kind):
    assert control(item=items).kind == kind


TWO_RANGES = "25.0~31.5V 48.0~61.0V"
RANGES = (
    ("the one around the value", TWO_RANGES, "56.4", (48, 61)),
    ("the other", TWO_RANGES, "28", (25, Decimal("31.5"))),
    ("no value, two ranges", TWO_RANGES, None, None),
    ("a value in none of two", TWO_RANGES, "40", None),
    ("one range", "10~80", None, (10, 80)),
    ("one range and a value outside", "10~80", "5", (10, 80)),
    ("no hint", "", "5", (0, 100)),
    ("a hint of words", "please choose", "5", (0, 100)),
)


@pytest.mark.parametrize(
    ("hint", "live", "wanted"), [row[1:] for row in RANGES], ids=[r[0] for r in RANGES]
)
def test_the_range_is_that_of_the_live_value(hint, live, wanted):
    assert control(hint=hint, unit="V").range(None if live is None else Decimal(live)) == wanted


WISHES = (
    ("a label", PRIORITY, "SOL", "1"),
    ("a label in other letters", PRIORITY, "sol", "1"),
    ("a key", PRIORITY, "2", "2"),
    ("a number", VOLTAGE, "55.5", "55.5"),
    ("a whole number", VOLTAGE, "55", "55"),
    ("a button", CLEAR, "Clear", "1"),
)


@pytest.mark.parametrize(
    ("setting", "value", "key"), [row[1:] for row in WISHES], ids=[r[0] for r in WISHES]
)
def test_a_wish_is_sent_as_the_cloud_wants_it(w, setting, value, key):
    made = change(w, setting, value)
    assert made.outcome in ("confirmed", "accepted")
    assert w.cloud.writes == [(w.device.sn, setting, key)]


REFUSED = (
    ("no such option", PRIORITY, "XYZ", "must be one of: UTI (0), SOL (1), SBU (2)"),
    ("too low", VOLTAGE, "30", "must be 48.0 to 61.0 V, not 30"),
    ("too high", VOLTAGE, "61.1", "must be 48.0 to 61.0 V"),
    ("between the steps", VOLTAGE, "55.55", "in steps of 0.1"),
    ("no number", VOLTAGE, "much", "must be a number"),
    ("not a number", VOLTAGE, "NaN", "must be a number"),
    ("a part of an ampere", CURRENT, "10.5", "in steps of 1"),
    ("beyond what is usual", CURRENT, "101", "must be 0 to 100"),
)


@pytest.mark.parametrize(
    ("setting", "value", "words"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_a_wrong_value_is_refused_with_the_allowed_ones_and_not_sent(w, setting, value, words):
    with pytest.raises(ControlRefused) as raised:
        change(w, setting, value)
    assert words in str(raised.value)
    assert w.cloud.writes == []
    assert w.audit.entries(9) == []


def test_a_device_that_is_not_named_is_not_touched(w):
    with pytest.raises(ControlRefused, match=r"dessmonitor\.writable"):
        change(w, PRIORITY, "SOL", writable=frozenset(["another"]))
    assert w.cloud.writes == []


def test_an_unknown_setting_names_those_there_are(w):
    with pytest.raises(ControlRefused, match="Bulk Charging Voltage"):
        controls.find(w.client, w.device, "Bulk")
    assert controls.find(w.client, w.device, "bulk charging voltage").id == VOLTAGE


def test_options_of_another_battery_are_not_offered():
    items = [{"key": str(at), "val": f"{at}.0V"} for at in (24, 27, 28, 48, 54, 56)]
    mixed = control(item=items)
    assert list(mixed.options_for("54.0V")) == ["48", "54", "56"]
    assert list(mixed.options_for("27")) == ["24", "27", "28"]
    assert len(mixed.options_for("--")) == 6
    with pytest.raises(ControlRefused, match=r"48.0V \(48\)"):
        key_for(mixed, "28.0V", "54.0V")


# --- changing -------------------------------------------------------------------------------


def test_a_change_is_read_back_and_noted_before_and_after(w):
    made = change(w, VOLTAGE, "55.5")
    assert (made.before, made.after, made.outcome) == ("56.4", "55.5", "confirmed")
    after, before = w.audit.entries(9)
    assert (before["event"], after["event"]) == ("asked", "confirmed")
    assert before["device"] == w.device.key
    assert (before["before"], before["wanted"], after["after"]) == ("56.4", "55.5", "55.5")
    assert after["by"] == "test"


def test_a_device_that_does_not_follow_is_told(w):
    w.cloud.order("ignore")
    made = change(w, PRIORITY, "SOL")
    assert made.outcome == "differs"
    assert "still says SBU" in made.text
    assert len(w.cloud.writes) == 1


def test_a_refusal_of_the_inverter_is_told(w):
    w.cloud.order("err", 1, action="ctrlDevice")
    made = change(w, PRIORITY, "SOL")
    assert made.outcome == "refused"
    assert w.audit.entries(1)[0]["event"] == "refused"
    assert w.cloud.calls["ctrlDevice"] == 1


def test_a_write_without_an_answer_is_looked_after_not_repeated(w):
    w.cloud.order("hang", action="ctrlDevice")
    made = change(w, PRIORITY, "SOL")
    assert made.outcome == "differs"
    assert w.cloud.calls["ctrlDevice"] == 1
    w.cloud.faults.clear()
    w.cloud.order("cut", action="ctrlDevice")
    made = change(w, PRIORITY, "SOL")
    assert made.outcome == "confirmed"
    assert w.cloud.calls["ctrlDevice"] == 2


def test_an_offline_device_is_not_written(w):
    w.cloud.order("offline", sn=w.device.sn)
    with pytest.raises(DessError, match="offline"):
        change(w, PRIORITY, "SOL")
    assert w.cloud.writes == []


def test_what_cannot_be_noted_is_not_done(w, tmp_path):
    w.audit = Audit(tmp_path, w.clock.now_ms)
    with pytest.raises(ControlRefused, match="cannot note it"):
        change(w, PRIORITY, "SOL")
    assert w.cloud.writes == []


def test_a_torn_note_is_passed_over(w):
    w.audit.note(event="asked")
    path = w.audit._path
    path.write_bytes(path.read_bytes() + b'{"event": "conf')
    assert [entry["event"] for entry in w.audit.entries(9)] == ["asked"]
    assert json.loads(path.read_text().splitlines()[0])["time_ms"] == w.clock.now_ms()


HOSTILE = (
    [{"id": "a&b", "name": "x"}, {"id": None}, {"name": "x"}, {"id": 5}],
    [{"id": "x" * 500, "name": "y"}],
)


@pytest.mark.parametrize("rows", HOSTILE)
def test_a_menu_without_usable_ids_is_empty(rows):
    assert controls_of(rows) == []


def test_a_huge_menu_is_cut():
    assert len(controls_of([{"id": f"i{at}"} for at in range(5000)])) == controls.FIELDS_MAX
