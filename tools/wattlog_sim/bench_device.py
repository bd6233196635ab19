"""What the decoder costs on MicroPython: time against a fixed loop, and memory exactly.

Prints JSON lines for `wattlog-tools bench`. Absolute times are of the machine below; against the
fixed loop they tell what to expect of a board on which that loop was timed.
"""

import gc
import json
import sys
import time

from wattlog.decoder import SmlDecoder
from wattlog.framing import FrameDecoder
from wattlog.reading import Interpreter
from wattlog.sml import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Pieces = list[bytes]

CALIBRATION_STEPS = 20_000
FEED_BYTES = 48  # what comes between two looks at the port
TURNS = 50
GROWTH_FRAMES = 10_000


def main(path: str) -> None:
    """Measure with the frames in this file: a line for each meter, its name and hex frames."""
    # Collecting often keeps what is left of a small heap in one piece, as the firmware does.
    gc.threshold(4096)  # type: ignore[attr-defined]
    row: dict[str, object] = {
        "version": ".".join([str(part) for part in sys.implementation.version[:3]]),
        "small_int_bits": _small_int_bits(),
        "heap_bytes": gc.mem_free() + gc.mem_alloc(),  # type: ignore[attr-defined]
        "calibration_us": _best_us(calibration_loop),
        "calibration_steps": CALIBRATION_STEPS,
    }
    print(json.dumps(row))
    with open(path) as file:
        for line in file:
            name, *texts = line.split()
            frames = [bytes.fromhex(text) for text in texts]
            gc.collect()
            print(json.dumps(_measure(name, frames)))


def calibration_loop() -> int:
    """Do a fixed amount of integer arithmetic, as an interpreter does it."""
    total = 0
    for number in range(CALIBRATION_STEPS):
        total = (total * 5 + number) & 0xFFFF
    return total


def _measure(name: str, frames: "list[bytes]") -> "dict[str, object]":
    one_by_one = [
        [frame[at : at + FEED_BYTES] for at in range(0, len(frame), FEED_BYTES)]
        for frame in frames
    ]
    pieces = [piece for parts in one_by_one for piece in parts]
    row: dict[str, object] = {
        "model": name,
        "frame_bytes": sum([len(frame) for frame in frames]) // len(frames),
    }
    # One decoder at a time: the heap is a device's.
    for way, make in (("full", _full), ("learned", _learned), ("readings", _readings)):
        gc.collect()
        row[way] = _measure_way(make(), one_by_one)
    gc.collect()
    row["growth_frames"] = GROWTH_FRAMES
    row["growth_bytes"] = _growth_bytes(_readings(), pieces, GROWTH_FRAMES // len(frames))
    return row


def _measure_way(decode: "Callable[[Pieces], None]", frames: "list[Pieces]") -> "dict[str, int]":
    """Return the time of one frame, and the most that one allocates, with all layouts learned."""
    for _ in range(4):
        for pieces in frames:
            decode(pieces)
    best_us = [_best_us(decode, pieces) for pieces in frames]
    return {
        "us": sum(best_us) // len(frames),
        "alloc_bytes": max([_allocated_bytes(decode, pieces) for pieces in frames]),
    }


def _full() -> "Callable[[Pieces], None]":
    decoder = FrameDecoder()

    def decode(pieces: "Pieces") -> None:
        for piece in pieces:
            for payload in decoder.push(piece):
                parse(payload)

    return decode


def _learned() -> "Callable[[Pieces], None]":
    decoder = SmlDecoder()

    def decode(pieces: "Pieces") -> None:
        for piece in pieces:
            decoder.push(piece)

    return decode


def _readings() -> "Callable[[Pieces], None]":
    decoder = SmlDecoder()
    interpreter = Interpreter()

    def decode(pieces: "Pieces") -> None:
        for piece in pieces:
            for meter_list in decoder.push(piece):
                interpreter.read(meter_list)

    return decode


def _best_us(work: "Callable[..., object]", *arguments: object) -> int:
    best = None
    for _ in range(TURNS):
        gc.collect()
        begin = time.ticks_us()  # type: ignore[attr-defined]
        work(*arguments)
        passed: int = time.ticks_diff(time.ticks_us(), begin)  # type: ignore[attr-defined]
        if best is None or passed < best:
            best = passed
    assert best is not None
    return best


def _allocated_bytes(decode: "Callable[[Pieces], None]", pieces: "Pieces") -> int:
    """Return what decoding these pieces allocates, whether it is freed later or not."""
    gc.collect()
    gc.disable()
    before: int = gc.mem_alloc()  # type: ignore[attr-defined]
    decode(pieces)
    after: int = gc.mem_alloc()  # type: ignore[attr-defined]
    gc.enable()
    return after - before


def _growth_bytes(decode: "Callable[[Pieces], None]", pieces: "Pieces", rounds: int) -> int:
    """Return what is still held after so many passes."""
    for _ in range(4):
        decode(pieces)
    gc.collect()
    before: int = gc.mem_alloc()  # type: ignore[attr-defined]
    for _ in range(rounds):
        decode(pieces)
    gc.collect()
    after: int = gc.mem_alloc()  # type: ignore[attr-defined]
    return after - before


def _small_int_bits() -> int:
    bits = 1
    while sys.maxsize >> bits:
        bits += 1
    return bits
