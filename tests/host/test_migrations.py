"""A database of an earlier wattlog is brought to today's tables with all that is in it."""

import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path

import msgpack
import pytest

from older import as_of_0006
from stored import execute, rows, stored_readings
from wattlog_host.store import database, tables
from wattlog_host.store.records import Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch

NOW_MS = 1_795_000_000_000
T0_MS = 1_760_000_000_000
METER, OTHER = bytes.fromhex("0a0149534b0003382939"), b"\x06other"


class Old:
    """A database as revision 0001 had it, written as its host did."""

    def __init__(self, path):
        self.path = path
        path.parent.mkdir(parents=True)
        engine = database.engine(path, writes=True)
        database.upgrade(engine, path, "0001")
        engine.dispose()
        self.readings = 0

    def execute(self, sql, *values):
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(sql, values)
            connection.commit()

    def fill(self):
        self.execute("INSERT INTO edge VALUES (1, 'cellar', 5), (2, 'attic', 6)")
        self.execute("INSERT INTO meter VALUES (1, ?, 'one', 5), (2, ?, 'two', 6)", METER, OTHER)
        self.execute("INSERT INTO counter VALUES ('readings', '', 42)")
        self.execute("INSERT INTO run VALUES (1, '0.1', 5, 7, 9)")
        self.execute("INSERT INTO event VALUES (1, 5, 'host', NULL, 'host started')")
        self.execute("INSERT INTO dead_letter VALUES (1, 5, 't', 'why', x'c1')")

    def batch(self, edge_id, boot, first_seq, records, offset_ms, source, missing=()):
        """A batch, and the readings that came of it at these offsets; missing were not taken."""
        payload = msgpack.packb([1, "x", boot, first_seq, records])
        self.execute(
            "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)",
            edge_id, boot, first_seq, len(records), NOW_MS, payload,
        )  # fmt: skip
        for seq, record in enumerate(records, first_seq):
            if record[0] == 0 and len(record) == 3:
                point = (edge_id, boot, record[1], record[2])
                self.execute("INSERT OR IGNORE INTO sync_point VALUES (?, ?, ?, ?)", *point)
            if record[0] != 1 or len(record) != 5 or seq in missing:
                continue
            _, uptime_ms, meter, sec_index, flat = record
            self.readings += 1
            at_ms = uptime_ms + (offset_ms(uptime_ms) if callable(offset_ms) else offset_ms)
            self.execute(
                "INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self.readings,
                1 if meter == METER else 2, edge_id, boot, seq, uptime_ms, sec_index, at_ms, source,
            )  # fmt: skip
            for channel, value, scale in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
                kept = value * 10 ** (scale + (5 if channel == 1 else 3))
                row = (self.readings, channel, int(kept))
                self.execute("INSERT INTO reading_value VALUES (?, ?, ?)", *row)

    def dump(self):
        """Every reading: (edge, log, boot, seq, server_id, uptime, counter, time, source, values)."""
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute(
                "SELECT r.id, edge.name, boot, seq, server_id, uptime_ms, sec_index, time_ms, "
                "time_source FROM reading r JOIN edge ON edge.id = edge_id "
                "JOIN meter ON meter.id = meter_id"
            ).fetchall()
            found = []
            for number, *row in rows:
                values = connection.execute(
                    "SELECT channel, value FROM reading_value WHERE reading_id = ?", (number,)
                )
                found.append((row[0], row[1], *row[1:], dict(values)))
            return sorted(found)


def reading(uptime_ms, meter=METER, power=5, sec_index=7):
    return [1, uptime_ms, meter, sec_index, [1, 1989275 + uptime_ms, -1, 10, -power, -1]]


@pytest.fixture
def old(tmp_path):
    made = Old(tmp_path / "data/wattlog.db")
    made.fill()
    return made


def dump(path):
    return sorted(
        (one.edge, one.log, one.boot, one.seq, one.server_id, one.uptime_ms, one.sec_index,
         one.time_ms, one.time_source, one.values)
        for one in stored_readings(path)
    )  # fmt: skip


