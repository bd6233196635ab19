"""`wattlog-tools bench`: what wattlog's decoder costs, beside a peer and in the same run.

This measures ratios: the sides take turns on the same bytes, so that a machine that slows down or
speeds up meets all of them. Absolute figures are of this machine at this moment.
"""

import argparse
import gc
import importlib.metadata
import json
import platform
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wattlog.decoder import SmlDecoder
from wattlog.framing import FrameDecoder
from wattlog.reading import Interpreter
from wattlog.sml import parse
from wattlog_tools import (
    bench_history,
    bench_ingest,
    bench_log,
    bench_readers,
    bench_wire,
    device,
    frames,
)
from wattlog_tools.console import EXIT_OK, ToolError

MODELS = ("mt681", "dzg", "edl")
FRAME_BYTES_MAX = 8192
FEED_BYTES = 4096
FRAMES = 1800  # half an hour of a meter: learning is in it, as what it is
FEEDS_BYTES = (1, 64, 4096)
CAPTURE_TIMES = 20
DECODER_MODULES = ("compat", "crc", "framing", "sml", "layout", "decoder")
DEVICE_FRAMES = 4
DEVICE_WAYS = (
    ("full parse", "full"),
    ("learned layout", "learned"),
    ("... to readings", "readings"),
)

_ON_DEVICE = """
from wattlog_sim.bench_device import main
main("frames.txt")
"""

Pieces = list[bytes]
Decode = Callable[[Pieces], int]


PARTS = ("decoder", "wire", "log", "ingest", "history", "readers")


class Stream(NamedTuple):
    """Frames that every side can decode; `note` says which were left out."""

    name: str
    data: bytes
    frames: int
    note: str


class Side(NamedTuple):
    """One way to decode: `decode` takes pieces of a stream and returns how many lists it found."""

    name: str
    decode: Decode
    feed_bytes: int = FEED_BYTES


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.frames < 1 or options.rounds < 1:
        raise ToolError("--frames and --rounds must be at least 1")
    results: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    if "decoder" in options.only:
        _bench_decoder(options, results)
    parts = (
        ("wire", bench_wire),
        ("log", bench_log),
        ("ingest", bench_ingest),
        ("history", bench_history),
        ("readers", bench_readers),
    )
    for name, part in parts:
        if name in options.only:
            _progress(f"{name} ...")
            figures = part.measure()
            _progress("")
            print("\n" + "\n".join(part.lines(figures)))
            results[name] = _plain(figures)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
        print(f"\nall of this, and more digits: {options.json}")
    return EXIT_OK


def _bench_decoder(options: argparse.Namespace, results: dict[str, Any]) -> None:
    peer = _smllib()
    print(
        f"CPython {platform.python_version()}, smllib {importlib.metadata.version('smllib')}; "
        f"{options.rounds} turns each, reads of {FEED_BYTES} bytes; ratios are medians over the "
        "turns (min .. max)"
    )
    results["streams"] = {
        stream.name: _bench_stream(stream, peer, options.rounds)
        for stream in _streams(options.frames, peer)
    }
    if not options.no_device:
        results["device"] = _bench_device()


def _plain(figures: Any) -> Any:
    """Return named tuples as what JSON knows."""
    if hasattr(figures, "_asdict"):
        return {name: _plain(value) for name, value in figures._asdict().items()}
    return [_plain(one) for one in figures] if isinstance(figures, list | tuple) else figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools bench",
        description="Measures wattlog beside its peers, in one run and in turns: the decoder "
        "beside smllib, and on MicroPython; bytes on the wire; the ring log; readings into the "
        "database beside one insert for each message; what a question about a year costs; "
        "how long a head waits while ten browsers load years.",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=FRAMES,
        metavar="N",
        help=f"frames in a stream (default {FRAMES})",
    )
    parser.add_argument(
        "--rounds", type=int, default=9, metavar="N", help="turns of each side (default 9)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
        help=f"of {', '.join(PARTS)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--no-device", action="store_true", help="leave MicroPython out")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    return parser


# ---- the streams -----------------------------------------------------------------------------


