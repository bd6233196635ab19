"""The store's contract: committed is durable, and counts once."""

import asyncio
import itertools
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from stored import execute, rows, stored_readings
from wattlog.records import RENEW
from wattlog_host.store import batches as batches_module
from wattlog_host.store import database, days, tables
from wattlog_host.store import store as store_module
from wattlog_host.store import writer as writer_module
from wattlog_host.store.kinds import kind_of
from wattlog_host.store.records import DeadLetter, Event, Floor, Incoming, StoreError
from wattlog_host.store.store import Store
from wattlog_host.store.writer import REASON_UNSTORABLE, Writer
from wattlog_host.wire import decode_batch
from wattlog_pi.system_clock import Trust

NOW_MS = 1_795_000_000_000


@pytest.fixture
def path(place):
    return place


@pytest.fixture
def file(tmp_path):
    """Only of SQLite."""
    return tmp_path / "data" / "wattlog.db"


@pytest.fixture
def store(path):
    made = Writer(path, "1", NOW_MS)
    yield made
    made.close(NOW_MS)


def use(path, act, now_ms=NOW_MS):
    """Open a store, do something with it, close it."""
    store = Writer(path, "1", now_ms)
    try:
        return act(store)
    finally:
        store.close(now_ms)


def incoming(payload, received_ms=NOW_MS, trust=Trust.NETWORK):
    return Incoming("wattlog/1/cellar/b", decode_batch(payload), received_ms, payload, trust)


def commit(store, *payloads, received_ms=NOW_MS, trust=Trust.NETWORK):
    return store.commit([incoming(payload, received_ms, trust) for payload in payloads])


def times(store):
    """{seq: (time_ms, time_source)} of all readings."""
    return {one.seq: (one.time_ms, one.time_source) for one in store.readings()}


def test_a_committed_batch_is_there_with_its_readings(store, path, wire):
    payload = wire.batch(wire.sync(), wire.reading(1000, (1, 1989275, -1, 10, -2314, -1)))
    done = commit(store, payload)
    assert [(o.reason, o.is_new) for o in done.outcomes] == [(None, True)]
    assert rows(path, "SELECT records, readings, boot, packed FROM batch") == [
        (2, 1, 17, decode_batch(payload).packed)
    ]
    (reading,) = stored_readings(path)
    assert (reading.edge, reading.log, reading.boot, reading.seq) == ("cellar", wire.log, 17, 2)
    assert (reading.time_ms, reading.time_source) == (wire.sync_epoch_ms + 1000, "sync")
    assert (reading.server_id, reading.sec_index) == (wire.meter, 7)
    assert reading.values == {1: 19892750000, 10: -231400}
    (latest,) = done.latest
    assert (latest.server_id, latest.edge, latest.values[10]) == (wire.meter, "cellar", -231400)
    assert (latest.boot, latest.uptime_ms) == (17, 1000)
    assert done.meters_new == (("cellar", latest.label),)


def test_committed_twice_counts_once(path, wire):
    payload = wire.batch(wire.reading())
    done = use(path, lambda store: commit(store, payload, payload))
    assert [o.reason for o in done.outcomes] == [None, None]
    again = use(path, lambda store: commit(store, payload))
    assert [(o.reason, o.is_new) for o in again.outcomes] == [(None, False)]
    assert len(stored_readings(path)) == 1
    assert rows(path, "SELECT name, value FROM counter ORDER BY name") == [
        ("batches", 1),
        ("duplicates", 2),
        ("readings", 1),
    ]


@pytest.mark.parametrize("apart", [False, True])
def test_a_repeat_with_fewer_holes_fills_them(store, path, wire, apart):
    rows_ = [wire.sync(0), *[wire.reading(n * 1000) for n in range(1, 5)]]
    holed, other = wire.batch(*rows_, holes=[2, 4]), wire.batch(*rows_, holes=[3])
    for group in [[holed], [other]] if apart else [[holed, other]]:
        done = commit(store, *group)
    assert [o.reason for o in done.outcomes] == [None] * len(done.outcomes)
    assert [one.seq for one in store.readings()] == [2, 3, 4, 5]
    assert {source for _, source in times(store).values()} == {"sync"}
    assert (store.losses().runs, store.counters["readings", ""]) == (0, 4)
    assert rows(path, "SELECT readings FROM series") == [(4,)]
    assert rows(path, "SELECT count(*) FROM sync_point") == [(1,)]


def test_the_head_of_a_batch_may_come_later(store, path, wire):
    rows_ = [wire.sync(5000), wire.reading(6000)]
    commit(store, wire.batch(wire.sync(0), first_seq=9))
    commit(store, wire.batch(*rows_, holes=[0]))
    assert (times(store), store.losses().records) == ({}, 2)
    commit(store, wire.batch(*rows_))
    assert times(store) == {2: (wire.sync_epoch_ms + 1000, "sync")}
    assert store.losses().records == 0


@pytest.mark.parametrize("apart", [False, True])
def test_a_repeat_without_its_head_fills_what_the_boot_of_the_first_places(store, wire, apart):
    commit(store, wire.batch(wire.sync(0), first_seq=9))
    rows_ = [wire.reading(1000), wire.reading(2000)]
    holed, headless = wire.batch(*rows_, holes=[1]), wire.batch(*rows_, holes=[0])
    for group in [[holed], [headless]] if apart else [[holed, headless]]:
        commit(store, *group)
    at = wire.sync_epoch_ms
    assert times(store) == {1: (at + 1000, "sync"), 2: (at + 2000, "sync")}


