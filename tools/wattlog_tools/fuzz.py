"""`wattlog-tools fuzz`: damaged input against who reads it, and what must hold of each.

Meters' streams against the decoder: wattlog_sim.mutate makes the inputs, and decoder_check
says what must hold. With --wire messages of agents against the host: world.wire_check. This runs
many of them, here or on MicroPython with the heap of an ESP32, and sums up what happened.
"""

import argparse
import gc
import json
import os
import platform
import resource
import sys
import tempfile
import time
import traceback
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wattlog_sim.decoder_check import Fuzz
from wattlog_sim.mutate import Mutator
from wattlog_tools import device, frames
from wattlog_tools.console import EXIT_OK, ToolError

EXIT_FAILED = 1
INPUTS = 20_000
FAILURES_MAX = 20
FRAMES_EACH_CAPTURE = 6

PEAK_SAMPLE_EVERY = 499
PEAK_BYTES_MAX = 512 * 1024
"""For one input and all of its results, several times over; a few kB each are usual."""
GROWTH_BYTES_MAX = 64 * 1024 * 1024
"""Of the process, which would show one input out of all that takes far too much."""
HELD_MAX = 2_000
"""Objects that live after the last input and did not after SETTLED_AFTER."""
SETTLED_AFTER = 5_000
DEVICE_HEAP_KIB = 128
"""An ESP32 leaves 56 to a program; half of this is for the damage and for the second opinion."""
PROGRESS_EVERY_S = 0.2
BAR_WIDTH = 30

# Runs on MicroPython; collecting often is what the firmware does too.
_ON_DEVICE = """
import gc
gc.threshold(4096)
from wattlog_sim.decoder_check import report
report("frames.txt", {seed}, 0, {count})
"""


class Totals:
    """What a run came to.

    inputs         that were run
    counts, drops  see decoder_check.Fuzz
    peak_bytes     most memory that one input took, of those sampled; None where none was
    held           objects that live longer than they should; None where that was not measured
    failures       one line each
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.inputs = 0
        self.counts: dict[str, int] = {}
        self.drops: dict[str, int] = {}
        self.peak_bytes: int | None = None
        self.held: int | None = None
        self.failures: list[str] = []


def main(arguments: Sequence[str]) -> int:
    """Run the inputs, print the failures and a summary; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.inputs < 1:
        raise ToolError("-n must be at least 1")
    if options.wire:
        return _wire(options)
    families = frames.simulated_families()
    what = f"{len(families)} simulated meters"
    corpus = None if options.no_corpus or options.micropython else frames.find_corpus()
    if corpus:
        captured = frames.captured_families(corpus, FRAMES_EACH_CAPTURE)
        families += captured
        what += f" and {len(captured)} captures"
    if options.replay:
        return _replay(Mutator(families), *options.replay)
    seed = _seed(options)
    where = f"CPython {platform.python_version()}"
    if options.micropython:
        where = f"MicroPython with {DEVICE_HEAP_KIB} KiB of heap"
    print(f"fuzz: seed {seed}, {options.inputs} inputs from frames of {what}, on {where}")
    sys.stdout.flush()
    totals = Totals()
    steps = (
        _steps_on_device(totals, families, seed, options.inputs)
        if options.micropython
        else _steps_here(
            totals,
            Fuzz(Mutator(families), seed),
            options.inputs,
            f"{'' if corpus else '--no-corpus '}--replay {seed}",
        )
    )
    took = _driven(totals, steps, options)
    _print_summary(totals, took, _decoder_rows(totals))
    return EXIT_FAILED if totals.failures else EXIT_OK


def _wire(options: argparse.Namespace) -> int:
    """Do the same with messages of agents."""
    if options.micropython:
        raise ToolError("--wire is the host's way in: it does not run on MicroPython")
    from wattlog_sim.world.wire_check import WireFuzz

    if options.replay:
        return _replay_message(WireFuzz(options.replay[0]), *options.replay)
    seed = _seed(options)
    print(f"fuzz: seed {seed}, {options.inputs} messages, on CPython {platform.python_version()}")
    sys.stdout.flush()
    totals = Totals()
    steps = _steps_here(totals, WireFuzz(seed), options.inputs, f"--wire --replay {seed}")
    took = _driven(totals, steps, options)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(totals.counts.items()))
    _print_summary(totals, took, [("accepted", kinds or "nothing"), _refused_row(totals)])
    return EXIT_FAILED if totals.failures else EXIT_OK