def _streams(count: int, peer: Decode) -> list[Stream]:
    streams = [
        Stream(model, b"".join(frames.seconds_of(model, count)), count, "simulated")
        for model in MODELS
    ]
    corpus = frames.find_corpus()
    if corpus:
        captured = [
            list(frames.good_frames(path.read_bytes())) for path in sorted(corpus.glob("*.bin"))
        ]
        both = [[frame for frame in good if _decodes(peer, frame)] for good in captured]
        left = sum(map(len, both))
        note = f"{left} of {sum(map(len, captured))} good frames: smllib decodes no others"
        once = b"".join(b"".join(good) for good in both)
        streams.append(Stream("captures", once, left, note))
        # A capture is over before a layout pays; a meter on the wall goes on and on.
        often = b"".join(b"".join(good) * CAPTURE_TIMES for good in both)
        note = f"the same, each {CAPTURE_TIMES} times before the next"
        streams.append(Stream("long captures", often, left * CAPTURE_TIMES, note))
    return streams


def _decodes(decode: Decode, frame: bytes) -> bool:
    try:
        return decode([frame]) == 1
    except Exception:  # noqa: BLE001 - the peer's errors are many
        return False


def _cut(data: bytes, size: int) -> Pieces:
    return [data[at : at + size] for at in range(0, len(data), size)]


# ---- the sides -------------------------------------------------------------------------------

# filter(None, map(...)) passes the many reads that complete nothing without a step of Python:
# what is measured at one byte a read is the decoder, not the loop around it.


def _full_parse(pieces: Pieces) -> int:
    push = FrameDecoder(FRAME_BYTES_MAX, FEED_BYTES).push
    found = 0
    for payloads in filter(None, map(push, pieces)):
        for payload in payloads:
            found += len(parse(payload))
    return found


def _learned(pieces: Pieces) -> int:
    push = SmlDecoder(FRAME_BYTES_MAX, FEED_BYTES).push
    return sum(len(lists) for lists in filter(None, map(push, pieces)))


def _readings(pieces: Pieces) -> int:
    push = SmlDecoder(FRAME_BYTES_MAX, FEED_BYTES).push
    read = Interpreter().read
    found = 0
    for lists in filter(None, map(push, pieces)):
        for meter_list in lists:
            found += 1
            read(meter_list)
    return found


def _smllib() -> Decode:
    try:
        # A peer, not a dependency: only who measures needs it.
        from smllib.reader import SmlStreamReader
    except ModuleNotFoundError:
        raise ToolError("smllib is not installed; it comes with `make setup`") from None

    def decode(pieces: Pieces) -> int:
        reader = SmlStreamReader()
        found = 0
        for piece in pieces:
            reader.add(piece)
            while (frame := reader.get_frame()) is not None:
                frame.parse_frame()
                found += 1
        return found

    return decode


# ---- measuring here --------------------------------------------------------------------------


def _bench_stream(stream: Stream, peer: Decode, rounds: int) -> dict[str, Any]:
    print(f"\n{stream.name}: {stream.frames} frames, {len(stream.data)} bytes ({stream.note})")
    sides = [
        Side("smllib", peer),
        Side("full parse", _full_parse),
        Side("learned layout", _learned),
        Side("... to readings", _readings),
    ]
    feeds = [
        Side(f"{what}, fed {size} B", decode, size)
        for what, decode in (("full parse", _full_parse), ("learned", _learned))
        for size in FEEDS_BYTES
    ]
    seconds = _in_turns(stream, sides + feeds, rounds)
    results: dict[str, Any] = {"frames": stream.frames, "bytes": len(stream.data), "sides": {}}
    print(f"  {'':<18}{'frames/s':>9}{'MB/s':>8}{'peak kB':>9}   times smllib")
    for side in sides:
        median_s = statistics.median(seconds[side.name])
        peak = _peak_bytes(side, stream)
        ratio = _ratio(seconds["smllib"], seconds[side.name])
        print(
            f"  {side.name:<18}{stream.frames / median_s:>9.0f}"
            f"{len(stream.data) / median_s / 1e6:>8.2f}{peak / 1000:>9.1f}   {_ratio_text(ratio)}"
        )
        results["sides"][side.name] = {
            "seconds": median_s,
            "peak_bytes": peak,
            "times_smllib": ratio,
        }
    print(f"  {'':<24}{'ns/byte':>9}           times reads of {FEED_BYTES} B")
    for side in feeds:
        median_s = statistics.median(seconds[side.name])
        base = f"{side.name.partition(',')[0]}, fed {FEED_BYTES} B"
        ratio = _ratio(seconds[side.name], seconds[base])
        each_ns = median_s / len(stream.data) * 1e9
        print(f"  {side.name:<24}{each_ns:>9.1f}           {_ratio_text(ratio)}")
        results["sides"][side.name] = {"seconds": median_s, "times_4096": ratio}
    return results


