"""Learned layouts beside the full parse: over real captures, simulated years, and any change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattlog.decoder import LAYOUTS_MAX, SmlDecoder
from wattlog.framing import FrameDecoder
from wattlog.reading import Interpreter
from wattlog.sml import SmlError, parse
from wattlog_sim.decoder_check import values_in
from wattlog_sim.house import House
from wattlog_sim.meters import MODELS, Meter
from wattlog_sim.sml_writer import x25_low_first

FRAME_BYTES_MAX = 8192
FRAMES = 2_000
RUN = 8  # frames that follow one another
STEP_S = 7_919  # a prime: runs begin at all times of the day
FIRST_S = 1_781_740_800
SUMMER_S = 1_784_000_000


def assert_side_by_side(decoder, stream, feed_bytes=4096):
    """Both ways give the same lists and readings of a stream; return what was counted."""
    framing = FrameDecoder(FRAME_BYTES_MAX)
    one, two = Interpreter(), Interpreter()
    for at in range(0, len(stream), feed_bytes):
        data = stream[at : at + feed_bytes]
        found = list(decoder.push(data))
        wanted = [meter_list for payload in framing.push(data) for meter_list in parsed(payload)]
        assert len(found) == len(wanted)
        for left, right in zip(found, wanted, strict=True):
            assert left.server_id == right.server_id
            assert left.sec_index == right.sec_index
            assert left.entries == right.entries
            if left.layout is not None:
                assert left.values == values_in(right, left.layout.fields)
            assert one.read(left) == two.read(right)
    assert one.drops == two.drops


def parsed(payload):
    try:
        return parse(payload)
    except SmlError:
        return []


def test_real_captures(corpus):
    learned = 0
    for path in sorted(corpus.glob("*.bin")):
        decoder = SmlDecoder(FRAME_BYTES_MAX, 4096)
        # Twice: what was learned the first time is used the second.
        assert_side_by_side(decoder, path.read_bytes() * 2)
        learned += decoder.learned
    assert learned > 100


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize("feed_bytes", [100, 4096])
def test_simulated_meters(simulated, model, feed_bytes):
    decoder = SmlDecoder(FRAME_BYTES_MAX, feed_bytes)
    assert_side_by_side(decoder, simulated[model.name], feed_bytes)
    assert decoder.frames == FRAMES
    assert decoder.learned > FRAMES // 2
    assert len(decoder._layouts) <= LAYOUTS_MAX


@pytest.fixture(scope="module")
def simulated():
    """Frames of every model at all times of the day, so that widths and signs change."""
    streams = {}
    for model in MODELS:
        meter = Meter(model, House(1, model.solar_peak_w, FIRST_S))
        streams[model.name] = b"".join(
            meter.frame(SUMMER_S + second, 1_000 + second)
            for second in (n // RUN * STEP_S + n % RUN for n in range(FRAMES))
        )
    return streams


def frames_of(model):
    meter = Meter(model, House(1, model.solar_peak_w, FIRST_S))
    return [meter.frame(SUMMER_S + n, 1_000 + n) for n in range(4)]


LEARNABLE = {model.name: frames_of(model) for model in MODELS}


@given(
    name=st.sampled_from(sorted(LEARNABLE)),
    changes=st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4
    ),
)
def test_any_changed_bytes_of_a_learned_frame(name, changes):
    decoder = SmlDecoder(FRAME_BYTES_MAX, 4096)
    first, second, third, fourth = LEARNABLE[name]
    assert_side_by_side(decoder, first + second + third)
    assert decoder.learned == 1
    changed = bytearray(fourth[:-2])
    for at, byte in changes:
        changed[8 + at % (len(changed) - 14)] = byte
    assert_side_by_side(decoder, bytes(changed) + x25_low_first(bytes(changed)) + fourth)