@pytest.mark.parametrize("apart", [False, True])
def test_overlapping_batches_store_each_reading_once(store, wire, apart):
    first = wire.batch(*[wire.reading(n) for n in (1, 2, 3)], first_seq=1)
    second = wire.batch(*[wire.reading(n) for n in (2, 3, 4)], first_seq=2, holes=[1])
    third = wire.batch(*[wire.reading(n) for n in (3, 4, 5)], first_seq=3)
    payloads = [second, first, third]
    for group in [[one] for one in payloads] if apart else [payloads]:
        commit(store, *group)
    assert [one.seq for one in store.readings()] == [1, 3, 2, 4, 5]
    assert sorted(times(store)) == [1, 2, 3, 4, 5]
    assert (store.counters["readings", ""], store.losses().runs) == (5, 0)


# --- numbers that are given again ---------------------------------------------------------------

RESTORED = (
    ("the same name", 1, {"boot": 18}, (1, 1989275, -1)),
    ("the same boot, other values", 2, {"boot": 17}, (1, 5000, -1)),
    ("another boot, the same values", 2, {"boot": 18}, (1, 1989275, -1)),
)


def groups_of(apart, *payloads):
    return [[payload] for payload in payloads] if apart else [payloads]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("first_seq", "boot", "values"), [c[1:] for c in RESTORED], ids=[c[0] for c in RESTORED]
)
def test_numbers_given_again_are_taken_under_the_next_log_id(
    store, path, wire, first_seq, boot, values, apart
):
    first = wire.batch(*[wire.reading(n) for n in (1, 2, 3)])
    again = [wire.reading(100 + n, values) for n in (2, 3, 4)]
    refused = wire.batch(*again, first_seq=first_seq, **boot)
    outcomes = [
        one
        for group in groups_of(apart, first, refused, refused)
        for one in commit(store, *group).outcomes
    ]
    assert [(one.reason, one.is_new) for one in outcomes] == [
        (None, True), (RENEW, False), (RENEW, False)
    ]  # fmt: skip
    assert store.counters["renewals", ""] == 2
    assert rows(path, "SELECT count(*) FROM dead_letter") == [(0,)]
    taken = wire.batch(*again, log=wire.log + 1, first_seq=first_seq, **boot)
    (outcome,) = commit(store, taken).outcomes
    assert (outcome.reason, outcome.is_new) == (None, True)
    assert sorted((one.log - wire.log, one.seq, one.uptime_ms) for one in store.readings()) == [
        (0, 1, 1), (0, 2, 2), (0, 3, 3),
        *[(1, first_seq + n, 102 + n) for n in range(3)],
    ]  # fmt: skip
    # What came under the first id is no gap of the next; what comes after, and is lost, is.
    base_seq = first_seq - 1
    store.settle([Floor("cellar", wire.log + 1, first_seq, NOW_MS, base_seq)])
    assert store.losses().runs == 0
    store.settle([Floor("cellar", wire.log + 1, first_seq + 4, NOW_MS, base_seq)])
    lost = [(gap.log - wire.log, gap.first_seq, gap.last_seq) for gap in store.losses().newest]
    assert lost == [(1, first_seq + 3, first_seq + 3)]


@pytest.mark.parametrize("is_late", [False, True])
def test_what_a_renewed_log_gave_up_before_it_was_sent_is_a_gap(store, wire, is_late):
    commit(store, wire.batch(*[wire.reading(n) for n in range(1, 60)]))
    taken = [wire.reading(n) for n in range(5)]
    commit(store, wire.batch(*taken, boot=18, first_seq=30))
    floor = Floor("cellar", wire.log + 1, 30, NOW_MS, 20)
    if not is_late:
        store.settle([floor])
    commit(store, wire.batch(*taken, boot=18, first_seq=30, log=wire.log + 1))
    if is_late:
        store.settle([floor])
    store.settle([floor])
    lost = [(gap.log - wire.log, gap.first_seq, gap.last_seq) for gap in store.losses().newest]
    assert lost == [(1, 21, 29)]


@pytest.mark.parametrize("apart", [False, True])
def test_what_came_out_of_turn_moves_to_the_next_log_id_and_counts_once(store, wire, apart):
    early = [wire.sync(5), *[wire.reading(1000 * n) for n in (5, 6, 7)]]
    late = [wire.reading(100 * n) for n in (2, 3, 4)]
    stored = wire.batch(*[wire.reading(n, sec_index=None) for n in (1, 2, 3)])
    payloads = (
        stored,
        wire.batch(*early, first_seq=5, boot=18),  # no clash: taken
        wire.batch(*late, first_seq=2, boot=18),  # a clash
        wire.batch(*late, first_seq=2, boot=18, log=wire.log + 1),
        wire.batch(*early, first_seq=5, boot=18, log=wire.log + 1),
        wire.batch(*early, first_seq=5, boot=18),  # a message that was long on its way
        wire.batch(*early, first_seq=5, boot=18, log=wire.log + 1),
    )
    outcomes = [
        one for group in groups_of(apart, *payloads) for one in commit(store, *group).outcomes
    ]
    assert [one.reason for one in outcomes] == [None, None, RENEW, None, None, None, None]
    found = sorted((one.log - wire.log, one.seq, one.time_source) for one in store.readings())
    assert found == [
        *[(0, seq, "arrival") for seq in (1, 2, 3)],
        *[(1, seq, "sync") for seq in (2, 3, 4, 6, 7, 8)],
    ]
    assert store.counters["readings", ""] == 9
    assert store.counters["batches", ""] == 3
    if apart:  # as it is: nobody takes an id that was not committed
        store.settle([Floor("cellar", wire.log + 1, 9, NOW_MS, 1)])
        assert store.losses().runs == 0