def _in_turns(stream: Stream, sides: list[Side], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each side in each round; all bytes are cut before the clock starts."""
    pieces = {size: _cut(stream.data, size) for size in {side.feed_bytes for side in sides}}
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for turn in range(rounds + 1):
        _progress(f"  turn {turn} of {rounds}")
        for side in sides:
            gc.collect()
            begin_s = time.process_time()
            found = side.decode(pieces[side.feed_bytes])
            passed_s = time.process_time() - begin_s
            if found != stream.frames:
                raise ToolError(f"{side.name} decoded {found} of {stream.frames} frames")
            if turn:  # the first warms up
                seconds[side.name].append(passed_s)
    _progress("")
    return seconds


def _peak_bytes(side: Side, stream: Stream) -> int:
    """Return the most memory that the side takes at once, in a turn that is not timed."""
    pieces = _cut(stream.data, side.feed_bytes)
    gc.collect()
    tracemalloc.start()
    side.decode(pieces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def _ratio(over: list[float], under: list[float]) -> tuple[float, float, float]:
    """Return median, least and greatest of the ratios, turn by turn."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def _ratio_text(ratio: tuple[float, float, float]) -> str:
    return f"{ratio[0]:6.2f} ({ratio[1]:.2f} .. {ratio[2]:.2f})"


# ---- measuring on MicroPython ----------------------------------------------------------------


def _bench_device() -> dict[str, Any] | None:
    try:
        device.micropython()
    except ToolError as err:
        print(f"\nMicroPython left out: {err}")
        return None
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="wattlog-bench-") as name:
        folder = Path(name)
        _progress("  compiling for MicroPython")
        sizes = device.compile_modules(folder)
        lines = [
            " ".join([model, *(frame.hex() for frame in frames.seconds_of(model, DEVICE_FRAMES))])
            for model in MODELS
        ]
        (folder / "frames.txt").write_text("\n".join(lines) + "\n")
        for line in device.run_lines(_ON_DEVICE, folder):
            _progress("  measuring on MicroPython")
            if line.startswith("{"):
                rows.append(json.loads(line))
    _progress("")
    head, *models = rows
    print(
        f"\nMicroPython {head['version']}, {device.HEAP_KIB} KiB of heap, "
        f"{'64' if head['small_int_bits'] > 32 else '32'} bit; fixed loop of "
        f"{head['calibration_steps']} steps: {head['calibration_us'] / 1000:.2f} ms"
    )
    print(f"  {'':<18}{'ms/frame':>9}{'loops':>8}{'bytes allocated':>17}")
    for row in models:
        _print_device_row(row, head["calibration_us"])
    return {"head": head, "models": models, "mpy_bytes": _print_sizes(sizes)}


def _print_device_row(row: dict[str, Any], calibration_us: int) -> None:
    print(
        f"  {row['model']}, frames of {row['frame_bytes']} bytes; after {row['growth_frames']} of "
        f"them {row['growth_bytes']:+d} bytes are held"
    )
    for name, way in DEVICE_WAYS:
        figures = row[way]
        print(
            f"  {name:<18}{figures['us'] / 1000:>9.3f}{figures['us'] / calibration_us:>8.3f}"
            f"{figures['alloc_bytes']:>17}"
        )


def _print_sizes(sizes: dict[str, int]) -> dict[str, int]:
    decoder = {name: sizes[f"wattlog.{name}"] for name in DECODER_MODULES}
    each = ", ".join(f"{name} {size}" for name, size in decoder.items())
    print(f"  decoder's bytecode: {sum(decoder.values())} bytes ({each})")
    return decoder


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
