"""The store's contract: committed is durable, and counts once."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from wattlog_host.store import database, tables
from wattlog_host.store import store as store_module
from wattlog_host.store.records import DeadLetter, Event, Incoming, StoreError
from wattlog_host.store.store import REASON_UNSTORABLE, Store
from wattlog_host.wire import decode_batch

NOW_MS = 1_795_000_000_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "wattlog.db"


def use(path, act, now_ms=NOW_MS, clean=True):
    """Open a store, do something with it, close it."""

    async def run():
        store = Store(path, "1", now_ms)
        try:
            return await act(store)
        finally:
            if clean:
                await store.close(now_ms)
            else:
                os.close(store._lock)  # as the kernel does when a process ends

    return asyncio.run(run())


def incoming(payload, received_ms=NOW_MS):
    return Incoming("wattlog/1/cellar/b", decode_batch(payload), received_ms)


def rows(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def commit(path, *payloads, **how):
    return use(path, lambda store: store.commit([incoming(p) for p in payloads]), **how)


def test_a_committed_batch_is_there_with_its_readings(path, wire):
    payload = wire.batch(wire.sync(), wire.reading(1000, (1, 1989275, -1, 10, -2314, -1)))
    done = commit(path, payload)
    assert [(o.reason, o.is_new) for o in done.outcomes] == [(None, True)]
    assert rows(path, "SELECT count, payload FROM batch") == [(2, payload)]
    assert rows(path, "SELECT seq, time_ms, time_source, sec_index FROM reading") == [
        (2, wire.sync_epoch_ms + 1000, "sync", 7)
    ]
    assert rows(path, "SELECT channel, value FROM reading_value") == [
        (1, 19892750000),
        (10, -231400),
    ]
    (latest,) = done.latest
    assert (latest.server_id, latest.edge, latest.values[10]) == (wire.meter, "cellar", -231400)
    assert done.meters_new == (("cellar", latest.label),)


def test_committed_twice_counts_once(path, wire):
    payload = wire.batch(wire.reading())
    done = commit(path, payload, payload)
    assert [o.reason for o in done.outcomes] == [None, None]
    again = commit(path, payload)
    assert [(o.reason, o.is_new) for o in again.outcomes] == [(None, False)]
    assert rows(path, "SELECT count(*) FROM reading") == [(1,)]
    assert rows(path, "SELECT name, value FROM counter ORDER BY name") == [
        ("batches", 1),
        ("duplicates", 2),
        ("readings", 1),
    ]


def test_another_batch_of_the_same_name_is_refused_and_kept_aside(path, wire):
    done = commit(path, wire.batch(wire.reading(1)), wire.batch(wire.reading(2)))
    assert [o.reason for o in done.outcomes] == [None, "another batch of this name is stored"]
    assert rows(path, "SELECT reason, payload FROM dead_letter") == [
        ("another batch of this name is stored", wire.batch(wire.reading(2)))
    ]


def test_overlapping_batches_store_each_reading_once(path, wire):
    first = wire.batch(wire.reading(1), wire.reading(2), first_seq=1)
    second = wire.batch(wire.reading(2), wire.reading(3), first_seq=2)
    done = commit(path, second, first)
    assert [o.reason for o in done.outcomes] == [None, None]
    assert rows(path, "SELECT seq FROM reading ORDER BY seq") == [(1,), (2,), (3,)]


def test_a_sync_point_places_what_was_placed_by_arrival_and_the_latest_follows(path, wire):
    done = commit(path, wire.batch(wire.reading(1000)))
    assert (done.latest[0].time_ms, done.latest[0].time_source) == (NOW_MS, "arrival")
    done = commit(path, wire.batch(wire.sync(2000), first_seq=2))
    assert (done.latest[0].time_ms, done.latest[0].time_source) == (
        wire.sync_epoch_ms - 1000,
        "sync",
    )
    commit(path, wire.batch(wire.sync(1500, wire.sync_epoch_ms + 777), first_seq=3))
    assert rows(path, "SELECT time_ms FROM reading") == [(wire.sync_epoch_ms - 1000,)]


def test_a_sync_point_moves_no_reading_of_another_boot_or_edge(path, wire):
    commit(
        path,
        wire.batch(wire.reading(1000), boot=1),
        wire.batch(wire.reading(1000), edge="attic", boot=2),
        wire.batch(wire.sync(2000), boot=2),
    )
    assert rows(path, "SELECT time_ms, time_source FROM reading") == [(NOW_MS, "arrival")] * 2


def test_the_sync_points_of_another_boot_or_edge_do_not_count(path, wire):
    commit(
        path,
        wire.batch(wire.sync(0), boot=1),
        wire.batch(wire.sync(0), edge="attic"),
        wire.batch(wire.reading(), boot=2),
    )
    assert rows(path, "SELECT time_source FROM reading") == [("arrival",)]


def test_the_latest_is_the_newest_by_time_not_by_arrival(path, wire):
    newer = wire.batch(wire.sync(), wire.reading(9000, (10, 9, 0)), first_seq=10)
    older = wire.batch(wire.reading(1000, (10, 1, 0)), first_seq=5)
    done = commit(path, newer, older)
    assert [latest.values for latest in done.latest] == [{10: 9000}]
    assert use(path, lambda store: store.latest()) == list(done.latest)


def test_a_reading_of_the_future_does_not_stay_the_latest(path, wire):
    ahead = wire.batch(
        wire.sync(0, NOW_MS + 5 * 365 * 86_400_000), wire.reading(1, (10, 1, 0)), edge="attic"
    )
    live = wire.batch(wire.sync(0, NOW_MS), wire.reading(900, (10, 2, 0)))

    async def act(store):
        first = await store.commit([incoming(ahead, NOW_MS)])
        then = await store.commit([incoming(live, NOW_MS + 1000)])
        return first, then, await store.latest()

    first, then, latest = use(path, act)
    assert (first.latest[0].time_ms, first.latest[0].time_source) == (NOW_MS, "arrival")
    assert [one.values for one in then.latest] == [one.values for one in latest] == [{10: 2000}]
    assert [first.outcomes[0].ahead_ms > 10**11, then.outcomes[0].ahead_ms] == [True, -100]


def test_a_backlog_without_a_clock_does_not_become_the_latest(path, wire):
    newer = wire.batch(wire.reading(9000, (10, 9, 0)), first_seq=10)
    older = wire.batch(wire.reading(1000, (10, 1, 0)), first_seq=5)

    async def act(store):
        await store.commit([incoming(newer, NOW_MS)])
        return await store.commit([incoming(older, NOW_MS + 60_000)])

    assert [latest.values for latest in use(path, act).latest] == [{10: 9000}]
    assert rows(path, "SELECT time_ms FROM reading WHERE seq = 5") == [(NOW_MS - 8000,)]


def test_a_batch_of_nothing_but_wrong_records_is_stored_and_counted(path, wire):
    payload = wire.batch([9], [1, 2])
    assert [o.reason for o in commit(path, payload).outcomes] == [None]
    assert rows(path, "SELECT count, payload FROM batch") == [(2, payload)]
    assert rows(path, "SELECT reason, value FROM counter WHERE name = 'rejected'") == [
        ("record: unknown kind", 1),
        ("record: wrong number of elements", 1),
    ]


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_nothing_is_promised_once_the_file_is_gone(path, wire, suffix):
    file = path.with_name(path.name + suffix)
    aside = path.with_name("aside")

    async def act(store):
        file.rename(aside)
        for attempt in (store.commit([incoming(wire.batch(wire.reading()))]), store.check()):
            with pytest.raises(StoreError, match="was removed or replaced"):
                await attempt
        file.write_bytes(b"")
        with pytest.raises(StoreError, match="was removed or replaced"):
            await store.check()
        aside.rename(file)
        await store.check()

    use(path, act)


def test_a_batch_that_spoils_the_transaction_is_put_aside_and_the_others_stored(
    path, wire, monkeypatch
):
    plan = store_module.batches.plan

    def plan_badly(batch, known, received_ms):
        if batch.first_seq == 2:
            raise ValueError("a defect of ours")
        return plan(batch, known, received_ms)

    monkeypatch.setattr(store_module.batches, "plan", plan_badly)
    payloads = [wire.batch(wire.reading(n), first_seq=n) for n in (1, 2, 3)]
    done = commit(path, *payloads)
    assert [o.reason for o in done.outcomes] == [None, REASON_UNSTORABLE, None]
    assert rows(path, "SELECT seq FROM reading ORDER BY seq") == [(1,), (3,)]
    assert rows(path, "SELECT payload FROM dead_letter") == [(payloads[1],)]


def test_a_locked_database_promises_nothing_and_later_takes_the_same_batch(
    path, wire, monkeypatch
):
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS[:3], "PRAGMA busy_timeout=1"))
    payload = wire.batch(wire.reading())

    async def act(store):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                await store.commit([incoming(payload)])
        return await store.commit([incoming(payload)])

    assert use(path, act).outcomes[0].is_new


CRASH = """
import asyncio, os, sys
from pathlib import Path
from wattlog_host.store.records import Incoming
from wattlog_host.store.store import Store
from wattlog_host.wire import decode_batch

