"""The gate behind the checksum: what does not fit waits, and is told by what comes next."""

from wattlog.gate import HELD_MAX, Gate
from wattlog.reading import Reading

METER = bytes.fromhex("0a01454d480000bc614e")
OTHER = bytes.fromhex("0a0149534b0004325ec5")
IMPORT, EXPORT, POWER, VOLTAGE = 1, 4, 10, 21


def reading(second, import_wh_e1=None, export_wh_e1=0, power_w=300, meter=METER):
    """A meter that imports 0.1 Wh a second."""
    energy = 10_000 + second if import_wh_e1 is None else import_wh_e1
    rows = [(IMPORT, energy, -1), (EXPORT, export_wh_e1, -1), (POWER, power_w, 0)]
    return Reading(meter, second, rows, True)


def reduced(second, import_kwh=1, meter=METER):
    return Reading(meter, second, [(IMPORT, import_kwh, 3)], False)


def started(gate=None):
    """A gate that has passed seconds 0 and 1."""
    gate = gate or Gate()
    assert run(gate, [reading(0), reading(1)]) == [0, 1]
    return gate


def run(gate, readings):
    """Check each at its own second; return the seconds of those that came out."""
    out = []
    for one in readings:
        for passed, taken_ms in gate.check(one, one.sec_index * 1000):
            assert taken_ms == passed.sec_index * 1000
            out.append(passed.sec_index)
    return out


def books(gate):
    return gate.good, len(gate.held), gate.counts


def test_readings_that_fit_pass_at_once():
    gate = started()
    for second in range(2, 20):
        assert run(gate, [reading(second)]) == [second]
    assert books(gate) == (20, 0, {})
    assert gate.events() == []


def test_the_first_is_held_until_a_second_fits_it():
    gate = Gate()
    assert run(gate, [reading(0)]) == []
    assert books(gate) == (0, 1, {})
    assert run(gate, [reading(1)]) == [0, 1]
    assert books(gate) == (2, 0, {})


def test_a_corrupt_first_reading_is_no_measure_for_others():
    cases = (
        ("too high", reading(0, import_wh_e1=99_999_999)),
        ("too low", reading(0, import_wh_e1=5)),
        ("another set", reduced(0)),
        ("another id", reading(0, meter=OTHER)),
    )
    for name, first in cases:
        gate = Gate()
        assert run(gate, [first, reading(1)]) == [], name
        assert run(gate, [reading(2), reading(3)]) == [1, 2, 3], name
        assert books(gate) == (3, 0, {"glitch": 1}), name
        assert gate.events() == [], name


def test_a_good_first_reading_outlives_a_corrupt_second():
    gate = Gate()
    bad = reading(1, import_wh_e1=99_999_999)
    assert run(gate, [reading(0), bad, reading(2)]) == [0, 2]
    assert books(gate) == (2, 0, {"glitch": 1})


def test_a_glitch_is_dropped_and_counted_by_reason():
    cases = (
        ("jumps", reading(2, import_wh_e1=9_000_000)),
        ("jumps", reading(2, export_wh_e1=9_000)),
        ("falls", reading(2, import_wh_e1=10_000)),
        ("set", reduced(2)),
        ("set", Reading(METER, 2, reading(2).values[:2], False)),
        ("set", Reading(METER, 2, reading(2).values + [(VOLTAGE, 230, 0)], True)),
        ("set", Reading(METER, 2, reading(2).values[:2] + [(POWER, 300, 1)], True)),
        ("id", reading(2, meter=OTHER)),
    )
    for reason, glitch in cases:
        gate = started()
        assert run(gate, [glitch]) == []
        assert books(gate) == (2, 1, {reason: 1}), glitch
        assert run(gate, [reading(3)]) == [3]
        assert books(gate) == (3, 0, {reason: 1, "glitch": 1}), glitch
        assert gate.events() == []


def test_two_glitches_do_not_confirm_each_other():
    gate = started()
    first = reading(2, import_wh_e1=9_000_000)
    second = reading(3, import_wh_e1=5_000_000)
    assert run(gate, [first, second, reading(4)]) == [4]
    assert books(gate) == (3, 0, {"jumps": 2, "glitch": 2})


def test_the_pin_is_entered_and_the_set_grows():
    gate = Gate()
    assert run(gate, [reduced(0), reduced(1)]) == [0, 1]
    assert run(gate, [reading(2)]) == []
    assert run(gate, [reading(3)]) == [2, 3]
    assert books(gate) == (3, 0, {"set": 1, "released": 1})
    assert gate.events() == []


