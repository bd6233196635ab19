"""Time without a clock."""

from wattlog.timebase import SyncNotes, Uptime


def test_ticks_are_unwrapped():
    uptime = Uptime(1 << 30, (1 << 30) - 5)
    assert uptime.update((1 << 30) - 1) == 4
    assert uptime.update(0) == 5
    assert uptime.update(10) == 15
    assert uptime.update(10) == 15


def test_many_wraps_lose_nothing():
    uptime = Uptime(1000, 0)
    total = 0
    for step in range(1, 999, 7):
        total += step
        assert uptime.update(total % 1000) == total


def test_a_sync_point_is_noted_once_and_then_hourly():
    notes = SyncNotes()
    assert notes.is_due(0, 10**12, True)
    assert not notes.is_due(1000, 10**12 + 1000, True)
    assert not notes.is_due(3599999, 10**12 + 3599999, True)
    assert notes.is_due(3600000, 10**12 + 3600000, True)


def test_a_step_of_the_clock_is_noted_at_once_and_drift_is_not():
    notes = SyncNotes()
    assert notes.is_due(0, 10**12, True)
    assert not notes.is_due(1000, 10**12 + 1900, True)
    assert notes.is_due(2000, 10**12 + 2000 + 1001, True)
    assert notes.is_due(3000, 10**12 - 86400000, True)
    assert not notes.is_due(4000, 10**12 - 86400000 + 1000, True)
