"""`wattlog-tools sim`: whole days of agent, network and host in virtual time, and all that fails.

wattlog_sim.world.day is one run: the real agent and the real ingest and store in one process, on
a flash that tears, a network that loses, a host that is killed. This runs many seeds on all
cores, and sums up.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from wattlog_sim.world.day import VARIANTS, Outcome, Setup, prepare, run
from wattlog_tools.console import EXIT_OK, ToolError

EXIT_FAILED = 1
SEEDS = 20
HOURS = 24
HOURS_MAX = 24 * 14
INTERVAL_S = 10
AGAIN_OF = 20
"""One seed in so many is run twice, of thousands fewer: the same seed must give the same bytes."""
FAILURES_MAX = 20
PROGRESS_EVERY_S = 0.2
BAR_WIDTH = 30


def main(arguments: Sequence[str]) -> int:
    """Run the seeds, print the failures and a summary; return the exit status."""
    options = _parser().parse_args(arguments)
    if not 1 <= options.hours <= HOURS_MAX:
        raise ToolError(f"--hours must be from 1 to {HOURS_MAX}")
    if options.seeds < 0 or options.jobs < 1 or not 1 <= options.interval <= 60:
        raise ToolError("--seeds must not be below 0, --jobs be at least 1, --interval 1 to 60")
    first = int.from_bytes(os.urandom(3), "big") if options.seed is None else options.seed
    count = options.seeds or (SEEDS if options.seed is None else 1)
    setups = [Setup(first + index, options.hours, options.interval) for index in range(count)]
    print(
        f"sim: seeds {first} to {first + count - 1}, {options.hours} h each, a reading every "
        f"{options.interval} s, on CPython {platform.python_version()}"
    )
    sys.stdout.flush()
    totals: Counter[str] = Counter()
    failed = done = 0
    started_s = shown_s = time.monotonic()
    outcome = None
    for outcome in _outcomes(setups, min(options.jobs, count)):
        done += 1
        totals.update(outcome.counts)
        totals["slowest drain, s"] = max(totals["slowest drain, s"], outcome.drain_s)
        if outcome.failure:
            failed += 1
            _progress("")
            print(f"FAIL {outcome.failure}; again with: wattlog-tools sim {outcome.setup}")
            sys.stdout.flush()
            if failed >= FAILURES_MAX:
                break
        now_s = time.monotonic()
        if now_s - shown_s >= PROGRESS_EVERY_S:
            shown_s = now_s
            bar = "#" * (BAR_WIDTH * done // count)
            _progress(f"[{bar:<{BAR_WIDTH}}] {done} of {count} seeds, {failed} failed")
    _progress("")
    _print_summary(totals, done, failed, time.monotonic() - started_s)
    if count == 1 and outcome is not None:
        print(f"  {'troubles':<18}{', '.join(outcome.troubles) or 'none'}")
        print(f"  {'digest':<18}{outcome.digest}")
    return EXIT_FAILED if failed else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools sim",
        description="Runs the agent, the network and the host in virtual time, lets everything "
        "fail that can, heals it, and checks that the database then holds what the log had "
        "promised: each reading once, nothing else, and every loss as a gap.",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="S",
        help="the first seed; the same seed does the same, byte for byte (default: any)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=0,
        metavar="N",
        help=f"how many, rising from the first (default {SEEDS}, with --seed 1)",
    )
    parser.add_argument(
        "--hours",
        type=int,
        default=HOURS,
        metavar="H",
        help=f"virtual hours of each, before it is healed (default {HOURS})",
    )
    parser.add_argument(
        "--interval",
        type=int,
        default=INTERVAL_S,
        metavar="SECONDS",
        help=f"between two readings (default {INTERVAL_S})",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="how many processes (default: one for each core)",
    )
    return parser


def one(setup: Setup, again_of: int = AGAIN_OF) -> Outcome:
    """Run one seed; one of so many twice, to see that it does the same again."""
    outcome = run(setup)
    if setup.seed % again_of == 0 and not outcome.failure:
        again = run(setup)
        outcome.counts["run twice"] = 1
        if again.digest != outcome.digest:
            return outcome._replace(failure="the same seed did something else the second time")
    return outcome


def _outcomes(setups: Sequence[Setup], jobs: int) -> Iterator[Outcome]:
    again_of = max(AGAIN_OF, len(setups) // 50)
    if jobs == 1:
        yield from (one(setup, again_of) for setup in setups)
        return
    for setup in setups[:VARIANTS]:
        prepare(setup)
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        tasks = [pool.submit(one, setup, again_of) for setup in setups]
        try:
            for task in concurrent.futures.as_completed(tasks):
                yield task.result()
        finally:
            for task in tasks:
                task.cancel()


def _print_summary(totals: Counter[str], done: int, failed: int, seconds: float) -> None:
    rows = [("seeds", f"{done} in {seconds:.0f} s")]
    rows += [(name, str(count)) for name, count in totals.items()]
    rows.append(("failures", str(failed) if failed else "none"))
    for name, text in rows:
        print(f"  {name:<18}{text}")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
