"""When was it: sync points, a meter's counter, arrival."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlog_host.placing import (
    AGREED,
    CLOCK,
    METER_MS_MAX,
    SURE,
    SYNC,
    UNSURE,
    Clock,
    Counted,
    SyncPoint,
    ahead_by_sync,
    clock_by_sync,
    offset_by_arrival,
    offset_by_meter,
    zero_of,
)

NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000


NOBODY, CHIP, NETWORK = range(3)


def points(*syncs, grade=SURE):
    return [SyncPoint(*sync, grade) for sync in syncs]


def clock_of(syncs, first_ms, last_ms, received_ms=NOW_MS, trust=NETWORK):
    placed = clock_by_sync(syncs, first_ms, last_ms, received_ms, trust)
    return placed and placed[0]


def test_the_newest_sync_point_at_or_before_wins():
    clock = clock_of(points((0, 10_000), (100, 50_000)), 0, 101)
    assert [clock.at(uptime) for uptime in (0, 99, 100, 101)] == [10_000, 10_099, 50_000, 50_001]


def test_what_is_before_the_first_sync_point_is_placed_by_that():
    assert clock_of(points((2000, 5000)), 0, 100) == Clock(3000)


def test_a_sync_point_that_says_the_same_is_no_step():
    assert clock_of(points((0, 7), (50, 57)), 0, 100) == Clock(7)


AHEAD = (
    ("a minute ahead", [(0, NOW_MS + 60_000 - 100)], True),
    ("more than a minute ahead", [(0, NOW_MS + 60_001 - 100)], False),
    ("ahead until the clock was set", [(0, NOW_MS + 90_000), (50, NOW_MS)], False),
    ("ahead at the end", [(0, NOW_MS), (50, NOW_MS + 90_000)], False),
    ("no sync point", [], False),
)


@pytest.mark.parametrize(("syncs", "is_used"), [a[1:] for a in AHEAD], ids=[a[0] for a in AHEAD])
def test_a_clock_that_is_ahead_places_nothing(syncs, is_used):
    assert (clock_of(points(*syncs), 0, 100) is not None) == is_used
    # Where nobody knows when it came, a sure clock is believed, and an unsure one is not.
    for trust in (NOBODY, CHIP):
        assert (clock_of(points(*syncs), 0, 100, trust=trust) is not None) == bool(syncs)
        for grade in (UNSURE, AGREED):
            others = points(*syncs, grade=grade)
            assert (clock_of(others, 0, 100, trust=trust) is not None) == is_used


def test_sync_points_of_the_best_grade_count_alone():
    unsure = points((0, 7), (90, 77), grade=UNSURE)
    assert clock_by_sync(unsure, 0, 100, NOW_MS, NETWORK) == (Clock(7, ((90, -13),)), CLOCK)
    agreed = sorted([*unsure, SyncPoint(60, 4060, AGREED)])
    assert clock_by_sync(agreed, 0, 100, NOW_MS, NETWORK) == (Clock(4000), SYNC)
    both = sorted([*agreed, SyncPoint(50, 5050, SURE)])
    assert clock_by_sync(both, 0, 100, NOW_MS, NETWORK) == (Clock(5000), SYNC)
    assert ahead_by_sync(both, 100, 5000) == 100
    assert ahead_by_sync(unsure, 100, 80) == 7


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**12), st.integers(0, 2)), min_size=1
    ),
    st.lists(st.integers(0, 10**6), min_size=1),
)
def test_a_clock_agrees_with_its_plain_description(syncs, uptimes):
    syncs = sorted(SyncPoint(*sync) for sync in syncs)
    clock, source = clock_by_sync(syncs, min(uptimes), max(uptimes), NOW_MS, NETWORK)
    best = max(sync.grade for sync in syncs)
    syncs = [sync for sync in syncs if sync.grade == best]
    assert source == (SYNC if best else CLOCK)
    for uptime_ms in uptimes:
        before = [sync for sync in syncs if sync[0] <= uptime_ms]
        uptime = max(s[0] for s in before) if before else min(s[0] for s in syncs)
        allowed = {epoch + uptime_ms - uptime for at, epoch, _ in syncs if at == uptime}
        assert clock.at(uptime_ms) in allowed


def test_a_backlog_without_a_clock_stays_before_what_its_boot_measured_since():
    assert offset_by_arrival(NOW_MS, 3000, None) == NOW_MS - 3000
    assert offset_by_arrival(NOW_MS, 3000, (9000, NOW_MS - 500)) == NOW_MS - 9500
    assert offset_by_arrival(NOW_MS, 3000, (9000, NOW_MS + 9500)) == NOW_MS - 3000


ZEROS = (
    ("no reading", [], None),
    ("the least difference is the best", [(1900, 1), (2100, 2), (3500, 3)], 100),
    ("a counter that jumps", [(1000, 1), (2000, 9)], None),
    ("a counter that stands", [(0, 5), (10_000, 5)], None),
    ("a quartz that drifts", [(0, 0), (DAY_MS, 86_400 - 7)], 0),
)


@pytest.mark.parametrize(("samples", "zero_ms"), [z[1:] for z in ZEROS], ids=[z[0] for z in ZEROS])
def test_when_a_counter_stood_at_0(samples, zero_ms):
    assert zero_of(samples) == zero_ms


T = 1_790_000_000_000  # when the counter stood at 0, by the batches whose time is known
HOUR_MS = 3_600_000


def known(first_h, last_h, zero_ms=T):
    return Counted(zero_ms, zero_ms + first_h * HOUR_MS, zero_ms + last_h * HOUR_MS)


# To be placed: its counter goes from 100 h to 101 h, its uptime from 0 to 1 h.
OWN = Counted(-100 * HOUR_MS, 0, HOUR_MS)
HERE = T + 100 * HOUR_MS
SLOW = 2_000
COUNTERS = (
    ("nothing around", None, None, None),
    ("after a known one", known(90, 99), None, HERE),
    ("before a known one", None, known(102, 103), HERE),
    ("between two that agree", known(90, 99), known(102, 103), HERE),
    ("between two that drift, by its part of the way",
     known(90, 98), known(102, 103, T + SLOW), HERE + SLOW // 2),
    ("between two that disagree: the counter stood in a power cut",
     known(90, 99), known(102, 103, T + HOUR_MS), None),
    ("the counter fell since", known(101, 102), None, None),
    ("the counter fell after", None, known(90, 91), None),
    ("reset before it: placed by what follows",
     Counted(T - 1000 * HOUR_MS, T + 98 * HOUR_MS, T + 99 * HOUR_MS), known(102, 103), HERE),
    ("reset before it, and out of order",
     Counted(T - 1000 * HOUR_MS, T + 100 * HOUR_MS, T + 101 * HOUR_MS), known(102, 103), None),
    ("reset after it: placed by what was before",
     known(90, 99), Counted(T + 150 * HOUR_MS, T + 150 * HOUR_MS, T + 151 * HOUR_MS), HERE),
    ("reset after it, and out of order",
     known(90, 99), Counted(T + 95 * HOUR_MS, T + 95 * HOUR_MS, T + 96 * HOUR_MS), None),
    ("a week away", known(-68, -68), None, HERE),
    ("more than a week away", known(-69, -69), None, None),
    ("a second of rounding is no fall", Counted(T + 1000, T, T + 100 * HOUR_MS), None, HERE + 1000),
)  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "offset_ms"), [c[1:] for c in COUNTERS], ids=[c[0] for c in COUNTERS]
)
def test_a_meters_counter_places_a_batch_or_is_not_believed(before, after, offset_ms):
    assert offset_by_meter(OWN, before, after, T + 1000 * HOUR_MS) == offset_ms


def test_a_counter_that_leads_into_the_future_is_not_believed():
    end_ms = HERE + HOUR_MS
    assert offset_by_meter(OWN, known(90, 99), None, end_ms - 60_000) == HERE
    assert offset_by_meter(OWN, known(90, 99), None, end_ms - 60_001) is None


def test_a_week_bounds_how_far_a_counter_reaches():
    assert METER_MS_MAX == 7 * DAY_MS
