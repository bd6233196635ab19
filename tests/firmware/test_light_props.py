"""Properties of the PIN by light: what the meter reads, what a late edge does, where it ends."""

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from button import Button
from wattlog_esp32.light import LATE_MS_MAX, Flasher, Refused, plan

PINS = st.text("0123456789", min_size=4, max_size=4)
STATES = re.compile("started|digit [1-4] of 4|menu|holding|done|aborted")


@st.composite
def timings(draw):
    """Any that a head takes."""
    on_ms = draw(st.integers(50, 9_500))
    off_ms = draw(st.integers(50, 9_500))
    return [
        draw(st.integers(1, 30)),
        on_ms,
        off_ms,
        draw(st.integers(max(4 * LATE_MS_MAX, off_ms + 2 * LATE_MS_MAX), 10_000)),
        draw(st.none() | st.integers(0, 30)),
        draw(st.integers(on_ms + 2 * LATE_MS_MAX, 10_000)),
    ]


# How late the timer calls, over and over: an edge is late by less than that.
TICKS = st.lists(st.integers(25, LATE_MS_MAX), min_size=1, max_size=20)


class World:
    """A flasher and the meter that it shines upon, in virtual time."""

    def __init__(self, flasher, meter, ticks):
        self.flasher = flasher
        self.meter = meter
        self.ticks = ticks
        self.now_ms = 0
        self.is_lit = False
        self.states = []
        flasher.begin(self.shine)

    def shine(self, is_on):
        self.is_lit = is_on
        self.meter.light(is_on, self.now_ms)

    def run(self, count=10**6):
        """Advance so many times, or until it is over."""
        for number in range(count):
            tick_ms = self.ticks[number % len(self.ticks)]
            self.now_ms += tick_ms
            self.meter.wait(self.now_ms)
            self.flasher.advance(tick_ms)
            self.states.append(self.flasher.state())
            if self.flasher.result is not None:
                return


def make(pin, numbers, ticks, data=None):
    try:
        steps, starts = plan(pin, numbers)
    except Refused as err:
        assert err.reason == "total"
        assume(False)
    entry_count, on_ms, off_ms, gap_ms, menu_count, hold_ms = numbers
    meter = Button(pin, entry_count, menu_count or 0, on_ms + LATE_MS_MAX + 1)
    if data is not None:
        # Whatever this meter takes for long, as long as the row's numbers are on its right sides.
        low_ms = max(off_ms + LATE_MS_MAX, 3 * (gap_ms + LATE_MS_MAX) // 4) + 1
        pause_ms = data.draw(st.integers(low_ms, gap_ms))
        long_ms = data.draw(st.integers(on_ms + LATE_MS_MAX + 1, hold_ms))
        meter = Button(pin, entry_count, menu_count or 0, long_ms, pause_ms)
    return World(Flasher(steps, starts), meter, ticks)


@given(PINS, timings(), TICKS, st.data())
def test_the_meter_reads_the_pin_whatever_the_timings_are(pin, numbers, ticks, data):
    world = make(pin, numbers, ticks, data)
    world.run()
    assert world.flasher.result == "done"
    assert world.meter.is_unlocked
    assert world.meter.is_inf_on == (numbers[4] is not None)
    assert (world.meter.wrong, world.meter.strayed) == (0, 0)
    assert not world.is_lit


@given(PINS, timings(), TICKS, st.integers(0, 3_000))
def test_an_abort_at_any_moment_is_dark_for_good(pin, numbers, ticks, count):
    world = make(pin, numbers, ticks)
    world.run(count)
    world.flasher.stop("aborted")
    assert not world.is_lit
    world.run(500)
    assert not world.is_lit
    assert world.flasher.result in ("aborted", "done")


@given(PINS, timings(), TICKS, st.integers(0, 3_000), st.integers(0, 10_000))
def test_an_edge_that_is_too_late_ends_it_in_the_dark(pin, numbers, ticks, count, more_ms):
    world = make(pin, numbers, ticks)
    world.run(count)
    assume(world.flasher.result is None)
    # The longest step is 10 s, so this is beyond any step's end.
    world.now_ms += 10_000 + LATE_MS_MAX + 1 + more_ms
    world.flasher.advance(10_000 + LATE_MS_MAX + 1 + more_ms)
    assert world.flasher.result == "failed: late"
    assert not world.is_lit


@given(PINS, timings(), TICKS)
def test_what_is_told_has_nothing_of_the_pin(pin, numbers, ticks):
    world = make(pin, numbers, ticks)
    world.run()
    assert all(STATES.fullmatch(state) for state in world.states)
    # Nor is a part left out where its digit is a 0.
    assert {f"digit {number} of 4" for number in (1, 2, 3, 4)} <= set(world.states)


@given(st.one_of(st.text(), st.binary(), st.integers(), st.none()), timings())
def test_what_is_no_pin_is_refused_without_being_told(pin, numbers):
    assume(not (isinstance(pin, str) and re.fullmatch("[0-9]{4}", pin)))
    try:
        plan(pin, numbers)
    except Refused as err:
        assert err.reason == "pin"
    else:
        raise AssertionError("it was taken")
