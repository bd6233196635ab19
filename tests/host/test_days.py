"""Days in PostgreSQL: which one a batch goes to, what is not looked into, and how one is let go."""

import pytest

from stored import rows, stored_readings
from wattlog_host.history.columns import HOLD_MS
from wattlog_host.store import days
from wattlog_host.store.days import DAY_MS, Marks
from wattlog_host.store.history import SqlHistory
from wattlog_host.store.records import Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch
from wattlog_pi.system_clock import Trust

HOUR_MS = 3_600_000
DAY = 20_400
T0_MS = DAY * DAY_MS + 10 * HOUR_MS
METER = b"\x0a\x01"


@pytest.fixture
def store(url):
    made = Writer(url, "1", T0_MS)
    yield made
    made.let_go()


def commit(store, payload, at_ms, trust=Trust.NETWORK):
    item = Incoming("t", decode_batch(payload), at_ms, payload, trust)
    done = store.commit([item])
    assert done.outcomes[0].reason is None
    return done


def a_day(wire, number, at=None):
    """A batch of one reading, at ten o'clock of the day so many days on; every one a boot."""
    at_ms = T0_MS + number * DAY_MS
    records = [wire.sync(0, at_ms), wire.reading(7, (10, 100 + number, 0), METER)]
    return wire.batch(*records, boot=number + 1, first_seq=1_000 * number + 1), at_ms + 1_000


def days_of_batches(url):
    return rows(url, "SELECT first_seq, day FROM batch ORDER BY first_seq")


# --- marks: pure --------------------------------------------------------------------------------


def test_marks_never_promise_too_much():
    """Whatever comes in whatever order: what begins behind a number is in the days that are told."""
    from past import Rng

    for seed in range(300):
        rng = Rng(seed)
        marks, stored = Marks(), []
        day = 10_000
        for _ in range(30):
            day += rng.choice((0, 0, 0, 1, 2, -1, 40, -40))
            group = [
                (day + rng.choice((0, 0, 0, 1)), 1 + rng.randrange(200))
                for _ in range(1 + rng.randrange(3))
            ]

            first_day = min(marks.newest_day, min(group)[0])
            marks.note(group, max((seq for at, seq in stored if at >= first_day), default=0))
            stored += group
            for first_seq in range(1, 202, 5):
                later = [at for at, seq in stored if seq >= first_seq]
                assert marks.from_day(first_seq) <= min(later, default=10**6), f"seed {seed}"


# --- which day ------------------------------------------------------------------------------------


def test_a_batch_goes_to_the_day_of_its_arrival_and_a_late_one_as_well(store, url, wire):
    for number in (0, 2):
        commit(store, *a_day(wire, number))
    payload, _ = a_day(wire, 1)
    commit(store, payload, T0_MS + 2 * DAY_MS)
    assert days_of_batches(url) == [(1, DAY), (1_001, DAY + 2), (2_001, DAY + 2)]
    assert rows(url, "SELECT first_seq, day FROM series ORDER BY first_seq") == days_of_batches(
        url
    )
    assert len(stored_readings(url)) == 3


def test_one_that_is_measured_on_a_later_day_than_it_came_goes_there(store, url, wire):
    # Our clock was days behind, and nobody had set it; the head's was sure.
    payload, at_ms = a_day(wire, 3)
    commit(store, payload, at_ms - 3 * DAY_MS, Trust.NOBODY)
    assert days_of_batches(url) == [(3_001, DAY + 3)]


def test_one_whose_clock_turns_out_to_be_later_moves_on(store, url, wire):
    came_ms = T0_MS - 5 * DAY_MS
    reading = wire.batch(wire.reading(7, (10, 1, 0), METER), first_seq=1)
    commit(store, reading, came_ms, Trust.NOBODY)
    assert days_of_batches(url) == [(1, DAY - 5)]
    sync = wire.batch(wire.sync(0, T0_MS), first_seq=2)
    commit(store, sync, came_ms + 1_000, Trust.NOBODY)
    assert days_of_batches(url)[0] == (1, DAY)
    assert [one.time_ms for one in stored_readings(url)] == [T0_MS + 7]
    while store.roll():
        pass
    with store._reading() as connection:
        found = SqlHistory(connection).readings(1, T0_MS, T0_MS + DAY_MS, 9)
    assert len(found) == 1