def migrate(path):
    """Open and let go, as a host that is killed at once."""
    Writer(path, "2", NOW_MS).let_go()


def test_every_reading_is_there_with_its_time_and_its_values(old):
    # 60 readings of two meters and a sync point; the second part reaches into the first.
    long = [
        [0, 0, T0_MS],
        *[reading(10_000 * n, (METER, OTHER)[n % 3 == 0]) for n in range(1, 61)],
    ]
    old.batch(1, 17, 1, long, T0_MS, "sync")
    overlap = [reading(600_000), reading(610_000, sec_index=None), reading(620_000)]
    old.batch(1, 17, 61, overlap, T0_MS, "sync", missing={61})

    # A clock that stepped, a boot without one, records that were no records, another agent.
    def stepped(uptime_ms):
        return T0_MS + 777 if uptime_ms >= 2500 else T0_MS

    rows = [[0, 0, T0_MS], reading(1000), reading(2000), [0, 2500, T0_MS + 3277], reading(3000)]
    old.batch(1, 18, 1, rows, stepped, "sync")
    old.batch(1, 19, 5, [reading(1000), reading(2000)], NOW_MS - 2000, "arrival")
    wrong = [[9], [0, 5], reading(1000), [1, 2], reading(3000), [0, 1, -5], reading(4000), [7]]
    old.batch(2, 18, 2, wrong, T0_MS, "sync")
    old.batch(2, 20, 1, [[9], [8]], T0_MS, "sync")
    before = old.dump()
    assert len(before) == 60 + 2 + 3 + 2 + 3
    migrate(old.path)
    assert dump(old.path) == before


