"""The vocabulary: complete rows, and exact arithmetic."""

from wattlog.channels import (
    COUNTER,
    QUANTITIES,
    all_channels,
    by_id,
    by_obis,
    in_range,
    label,
    rescaled,
)

POWER = b"\x01\x00\x10\x07\x00\xff"
DERIVED = b"\xff" * 5


def test_every_row_is_complete_and_alone():
    rows = all_channels()
    assert len(rows) > 20
    for name in ("id", "key", "obis"):
        values = [getattr(row, name) for row in rows]
        assert len(set(values)) == len(values), name
    for row in rows:
        assert len(row.obis) == 6, row.key
        assert 0 < row.id < 128, row.key
        assert row.unit in QUANTITIES, row.key
        assert row.low < row.high, row.key
        assert row.key.endswith("_deg" if row.unit == "°" else "_" + row.unit.lower()), row.key


def test_ids_rise_so_that_nobody_gives_one_twice():
    ids = [row.id for row in all_channels()]
    assert ids == sorted(ids)


def test_rows_are_found_by_obis_and_by_id():
    for row in all_channels():
        assert by_id(row.id) == row
        if row.obis[:5] != DERIVED:
            assert by_obis(row.obis) == row


def test_a_derived_channel_is_no_register():
    derived = [row for row in all_channels() if row.obis[:5] == DERIVED]
    assert [row.key for row in derived] == ["power_avg_w"]
    for row in derived:
        assert by_obis(row.obis) is None, row.key


def test_counters_are_the_channels_below_ten():
    # gate.py relies on it.
    for row in all_channels():
        assert (row.kind == COUNTER) == (row.id < 10), row.key


def test_what_is_not_logged_is_not_found():
    for obis in (b"", b"\x01", POWER[:5], POWER + b"\x00", b"\x01\x00\x10\x07\x00\x01"):
        assert by_obis(obis) is None, obis
    for number in (0, 7, 99, 100, 1000, -1):
        assert by_id(number) is None, number


def test_history_of_a_register_is_not_the_register():
    # Holley sends 1.8.0*96..*100: the sixth group tells them from 1.8.0.
    assert by_obis(b"\x01\x00\x01\x08\x00\x60") is None


def test_labels():
    assert label(by_id(1)) == "Import"
    assert label(by_id(2)) == "Import T1"
    assert label(by_id(11)) == "Power L1"


def test_range_holds_at_any_scale():
    power = by_obis(POWER)
    cases = (
        (0, 0, True),
        (-29912, -2, True),
        (10**6, 0, True),
        (10**6 + 1, 0, False),
        (10**8, -2, True),
        (10**8 + 1, -2, False),
        (-(10**8) - 1, -2, False),
        (1000, 3, True),
        (1001, 3, False),
    )
    for value, scale, wanted in cases:
        assert in_range(power, value, scale) is wanted, (value, scale)


def test_rescaling_is_exact_or_refused():
    cases = (
        (1989275, -1, 5, 19892750000),
        (2043, 3, 5, 204300000000),
        (-5, -5, 5, -5),
        (10, -6, 5, 1),
        (1, -6, 5, None),
        (-1, -6, 5, None),
        (0, -12, 0, 0),
    )
    for value, scale, decimals, wanted in cases:
        assert rescaled(value, scale, decimals) == wanted, (value, scale)