def test_an_old_meter_falls_back_to_whole_kwh_and_that_is_no_fall():
    gate = started()
    assert run(gate, [reduced(2), reduced(3)]) == [2, 3]
    # Both sets are known by now.
    assert run(gate, [reading(4)]) == [4]
    assert run(gate, [reduced(5)]) == [5]
    assert books(gate) == (5, 0, {"set": 1, "released": 1})
    # But a kWh too few is one too few.
    assert run(gate, [reduced(6, import_kwh=0)]) == []
    assert gate.counts["falls"] == 1


def test_a_meter_that_sends_two_sets_in_turns_loses_only_the_first_of_them():
    gate = started()
    out = run(gate, [reduced(2), reading(3), reduced(4), reading(5), reduced(6)])
    assert out == [3, 4, 5, 6]
    assert books(gate) == (6, 0, {"set": 1, "glitch": 1})


def test_an_exchanged_meter():
    gate = started()
    new = [reading(second, import_wh_e1=second, meter=OTHER) for second in range(2, 5)]
    assert run(gate, new[:1]) == []
    assert run(gate, new[1:]) == [2, 3, 4]
    assert books(gate) == (4, 0, {"id": 1, "released": 1})
    assert gate.events() == ["meter 1 EMH00 12345678 was exchanged for 1 ISK00 70409925"]
    assert gate.events() == []


def test_a_reset_of_all_counters():
    gate = Gate()
    before = [reading(second, export_wh_e1=700) for second in range(2)]
    after = [reading(second, import_wh_e1=second, export_wh_e1=0) for second in range(2, 5)]
    assert run(gate, before) == [0, 1]
    assert run(gate, after) == [2, 3, 4]
    assert books(gate) == (4, 0, {"falls": 1, "released": 1})
    assert gate.events() == ["the counters of meter 1 EMH00 12345678 were reset"]


def test_one_counter_that_falls_alone_is_no_reset():
    gate = Gate()
    assert run(gate, [reading(second, export_wh_e1=700) for second in range(2)]) == [0, 1]
    assert run(gate, [reading(second + 50, export_wh_e1=0) for second in range(2, 4)]) == [52, 53]
    assert gate.events() == ["a counter of meter 1 EMH00 12345678 falls"]


def test_a_jump_that_stays_is_real():
    gate = started()
    jumped = [reading(second, import_wh_e1=9_000_000 + second) for second in range(2, 4)]
    assert run(gate, jumped) == [2, 3]
    assert gate.events() == ["a counter of meter 1 EMH00 12345678 jumps"]


def test_a_change_is_confirmed_across_a_glitch():
    gate = started()
    glitch = reading(3, import_wh_e1=5_000_000)
    reset = [reading(second, import_wh_e1=second) for second in (2, 4)]
    assert run(gate, [reset[0], glitch, reset[1]]) == [2, 4]
    assert books(gate) == (3, 0, {"falls": 1, "jumps": 1, "released": 1, "glitch": 1})


def test_what_is_held_is_bounded():
    gate = started()
    for second in range(2, 40):
        assert run(gate, [reading(second, import_wh_e1=10**7 * (100 - second))]) == []
        assert len(gate.held) <= HELD_MAX
    assert gate.good + len(gate.held) + gate.counts["glitch"] == 40
    # And the meter comes back.
    assert run(gate, [reading(40)]) == [40]


def test_of_four_that_are_held_the_oldest_goes():
    wrong = [reading(second, import_wh_e1=10**7 * (9 - second)) for second in range(2, 6)]
    for confirmed, wanted in ((0, []), (1, [3, 6]), (3, [5, 6])):
        gate = started()
        assert run(gate, wrong) == []
        energy = wrong[confirmed].values[0][1] + 1
        assert run(gate, [reading(6, import_wh_e1=energy)]) == wanted


def other_set(second, number):
    return Reading(METER, second, reading(second).values + [(20 + number, 230, 0)], True)


def test_only_a_few_sets_are_remembered():
    gate = started()
    for number in range(5):
        second = 2 + 2 * number
        assert run(gate, [other_set(second, number), reading(second + 1)]) == [second + 1]
    assert run(gate, [other_set(12, 4)]) == [12]
    assert run(gate, [other_set(13, 0)]) == []


def test_another_meter_does_not_inherit_the_sets():
    gate = started()
    run(gate, [reduced(2), reduced(3)])
    run(gate, [reduced(second, meter=OTHER) for second in (4, 5)])
    assert run(gate, [reading(6, meter=OTHER)]) == []


