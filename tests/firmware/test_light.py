"""The PIN by light, in virtual time: pytest runs this, and test_board.py on MicroPython."""

from button import Button
from light_world import BOOT, PIN, STATES, TIMINGS, World, changed
from wattlog import msgpack
from wattlog_esp32 import light
from wattlog_esp32.light import LATE_MS_MAX, REQUESTS_MAX, Flasher, Job, Refused, plan


def test_a_pin_is_entered_inf_is_switched_on_and_all_of_it_is_told():
    world = World()
    world.enter()
    assert not world.lamps, "nothing flashes before the host was told"
    assert world.run()
    assert world.said() == STATES
    assert {request for request, _ in world.link.states} == {7}
    assert world.meter.is_unlocked and world.meter.is_inf_on
    assert (world.meter.wrong, world.meter.strayed) == (0, 0)
    assert not world.is_lit and not world.lamps[0].is_open
    assert world.lamps[0].pin == (17, 0)


def test_without_a_way_in_the_menu_only_the_pin_is_entered():
    world = World()
    world.enter(timings=changed(4, None))
    assert world.run()
    assert world.said() == STATES[:5] + STATES[-1:]
    assert world.meter.is_unlocked and not world.meter.is_inf_on and not world.meter.strayed


def test_every_digit_at_every_place():
    for pin in ("0000", "0001", "1000", "0900", "9999", "5050", "0123", "4567", "8900"):
        world = World(Button(pin, 2, 3))
        world.enter(pin=pin)
        assert world.run(), pin
        assert world.meter.is_unlocked and world.meter.is_inf_on, pin


def test_it_is_off_unless_the_settings_allow_it():
    world = World(shines=None)
    world.enter()
    assert world.run()
    assert world.said() == ["off"]
    assert not world.edges and not world.lamps


def test_a_command_that_comes_again_enters_nothing_again():
    world = World()
    world.enter()
    world.enter()
    world.run(5_000)
    world.enter()
    assert world.run()
    count = len(world.edges)
    # The job has ended and is forgotten; what was asked for is not.
    world.job = Job(world.sources, "cellar", BOOT, world.link)
    world.enter()
    world.enter(pin="9999", timings=TIMINGS)
    assert not world.job.step(world.now_ms)
    assert world.said().count("done") == 1
    assert len(world.edges) == count and world.meter.wrong == 0


def test_one_that_was_refused_while_another_ran_is_not_followed_later():
    world = World()
    world.enter(1)
    world.run(3_000)
    world.enter(2)
    assert world.run()
    assert (2, "failed: busy") in world.link.states
    world.job = Job(world.sources, "cellar", BOOT, world.link)
    world.enter(2)
    assert not world.job.step(world.now_ms)
    assert world.said().count("done") == 1


def test_nobody_may_try_all_pins():
    world = World()
    for request in range(1, REQUESTS_MAX + 2):
        world.enter(request, pin="x")
        assert world.run()
    assert world.said()[-1] == "failed: requests"
    assert set(world.said()[:-1]) == {"failed: pin"}


IGNORED = (
    b"",
    b"\xc1pin",
    msgpack.pack([2, "pin"]),
    msgpack.pack({"pin": 2}),
    msgpack.pack([1, "pin", BOOT, 7, "uart1", PIN, TIMINGS]),
    msgpack.pack([2, "pen", BOOT, 7, "uart1", PIN, TIMINGS]),
    msgpack.pack([2, "pin", BOOT - 1, 7, "uart1", PIN, TIMINGS]),
    msgpack.pack([2, "pin", True, 7, "uart1", PIN, TIMINGS]),
    msgpack.pack([2, "pin", BOOT, 0, "uart1", PIN, TIMINGS]),
    msgpack.pack([2, "pin", BOOT, True, "uart1", PIN, TIMINGS]),
    msgpack.pack([2, "pin", BOOT, "7", "uart1", PIN, TIMINGS]),
    msgpack.pack([2, "pin", BOOT, 7, "uart1", PIN]),
    msgpack.pack([2, "pin", BOOT, 7]),
)


def test_what_is_no_command_of_this_start_means_nothing():
    for payload in IGNORED:
        world = World()
        world.job.on_command(payload, 0)
        assert not world.job.step(0), payload
        assert not world.link.states and not world.edges, payload


WRONG_PINS = (
    "",
    "123",
    "12345",
    "12a4",
    "12 4",
    "-123",
    "\uff11\uff12\uff13\uff14",
    1234,
    None,
    b"1234",
)
COUNT = "failed: count"
TIME = "failed: time"
GAP = "failed: gap"
HOLD = "failed: hold"
WRONG_TIMINGS = (
    (None, "failed: timings"),
    (TIMINGS[:5], "failed: timings"),
    (changed(0, 31), COUNT),
    (changed(0, -1), COUNT),
    (changed(0, None), COUNT),
    (changed(4, 31), COUNT),
    (changed(4, True), COUNT),
    (changed(1, 49), TIME),
    (changed(2, 10_001), TIME),
    (changed(3, "3500"), TIME),
    (changed(5, None), TIME),
    (changed(2, 3_001), GAP),
    ([2, 100, 100, 999, 3, 5_500], GAP),
    (changed(1, 5_001), HOLD),
    ([30, 5_000, 3_000, 3_500, 3, 5_500], "failed: total"),
)


