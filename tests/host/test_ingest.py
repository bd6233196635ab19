"""What a batch means, without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlog_host.ingest import ARRIVAL, SYNC, Known, Timeline, needs_arrivals, plan
from wattlog_host.wire import decode_batch

RECEIVED_MS = 1_795_000_000_000


def planned(wire, *records, known=None, **name):
    return plan(decode_batch(wire.batch(*records, **name)), known or Known(), RECEIVED_MS)


def test_a_reading_is_placed_by_the_sync_point_before_it(wire):
    rows = planned(wire, wire.sync(500), wire.reading(1500)).rows
    assert [(row.time_ms, row.time_source) for row in rows] == [(wire.sync_epoch_ms + 1000, SYNC)]


def test_a_reading_before_the_first_sync_point_is_placed_by_that(wire):
    (row,) = planned(wire, wire.reading(1500), wire.sync(2000)).rows
    assert (row.time_ms, row.time_source) == (wire.sync_epoch_ms - 500, SYNC)


def test_the_newest_sync_point_at_or_before_wins():
    timeline = Timeline([(100, 50_000), (0, 10_000)])
    assert [timeline.resolve(uptime) for uptime in (0, 99, 100, 101)] == [
        10_000,
        10_099,
        50_000,
        50_001,
    ]


def test_without_a_sync_point_a_reading_is_placed_by_its_arrival_and_marked(wire):
    rows = planned(wire, wire.reading(1000), wire.reading(3000)).rows
    assert [(row.time_ms, row.time_source) for row in rows] == [
        (RECEIVED_MS - 2000, ARRIVAL),
        (RECEIVED_MS, ARRIVAL),
    ]


def test_a_sync_point_that_comes_later_places_what_came_by_arrival(wire):
    batch = wire.sync(5000), wire.reading(6000)
    result = planned(wire, *batch, known=Known(arrivals=[(7, 1000), (8, 5500)]))
    assert result.replaced == ((7, wire.sync_epoch_ms - 4000), (8, wire.sync_epoch_ms + 500))


def test_a_known_sync_point_of_the_boot_is_used(wire):
    (row,) = planned(wire, wire.reading(1000), known=Known(syncs=[(400, 9_000)])).rows
    assert row.time_ms == 9_600


def test_a_clock_that_was_never_set_places_nothing(wire):
    result = planned(wire, wire.sync(0, 946_684_800_000), wire.reading())
    assert (result.syncs, result.rows[0].time_source) == ((), ARRIVAL)
    assert result.counts["rejected", "clock not set"] == 1


def test_a_wrong_record_is_counted_and_the_others_are_stored(wire):
    result = planned(wire, wire.reading(1), wire.reading(2, sec_index=-1), wire.reading(3))
    assert (result.accept, [row.seq for row in result.rows]) == (True, [1, 3])
    assert result.counts["rejected", "record: sec_index"] == 1
    assert planned(wire, [9]).accept


MINUTE_MS = 60_000
AHEAD = (
    ("a minute ahead", 1000 + MINUTE_MS, (SYNC, RECEIVED_MS + MINUTE_MS), 0),
    ("more than a minute ahead", 1001 + MINUTE_MS, (ARRIVAL, RECEIVED_MS), 1),
    ("five years ahead", 5 * 365 * 1440 * MINUTE_MS, (ARRIVAL, RECEIVED_MS), 1),
    ("a backlog of a year", -365 * 1440 * MINUTE_MS,
     (SYNC, RECEIVED_MS - 365 * 1440 * MINUTE_MS - 1000), 0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("ahead_ms", "placed", "count"), [a[1:] for a in AHEAD], ids=[a[0] for a in AHEAD]
)
def test_a_clock_that_is_ahead_places_nothing(wire, ahead_ms, placed, count):
    # At uptime 5000 the batch arrived, so the sync point is 1 s old then.
    result = planned(wire, wire.sync(4000, RECEIVED_MS - 2000 + ahead_ms), wire.reading(5000))
    assert (result.rows[0].time_source, result.rows[0].time_ms) == placed
    assert (result.counts["rejected", "clock ahead"], len(result.syncs)) == (count, 1 - count)
    assert result.ahead_ms == ahead_ms - 1000


def test_a_known_sync_point_that_turns_out_to_be_ahead_places_nothing_new(wire):
    result = planned(wire, wire.reading(1000), known=Known(syncs=[(0, RECEIVED_MS + 99_000)]))
    assert (result.rows[0].time_ms, result.rows[0].time_source) == (RECEIVED_MS, ARRIVAL)
    assert (result.counts["rejected", "clock ahead"], result.ahead_ms) == (1, 100_000)


def test_a_backlog_without_a_clock_stays_before_what_its_boot_measured_since(wire):
    known = Known(following=(9000, RECEIVED_MS - 500))
    rows = planned(wire, wire.reading(1000), wire.reading(3000), known=known).rows
    assert [row.time_ms for row in rows] == [RECEIVED_MS - 8500, RECEIVED_MS - 6500]


def test_only_a_sync_point_asks_for_what_came_by_arrival(wire):
    assert needs_arrivals(decode_batch(wire.batch(wire.sync())))
    assert not needs_arrivals(decode_batch(wire.batch(wire.reading())))


def test_the_same_batch_again_is_acknowledged_and_stores_nothing(wire):
    payload = wire.batch(wire.reading())
    result = plan(decode_batch(payload), Known(payload=payload), RECEIVED_MS)
    assert (result.accept, result.reason, result.rows) == (False, None, ())
    assert result.counts == {("duplicates", ""): 1}


def test_another_batch_of_the_same_name_is_refused(wire):
    result = planned(wire, wire.reading(), known=Known(payload=b"other"))
    assert (result.accept, result.reason) == (False, "another batch of this name is stored")


def test_a_reading_that_is_stored_is_not_stored_again(wire):
    result = planned(wire, wire.reading(1), wire.reading(2), known=Known(seqs={1}))
    assert [row.seq for row in result.rows] == [2]
    assert result.counts["duplicates", "reading"] == 1


VALUES = (
    ("0.1 Wh to 10 uWh", (1, 1989275, -1), {1: 19892750000}, {}),
    ("kWh to 10 uWh", (1, 2, 3), {1: 200000000}, {}),
    ("0 is a value", (1, 0, 0), {1: 0}, {}),
    ("export is negative power", (10, -2314, -1), {10: -231400}, {}),
    ("finer than we keep", (10, 1, -4), {}, {"power_w too fine": 1}),
    ("fine digits that are 0", (10, 10, -4), {10: 1}, {}),
    ("a negative register", (1, -1, 0), {}, {"import_wh out of range": 1}),
    ("more than a house takes", (10, 10**7, 0), {}, {"power_w out of range": 1}),
    ("a channel of the future", (999, 1, 0), {}, {"unknown channel": 1}),
    ("nothing at all", (), {}, {}),
)


def test_values_are_kept_exactly_or_rejected_with_the_reading_kept(wire):
    for name, values, stored, rejected in VALUES:
        result = planned(wire, wire.reading(values=values))
        assert result.rows[0].values == stored, name
        counts = {k[1]: n for k, n in result.counts.items() if k[0] == "rejected"}
        assert counts == rejected, name


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**12)), min_size=1),
    st.integers(0, 10**6),
)
def test_a_timeline_agrees_with_its_plain_description(syncs, uptime_ms):
    before = [sync for sync in syncs if sync[0] <= uptime_ms]
    uptime = max(s[0] for s in before) if before else min(s[0] for s in syncs)
    allowed = {epoch + uptime_ms - uptime for at, epoch in syncs if at == uptime}
    assert Timeline(syncs).resolve(uptime_ms) in allowed
