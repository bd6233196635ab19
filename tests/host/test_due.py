"""What cannot be read costs its own readings: no other hour waits for it, and it is counted."""

import pytest
import sqlalchemy as sa

from stored import rows, stored_losses
from wattlog_host.store import due, imports, rollups, tables
from wattlog_host.store.history import SqlHistory
from wattlog_host.store.records import Floor, Incoming
from wattlog_host.store.writer import REASON_UNSTORABLE, Writer
from wattlog_host.units import BY_KEY
from wattlog_host.wire import decode_batch

HOUR_MS = 3_600_000
POWER = BY_KEY["power_w"].id
T0_MS = 1_760_000_400_000 // HOUR_MS * HOUR_MS
NOW_MS = T0_MS + 1_000 * HOUR_MS
MINUTE_MS = 60_000
# When the day of the arrival is over, too: in PostgreSQL it goes as a whole.
MUCH_LATER_MS = NOW_MS + 50 * HOUR_MS
# Hours of the batches; one of them is to rot.
HOURS, ROTTEN = (1, 5, 9), 5

DAMAGES = (
    ("its lengths do not agree", "packed", b"\x7fcut"),
    ("its first record is no head", "packed", b"\x02ab\x02cd"),
    ("nothing is left", "packed", b""),
    ("its clock cannot be read", "steps", b"\xc1"),
    ("its clock is none", "steps", b"\x07"),
)


@pytest.fixture
def start(place):
    """Call it for a store that was killed and started, again and again."""
    made = []

    def kill():
        while made:
            made.pop().let_go()

    def begin():
        kill()
        made.append(Writer(place, "1", NOW_MS))
        return made[-1]

    yield begin
    kill()


@pytest.fixture
def store(start):
    return start()


def commit(store, payload):
    done = store.commit([Incoming("t", decode_batch(payload), NOW_MS, payload)])
    assert done.outcomes[0].is_new, done
    return done


def batch(wire, hour, edge="cellar", first_seq=None):
    """Three readings within an hour since T0_MS, ten minutes into it."""
    records = [
        wire.reading(hour * HOUR_MS + (10 + n) * MINUTE_MS, (10, 100 * hour + n, 0))
        for n in range(3)
    ]
    return wire.batch(*records, edge=edge, first_seq=first_seq or 10 * hour)


def fill(store, wire):
    commit(store, wire.batch(wire.sync(0, T0_MS)))
    for hour in HOURS:
        commit(store, batch(wire, hour))


def roll_all(store):
    """Make all buckets; one that never ends is a failure of its own."""
    for _ in range(50):
        if not store.roll():
            return
    pytest.fail("hours are due for ever")


def damage(store, column="packed", value=b"\x7fcut", hour=ROTTEN):
    """Rot one stored batch; return what it was."""
    name = sa.and_(tables.batch.c.first_seq == 10 * hour)
    with store._write_engine.begin() as connection:
        before = connection.execute(sa.select(tables.batch.c[column]).where(name)).scalar_one()
        connection.execute(sa.update(tables.batch).where(name).values({column: value}))
    return before