def test_the_id_may_change_more_than_once_and_past_the_greatest(store, wire):
    last = 0xFFFFFFFF
    rows_ = [wire.reading(1), wire.reading(2)]
    commit(store, wire.batch(*rows_, boot=1, log=last))
    # Copies of one log, put back in turns.
    assert commit(store, wire.batch(*rows_, boot=2, log=last)).outcomes[0].reason == RENEW
    assert commit(store, wire.batch(*rows_, boot=2, log=0)).outcomes[0].reason is None
    far = wire.batch(wire.reading(9), boot=3, log=last, first_seq=9)
    assert commit(store, far).outcomes[0].reason is None
    assert commit(store, wire.batch(*rows_, boot=3, log=last)).outcomes[0].reason == RENEW
    assert commit(store, wire.batch(*rows_, boot=3, log=0)).outcomes[0].reason == RENEW
    assert commit(store, wire.batch(*rows_, boot=3, log=1)).outcomes[0].reason is None
    far = wire.batch(wire.reading(9), boot=3, log=1, first_seq=9)
    assert commit(store, far, far).outcomes[0].reason is None
    assert sorted((one.log, one.boot, one.seq) for one in store.readings()) == [
        (0, 2, 1), (0, 2, 2), (1, 3, 1), (1, 3, 2), (1, 3, 9), (last, 1, 1), (last, 1, 2),
    ]  # fmt: skip
    for log in (0, 1):
        store.settle([Floor("cellar", log, 3, NOW_MS, 0)])
    assert store.losses().runs == 0


@pytest.mark.parametrize("apart", [False, True])
def test_what_has_moved_away_times_nothing_that_comes_under_the_former_id(store, wire, apart):
    behind = [wire.reading(1_000 * n) for n in (100, 101)]
    commit(store, wire.batch(*behind, first_seq=10), received_ms=NOW_MS - 3_600_000)
    payloads = (
        wire.batch(*behind, first_seq=10, log=wire.log + 1),
        wire.batch(wire.reading(1_000), wire.reading(2_000), first_seq=1),
    )
    for group in groups_of(apart, *payloads):
        commit(store, *group)
    assert times(store)[2] == (NOW_MS, "arrival")


def test_a_machine_put_back_with_its_memory_goes_on_under_one_other_id(store, wire):
    # The same boot, the same numbers, other readings: kin by name, and not the same batch.
    commit(store, wire.batch(*[wire.reading(n) for n in (1, 2, 3)]))
    other = [wire.reading(n, (1, 5000, -1)) for n in (1, 2, 3)]
    assert commit(store, wire.batch(*other)).outcomes[0].reason == RENEW
    assert commit(store, wire.batch(*other, log=wire.log + 1)).outcomes[0].reason is None
    assert commit(store, wire.batch(*other, log=wire.log + 1)).outcomes[0].reason is None
    # And what comes late under the former id is not taken for what is stored there since.
    late = [wire.reading(n, (1, 7777, -1)) for n in (1, 2, 3)]
    assert commit(store, wire.batch(*late)).outcomes[0].reason == RENEW
    assert len(list(store.readings())) == 6


@pytest.fixture
def valued(wire):
    return lambda uptime_ms, value: wire.reading(uptime_ms, (1, value, -1))


def kept(store, wire):
    """(log, boot, seq) of each reading, after a look whether the counter says so many."""
    found = sorted((one.log - wire.log, one.boot, one.seq) for one in store.readings())
    assert store.counters["readings", ""] == len(found)
    return found


def reasons(store, *payloads):
    return [one.reason for one in commit(store, *payloads).outcomes]


def test_a_batch_that_has_more_than_what_has_moved_comes_under_the_later_id_too(
    store, wire, valued
):
    # A card that is copied while a group grows, and then used beside its copy.
    commit(store, wire.batch(valued(1, 1)), wire.batch(valued(1, 9), boot=18, log=wire.log + 1))
    grown = [valued(10 * n, n) for n in (5, 6, 7, 8)]
    commit(store, wire.batch(*grown[:2], first_seq=5, log=wire.log + 1))
    assert reasons(store, wire.batch(*grown, first_seq=5)) == [RENEW]
    assert reasons(store, wire.batch(*grown[:2], first_seq=5)) == [None]
    assert reasons(store, wire.batch(*grown, first_seq=5, log=wire.log + 1)) == [None]
    assert kept(store, wire)[2:] == [(1, 17, 6), (1, 17, 7), (1, 17, 8), (1, 18, 1)]


@pytest.mark.parametrize("apart", [False, True])
def test_what_moves_twice_in_one_group_is_stored_once(store, wire, valued, apart):
    commit(store, wire.batch(valued(1, 1)), wire.batch(valued(1, 1), log=wire.log + 1))
    first, second, third = (
        wire.batch(valued(1, 1), valued(2, 2), boot=18, first_seq=5, log=wire.log + n)
        for n in range(3)
    )
    commit(store, first)
    for group in groups_of(apart, second, third):
        assert set(reasons(store, *group)) == {None}
    assert [one for one in kept(store, wire) if one[1] == 18] == [(2, 18, 5), (2, 18, 6)]


@pytest.mark.parametrize("apart", [False, True])
def test_what_is_filled_and_moves_in_one_group_is_whole(store, wire, valued, apart):
    rows_ = [valued(n, n) for n in (1, 2, 3)]
    commit(store, wire.batch(*rows_, boot=18, first_seq=5, holes=[1]))
    full = wire.batch(*rows_, boot=18, first_seq=5)
    moved = wire.batch(*rows_, boot=18, first_seq=5, holes=[1], log=wire.log + 1)
    for group in groups_of(apart, full, moved):
        assert set(reasons(store, *group)) == {None}
    assert kept(store, wire) == [(1, 18, 5), (1, 18, 6), (1, 18, 7)]
    assert store.losses().runs == 0