def test_what_cannot_be_used_is_refused_in_words_and_nothing_flashes():
    for pin in WRONG_PINS:
        world = World()
        world.enter(pin=pin)
        assert world.run()
        assert world.said() == ["failed: pin"], pin
        assert not world.edges
    for timings, state in WRONG_TIMINGS:
        world = World()
        world.enter(timings=timings)
        assert world.run()
        assert world.said() == [state], timings
        assert not world.edges
    world = World()
    world.enter(port="uart0")
    assert world.run()
    assert world.said() == ["failed: port"]


def test_an_abort_at_any_moment_leaves_the_light_off():
    for until_ms in range(1_000, 30_000, 370):
        world = World()
        world.enter()
        assert not world.run(until_ms)
        world.ask(8)
        world.ask(7, boot=BOOT - 1)
        assert world.job.step(world.now_ms), "neither of another request nor of another start"
        world.ask(0 if until_ms % 2 else 7)
        assert not world.is_lit, until_ms
        assert world.run()
        assert world.said()[-1] == "aborted"
        assert not world.is_lit and not any(lamp.is_open for lamp in world.lamps), until_ms


def test_an_abort_before_anything_flashed_lets_nothing_flash():
    world = World()
    world.enter()
    world.ask(7)
    assert world.run()
    assert world.said() == ["aborted"]
    assert not world.edges


def test_an_abort_of_nothing_means_nothing():
    world = World()
    world.ask(0)
    assert not world.job.step(0)
    assert not world.link.states


def test_an_edge_that_is_late_is_allowed_for_and_one_that_is_later_ends_it():
    for late_ms, is_over in ((0, False), (LATE_MS_MAX, False), (LATE_MS_MAX + 1, True)):
        for on_ms, off_ms in ((500, 500), (50, 700)):
            steps, starts = plan(PIN, [2, on_ms, off_ms, 3_500, 3, 5_500])
            shown = []
            flasher = Flasher(steps, starts)
            flasher.begin(shown.append)
            flasher.advance(on_ms - 1)
            assert shown == [True]
            flasher.advance(1 + late_ms)
            assert shown == [True, False]
            assert (flasher.result is not None) == is_over
            if is_over:
                assert flasher.state() == "failed: late"
                flasher.advance(off_ms)
                assert not any(shown[1:]), "for good"


def test_zeros_in_front_are_read_right_even_if_every_edge_is_as_late_as_it_may_be():
    for off_ms, pause_ms in ((500, 2_820), (2_500, 2_820)):
        meter = Button("0001", 2, 3, pause_ms=pause_ms)
        now_ms = 0
        flasher = Flasher(*plan("0001", changed(2, off_ms)))
        flasher.begin(lambda is_on: meter.light(is_on, now_ms))
        while flasher.result is None:
            passed_ms = flasher._left_ms + LATE_MS_MAX
            now_ms += passed_ms
            meter.wait(now_ms)
            flasher.advance(passed_ms)
        assert flasher.result == "done"
        assert meter.is_unlocked and meter.is_inf_on, off_ms


def test_a_lost_connection_ends_it_in_the_dark():
    for until_ms in (1_000, 1_200, 4_321, 20_000):
        world = World()
        world.enter()
        world.run(until_ms)
        world.link.is_gone = True
        assert not world.job.step(world.now_ms)
        assert not world.is_lit, until_ms
        assert not any(lamp.is_open for lamp in world.lamps)


def test_a_timer_that_stands_still_ends_it_in_the_dark():
    world = World()
    world.enter()
    world.run(1_200)
    assert world.is_lit
    world.lamps[0].silence_ms = LATE_MS_MAX + 1
    assert not world.job.step(world.now_ms)
    assert world.said()[-1] == "failed: timer"
    assert not world.is_lit and not world.lamps[0].is_open


def test_a_pin_or_timer_that_the_chip_has_not_and_no_memory_are_told():
    for error, reason in ((ValueError, "lamp"), (OSError, "lamp"), (MemoryError, "memory")):
        world = World()

        def refuse(_pin, _advance, error=error):
            raise error("x")

        light.open_lamp = refuse
        world.enter()
        assert world.run()
        assert world.said() == ["started", "failed: " + reason]


def test_the_pin_is_in_no_message_and_in_no_error():
    for pin in ("1203", "12x3"):
        world = World()
        world.enter(pin=pin)
        assert world.run()
        for packed in world.link.raw:
            assert pin.encode() not in packed
        try:
            plan(pin, TIMINGS[:5])
        except Refused as err:
            assert pin not in str(err) and pin not in repr(err)


def test_what_was_flashed_is_forgotten_at_the_end():
    steps, starts = plan(PIN, TIMINGS)
    flasher = Flasher(steps, starts)
    flasher.begin(lambda _: None)
    flasher.stop("aborted")
    assert not len(flasher._steps)