def counted(store):
    """{hour: readings in its bucket}."""
    with store._reading() as connection:
        found = SqlHistory(connection).gauges(1, POWER, 0, 2**62, 3600)
    hours = ((start - T0_MS) // HOUR_MS for start in found.start_ms)
    return dict(zip(hours, found.readings, strict=True))


@pytest.mark.parametrize(("name", "column", "value"), DAMAGES)
def test_an_hour_that_cannot_be_read_keeps_no_other_waiting(store, wire, name, column, value):
    fill(store, wire)
    damage(store, column, value)
    roll_all(store)
    assert counted(store) == {1: 3, 9: 3}
    assert (store.due_count(), store.aside_count()) == (0, 1)
    assert len(list(store.readings())) == 6
    with store._reading() as connection:
        found = SqlHistory(connection).readings(1, 0, 2**62, 99)
    assert len(found) == 6, "and who asks for single readings gets the others"


def test_of_its_hour_all_that_can_be_read_counts(store, wire):
    fill(store, wire)
    damage(store)
    commit(store, wire.batch(wire.sync(0, T0_MS), edge="attic"))
    commit(store, batch(wire, ROTTEN, "attic", 5_000))
    roll_all(store)
    assert counted(store) == {1: 3, ROTTEN: 3, 9: 3}
    assert store.aside_count() == 1


def test_a_record_that_cannot_be_read_is_missed_too(store, wire):
    fill(store, wire)
    packed = damage(store, value=b"")
    damage(store, value=packed[:-1] + b"\xff")
    roll_all(store)
    assert counted(store) == {1: 3, ROTTEN: 2, 9: 3}
    assert store.aside_count() == 1


def test_what_can_be_read_again_is_made_at_the_next_start(store, start, wire):
    fill(store, wire)
    packed = damage(store)
    roll_all(store)
    damage(store, value=packed)
    assert store.roll() == 0, "until then nobody tries"
    again = start()
    roll_all(again)
    assert counted(again) == {1: 3, ROTTEN: 3, 9: 3}
    assert again.aside_count() == 0


def test_it_is_tried_again_with_all_it_has_when_something_comes(store, wire):
    fill(store, wire)
    packed = damage(store)
    roll_all(store)
    damage(store, value=packed)
    late = wire.reading(ROTTEN * HOUR_MS + 40 * MINUTE_MS, (10, 7, 0))
    commit(store, wire.batch(late, first_seq=10 * ROTTEN + 3))
    roll_all(store)
    assert counted(store) == {1: 3, ROTTEN: 4, 9: 3}
    assert store.aside_count() == 0


def test_rebuild_tries_it_again_and_counts_it_once(store, wire):
    fill(store, wire)
    damage(store)
    roll_all(store)
    store.rebuild_begin()
    roll_all(store)
    assert counted(store) == {1: 3, 9: 3}
    assert (store.due_count(), store.aside_count()) == (0, 1)


def test_a_mistake_of_ours_in_one_hour_keeps_no_other_waiting(store, start, wire, monkeypatch):
    fill(store, wire)
    fold = rollups.fold

    def wrong(block, hour_ms, points):
        if hour_ms == T0_MS + ROTTEN * HOUR_MS:
            raise OverflowError("a number that no column takes")
        fold(block, hour_ms, points)

    with monkeypatch.context() as patch:
        patch.setattr(rollups, "fold", wrong)
        roll_all(store)
    assert counted(store) == {1: 3, 9: 3}
    assert (store.due_count(), store.aside_count()) == (0, 1)
    again = start()
    roll_all(again)
    assert counted(again) == {1: 3, ROTTEN: 3, 9: 3}


def test_what_buckets_lack_is_not_let_go_and_all_else_is(store, place, start, wire):
    fill(store, wire)
    packed = damage(store)
    roll_all(store)
    for _ in range(20):
        if not store.let_go_before(MUCH_LATER_MS):
            break
    left = rows(place, "SELECT first_seq FROM batch WHERE readings > 0")
    assert left == [(10 * ROTTEN,)]
    again = start()
    roll_all(again)
    assert again.aside_count() == 1, "nor is it after another try"
    damage(again, value=packed)
    again = start()
    roll_all(again)
    assert counted(again) == {1: 3, ROTTEN: 3, 9: 3}
    assert again.let_go_before(MUCH_LATER_MS) == 1
    assert not list(again.readings())
    assert counted(again) == {1: 3, ROTTEN: 3, 9: 3}


def test_what_comes_late_and_rots_takes_nothing_from_buckets_that_outlived_their_batches(
    store, start, wire
):
    fill(store, wire)
    roll_all(store)
    while store.let_go_before(MUCH_LATER_MS):
        pass
    late = wire.reading(ROTTEN * HOUR_MS + 40 * MINUTE_MS, (10, 7, 0))
    commit(store, wire.batch(wire.sync(0, T0_MS), late, boot=99, log=5, first_seq=10 * ROTTEN))
    damage(store)
    roll_all(store)
    again = start()
    roll_all(again)
    assert counted(again) == {1: 3, ROTTEN: 3, 9: 3}
    assert again.aside_count() == 0


def test_what_is_newest_and_what_is_lost_is_told_without_it(store, place, start, wire):
    fill(store, wire)
    store.settle([Floor("cellar", wire.log, 10 * ROTTEN, NOW_MS)])
    damage(store)
    damage(store, hour=9)
    assert store.latest() == []
    assert stored_losses(place).records == 45
    commit(store, batch(wire, 11))
    assert [one.time_ms for one in store.latest()] == [T0_MS + 11 * HOUR_MS + 12 * MINUTE_MS]
    start()


def test_what_comes_for_a_rotten_batch_is_put_aside_and_all_else_is_stored(store, wire):
    fill(store, wire)
    damage(store)
    payloads = (batch(wire, ROTTEN), batch(wire, 11))
    done = store.commit(
        [Incoming("t", decode_batch(payload), NOW_MS, payload) for payload in payloads]
    )
    assert [one.reason for one in done.outcomes] == [REASON_UNSTORABLE, None]
    roll_all(store)
    assert counted(store) == {1: 3, 9: 3, 11: 3}


def test_the_newest_hours_come_first_and_as_few_as_are_asked_for(store, wire):
    commit(store, wire.batch(wire.sync(0, T0_MS)))
    for hour in range(1, 20):
        commit(store, batch(wire, hour))
    with store._reading() as connection:
        found = due.newest(connection, 3)
        plan = rows_of_plan(connection)
    assert [(hour_ms - T0_MS) // HOUR_MS for _, hour_ms in found] == [19, 18, 17]
    assert "ix_rollup_due_hour_ms_meter_id" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort " not in plan, "a backlog of years is not looked at as a whole, again and again"


def test_an_hour_of_few_readings_begins_no_long_transaction(store, wire):
    commit(store, wire.batch(wire.sync(0, T0_MS)))
    for hour in range(1, 20):
        commit(store, batch(wire, hour))
    few = wire.reading(
        20 * HOUR_MS + 30 * MINUTE_MS, (10, 7, 0), meter=b"\x0a\x01SLW\x00\x00\x00\x07"
    )
    commit(store, wire.batch(few, first_seq=200))
    assert store.roll(6) == 3, "one reading, then three and three"
    assert store.roll(6) == 3, "nine are no less than six"
    roll_all(store)
    assert counted(store) == dict.fromkeys(range(1, 20), 3)


def rows_of_plan(connection):
    """What the database says of how it finds the newest hours."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    words = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[connection.dialect.name]
    text = str(
        due._NEXT.params(count_max=3).compile(
            connection.engine, compile_kwargs={"literal_binds": True}
        )
    )
    return "\n".join(str(row) for row in connection.exec_driver_sql(f"{words} {text}"))


def test_a_person_is_told_how_many_hours_it_concerns(make_host, wire, wait_until):
    host = make_host()
    store = Writer(host.config_path.parent / "data" / "wattlog.db", "1", NOW_MS)
    fill(store, wire)
    damage(store)
    store.let_go()
    host.start()
    wait_until(lambda: host.json("/status")["host"]["hours_aside"] == 1)
    told = "hours with readings that cannot be read: 1; all others are there"
    assert host.events().count(told) == 1
    page = host.get("/state?lang=en")[1]
    assert '<dd data-field="host.hours_aside" data-as="number">1</dd>' in page
    assert host.end() == 0


# --- what is stored anew, elsewhere in time ------------------------------------------------------


def test_a_batch_whose_hole_is_filled_by_a_clock_is_in_no_hour_that_it_was_in(store, wire):
    minute, second = (wire.reading(n * MINUTE_MS, (10, n, 0)) for n in (1, 3))
    records = (minute, wire.sync(2 * MINUTE_MS, T0_MS + 2 * MINUTE_MS), second)
    commit(store, wire.batch(*records, holes=(1,)))
    roll_all(store)
    assert counted(store) == {999: 1, 1000: 1}
    commit(store, wire.batch(*records))
    roll_all(store)
    assert counted(store) == {0: 2}


def test_a_batch_that_moves_to_a_renewed_log_is_in_no_hour_that_it_was_in(store, wire):
    payload = wire.reading(MINUTE_MS, (10, 5, 0))
    commit(store, wire.batch(payload, log=7))
    roll_all(store)
    assert counted(store) == {1000: 1}
    commit(store, wire.batch(wire.sync(0, T0_MS), log=8, first_seq=50))
    commit(store, wire.batch(payload, log=8))
    roll_all(store)
    assert counted(store) == {0: 1}


LIVE = (
    # Minutes in which each batch begins and ends; then those in which an agent is said to read,
    # five minutes more on both sides.
    ("alone", [(10, 20)], [(5, 25)]),
    ("one ends within the other", [(10, 60), (20, 30)], [(5, 65)]),
    ("one reaches beyond the other", [(10, 30), (20, 60)], [(5, 65)]),
    ("they just meet", [(10, 20), (30, 40)], [(5, 45)]),
    (
        "they just do not",
        [(10, 20), (30 + 1 / MINUTE_MS, 40)],
        [(5, 25), (25 + 1 / MINUTE_MS, 45)],
    ),
    ("all three are one", [(10, 20), (25, 100), (30, 40)], [(5, 105)]),
)


@pytest.mark.parametrize(("name", "batches", "wanted"), LIVE)
def test_when_agents_read_a_meter_is_told_in_times_apart_from_each_other(
    store, wire, name, batches, wanted
):
    for number, ends in enumerate(batches):
        records = [wire.reading(round(at * MINUTE_MS), (10, 5, 0)) for at in ends]
        sync = wire.sync(0, T0_MS)
        commit(store, wire.batch(sync, *records, edge=f"head-{number}", boot=7 + number))
    found = store.look(
        lambda connection: imports.stored(connection, 1, T0_MS, T0_MS + 9 * HOUR_MS)
    )
    assert [tuple((at - T0_MS) / MINUTE_MS for at in span) for span in found.live] == wanted
    assert len(found.values) == len({at for ends in batches for at in ends})