def test_what_a_machine_had_before_it_was_copied_with_its_memory_counts_once(store, wire, valued):
    commit(store, wire.batch(valued(1, 1), valued(2, 2), valued(3, 3)))
    other = [valued(1, 1), valued(2, 2), valued(3, 99)]
    assert reasons(store, wire.batch(*other)) == [RENEW]
    assert reasons(store, wire.batch(*other, log=wire.log + 1)) == [None]
    assert kept(store, wire) == [(0, 17, 1), (0, 17, 2), (0, 17, 3), (1, 17, 3)]


@pytest.mark.parametrize("lack", [{"holes": [1]}, {"count": 1}], ids=["a hole", "a shorter one"])
def test_a_batch_does_not_move_over_what_is_there(store, wire, valued, lack):
    commit(store, wire.batch(valued(1, 1)), wire.batch(valued(1, 1), log=wire.log + 1, boot=18))
    rows_ = [valued(n, n) for n in (5, 6, 7)]
    commit(store, wire.batch(*rows_, first_seq=5))
    commit(store, wire.batch(valued(1, 66), boot=19, first_seq=6, log=wire.log + 1))
    lacking = wire.batch(
        *rows_[: lack.get("count", 3)], first_seq=5, log=wire.log + 1, holes=lack.get("holes", ())
    )
    assert reasons(store, lacking) == [RENEW]
    assert [one for one in kept(store, wire) if one[2] > 1] == [
        (0, 17, 5), (0, 17, 6), (0, 17, 7), (1, 19, 6)
    ]  # fmt: skip


def gaps_of(store, wire):
    return sorted(
        (gap.log - wire.log, gap.first_seq, gap.last_seq, gap.reason)
        for gap in store.losses(99).newest
    )


def test_a_hole_moves_with_its_batch(store, wire):
    commit(store, wire.batch(*[wire.reading(n) for n in (1, 2, 3)]))
    early = [wire.reading(1000 * n) for n in (5, 6, 7)]
    commit(store, wire.batch(*early, first_seq=5, boot=18, holes=[1]))
    assert gaps_of(store, wire) == [(0, 6, 6, "damaged")]
    assert commit(store, wire.batch(*early, boot=18)).outcomes[0].reason == RENEW
    moved = wire.batch(*early, first_seq=5, boot=18, holes=[1], log=wire.log + 1)
    commit(store, moved)
    assert gaps_of(store, wire) == [(1, 6, 6, "damaged")]
    assert len(list(store.readings())) == 5


def test_what_was_lost_before_its_numbers_were_given_twice_stays_lost(store, wire):
    commit(store, wire.batch(*[wire.reading(n) for n in (1, 2, 3, 4)]))
    store.settle([Floor("cellar", wire.log, 11, NOW_MS, 0)])
    assert gaps_of(store, wire) == [(0, 5, 10, "evicted")]
    early = [wire.reading(1000 * n) for n in (5, 6, 7)]
    commit(store, wire.batch(*early, first_seq=5, boot=18))
    assert gaps_of(store, wire) == [(0, 8, 10, "evicted")]
    commit(store, wire.batch(*early, boot=18))
    commit(store, wire.batch(*early, first_seq=5, boot=18, log=wire.log + 1))
    assert gaps_of(store, wire) == [(0, 5, 10, "evicted")]


def test_a_batch_is_found_under_any_id_that_its_log_had(store, wire):
    rows_ = [wire.reading(1), wire.reading(2)]
    commit(store, wire.batch(*rows_, first_seq=5))
    commit(store, wire.batch(*rows_, first_seq=5, log=wire.log + 200))
    commit(store, wire.batch(*rows_, first_seq=5, log=wire.log + 100))
    commit(store, wire.batch(*rows_, first_seq=5, log=wire.log + 300))
    assert sorted((one.log - wire.log, one.seq) for one in store.readings()) == [
        (300, 5), (300, 6)
    ]  # fmt: skip
    commit(store, wire.batch(*rows_, first_seq=5, log=wire.log + 300 + 256))
    assert len(list(store.readings())) == 4


def test_a_new_log_whose_id_is_next_to_another_is_a_log_of_its_own(store, wire):
    commit(store, wire.batch(wire.reading(1), boot=1))
    commit(store, wire.batch(wire.reading(1), boot=2, log=wire.log + 1))
    assert len(list(store.readings())) == 2


def test_logs_and_agents_do_not_share_numbers(store, wire):
    payload = {"first_seq": 1}
    commit(
        store,
        wire.batch(wire.reading(), **payload),
        wire.batch(wire.reading(), log=1, **payload),
        wire.batch(wire.reading(), edge="attic", **payload),
    )
    assert len(list(store.readings())) == 3


# --- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True])
def test_a_sync_point_places_its_whole_boot_and_the_latest_follows(store, wire, apart):
    first = wire.batch(wire.reading(1000))
    second = wire.batch(wire.sync(2000), first_seq=2)
    if apart:
        done = commit(store, first)
        assert (done.latest[0].time_ms, done.latest[0].time_source) == (NOW_MS, "arrival")
        done = commit(store, second)
    else:
        done = commit(store, first, second)
    at = (wire.sync_epoch_ms - 1000, "sync")
    assert (done.latest[0].time_ms, done.latest[0].time_source) == at
    assert times(store) == {1: at}