def test_days_to_come_are_made_before(store, url, wire):
    store.make_days(T0_MS)
    store.make_days(T0_MS)
    with store._reading() as connection:
        assert days.parts(connection) == [DAY, DAY + 1, DAY + 2, DAY + 3]
    commit(store, *a_day(wire, 40))
    with store._reading() as connection:
        assert days.parts(connection)[-1] == DAY + 40


# --- what is not looked into ------------------------------------------------------------------------


def scans(url):
    """How often each partition was looked into, by its name."""
    query = (
        "SELECT relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_user_tables"
        " WHERE relname ~ '^(batch|series)_day_[0-9]+$'"
    )
    return dict(tuple(row) for row in rows(url, query))


def flush(store):
    """Have the sessions tell what they have looked into."""
    for engine in (store._write_engine, store._read_engine):
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")


def test_what_comes_now_is_stored_without_a_look_into_days_long_gone(store, url, wire):
    many = 12
    for number in range(many):
        commit(store, *a_day(wire, number))
        while store.roll():
            pass
    # As it goes on: the same boot, its next sync point, a batch that came before, a floor.
    at_ms = T0_MS + many * DAY_MS
    first = 1_000 * many + 1
    head = wire.batch(wire.sync(0, at_ms), wire.reading(7, (10, 1, 0), METER), first_seq=first)
    commit(store, head, at_ms + 1_000)
    flush(store)
    before = scans(url)
    again = wire.batch(wire.reading(9_000, (10, 2, 0), METER), first_seq=first + 2)
    sync = wire.batch(
        wire.sync(19_000, at_ms + 19_000),
        wire.reading(20_000, (10, 3, 0), METER),
        first_seq=first + 100,
    )
    for payload in (again, head, again, sync):
        commit(store, payload, at_ms + 21_000)
    while store.roll():
        pass
    flush(store)
    after = scans(url)
    touched = {name for name in after if after[name] > before.get(name, 0)}
    recent = {
        days._name(table, DAY + number)
        for table in ("batch", "series")
        for number in range(many - 1, many + 1)
    }
    assert touched, "statistics are told"
    assert touched <= recent


# --- letting go ---------------------------------------------------------------------------------------


def blocks(url):
    return rows(
        url, "SELECT meter_id, channel, step_s, start_ms, packed FROM rollup ORDER BY 1,2,3,4"
    )


def test_a_day_goes_as_a_whole_once_all_of_it_is_old_enough(store, url, wire):
    for number in range(3):
        commit(store, *a_day(wire, number))
    assert store.let_go_before(T0_MS + 9 * DAY_MS) == 0, "nothing goes before its buckets are made"
    while store.roll():
        pass
    made = blocks(url)
    end_ms = (DAY + 1) * DAY_MS
    assert store.let_go_before(end_ms + HOUR_MS - 1) == 0
    assert store.let_go_before(end_ms + HOUR_MS) == 1
    assert store.let_go_before(end_ms + HOUR_MS) == 0
    assert len(stored_readings(url)) == 2
    assert rows(url, "SELECT value FROM watermark") == [(end_ms + HOUR_MS,)]
    store.rebuild_begin()
    while store.roll():
        pass
    assert blocks(url) == made
    while store.let_go_before(T0_MS + 9 * DAY_MS):
        pass
    assert stored_readings(url) == []
    assert blocks(url) == made
    with store._reading() as connection:
        assert days.parts(connection) == [days.ASIDE]
    late, _ = a_day(wire, 5)
    commit(store, late, T0_MS + 9 * DAY_MS)
    assert len(stored_readings(url)) == 1


def test_the_hour_behind_a_day_that_went_knows_who_spoke_when_it_began(store, url, wire):
    midnight_ms = (DAY + 1) * DAY_MS
    for first_seq, at_ms in ((1, midnight_ms - HOLD_MS // 2), (3, midnight_ms + HOLD_MS // 4)):
        records = [wire.sync(0, at_ms), wire.reading(0, (10, 3, 0), METER)]
        commit(store, wire.batch(*records, boot=first_seq, first_seq=first_seq), at_ms + 1)
    while store.roll():
        pass
    made = blocks(url)
    assert store.let_go_before(midnight_ms + HOUR_MS) == 1
    store.rebuild_begin()
    while store.roll():
        pass
    assert blocks(url) == made
