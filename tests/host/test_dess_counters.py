"""Energy counters that begin anew, step back, jump, or change their source."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlog_host.dess import counters
from wattlog_host.dess.counters import gained, start, step

HOUR_MS = 3_600_000
STEP_MS = 300_000


def run(readings, **more):
    """The total that was gained, and the verdicts."""
    counter, verdicts = None, []
    for at, reading in enumerate(readings):
        raw, source, begun = reading if isinstance(reading, tuple) else (reading, "a", False)
        if counter is None:
            counter = start(source, Decimal(raw), 0)
            continue
        counter, verdict = step(
            counter, source, Decimal(raw), at * STEP_MS, may_restart=begun, **more
        )
        verdicts.append(verdict)
    return counter, verdicts


CASES = (
    ("it counts", ["10", "10.5", "11"], "11", ["gain", "gain"]),
    ("it stands", ["10", "10"], "10", ["same"]),
    ("a day begins", ["15", ("0", "a", True), "0.4"], "15.4", ["reset", "gain"]),
    ("a day begins late", ["15", ("0.4", "a", True)], "15.4", ["reset"]),
    ("it falls within the day, once", ["15", "0", "15.2"], "15.2", ["held", "gain"]),
    ("it falls within the day, for good", ["15", "0", "0.3"], "15.3", ["held", "reset"]),
    ("its midnight is another one", ["15", "0", "0"], "15", ["held", "reset"]),
    ("a little back and on", ["1000", "999.5", "1000.5"], "1000.5", ["back", "gain"]),
    ("a glitch upwards", ["10", "655.35", "10.1"], "10.1", ["held", "gain"]),
    ("two glitches upwards", ["10", "655.35", "3.2", "10.1"], "10.1", ["held", "held", "gain"]),
    ("exchanged for one with more", ["10", "9000", "9000.1", "9000.2"], "10.1", ["held", "reset", "gain"]),
    ("exchanged for one with less", ["9000", "500", "500.1", "500.2"], "9000.1", ["held", "reset", "gain"]),
    ("another source", ["10", ("500", "b", False), ("501", "b", False)], "11", ["source", "gain"]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("readings", "total", "verdicts"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_a_counter(readings, total, verdicts):
    counter, found = run(readings)
    assert (counter.total, found) == (Decimal(total), verdicts)


def test_after_a_day_away_a_gain_of_a_day_is_a_gain():
    counter, verdict = step(start("a", Decimal(100), 0), "a", Decimal(160), 24 * HOUR_MS)
    assert (counter.total, verdict) == (160, "gain")


def test_ampere_hours_have_their_own_measure():
    first = start("a", Decimal(100), 0)
    assert step(first, "a", Decimal(150), STEP_MS, unit="Ah")[1] == "gain"
    assert step(first, "a", Decimal(150), STEP_MS, unit="kWh")[1] == "held"


def test_a_clock_that_steps_back_is_no_reset():
    counter = start("a", Decimal(10), 10 * HOUR_MS)
    counter, verdict = step(counter, "a", Decimal("10.5"), 0)
    assert (counter.total, counter.raw_ms, verdict) == (Decimal("10.5"), 10 * HOUR_MS, "gain")


STEPS = st.lists(st.integers(0, 80), min_size=1, max_size=40)


@given(STEPS)
def test_what_counts_up_is_counted_exactly(steps):
    readings, raw = [], Decimal(0)
    for at, gain in enumerate(steps):
        raw += Decimal(gain) / 100
        readings.append((at * STEP_MS, raw))
    assert gained(readings)[-1][1] == raw - readings[0][1]


@given(st.lists(st.decimals(0, 10_000, places=2), min_size=1, max_size=30), st.data())
def test_whatever_comes_the_total_never_falls_and_never_outruns_the_readings(raws, data):
    counter = start("a", raws[0], 0)
    for at, raw in enumerate(raws[1:], 1):
        begun = data.draw(st.booleans())
        before = counter.total
        counter, _ = step(counter, "a", raw, at * STEP_MS, may_restart=begun)
        gain = counter.total - before
        assert 0 <= gain <= counters.GAIN_MIN + at * counters.PER_HOUR_MAX["kWh"] / 12


@given(STEPS, st.integers(0, 39))
def test_one_glitch_changes_nothing(steps, where):
    readings, raw = [], Decimal(100)
    for at, gain in enumerate(steps):
        raw += Decimal(gain) / 100
        readings.append((at * STEP_MS, raw))
    at_ms = readings[min(where, len(readings) - 1)][0]
    glitched = sorted([*readings, (at_ms + 1, Decimal(65_535))])
    assert gained(glitched)[-1][1] == gained(readings)[-1][1] or glitched[-1][1] == 65_535