def test_a_sync_point_between_moves_what_follows_it_and_only_that(store, path, wire):
    commit(store, wire.batch(wire.sync(0), wire.reading(1000), wire.reading(5000)))
    commit(store, wire.batch(wire.reading(6000), wire.reading(9000), first_seq=9))
    third = wire.sync(8000, wire.sync_epoch_ms + 8000), wire.reading(8500)
    commit(store, wire.batch(*third, first_seq=20))
    late = wire.sync(3000, wire.sync_epoch_ms + 3777)
    commit(store, wire.batch(late, first_seq=5))
    at = wire.sync_epoch_ms
    assert {seq: time_ms - at for seq, (time_ms, _) in times(store).items()} == {
        2: 1000, 3: 5777, 9: 6777, 10: 9000, 21: 8500,
    }  # fmt: skip
    # What finds the readings says the same.
    assert rows(path, "SELECT first_seq, first_ms, last_ms FROM series ORDER BY 1") == [
        (1, at + 1000, at + 5777), (9, at + 6777, at + 9000), (20, at + 8500, at + 8500),
    ]  # fmt: skip


DAYS_MS = 3 * 86_400_000


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
@pytest.mark.parametrize("apart", [False, True])
def test_one_sure_sync_point_places_a_whole_boot_in_whatever_order(store, wire, order, apart):
    at = wire.sync_epoch_ms
    payloads = [
        wire.batch(wire.sync(0, at - DAYS_MS, is_sure=False), wire.reading(1000)),
        wire.batch(wire.reading(2000), first_seq=3),
        wire.batch(wire.sync(3000, at + 3000), wire.reading(4000), first_seq=4),
        wire.batch(wire.sync(5000, at - DAYS_MS, is_sure=False), wire.reading(6000), first_seq=6),
    ]
    for group in groups_of(apart, *[payloads[index] for index in order]):
        commit(store, *group)
    assert times(store) == {
        2: (at + 1000, "sync"), 3: (at + 2000, "sync"), 5: (at + 4000, "sync"),
        7: (at + 6000, "sync"),
    }  # fmt: skip


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_boot_whose_clock_nobody_confirms_is_marked(store, wire, order):
    at = wire.sync_epoch_ms
    payloads = [
        wire.batch(wire.reading(1000)),
        wire.batch(wire.sync(2000, at, is_sure=False), wire.reading(3000), first_seq=2),
        wire.batch(wire.sync(4000, at + 9000, is_sure=False), wire.reading(5000), first_seq=4),
    ]
    for index in order:
        commit(store, payloads[index])
    assert times(store) == {
        1: (at - 1000, "clock"), 3: (at + 1000, "clock"), 5: (at + 10_000, "clock")
    }  # fmt: skip


def test_a_meters_counter_is_worth_more_than_a_clock_nobody_confirms(store, wire):
    at = wire.sync_epoch_ms
    commit(store, wire.batch(wire.sync(0, at), wire.reading(1000, sec_index=100)))
    unsure = wire.sync(0, at - DAYS_MS, is_sure=False)
    doubtful = wire.batch(unsure, wire.reading(2000, sec_index=600), boot=18, first_seq=3)
    commit(store, doubtful)
    assert times(store)[4] == (at + 501_000, "meter")
    # Another word of that clock changes nothing; one from the network does.
    again = wire.sync(9000, at - DAYS_MS, is_sure=False)
    commit(store, wire.batch(again, boot=18, first_seq=5))
    assert times(store)[4] == (at + 501_000, "meter")
    commit(store, wire.batch(wire.sync(9500, at + 508_700), boot=18, first_seq=6))
    assert times(store)[4] == (at + 501_200, "sync")


def test_where_the_counter_is_not_believed_any_more_the_clock_is_asked_again(store, wire):
    at = wire.sync_epoch_ms
    commit(store, wire.batch(wire.sync(0, at), wire.reading(1000, sec_index=100)))
    unsure = wire.sync(0, at - DAYS_MS, is_sure=False)
    commit(store, wire.batch(unsure, wire.reading(2000, sec_index=600), boot=18, first_seq=3))
    assert times(store)[4][1] == "meter"
    # The counter stood still on one of the two sides.
    late = wire.sync(0, at + 10_000_000), wire.reading(1000, sec_index=700)
    commit(store, wire.batch(*late, boot=19, first_seq=9))
    assert times(store)[4] == (at - DAYS_MS + 2000, "clock")


def test_however_often_an_unsure_clock_was_noted_one_sure_point_places_all(store, wire):
    at, hour_ms, seq = wire.sync_epoch_ms, 3_600_000, 1
    payloads = []
    for first in range(0, 1_200, 40):
        notes = [wire.sync(hour_ms * (first + n), at, is_sure=False) for n in range(40)]
        payloads.append(
            wire.batch(*notes, wire.reading(hour_ms * (first + 40) - 5), first_seq=seq)
        )
        seq += 41
    commit(store, *payloads, received_ms=at + 5_000_000_000)
    sure_ms = hour_ms * 1_300
    last = wire.batch(wire.sync(sure_ms, at + sure_ms), wire.reading(sure_ms + 1), first_seq=seq)
    commit(store, last, received_ms=at + sure_ms + 2000)
    readings = list(store.readings())
    assert {one.time_source for one in readings} == {"sync"}
    assert all(one.time_ms == at + one.uptime_ms for one in readings)


def test_a_sync_point_that_comes_in_two_halves_of_a_batch_is_stored_once(store, path, wire):
    at = wire.sync_epoch_ms
    payloads = wire.records(
        wire.reading(10_000), wire.sync(5_000, at), wire.sync(9_000, at), wire.reading(11_000)
    )
    commit(store, wire.batch_of([*payloads[:3], b""]))
    done = commit(store, wire.batch_of([payloads[0], b"", b"", payloads[3]]))
    assert done.outcomes[0].reason is None
    assert rows(path, "SELECT count(*) FROM sync_point") == [(2,)]