def test_a_step_may_grow_with_the_time_passed():
    # 100 kW are 27.8 Wh a second; a receive buffer may have held the frame for five seconds.
    cases = (
        (1, 1_660, True),
        (1, 1_670, False),
        (30, 9_720, True),
        (30, 9_730, False),
        (3_600, 1_001_380, True),
        (3_600, 1_001_400, False),
        (86_400, 24_001_380, True),
    )
    for passed_s, step_wh_e1, fits in cases:
        gate = started()
        later = reading(1 + passed_s, import_wh_e1=10_001 + step_wh_e1)
        assert bool(run(gate, [later])) is fits, (passed_s, step_wh_e1)


def test_a_limit_of_ones_own():
    gate = started(Gate(1_000_000))
    assert run(gate, [reading(2, import_wh_e1=26_000)]) == [2]


def test_one_step_of_the_register_is_always_fine():
    gate = Gate()
    rows = [[(IMPORT, number, 3)] for number in (7, 7, 8)]
    for second, row in enumerate(rows):
        run(gate, [Reading(METER, second, row, False)])
    assert gate.good == 3
    # Two kWh within seconds are not.
    assert run(gate, [Reading(METER, 3, [(IMPORT, 10, 3)], False)]) == []


def test_frames_that_waited_in_a_buffer_come_all_at_once():
    gate = started()
    for second in range(2, 7):
        # At 20 kW.
        one = reading(second, import_wh_e1=10_001 + 56 * (second - 1))
        assert gate.check(one, 6_000) == [(one, 6_000)]


def test_a_clock_that_contradicts_ours_is_suspicious_only_together_with_a_step():
    quiet = Reading(METER, 3, reading(2).values, True)
    steep = Reading(METER, 3, reading(2, import_wh_e1=10_600).values, True)
    for sec_index, of_steep in ((None, 1), (2, 1), (5, 1), (999, 0), (0x7FFFFFFF, 0)):
        for one, wanted in ((quiet, 1), (steep, of_steep)):
            gate = Gate()
            for second in (100, 101):
                gate.check(Reading(METER, second - 99, reading(1).values, True), second * 1000)
            one = Reading(METER, sec_index, one.values, True)
            assert len(gate.check(one, 102_000)) == wanted, sec_index


def test_a_slow_meter_and_a_pause_of_hours():
    gate = Gate()
    out = run(gate, [reading(second) for second in range(0, 300, 30)])
    assert out == list(range(0, 300, 30))
    assert run(gate, [reading(50_000)]) == [50_000]


def test_a_recording_that_starts_again_keeps_flowing():
    gate = Gate()
    out = []
    for turn in range(3):
        for second in range(5):
            now_ms = (turn * 5 + second) * 1000
            out += [passed.sec_index for passed, _ in gate.check(reading(second), now_ms)]
    assert out == list(range(5)) * 3
    assert gate.counts == {"falls": 2, "released": 2}
    assert len(gate.events()) == 2


def test_a_first_reading_is_let_go_after_ten_seconds_of_silence():
    gate = Gate()
    first = reading(0)
    assert gate.flush(0) == []
    gate.check(first, 0)
    assert gate.flush(9_999) == []
    assert gate.flush(10_000) == [(first, 0)]
    assert gate.flush(20_000) == []
    assert books(gate) == (1, 0, {})
    # What follows may still contradict it.
    assert run(gate, [reading(30, import_wh_e1=5), reading(60, import_wh_e1=6)]) == [30, 60]


def test_at_the_end_a_first_reading_is_let_go_at_once():
    gate = Gate()
    assert gate.flush() == []
    gate.check(reading(0), 0)
    assert gate.flush() == [(reading(0), 0)]


def test_what_is_contradicted_is_not_let_go():
    gate = Gate()
    run(gate, [reading(0), reading(1, import_wh_e1=5)])
    assert gate.flush(60_000) == []
    assert gate.flush() == []
    gate = started()
    run(gate, [reading(2, import_wh_e1=5)])
    assert gate.flush(60_000) == []
    assert len(gate.held) == 1


def test_the_finest_and_the_longest_counters():
    # eBZ: 10 uWh steps; EMH: eight bytes. Past the small integers of a device.
    gate = Gate()
    energies = [2**62, 2**62 + 700_000, 2**62 + 900_000]
    for second, energy in enumerate(energies):
        run(gate, [Reading(METER, second, [(IMPORT, energy, -5), (POWER, 1, 0)], True)])
    assert gate.good == 3
    assert (
        run(gate, [Reading(METER, 3, [(IMPORT, energies[2] - 1, -5), (POWER, 1, 0)], True)]) == []
    )
    assert gate.counts == {"falls": 1}