def _seed(options: argparse.Namespace) -> int:
    given: int | None = options.seed
    return int.from_bytes(os.urandom(3), "big") if given is None else given


def _driven(totals: Totals, steps: Iterator[int], options: argparse.Namespace) -> str:
    """Run the steps; return how long that took, in words."""
    started_s = time.monotonic()
    interrupted = ""
    try:
        _drive(totals, steps, options.inputs, options.seconds)
    except KeyboardInterrupt:
        interrupted = ", interrupted"
    _progress("")
    return f"{time.monotonic() - started_s:.0f} s{interrupted}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools fuzz",
        description="Damages SML streams in every way that we know and checks that the decoder "
        "raises nothing, loses no undamaged frame, gives the same however the stream is cut, and "
        "reads through learned layouts what a full parse reads.",
    )
    parser.add_argument(
        "-n",
        dest="inputs",
        type=int,
        default=INPUTS,
        metavar="N",
        help=f"how many inputs (default {INPUTS})",
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="the same seed gives the same inputs (default: any)"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="T", help="end after this time, whatever -n says"
    )
    parser.add_argument(
        "--replay",
        type=_seed_and_index,
        metavar="SEED:INDEX",
        help="run one input again, and print it and what is wrong with it",
    )
    parser.add_argument(
        "--no-corpus",
        action="store_true",
        help="simulated meters only, even where there are captures "
        f"({frames.CORPUS_VARIABLE}, or beside the project)",
    )
    parser.add_argument(
        "--wire",
        action="store_true",
        help="damage messages of agents instead, against the host",
    )
    parser.add_argument(
        "--micropython",
        action="store_true",
        help=f"run on MicroPython, in {DEVICE_HEAP_KIB} KiB of heap, with simulated meters",
    )
    return parser


def _seed_and_index(text: str) -> tuple[int, int]:
    seed, _, index = text.partition(":")
    return int(seed), int(index)


def _replay(mutator: Mutator, seed: int, index: int) -> int:
    fuzz = Fuzz(mutator, seed)
    for _, case, failure in fuzz.run(index, 1):
        print(f"damage: {case.stream[: case.damage_bytes].hex()}")
        print(f"two good frames: {case.stream[case.damage_bytes :].hex()}")
        if fuzz.error:
            traceback.print_exception(fuzz.error)
        print(f"{seed}:{index}: {failure or 'all holds'}")
        if failure:
            return EXIT_FAILED
    return EXIT_OK


def _replay_message(fuzz: Any, seed: int, index: int) -> int:
    # What is known of agents by then may matter: all before it run, too.
    for at, case, failure in fuzz.run(0, index + 1):
        if at == index:
            print(f"{case.topic}: {case.stream.hex()}")
            if fuzz.error:
                traceback.print_exception(fuzz.error)
            print(f"{seed}:{index}: {failure or 'all holds'}")
            return EXIT_FAILED if failure else EXIT_OK
    return EXIT_OK