@pytest.mark.parametrize("is_fixed", [False, True])
def test_while_our_clock_is_behind_nothing_is_misplaced_for_good(store, wire, is_fixed):
    late_ms = NOW_MS - DAYS_MS  # what our clock says
    commit(store, wire.batch(wire.reading(1000)), received_ms=late_ms, trust=Trust.NOBODY)
    assert times(store) == {1: (late_ms, "arrival")}
    commit(
        store,
        wire.batch(wire.sync(2000, NOW_MS), wire.reading(3000), first_seq=2),
        received_ms=NOW_MS + 1000 if is_fixed else late_ms + 2000,
        trust=Trust.NETWORK if is_fixed else Trust.NOBODY,
    )
    assert times(store) == {1: (NOW_MS - 1000, "sync"), 3: (NOW_MS + 1000, "sync")}


def test_a_sync_point_moves_no_reading_of_another_boot_agent_or_log(store, wire):
    commit(
        store,
        wire.batch(wire.reading(1000), boot=1),
        wire.batch(wire.reading(1000), edge="attic", boot=2),
        wire.batch(wire.reading(1000), log=5, boot=2),
        wire.batch(wire.sync(2000), boot=2, first_seq=2),
    )
    assert [one.time_source for one in store.readings()] == ["arrival"] * 3


def test_the_sync_points_of_another_boot_agent_or_log_do_not_count(store, wire):
    commit(
        store,
        wire.batch(wire.sync(0), boot=1),
        wire.batch(wire.sync(0), boot=2, edge="attic"),
        wire.batch(wire.sync(0), boot=2, log=5),
        wire.batch(wire.reading(), boot=2, first_seq=9),
    )
    assert [one.time_source for one in store.readings()] == ["arrival"]


def empty(store):
    """Forget all batches and what follows from them."""
    with store._write_engine.begin() as connection:
        for table in reversed(tables.METADATA.sorted_tables):
            if table is not tables.run:
                connection.execute(sa.delete(table))


def counted(wire, first_s, boot, first_seq, sync_at=None, meter_s=0):
    """A batch of three readings, ten seconds apart; the counter stood at first_s at the start."""
    rows_ = [wire.reading(10_000 * n, sec_index=first_s + 10 * n + meter_s) for n in range(1, 4)]
    if sync_at is not None:
        rows_.insert(0, wire.sync(0, wire.sync_epoch_ms + 1000 * sync_at))
    return wire.batch(*rows_, boot=boot, first_seq=first_seq)


def test_a_boot_without_a_clock_is_placed_by_the_meters_counter_in_any_order(path, wire):
    before = counted(wire, 1000, 1, 1, sync_at=1000)
    between = counted(wire, 2000, 2, 5)
    after = counted(wire, 3000, 3, 9, sync_at=3000)
    for order in ((before, between, after), (after, between, before), (between, after, before)):
        store = Writer(path, "1", NOW_MS)
        for payload in order:
            commit(store, payload)
        assert times(store)[5] == (wire.sync_epoch_ms + 2_010_000, "meter")
        assert times(store)[7] == (wire.sync_epoch_ms + 2_030_000, "meter")
        empty(store)
        store.close(NOW_MS)


def test_a_sync_point_is_believed_more_than_a_meter(store, wire):
    commit(store, counted(wire, 1000, 1, 1, sync_at=1000), counted(wire, 2000, 2, 5))
    assert times(store)[5] == (wire.sync_epoch_ms + 2_010_000, "meter")
    commit(store, wire.batch(wire.sync(50_000, wire.sync_epoch_ms), boot=2, first_seq=8))
    assert times(store)[5] == (wire.sync_epoch_ms - 40_000, "sync")


def test_a_counter_that_stood_still_leaves_the_time_uncertain(store, wire):
    commit(store, counted(wire, 1000, 1, 1, sync_at=1000), counted(wire, 2000, 2, 5))
    assert times(store)[5][1] == "meter"
    # Half an hour that the counter did not count: before boot 2 or after it, nobody knows.
    commit(store, counted(wire, 3000, 3, 9, sync_at=4800))
    assert times(store)[5] == (NOW_MS - 20_000, "arrival")


def test_a_late_sync_point_moves_what_its_boots_meter_had_placed(store, wire):
    commit(store, counted(wire, 1000, 1, 2, sync_at=1000), counted(wire, 2000, 2, 9))
    commit(store, wire.batch(wire.sync(0, wire.sync_epoch_ms + 1_005_000), boot=1))
    assert times(store)[3] == (wire.sync_epoch_ms + 1_010_000, "sync")
    commit(store, wire.batch(wire.sync(1, wire.sync_epoch_ms + 1_005_001), boot=1, first_seq=30))
    assert times(store)[3] == (wire.sync_epoch_ms + 1_015_000, "sync")
    assert times(store)[9] == (wire.sync_epoch_ms + 2_015_000, "meter")


def test_a_batch_alone_takes_few_statements(store, wire, path):
    commit(store, wire.batch(wire.sync(), wire.reading(1000)))
    statements = []
    sa.event.listen(
        store._write_engine, "before_cursor_execute", lambda *how: statements.append(how[2])
    )
    commit(store, wire.batch(wire.reading(2000), first_seq=3))
    # In PostgreSQL its day's partition is looked for, and what is placed beside it.
    assert len(statements) <= (14 if isinstance(path, Path) else 16), statements


