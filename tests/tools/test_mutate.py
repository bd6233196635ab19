"""The damage: the same for the same two numbers, of every kind, and half of it behind the CRC."""

import pytest

from wattlog.framing import FrameDecoder
from wattlog_sim import mutate
from wattlog_sim.mutate import BLOCK, FRAME_OPERATIONS, PAYLOAD_OPERATIONS, Lcg, Mutator
from wattlog_sim.sml_writer import ESCAPE, START, transport, x25_low_first
from wattlog_tools.frames import simulated_families

FAMILIES = simulated_families()
OPERATIONS = sorted(
    {*FRAME_OPERATIONS, *PAYLOAD_OPERATIONS}, key=lambda operation: operation.__name__
)


@pytest.fixture(scope="module")
def mutator():
    return Mutator(FAMILIES)


def test_two_numbers_give_one_input(mutator):
    cases = [mutator.case(seed, index).stream for seed in (1, 2) for index in range(300)]
    again = [Mutator(FAMILIES).case(seed, index).stream for seed in (1, 2) for index in range(300)]
    assert cases == again
    assert len(set(cases)) > 0.95 * len(cases)


def test_two_good_frames_of_one_meter_follow(mutator):
    for index in range(10 * BLOCK):
        case = mutator.case(5, index)
        good = case.stream[case.damage_bytes :]
        assert FrameDecoder(4096).push(good) == [case.first, case.second]
        assert any(good == a + b for family in FAMILIES for a in family for b in family)
        assert case.damage_bytes <= mutate.DAMAGE_BYTES_MAX


def test_half_of_the_damage_has_a_right_checksum(mutator):
    accepted = 0
    for index in range(2_000):
        case = mutator.case(3, index)
        accepted += bool(FrameDecoder(8192).push(case.stream[: case.damage_bytes]))
    assert 0.4 < accepted / 2_000 < 0.8


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_every_operation_changes_something_and_takes_anything(operation):
    changed = 0
    data = [frame for family in FAMILIES for frame in family[:2]]
    data += [mutate.payload_of(frame) for frame in data]
    data += [b"\x00\x00", b"\x1b" * 9, b"\xff" * 40, b"\x71" * 40, bytes(range(256)), b"\x0f\x8f"]
    for index in range(300):
        rng = Lcg(9, index)
        before = data[index % len(data)]
        after = operation(rng, before, data[rng.below(len(data))])
        assert isinstance(after, bytes)
        changed += after != before
    assert changed > 150


def test_the_numbers_spread():
    counts = [0] * 10
    for index in range(5_000):
        counts[Lcg(1, index).below(10)] += 1
    assert all(400 < count < 600 for count in counts), counts
    rng = Lcg(1, 1)
    assert len({rng.below(1 << 16) for _ in range(1_000)}) > 950


def test_a_frame_across_the_border_is_found_only_if_its_checksum_is_right():
    frame = FAMILIES[0][0]
    # The last byte is lost, and the first one of the next frame is taken for it.
    body = next(
        body
        for number in range(70_000)
        if x25_low_first(body := transport(number.to_bytes(8, "big"))[:-2])[1:] == b"\x1b"
    )
    cut = body + x25_low_first(body)[:1]
    assert mutate.checked_frame_across(cut + frame, len(cut), len(cut + frame))
    assert not mutate.checked_frame_across(body + b"\x00" + frame, len(cut), len(cut + frame))
    assert not mutate.checked_frame_across(frame + frame, len(frame), 2 * len(frame))
    assert not mutate.checked_frame_across(START + ESCAPE + frame, 12, 12 + len(frame))
