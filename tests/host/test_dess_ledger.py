"""What is stored, in both databases: once by device and time, however repeated, late, too much."""

from decimal import Decimal

import sqlalchemy as sa

from wattlog_host.backup.copying import copy
from wattlog_host.backup.restoring import restore
from wattlog_host.dess import ledger
from wattlog_host.dess.ledger import BY_DEVICE, BY_HISTORY, Delivery
from wattlog_host.dess.mapping import Reading
from wattlog_host.dess.model import Device
from wattlog_host.store import tables
from wattlog_host.store.kinds import kind_of
from wattlog_host.store.role import Role
from wattlog_host.store.writer import Writer

DEVICE = Device("P1", 2376, 1, "S1", "One", "7")
T0_MS = 1_781_517_600_000


def reading(key="solar_power", value="5", unit="W", period="", text=None, source="PV Power"):
    number = None if value is None else Decimal(value)
    return Reading(key, key, unit, number, source, text, None, None, None, period)


def delivery(*readings, at_ms=T0_MS, origin=BY_DEVICE, device=DEVICE, identity="x"):
    return Delivery(device, at_ms, at_ms + 1000, origin, readings, identity, 7200)


def series(connection, key="solar_power", device="S1"):
    return ledger.series(connection, device, key, 0, 2**50)


def test_a_record_counts_once_and_what_is_there_stays(connection):
    ledger.put(connection, [delivery(reading(value="5"))])
    stored = ledger.put(connection, [delivery(reading(value="6"))])
    assert series(connection) == [(T0_MS, Decimal(5))]
    assert stored.counts["repeated"] == 1


def test_what_was_missing_in_a_record_is_filled_in(connection):
    ledger.put(connection, [delivery(reading(value=None), reading("state_of_charge", "80", "%"))])
    assert series(connection) == [(T0_MS, None)]
    ledger.put(connection, [delivery(reading(value="5"), origin=BY_HISTORY)])
    assert series(connection) == [(T0_MS, Decimal(5))]
    assert series(connection, "state_of_charge") == [(T0_MS, Decimal(80))]


def test_what_is_filled_in_never_changes_what_is_there(connection):
    ledger.put(connection, [delivery(reading(value="5"))])
    more = delivery(reading(value="6"), reading("state_of_charge", "80", "%"), origin=BY_HISTORY)
    ledger.put(connection, [more])
    assert series(connection) == [(T0_MS, Decimal(5))]
    assert series(connection, "state_of_charge") == [(T0_MS, Decimal(80))]


def test_late_records_find_their_place_and_change_nothing_newer(connection):
    ledger.put(
        connection, [delivery(reading(value="9"), reading("energy_total", "10", "kWh", "life"))]
    )
    early = [delivery(reading(value=str(at)), reading("energy_total", "3", "kWh", "life"),
                      at_ms=T0_MS - 1000 * at, origin=BY_HISTORY, identity=None)
             for at in (3, 1, 2)]  # fmt: skip
    ledger.put(connection, early)
    ledger.put(connection, early)
    assert [value for _, value in series(connection)] == [3, 2, 1, 9]
    (known,) = ledger.known(connection)
    assert known.readings["solar_power"] == (known.readings["solar_power"][0], T0_MS)
    assert known.readings["solar_power"][0].value == 9
    assert known.identity == "x"
    assert ledger.totals(connection, "S1")["energy_total"].total == 10


def test_a_value_that_is_none_now_is_shown_as_none(connection):
    ledger.put(connection, [delivery(reading(value="5"))])
    ledger.put(connection, [delivery(reading(value=None), at_ms=T0_MS + 1)])
    (known,) = ledger.known(connection)
    assert known.readings["solar_power"][0].value is None


def test_a_counter_of_the_day_goes_over_midnight_on_the_spot(connection):
    # 21:59 UTC is 23:59 there.
    night_ms = T0_MS + 12 * 3_600_000 - 60_000
    for at_ms, value in (
        (night_ms, "15"),
        (night_ms + 120_000, "0.0"),
        (night_ms + 420_000, "0.4"),
    ):
        row = reading("energy_today", value, "kWh", "day")
        ledger.put(connection, [delivery(row, at_ms=at_ms)])
    counter = ledger.totals(connection, "S1")["energy_today"]
    assert (counter.total, counter.resets) == (Decimal("15.4"), 1)


def test_numbers_of_another_unit_do_not_stand_beside(connection):
    ledger.put(connection, [delivery(reading("odd", "5", "kX"))])
    stored = ledger.put(connection, [delivery(reading("odd", "5000", "X"), at_ms=T0_MS + 1)])
    assert stored.counts["unit changed"] == 1
    assert series(connection, "odd") == [(T0_MS, Decimal(5)), (T0_MS + 1, None)]


def test_ever_new_titles_do_not_fill_the_disk(connection):
    for at in range(5):
        rows = [reading(f"odd_{at}_{one}", "1") for one in range(100)]
        stored = ledger.put(connection, [delivery(*rows, at_ms=T0_MS + at)])
    assert stored.counts["channels"] == 100
    count = sa.select(sa.func.count()).select_from(tables.solar_channel)
    assert connection.execute(count).scalar_one() == ledger.CHANNELS_MAX


def test_ever_new_devices_do_not_either(connection):
    for at in range(ledger.DEVICES_MAX + 5):
        stored = ledger.put(
            connection, [delivery(reading(), device=Device("P", 1, 1, f"D{at}", "", "7"))]
        )
    assert stored.counts["devices"] == 1
    assert len(ledger.known(connection)) == ledger.DEVICES_MAX


def test_texts_and_small_parts_are_kept_exactly(connection):
    rows = [
        reading("operating_mode", None, "", text="Grid Mode"),
        reading("energy_total", "24168.2111", "kWh", "life"),
    ]
    ledger.put(connection, [delivery(*rows)])
    assert series(connection, "operating_mode") == [(T0_MS, "Grid Mode")]
    assert series(connection, "energy_total") == [(T0_MS, Decimal("24168.2111"))]


def test_a_backup_has_all_of_it(tmp_path):
    place = tmp_path / "wattlog.db"  # PostgreSQL has backups of its own
    Writer(place, "1", T0_MS).let_go()

    def look(path, act):
        engine = kind_of(path).engine(path, Role.ALONE)
        with engine.begin() as made:
            found = act(made)
        engine.dispose()
        return found

    rows = [reading(value=str(at)) for at in range(2)]
    puts = [delivery(row, at_ms=T0_MS + 300_000 * at) for at, row in enumerate(5 * rows)]
    look(place, lambda made: ledger.put(made, puts))
    names = [name for name in tables.METADATA.tables if name.startswith("solar_")]
    assert len(names) == 6

    def all_rows(made):
        return {name: made.execute(tables.METADATA.tables[name].select()).all() for name in names}

    before = look(place, all_rows)
    assert all(before[name] for name in names if name != "solar_counter")
    copy(place, tmp_path / "copy.db", 0)
    look(place, lambda made: ledger.put(made, [delivery(reading(), at_ms=T0_MS + 9_000_000)]))
    restore(tmp_path / "copy.db", place, T0_MS, lambda *_: None)
    assert look(place, all_rows) == before


def test_what_nobody_knows_is_empty(connection):
    assert series(connection, "no") == series(connection, device="no") == []
    assert ledger.totals(connection, "no") == {}