def test_many_batches_without_a_clock_cost_each_only_its_own(store, wire, monkeypatch):
    looked = []
    counted_in = batches_module.places._counted
    monkeypatch.setattr(
        batches_module.places,
        "_counted",
        lambda *arguments: looked.append(1) or counted_in(*arguments),
    )
    commit(store, counted(wire, 1000, 1, 1, sync_at=1000))
    for n in range(20):
        commit(store, counted(wire, 2000 + 100 * n, 2, 5 + 3 * n))
    assert {source for _, source in times(store).values()} == {"sync", "meter"}
    assert len(looked) <= 3 * 20


def test_the_latest_is_the_newest_by_time_not_by_arrival(store, wire):
    newer = wire.batch(wire.sync(), wire.reading(9000, (10, 9, 0)), first_seq=10)
    older = wire.batch(wire.reading(1000, (10, 1, 0)), first_seq=5)
    done = commit(store, newer, older)
    assert [latest.values for latest in done.latest] == [{10: 9000}]
    assert store.latest() == list(done.latest)
    again = commit(store, wire.batch(wire.reading(500, (10, 2, 0)), first_seq=2))
    assert again.latest == done.latest


def test_a_reading_of_the_future_does_not_stay_the_latest(store, wire):
    ahead = wire.batch(
        wire.sync(0, NOW_MS + 5 * 365 * 86_400_000), wire.reading(1, (10, 1, 0)), edge="attic"
    )
    live = wire.batch(wire.sync(0, NOW_MS), wire.reading(900, (10, 2, 0)))
    first = commit(store, ahead)
    then = commit(store, live, received_ms=NOW_MS + 1000)
    assert (first.latest[0].time_ms, first.latest[0].time_source) == (NOW_MS, "arrival")
    assert [one.values for one in then.latest] == [one.values for one in store.latest()]
    assert then.latest[0].values == {10: 2000}
    assert [first.outcomes[0].ahead_ms > 10**11, then.outcomes[0].ahead_ms] == [True, -100]


@pytest.mark.parametrize("apart", [False, True])
def test_a_backlog_without_a_clock_does_not_become_the_latest(store, wire, apart):
    newer = wire.batch(wire.reading(9000, (10, 9, 0)), first_seq=10)
    older = wire.batch(wire.reading(1000, (10, 1, 0)), first_seq=5)
    if apart:
        commit(store, newer)
        done = commit(store, older, received_ms=NOW_MS + 60_000)
    else:
        done = store.commit([incoming(newer), incoming(older, NOW_MS + 60_000)])
    assert [latest.values for latest in done.latest] == [{10: 9000}]
    assert times(store)[5] == (NOW_MS - 8000, "arrival")


def test_a_batch_of_nothing_but_wrong_records_is_stored_and_counted(store, path, wire):
    payload = wire.batch(wire.reading(1), wire.reading(2), wrong=[1], holes=[0])
    assert [o.reason for o in commit(store, payload).outcomes] == [None]
    assert rows(path, "SELECT records, readings, boot FROM batch") == [(2, 0, 0)]
    assert rows(path, "SELECT reason, value FROM counter WHERE name = 'rejected'") == [
        ("record: hole", 1),
        ("record: no head", 1),
    ]


# --- what can go wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_nothing_is_promised_once_the_file_is_gone(file, wire, suffix):
    store = Writer(file, "1", NOW_MS)
    aside = file.with_name("aside")
    file = file.with_name(file.name + suffix)
    file.rename(aside)
    payload = wire.batch(wire.reading())
    acts = (lambda: commit(store, payload), store.check, lambda: store.settle([]), store.latest)
    for act in acts:
        with pytest.raises(StoreError, match="was removed or replaced"):
            act()
    file.write_bytes(b"")
    with pytest.raises(StoreError, match="was removed or replaced"):
        store.check()
    aside.rename(file)
    store.check()
    store.close(NOW_MS)


def test_a_batch_that_spoils_the_transaction_is_put_aside_and_the_others_stored(
    store, path, wire, monkeypatch
):
    plan = batches_module.plan

    def plan_badly(batch, *more):
        if batch.first_seq == 2:
            raise ValueError("a defect of ours")
        return plan(batch, *more)

    monkeypatch.setattr(batches_module, "plan", plan_badly)
    payloads = [wire.batch(wire.reading(n), first_seq=n) for n in (1, 2, 3)]
    done = commit(store, *payloads)
    assert [o.reason for o in done.outcomes] == [None, REASON_UNSTORABLE, None]
    assert sorted(times(store)) == [1, 3]
    assert rows(path, "SELECT payload FROM dead_letter") == [(payloads[1],)]
    assert [(gap.first_seq, gap.reason) for gap in done.losses.newest] == [(2, "refused")]


def test_a_locked_database_promises_nothing_and_later_takes_the_same_batch(
    file, wire, monkeypatch
):
    monkeypatch.setattr(database, "_PRAGMAS", (*database._PRAGMAS[:3], "PRAGMA busy_timeout=1"))
    payload = wire.batch(wire.reading())

    def act(store):
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                commit(store, payload)
        return commit(store, payload)

    assert use(file, act).outcomes[0].is_new


def test_the_event_loop_is_given_the_same_and_is_never_blocked(path, wire):
    async def run():
        store = Store(path, "1", NOW_MS)
        done = await store.commit([incoming(wire.batch(wire.reading()))])
        await store.check()
        assert await store.latest() == list(done.latest)
        assert (await store.losses(5)).runs == 0
        assert await store.events(5) == []
        assert store.size_bytes() > 0
        await store.close(NOW_MS)
        return done

    assert asyncio.run(run()).outcomes[0].is_new
    assert use(path, lambda store: store.previous.ended_ms) == NOW_MS


