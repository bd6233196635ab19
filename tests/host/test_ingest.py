"""What a batch means, without a database."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlog.channels import all_channels, in_range, rescaled
from wattlog.records import RENEW
from wattlog_host.ingest import Known, Same, Series, count_values, plan, stored_values
from wattlog_host.placing import AGREED, ARRIVAL, CLOCK, SURE, SYNC, UNSURE, Clock, SyncPoint
from wattlog_host.wire import decode_batch
from wattlog_pi.system_clock import Trust

RECEIVED_MS = 1_795_000_000_000
ROWS = tuple(range(1, 5))


def planned(wire, *records, known=None, trust=Trust.NETWORK, **name):
    return plan(decode_batch(wire.batch(*records, **name)), known or Known(), RECEIVED_MS, trust)


def counted(plan, counter="rejected"):
    return {key[1]: n for key, n in plan.counts.items() if key[0] == counter and n}


def test_a_batch_is_placed_by_its_sync_points(wire):
    result = planned(wire, wire.sync(500), wire.reading(1500), wire.sync(2000, 5), wire.reading(1))
    assert (result.clock, result.source) == (Clock(wire.sync_epoch_ms - 500), SYNC)
    assert (result.first_uptime_ms, result.last_uptime_ms) == (1, 2000)
    assert result.syncs == [(500, wire.sync_epoch_ms, SURE)]
    assert counted(result) == {"clock not set": 1}


def test_known_sync_points_of_the_boot_count_too(wire):
    result = planned(wire, wire.reading(1000), known=Known(syncs=[SyncPoint(400, 9_000, SURE)]))
    assert (result.clock, result.source, result.syncs) == (Clock(8_600), SYNC, [])


def test_a_known_sync_point_is_no_news(wire):
    known = Known(syncs=[SyncPoint(0, wire.sync_epoch_ms, SURE)])
    assert planned(wire, wire.sync(), wire.reading(), known=known).syncs == []


def test_without_a_sync_point_a_batch_is_placed_by_its_arrival_and_marked(wire):
    result = planned(wire, wire.reading(1000), wire.reading(3000))
    assert (result.clock, result.source) == (Clock(RECEIVED_MS - 3000), ARRIVAL)
    known = Known(following=(9000, RECEIVED_MS - 500))
    assert planned(wire, wire.reading(1000), known=known).clock == Clock(RECEIVED_MS - 9500)


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
    assert (result.source, result.clock.at(5000)) == placed
    assert (result.counts["rejected", "clock ahead"], len(result.syncs)) == (count, 1 - count)
    assert result.ahead_ms == ahead_ms - 1000


def test_a_known_sync_point_that_turns_out_to_be_ahead_places_nothing_new(wire):
    known = Known(syncs=[SyncPoint(0, RECEIVED_MS + 99_000, SURE)])
    result = planned(wire, wire.reading(1000), known=known)
    assert (result.clock.at(1000), result.source) == (RECEIVED_MS, ARRIVAL)
    assert (result.counts["rejected", "clock ahead"], result.ahead_ms) == (1, 100_000)


DAYS_MS = 3 * 1440 * MINUTE_MS


def test_a_clock_that_nobody_confirms_is_used_and_marked(wire):
    unsure = wire.sync(0, RECEIVED_MS - DAYS_MS, is_sure=False)
    result = planned(wire, unsure, wire.reading(1000))
    assert (result.clock, result.source) == (Clock(RECEIVED_MS - DAYS_MS), CLOCK)
    assert result.syncs == [(0, RECEIVED_MS - DAYS_MS, UNSURE)]


def test_one_sure_sync_point_places_what_came_before_it(wire):
    # Without a battery: three days behind, until the time server is reached.
    unsure = wire.sync(0, RECEIVED_MS - DAYS_MS, is_sure=False)
    sure = wire.sync(5000, RECEIVED_MS)
    result = planned(wire, unsure, wire.reading(1000), sure, wire.reading(6000))
    assert (result.clock, result.source) == (Clock(RECEIVED_MS - 5000), SYNC)
    known = Known(syncs=[SyncPoint(5000, RECEIVED_MS, SURE)])
    result = planned(wire, unsure, wire.reading(1000), known=known)
    assert (result.clock, result.source) == (Clock(RECEIVED_MS - 5000), SYNC)
    known = Known(syncs=[SyncPoint(0, RECEIVED_MS - DAYS_MS, UNSURE)])
    result = planned(wire, sure, wire.reading(6000), known=known)
    assert (result.clock, result.source) == (Clock(RECEIVED_MS - 5000), SYNC)


AGREEING = (
    ("it does, on the minute", 0, Trust.CHIP, AGREED),
    ("two minutes late, as a batch may be", -2 * MINUTE_MS, Trust.CHIP, AGREED),
    ("later: a backlog, or a clock that is behind", -2 * MINUTE_MS - 1, Trust.NETWORK, UNSURE),
    ("a minute ahead", MINUTE_MS, Trust.NETWORK, AGREED),
    ("but ours may have stood still, too", 0, Trust.NOBODY, UNSURE),
)


@pytest.mark.parametrize(
    ("ahead_ms", "trust", "grade"), [a[1:] for a in AGREEING], ids=[a[0] for a in AGREEING]
)
def test_an_unsure_clock_is_confirmed_by_ours_where_both_agree(wire, ahead_ms, trust, grade):
    unsure = wire.sync(0, RECEIVED_MS + ahead_ms - 1000, is_sure=False)
    result = planned(wire, unsure, wire.reading(1000), trust=trust)
    assert result.syncs == [(0, RECEIVED_MS + ahead_ms - 1000, grade)]
    assert result.source == (SYNC if grade else CLOCK)


def test_a_clock_that_agrees_is_worth_less_than_one_that_was_set(wire):
    # A Pi that was off for 100 s: its first batch comes before the time server's answer.
    agreed = wire.sync(0, RECEIVED_MS - 100_000, is_sure=False)
    sure = wire.sync(5000, RECEIVED_MS)
    result = planned(wire, agreed, wire.reading(1000), sure, wire.reading(6000))
    assert [point.grade for point in result.syncs] == [AGREED, SURE]
    assert (result.clock, result.source) == (Clock(RECEIVED_MS - 5000), SYNC)


BEHIND = (
    ("in a drawer for a year", Trust.NOBODY, 365 * 1440 * MINUTE_MS, True),
    ("a clock chip in another time zone", Trust.CHIP, 12 * 60 * MINUTE_MS, True),
    ("more than a clock chip is off", Trust.CHIP, 1440 * MINUTE_MS, False),
    ("an agent whose time server is mad", Trust.NOBODY, 20 * 365 * 1440 * MINUTE_MS, False),
)


@pytest.mark.parametrize(
    ("trust", "ahead_ms", "is_believed"), [b[1:] for b in BEHIND], ids=[b[0] for b in BEHIND]
)
def test_where_ours_is_behind_a_clock_from_the_network_is_believed(
    wire, trust, ahead_ms, is_believed
):
    ahead = wire.sync(0, RECEIVED_MS + ahead_ms)
    result = planned(wire, ahead, wire.reading(1000), trust=trust)
    assert (result.ahead_ms, result.is_behind) == (ahead_ms + 1000, is_believed)
    if not is_believed:
        assert (result.source, result.received_ms) == (ARRIVAL, RECEIVED_MS)
        assert counted(result) == {"clock ahead": 1}
        return
    assert (result.clock, result.source) == (Clock(RECEIVED_MS + ahead_ms), SYNC)
    # It came when it was measured, at the earliest.
    assert result.received_ms == RECEIVED_MS + ahead_ms + 1000
    assert counted(result) == {}
    # What follows it, too.
    known = Known(syncs=result.syncs)
    result = planned(wire, wire.reading(9000), known=known, trust=trust)
    assert (result.clock, result.source) == (Clock(RECEIVED_MS + ahead_ms), SYNC)
    assert result.received_ms == RECEIVED_MS + ahead_ms + 9000


@pytest.mark.parametrize("trust", [Trust.NOBODY, Trust.CHIP, Trust.NETWORK])
def test_a_clock_that_nobody_confirms_is_never_ahead_of_ours(wire, trust):
    ahead = wire.sync(0, RECEIVED_MS + DAYS_MS, is_sure=False)
    result = planned(wire, ahead, wire.reading(1000), trust=trust)
    assert (result.source, result.received_ms) == (ARRIVAL, RECEIVED_MS)
    assert counted(result) == {"clock ahead": 1}
    assert not result.is_behind


def test_each_meter_has_its_series(wire):
    result = planned(
        wire,
        wire.sync(0),
        wire.reading(1100, sec_index=7),
        wire.reading(2000, meter=b"other", sec_index=None),
        wire.reading(3000, sec_index=9),
    )
    at = wire.sync_epoch_ms
    assert result.series == {
        wire.meter: Series(2, at + 1100, at + 3000, at - 6000),
        b"other": Series(1, at + 2000, at + 2000, None),
    }


def test_a_wrong_record_is_counted_and_is_a_gap_and_the_others_are_stored(wire):
    result = planned(wire, wire.reading(1), wire.reading(2), wire.reading(3), wrong=[1])
    assert (result.accept, [row.seq for row in result.rows]) == (True, [1, 3])
    assert counted(result) == {"record: surplus": 1}
    assert result.gaps == [((2, 2), "refused")]


HOLES = (
    ("one in the middle", [1], [((2, 2), "damaged")], [1, 3, 4]),
    ("two apart", [1, 3], [((2, 2), "damaged"), ((4, 4), "damaged")], [1, 3]),
    ("the head: none can be dated", [0], [((1, 4), "damaged")], []),
)


@pytest.mark.parametrize(
    ("holes", "gaps", "seqs"), [h[1:] for h in HOLES], ids=[h[0] for h in HOLES]
)
def test_a_hole_is_damage_and_so_is_what_needs_what_was_there(wire, holes, gaps, seqs):
    rows = [wire.reading(n) for n in (1, 2, 3, 4)]
    result = planned(wire, *rows, holes=holes)
    assert result.accept
    assert (result.gaps, [row.seq for row in result.rows]) == (gaps, seqs)
    assert counted(result)["record: hole"] == len(holes)


def test_what_another_batch_brought_is_skipped_and_no_gap(wire):
    rows = [wire.reading(n) for n in (1, 2, 3)]
    result = planned(wire, *rows, known=Known(seqs={2}))
    assert ([row.seq for row in result.rows], result.skipped) == ([1, 3], 0b10)
    assert result.counts["duplicates", "reading"] == 1
    assert planned(wire, *rows, known=Known(seqs={2}), holes=[1]).gaps == []


# --- the same name again -----------------------------------------------------------------------


def packed(wire, *records, **name):
    return decode_batch(wire.batch(*records, **name)).packed


def test_the_same_batch_again_is_acknowledged_and_stores_nothing(wire):
    result = planned(wire, wire.reading(), known=Known(Same(packed(wire, wire.reading()), 1)))
    assert (result.accept, result.reason, result.rows) == (False, None, ())
    assert result.counts == {("duplicates", ""): 1}


def test_another_batch_of_the_same_name_has_to_come_under_another(wire):
    same = Same(packed(wire, wire.reading(2)), 1)
    result = planned(wire, wire.reading(1), known=Known(same))
    assert (result.accept, result.reason) == (False, RENEW)
    assert (result.counts, result.gaps) == ({("renewals", ""): 1}, ())
    result = planned(wire, wire.reading(1), known=Known(seqs={1}, clashes={1}))
    assert (result.accept, result.reason) == (False, RENEW)


def test_a_batch_moves_to_the_id_under_which_its_log_goes_on(wire):
    rows = [wire.reading(n) for n in ROWS]
    kin = Same(packed(wire, *rows, holes=[2]), 3)
    result = planned(wire, *rows, holes=[1], known=Known(kin=kin))
    assert (result.accept, result.reason, len(result.rows)) == (True, None, 4)
    assert result.counts["readings", ""] == 1
    assert (result.counts["duplicates", ""], result.counts["batches", ""]) == (1, 0)
    assert counted(result) == {}


def test_a_batch_that_has_moved_on_is_known_when_it_comes_late(wire):
    result = planned(wire, wire.reading(1), known=Known(has_moved=True))
    assert (result.accept, result.reason) == (False, None)
    assert result.counts == {("duplicates", ""): 1}


REPEATS = (
    ("more holes", [], [1], None),
    ("all holes but one", [], [0, 1, 3], None),
    ("fewer holes", [1, 2], [1], [1, 3, 4]),
    ("other holes: together they are whole", [1], [2], [1, 2, 3, 4]),
    ("the head that was missing", [0], [], [1, 2, 3, 4]),
)


@pytest.mark.parametrize(
    ("before", "now", "seqs"), [r[1:] for r in REPEATS], ids=[r[0] for r in REPEATS]
)
def test_a_repeat_that_differs_by_holes_is_a_repeat_and_fills_them(wire, before, now, seqs):
    rows = [wire.reading(n) for n in ROWS]
    stored = decode_batch(wire.batch(*rows, holes=before))
    same = Same(stored.packed, len(stored.records))
    result = planned(wire, *rows, holes=now, known=Known(same))
    assert result.reason is None
    assert result.counts["duplicates", ""] == 1
    assert result.accept == (seqs is not None)
    if seqs is not None:
        assert [row.seq for row in result.rows] == seqs
        assert result.counts["readings", ""] == len(seqs) - same.readings
        assert counted(result) == {}


def test_a_repeat_that_ends_earlier_or_later_is_a_repeat(wire):
    rows = [wire.reading(n) for n in ROWS]
    long, short = packed(wire, *rows), packed(wire, *rows[:2])
    assert not planned(wire, *rows[:2], known=Known(Same(long, 4))).accept
    result = planned(wire, *rows, known=Known(Same(short, 2)))
    assert (len(result.rows), result.batch.count) == (4, 4)


# --- values ------------------------------------------------------------------------------------

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


@pytest.mark.parametrize(
    ("values", "stored", "rejected"), [v[1:] for v in VALUES], ids=[v[0] for v in VALUES]
)
def test_values_are_kept_exactly_or_rejected_with_the_reading_kept(wire, values, stored, rejected):
    result = planned(wire, wire.reading(values=values))
    assert len(result.rows) == 1
    assert stored_values(result.rows[0].values) == stored
    assert counted(result) == rejected


@given(st.sampled_from(all_channels()), st.integers(-(2**63), 2**63 - 1), st.integers(-12, 12))
def test_what_is_kept_is_what_the_vocabulary_says(channel, value, scale):
    kept = rescaled(value, scale, channel.decimals) if in_range(channel, value, scale) else None
    values = ((channel.id, value, scale),)
    assert stored_values(values).get(channel.id) == kept
    counts = Counter()
    count_values([type("Row", (), {"values": values})], counts)
    assert counts.total() == (kept is None)