async def run():
    store = Store(Path(sys.argv[1]), "1", 5)
    await store.commit([Incoming("t", decode_batch(bytes.fromhex(sys.argv[2])), 7)])
    os.kill(os.getpid(), 9)

asyncio.run(run())
"""


def test_killed_between_commit_and_acknowledgement_the_repeat_counts_once(path, wire):
    payload = wire.batch(wire.reading())
    ended = subprocess.run([sys.executable, "-c", CRASH, path, payload.hex()], check=False)
    assert ended.returncode == -9

    async def act(store):
        return store.previous, await store.commit([incoming(payload)])

    previous, done = use(path, act)
    assert (previous.last_data_ms, previous.ended_ms) == (7, None)
    assert [(o.reason, o.is_new) for o in done.outcomes] == [(None, False)]
    assert rows(path, "SELECT count(*) FROM reading") == [(1,)]


def test_the_last_data_is_remembered_over_runs_without_any(path, wire):
    async def previous(store):
        return store.previous.last_data_ms

    commit(path, wire.batch(wire.reading()))
    assert [use(path, previous) for _ in range(3)] == [NOW_MS] * 3


def test_a_clean_end_is_noted(path):
    async def nothing(store):
        return store.previous

    assert use(path, nothing) is None
    assert use(path, nothing).ended_ms == NOW_MS


def test_totals_outlive_the_process(path, wire):
    commit(path, wire.batch(wire.reading(values=(1, -1, 0))))

    async def totals(store):
        return dict(store.counters)

    assert use(path, totals) == {
        ("batches", ""): 1,
        ("readings", ""): 1,
        ("rejected", "import_wh out of range"): 1,
    }


def test_dead_letters_and_events_are_capped(path, monkeypatch):
    monkeypatch.setattr(store_module, "DEAD_LETTERS_MAX", 3)
    monkeypatch.setattr(store_module, "EVENTS_MAX", 2)
    letters = [DeadLetter("t", "why", bytes([n]), n) for n in range(5)]
    events = [Event(n, "host", None, str(n)) for n in range(4)]

    async def act(store):
        await store.add_aside(letters, events)
        return await store.events(9), store.counters["dead_letters", "why"]

    assert use(path, act) == ([events[3], events[2]], 5)
    assert rows(path, "SELECT received_ms FROM dead_letter") == [(2,), (3,), (4,)]


def test_a_database_of_a_newer_program_is_refused_and_untouched(path):
    async def nothing(store):
        return None

    use(path, nothing)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match=r"newer wattlog \(revision 9999\)"):
        Store(path, "1", NOW_MS)
    assert rows(path, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_a_file_that_is_no_database_is_refused(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to look like a file of one" * 20)
    with pytest.raises(StoreError, match="not a database"):
        Store(path, "1", NOW_MS)


def test_a_second_host_on_the_same_file_is_refused(path):
    async def act(store):
        with pytest.raises(StoreError, match="another wattlog-host"):
            Store(path, "1", NOW_MS)

    use(path, act)


def test_the_migrations_make_the_tables_that_the_code_describes(path):
    async def nothing(store):
        return None

    use(path, nothing)
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.METADATA) == []
    engine.dispose()


def test_the_database_is_set_up_not_to_lose_anything(path):
    async def pragmas(store):
        with store._write_engine.begin() as connection:
            return [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]

    assert use(path, pragmas) == ["wal", 2, 1]