def test_what_finds_the_readings_says_the_same_as_they_do(old):
    old.batch(1, 17, 1, [[0, 0, T0_MS], *[reading(1000 * n) for n in range(1, 41)]], T0_MS, "sync")
    migrate(old.path)
    with closing(sqlite3.connect(old.path)) as connection:
        assert connection.execute(
            "SELECT sum(readings), min(first_ms), max(last_ms) FROM series"
        ).fetchone() == (40, T0_MS + 1000, T0_MS + 40_000)
        assert connection.execute("SELECT * FROM sync_point").fetchall() == [(1, 17, 0, T0_MS, 2)]
        assert connection.execute("SELECT log, settled_seq FROM edge_log").fetchall() == [(17, 0)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_is_not_about_batches_stays(old):
    old.batch(1, 17, 1, [reading(1000)], T0_MS, "sync")
    store = Writer(old.path, "2", NOW_MS)
    assert store.counters == {("readings", ""): 42}
    assert [event.text for event in store.events(9)] == ["host started"]
    assert store.previous.last_data_ms == 7
    (latest,) = store.latest()
    assert (latest.label, latest.edge, latest.time_ms) == ("one", "cellar", T0_MS + 1000)
    store.close(NOW_MS)
    with closing(sqlite3.connect(old.path)) as connection:
        assert connection.execute("SELECT payload FROM dead_letter").fetchall() == [(b"\xc1",)]


def test_a_log_of_before_goes_on(old, wire):
    old.batch(1, 17, 1, [reading(1000), reading(2000)], NOW_MS - 2000, "arrival")
    store = Writer(old.path, "2", NOW_MS)
    payload = wire.batch(wire.sync(0), wire.reading(9000), log=17, first_seq=3)
    store.commit([Incoming("t", decode_batch(payload), NOW_MS, payload)])
    assert [(one.seq, one.time_source) for one in store.readings()] == [
        (1, "sync"), (2, "sync"), (4, "sync")
    ]  # fmt: skip
    store.close(NOW_MS)


def test_what_was_stored_before_anybody_asked_about_clocks_is_sure(old):
    old.batch(1, 17, 1, [[0, 0, T0_MS], reading(1000)], T0_MS, "sync")
    migrate(old.path)
    with closing(sqlite3.connect(old.path)) as connection:
        assert connection.execute("SELECT received_trust FROM batch").fetchall() == [(2,)]


def test_an_empty_database_is_migrated_too(old):
    migrate(old.path)
    assert stored_readings(old.path) == []


def test_killed_while_it_is_migrated_it_is_as_before(old, monkeypatch):
    old.batch(1, 17, 1, [reading(1000)], T0_MS, "sync")
    before = old.dump()

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("alembic.operations.Operations.drop_table", fail, raising=True)
        with pytest.raises(KeyboardInterrupt):
            Writer(old.path, "2", NOW_MS)
    assert old.dump() == before
    migrate(old.path)
    assert dump(old.path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from alembic.operations import Operations
from wattlog_host.store.writer import Writer
name, left = sys.argv[2], int(sys.argv[3])
act = getattr(Operations, name)
def killed(*arguments, **more):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return act(*arguments, **more)
setattr(Operations, name, killed)
Writer(Path(sys.argv[1]), "2", 5).let_go()
"""


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("create_table", 2),
        ("drop_table", 3),
        ("add_column", 1),
        ("create_index", 4),
        ("execute", 0),
    ],
)
def test_a_kill_9_at_any_step_of_it_loses_nothing(old, name, calls):
    old.batch(1, 17, 1, [[0, 0, T0_MS], *[reading(1000 * n) for n in range(1, 9)]], T0_MS, "sync")
    before = old.dump()
    done = subprocess.run([sys.executable, "-c", KILLED, old.path, name, str(calls)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert old.dump() == before
    migrate(old.path)
    assert dump(old.path) == before


# --- revision 0004: every hour that has readings is noted as due -----------------------------------

HOUR_MS = 3_600_000


def series_of(path, spans):
    """A database of revision 0003 that has readings of these (meter, first_ms, last_ms)."""
    engine = database.engine(path, writes=True)
    database.upgrade(engine, path, "0003")
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO meter VALUES (1, x'01', 'one', 5), (2, x'02', 'two', 6)")
        connection.executemany(
            "INSERT INTO series (log_id, first_seq, meter_id, readings, first_ms, last_ms) "
            "VALUES (1, ?, ?, 1, ?, ?)",
            [(number, *span) for number, span in enumerate(spans)],
        )
        connection.commit()
    return path


def noted(path):
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT meter_id, hour_ms, from_ms FROM rollup_due").fetchall()
    assert len(set(found)) == len(found), "each once"
    assert {row[2] for row in found} <= {0}
    return {row[:2] for row in found}


def test_each_hour_that_has_readings_is_due(tmp_path):
    start = T0_MS // HOUR_MS * HOUR_MS
    spans = [
        (1, start, start),
        (1, start + 1, start + HOUR_MS - 1),
        (1, start + HOUR_MS - 1, start + HOUR_MS),
        (2, start + 9 * HOUR_MS + 5, start + 12 * HOUR_MS),
        (2, start + 11 * HOUR_MS, start + 11 * HOUR_MS + 7),
        (1, start + 100 * HOUR_MS - 1, start + 200 * HOUR_MS + 1),
    ]
    path = series_of(tmp_path / "wattlog.db", spans)
    migrate(path)
    assert noted(path) == {
        (meter, hour * HOUR_MS)
        for meter, first_ms, last_ms in spans
        for hour in range(first_ms // HOUR_MS, last_ms // HOUR_MS + 1)
    }


def test_a_fleet_of_years_is_noted_without_being_in_memory(tmp_path):
    migrate(series_of(tmp_path / "small.db", []))  # what is imported and kept is no part of it
    hours = 20_000
    spans = [(1, T0_MS + n * HOUR_MS, T0_MS + n * HOUR_MS + 5_000) for n in range(hours)]
    path = series_of(tmp_path / "big.db", spans)
    tracemalloc.start()
    migrate(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(noted(path)) == hours
    assert peak < 100 * hours, "less than the numbers of each hour would take"


# --- revision 0005: the index of what is due, and a table of sizes ---------------------------------


def test_what_was_due_before_its_notes_had_another_order_is_made(tmp_path, place, wire):
    today = tmp_path / "today.db"
    store = Writer(today, "1", NOW_MS)
    for payload in (wire.batch(wire.sync(0)), wire.batch(wire.reading(5_000), first_seq=2)):
        store.commit([Incoming("t", decode_batch(payload), NOW_MS, payload)])
    store.let_go()
    as_of_0006(today, place)
    for statement in (
        "DROP TABLE size",
        "DROP INDEX ix_rollup_due_hour_ms_meter_id",
        "CREATE INDEX ix_rollup_due_meter_id_hour_ms ON rollup_due (meter_id, hour_ms)",
        "UPDATE alembic_version SET version_num = '0004'",
    ):
        execute(place, statement)
    store = Writer(place, "2", NOW_MS)
    assert store.roll() > 0
    store.let_go()
    assert rows(place, "SELECT count(*) FROM rollup WHERE step_s = 60") == [(1,)]
    assert rows(place, "SELECT version_num FROM alembic_version") == [(max(database.revisions()),)]
    assert rows(place, "SELECT count(*) FROM size") == [(0,)]


# --- revision 0006: the tables of solar ------------------------------------------------------------


def test_what_the_ledger_of_solar_made_itself_stays(old):
    engine = database.engine(old.path, writes=True)
    database.upgrade(engine, old.path, "0005")
    made = [table for name, table in tables.METADATA.tables.items() if name.startswith("solar_")]
    with engine.begin() as connection:
        tables.METADATA.create_all(
            connection, [table for table in made if table.name != "solar_quarter"]
        )
    engine.dispose()
    old.execute("INSERT INTO solar_device VALUES (1, 'S1', 'P', 1, 1, '', '7', 5, 'x', 6, 7, 0)")
    migrate(old.path)
    with closing(sqlite3.connect(old.path)) as connection:
        assert connection.execute("SELECT key, record_ms FROM solar_device").fetchall() == [
            ("S1", 6)
        ]
        assert connection.execute("SELECT * FROM solar_quarter").fetchall() == []


# --- revisions 0007 and 0008: writers of a cell, days ----------------------------------------------


def test_what_lay_in_one_table_is_parted_by_day_and_all_of_it_is_there(tmp_path, place, wire):
    today = tmp_path / "today.db"
    store = Writer(today, "1", NOW_MS)
    day_ms = 86_400_000
    for number in range(6):
        at_ms = wire.sync_epoch_ms + number * day_ms // 2
        payload = wire.batch(
            wire.sync(number * 1000, at_ms),
            wire.reading(number * 1000 + 5),
            first_seq=2 * number + 1,
        )
        store.commit([Incoming("t", decode_batch(payload), at_ms + 1000, payload)])
    again = payload
    while store.roll():
        pass
    before = stored_readings(today), store.latest(), store.counters
    store.let_go()
    as_of_0006(today, place)
    store = Writer(place, "2", NOW_MS)
    assert (stored_readings(place), store.latest(), store.counters) == before
    done = store.commit([Incoming("t", decode_batch(again), NOW_MS, again)])
    assert done.counts == {("duplicates", ""): 1}
    clash = wire.batch(wire.reading(7), first_seq=3)
    assert store.commit([Incoming("t", decode_batch(clash), NOW_MS, clash)]).outcomes[0].reason
    new = wire.batch(wire.reading(9_000), first_seq=40)
    assert store.commit([Incoming("t", decode_batch(new), NOW_MS, new)]).outcomes[0].is_new
    first_day = wire.sync_epoch_ms // day_ms
    found = rows(place, "SELECT day, count(*) FROM batch GROUP BY day ORDER BY day")
    if isinstance(place, Path):
        assert found == [(0, 7)]
    else:
        assert sum(count for _, count in found) == 7
        assert [day for day, _ in found] == [*range(first_day, first_day + 3), NOW_MS // day_ms]
    store.let_go()
