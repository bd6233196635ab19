"""Frames of a day, made once and sent in many worlds; and the damage that a bad line does."""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from wattlog.decoder import SmlDecoder
from wattlog.reading import Interpreter
from wattlog_sim.house import House
from wattlog_sim.meters import MODELS, Meter

if TYPE_CHECKING:
    from wattlog_sim.world.clock import Rng

    Values = tuple[tuple[int, int, int], ...]

MODEL_NAMES = ("mt681", "dzg", "edl")
DAYS = 2
SECONDS_RUNNING = 4_000_000
FRAME_BYTES_MAX = 2_048


class Truth(NamedTuple):
    """What a meter sends: one frame each `interval_s`, and what every one of them says."""

    server_id: bytes
    interval_s: int
    frames: tuple[bytes, ...]
    values: tuple["Values", ...]
    sec_index_first: int


@cache
def truth(variant: int, interval_s: int, seconds: int) -> Truth:
    """Return the frames of one of a few meters on one of a few days."""
    model = next(row for row in MODELS if row.name == MODEL_NAMES[variant % len(MODEL_NAMES)])
    meter = Meter(model, House(variant))
    begin_s = 1_790_000_000 + variant * 86_400
    frames, values = [], []
    interpreter = Interpreter()
    for passed_s in range(0, seconds, interval_s):
        frame = meter.frame(begin_s + passed_s, SECONDS_RUNNING + passed_s)
        # A decoder for each frame: what learned layouts would read is not asked here.
        (meter_list,) = SmlDecoder(FRAME_BYTES_MAX).push(frame)
        reading = interpreter.read(meter_list)
        assert reading is not None
        frames.append(frame)
        values.append(tuple(reading.values))
    return Truth(meter.server_id, interval_s, tuple(frames), tuple(values), SECONDS_RUNNING)


def damaged(frame: bytes, rng: "Rng") -> bytes:
    """Return what a bad line makes of a frame: never anything with a good checksum."""
    data = bytearray(frame)
    way = rng.randrange(4)
    at = rng.randrange(len(data))
    if way == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif way == 1:
        del data[at : at + 1 + rng.randrange(40)]
    elif way == 2:
        data[at:at] = rng.randbytes(1 + rng.randrange(40))
    else:
        del data[at:]
    # One broken frame in 65 000 has a good checksum; what becomes of those is the gate's own
    # test. Here a frame is right or it is not.
    return b"" if SmlDecoder(FRAME_BYTES_MAX).push(bytes(data)) else bytes(data)