def test_while_batches_come_faster_than_they_are_stored_buckets_wait(tmp_path, wire, monkeypatch):
    monkeypatch.setattr(store_module, "BUSY_ITEMS", 3)
    monkeypatch.setattr(store_module, "BUSY_S", 1e6)
    monkeypatch.setattr(store_module, "ROLL_WAIT_S", 1e6)

    async def run(then):
        store = Store(tmp_path / f"{then.__name__}.db", "1", NOW_MS)
        is_done = asyncio.Event()
        rolling = asyncio.create_task(store.keep_rolled(lambda _: is_done.set()))
        await is_done.wait()
        is_done.clear()
        many = [wire.batch(wire.sync(n), wire.reading(n), first_seq=2 * n) for n in range(1, 4)]
        await store.commit([incoming(one) for one in many])
        for _ in range(20):
            await store.answer()
        assert not is_done.is_set()
        waiting = store._core.due_count()
        await then(store)
        await is_done.wait()
        left = store._core.due_count()
        rolling.cancel()
        await asyncio.gather(rolling, return_exceptions=True)
        await store.close(NOW_MS)
        return waiting, left

    async def few(store):
        await store.commit([incoming(wire.batch(wire.reading(9_000), first_seq=90))])

    async def none(store):
        store._calm_later.cancel()
        store._is_calm.set()  # as its timer does

    for then in (few, none):
        waiting, left = asyncio.run(run(then))
        assert waiting > 0
        assert left == 0


CRASH = """
import os, sys
from pathlib import Path
from sqlalchemy import make_url
from wattlog_host.store.records import Incoming
from wattlog_host.store.writer import Writer
from wattlog_host.wire import decode_batch
from wattlog_pi.system_clock import Trust

place = sys.argv[1]
store = Writer(make_url(place) if "://" in place else Path(place), "1", 5)
payload = bytes.fromhex(sys.argv[2])
store.commit([Incoming("t", decode_batch(payload), 7, payload)])
os.kill(os.getpid(), 9)
"""


def test_killed_between_commit_and_acknowledgement_the_repeat_counts_once(path, wire):
    payload = wire.batch(wire.reading())
    place = path if isinstance(path, Path) else path.render_as_string(hide_password=False)
    ended = subprocess.run([sys.executable, "-c", CRASH, place, payload.hex()], check=False)
    assert ended.returncode == -9

    def act(store):
        return store.previous, commit(store, payload)

    previous, done = use(path, act)
    assert (previous.last_data_ms, previous.ended_ms) == (7, None)
    assert [(o.reason, o.is_new) for o in done.outcomes] == [(None, False)]
    assert len(stored_readings(path)) == 1


def test_the_last_data_is_remembered_over_runs_without_any(path, wire):
    use(path, lambda store: commit(store, wire.batch(wire.reading())))
    lasts = [use(path, lambda store: store.previous.last_data_ms) for _ in range(3)]
    assert lasts == [NOW_MS] * 3


def test_a_clean_end_is_noted(path):
    assert use(path, lambda store: store.previous) is None
    assert use(path, lambda store: store.previous.ended_ms) == NOW_MS


def test_a_store_that_is_let_go_notes_no_end(path):
    Writer(path, "1", NOW_MS).let_go()
    assert use(path, lambda store: store.previous.ended_ms) is None


def test_totals_outlive_the_process(path, wire):
    use(path, lambda store: commit(store, wire.batch(wire.reading(values=(1, -1, 0)))))
    assert use(path, lambda store: dict(store.counters)) == {
        ("batches", ""): 1,
        ("readings", ""): 1,
        ("rejected", "import_wh out of range"): 1,
    }


def test_dead_letters_and_events_are_capped(store, path, monkeypatch):
    monkeypatch.setattr(writer_module, "DEAD_LETTERS_MAX", 3)
    monkeypatch.setattr(writer_module, "EVENTS_MAX", 2)
    letters = [DeadLetter("t", "why", bytes([n]), n) for n in range(5)]
    events = [Event(n, "host", None, str(n)) for n in range(4)]

    store.add_aside(letters, events)
    assert store.events(9) == [events[3], events[2]]
    assert store.counters["dead_letters", "why"] == 5
    assert rows(path, "SELECT received_ms FROM dead_letter") == [(2,), (3,), (4,)]


def test_a_database_of_a_newer_program_is_refused_and_untouched(path):
    use(path, lambda store: None)
    execute(path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"newer wattlog \(revision 9999\)"):
        Writer(path, "1", NOW_MS)
    assert rows(path, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_a_file_that_is_no_database_is_refused(file):
    file.parent.mkdir()
    file.write_bytes(b"not a database, but long enough to look like a file of one" * 20)
    with pytest.raises(StoreError, match="not a database"):
        Writer(file, "1", NOW_MS)


def test_a_second_host_on_the_same_file_is_refused(store, path):
    with pytest.raises(StoreError, match="another wattlog-host"):
        Writer(path, "1", NOW_MS)


def test_the_migrations_make_the_tables_that_the_code_describes(path):
    use(path, lambda store: None)
    engine = kind_of(path).engine(path, None)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, tables.METADATA)
    engine.dispose()
    # Partitions have no foreign keys: days.py says why.
    kinds = {(act, one.table.name) for act, one in found}
    parted = {("add_fk", table.name) for table in days.PARTED}
    assert kinds == (set() if isinstance(path, Path) else parted)


def test_the_database_is_set_up_not_to_lose_anything(file):
    store = Writer(file, "1", NOW_MS)
    with store._write_engine.begin() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]
    store.close(NOW_MS)
