"""`wattlog-tools bench`: what wattlog costs, beside a peer and in the same run.

This measures ratios: the two sides take turns on the same bytes, so that a machine that slows
down or speeds up meets both. Absolute figures are of this machine at this moment.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from wattlog.framing import FrameDecoder
from wattlog.sml import parse
from wattlog_sim.house import House
from wattlog_sim.meters import Meter, model_named
from wattlog_tools.console import EXIT_OK, ToolError

START_EPOCH_S = 1_780_000_000
FEED_BYTES = 4096
FEEDS_BYTES = (1, 64, 4096)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="wattlog-tools bench",
        description="Measures wattlog's decoder beside smllib over the same frames, in turns.",
    )
    parser.add_argument(
        "--frames", type=int, default=400, metavar="N", help="frames in the stream (default 400)"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, metavar="N", help="turns of each side (default 7)"
    )
    options = parser.parse_args(arguments)
    if options.frames < 1 or options.rounds < 1:
        raise ToolError("--frames and --rounds must be at least 1")
    for model in ("mt681", "dzg"):
        _bench_decoding(model, options.frames, options.rounds)
    return EXIT_OK


def _stream(model_name: str, frames: int) -> bytes:
    model = model_named(model_name)
    assert model is not None
    meter = Meter(model, House(1))
    return b"".join(meter.frame(START_EPOCH_S + n, 1000 + n) for n in range(frames))


def _bench_decoding(model: str, frames: int, rounds: int) -> None:
    smllib_decode = _smllib()
    stream = _stream(model, frames)
    print(f"decoding {frames} frames of {model}, {len(stream)} bytes, {rounds} turns")
    sides: dict[str, Callable[[], int]] = {
        "smllib": lambda: smllib_decode(stream),
        **{
            f"wattlog, fed {size} B": lambda size=size: _wattlog_decode(stream, size)  # type: ignore[misc]
            for size in FEEDS_BYTES
        },
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        _progress(turn, rounds)
        for name, decode in sides.items():
            before = time.process_time()
            found = decode()
            passed = time.process_time() - before
            if found != frames:
                raise ToolError(f"{name} decoded {found} of {frames} frames")
            if turn:  # the first warms up
                seconds[name].append(passed)
    _progress(None, rounds)
    print(f"  {'':<20} {'frames/s':>9} {'MB/s':>7}   times smllib (min .. max)")
    for name, own in seconds.items():
        ratios = sorted(peer / one for peer, one in zip(seconds["smllib"], own, strict=True))
        median = statistics.median(own)
        print(
            f"  {name:<20} {frames / median:>9.0f} {len(stream) / median / 1e6:>7.2f}"
            f"   {statistics.median(ratios):6.2f} ({ratios[0]:.2f} .. {ratios[-1]:.2f})"
        )


def _wattlog_decode(stream: bytes, size: int) -> int:
    decoder = FrameDecoder()
    found = 0
    for at in range(0, len(stream), size):
        for payload in decoder.push(stream[at : at + size]):
            found += len(parse(payload))
    return found


def _smllib() -> Callable[[bytes], int]:
    try:
        from smllib.reader import (
            SmlStreamReader,
        )  # a peer, not a dependency: only who measures needs it
    except ModuleNotFoundError:
        raise ToolError("smllib is not installed; it comes with `make setup`") from None

    def decode(stream: bytes) -> int:
        reader = SmlStreamReader()
        found = 0
        for at in range(0, len(stream), FEED_BYTES):
            reader.add(stream[at : at + FEED_BYTES])
            while (frame := reader.get_frame()) is not None:
                frame.parse_frame()
                found += 1
        return found

    return decode


def _progress(turn: int | None, rounds: int) -> None:
    if sys.stderr.isatty():
        text = "" if turn is None else f"  turn {turn} of {rounds}"
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