def _drive(totals: Totals, steps: Iterator[int], inputs: int, seconds: float | None) -> None:
    started_s = shown_s = time.monotonic()
    for done in steps:
        totals.inputs = done
        if len(totals.failures) >= FAILURES_MAX:
            break
        now_s = time.monotonic()
        if seconds is not None and now_s - started_s >= seconds:
            break
        if now_s - shown_s >= PROGRESS_EVERY_S:
            shown_s = now_s
            bar = "#" * (BAR_WIDTH * done // inputs)
            rate = done / (now_s - started_s)
            _progress(f"[{bar:<{BAR_WIDTH}}] {done} of {inputs}, {rate:.0f}/s")


def _steps_here(totals: Totals, fuzz: Any, inputs: int, replay: str) -> Iterator[int]:
    """Run the inputs of a Fuzz or a WireFuzz in this process; yield how many are done.

    replay and the index of an input are how it is run again.
    """
    totals.counts, totals.drops = fuzz.counts, fuzz.drops
    results = fuzz.run(0, inputs)
    settled = None
    for done in range(1, inputs + 1):
        sampled = done % PEAK_SAMPLE_EVERY == 0
        if sampled:
            tracemalloc.start()
        index, case, failure = next(results)
        if sampled:
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            totals.peak_bytes = max(totals.peak_bytes or 0, peak_bytes)
            if peak_bytes > PEAK_BYTES_MAX and failure is None:
                failure = f"took {peak_bytes} bytes of memory"
        if failure:
            _note_failure(totals, f"{replay}:{index}", failure, case.stream.hex())
        if done == SETTLED_AFTER:
            settled = _objects(), _resident_bytes_max()
        yield done
    next(results, None)  # lets it sum up
    if settled is not None:
        totals.held = max(0, _objects() - settled[0])
        if totals.held > HELD_MAX:
            totals.failures.append(f"{totals.held} objects are held for ever")
        growth_bytes = _resident_bytes_max() - settled[1]
        if growth_bytes > GROWTH_BYTES_MAX:
            totals.failures.append(f"some input took {growth_bytes} bytes of memory")


def _steps_on_device(
    totals: Totals, families: list[list[bytes]], seed: int, inputs: int
) -> Iterator[int]:
    """Run the inputs on MicroPython; yield how many are done."""
    with tempfile.TemporaryDirectory(prefix="wattlog-fuzz-") as name:
        folder = Path(name)
        device.compile_modules(folder)
        lines = [" ".join(frame.hex() for frame in family) for family in families]
        (folder / "frames.txt").write_text("\n".join(lines) + "\n")
        for line in device.run_lines(
            _ON_DEVICE.format(seed=seed, count=inputs), folder, DEVICE_HEAP_KIB
        ):
            try:
                row = json.loads(line)
            except ValueError:
                continue  # a traceback, whose last line comes with the exit status
            if "failure" in row:
                replay = f"--no-corpus --replay {seed}:{row['index']}"
                _note_failure(totals, replay, row["failure"], row["hex"])
            elif "done" in row:
                yield row["done"]
            else:
                totals.counts, totals.drops = row["counts"], row["drops"]
        yield totals.counts.get("inputs", 0)


def _note_failure(totals: Totals, replay: str, failure: str, stream_hex: str) -> None:
    _progress("")
    line = f"FAIL {failure}; again with: wattlog-tools fuzz {replay}; input: {stream_hex}"
    totals.failures.append(line)
    print(line)
    sys.stdout.flush()


def _objects() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def _resident_bytes_max() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _print_summary(totals: Totals, took: str, more: Sequence[tuple[str, str]]) -> None:
    bounded = []
    if totals.peak_bytes is not None:
        bounded.append(
            f"{totals.peak_bytes / 1000:.0f} kB at most for one input (1 of "
            f"{PEAK_SAMPLE_EVERY} sampled)"
        )
    if totals.held is not None:
        bounded.append(f"{totals.held} objects more at the end than after {SETTLED_AFTER} inputs")
    rows = [
        ("inputs", f"{totals.inputs} in {took}"),
        *more,
        ("memory", "; ".join(bounded) or "bounded by the heap"),
        ("failures", str(len(totals.failures)) if totals.failures else "none"),
    ]
    # What was not printed when it was found.
    for line in totals.failures:
        if not line.startswith("FAIL "):
            print(f"FAIL {line}")
    for name, text in rows:
        print(f"  {name:<16}{text}")


def _decoder_rows(totals: Totals) -> list[tuple[str, str]]:
    counts = totals.counts
    good = 2 * totals.inputs
    damaged = counts.get("payloads", 0) - good + counts.get("first_covered", 0)
    return [
        (
            "good frames",
            f"{good} behind the damage, {counts.get('first_covered', 0)} of them "
            "inside of damage with a right checksum",
        ),
        ("through the CRC", f"{damaged} damaged frames"),
        _refused_row(totals),
        ("layouts", f"{counts.get('learned', 0)} frames read through one, like a full parse"),
        ("readings", f"{counts.get('readings', 0)} the same on both ways"),
    ]


def _refused_row(totals: Totals) -> tuple[str, str]:
    drops = sorted(totals.drops.items(), key=lambda item: -item[1])
    return "refused", ", ".join(f"{count} {reason}" for reason, count in drops) or "nothing"


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
