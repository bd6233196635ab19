"""`wattlog-tools powercut`: cuts the power of the log wherever that can be, and looks.

wattlog_sim.log_lab says what is done to a log and what must hold afterwards; this runs much of it
on all cores, and sums up what happened.
"""

import argparse
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import platform
import signal
import sys
import time
import traceback
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from wattlog import ringlog, ringrepair, ringsector
from wattlog_sim.flash import FakeFlash
from wattlog_sim.log_lab import EVERYWHERE_OF, Lab, words
from wattlog_tools.console import EXIT_OK, ToolError

EXIT_FAILED = 1
FAILURES_MAX = 20
SEED_BITS = 24
CHECK_S_MAX = 10
PROGRESS_EVERY_S = 0.2
BAR_WIDTH = 30
KINDS = ("lost", "invented", "miscounted", "raised")


class Experiment(NamedTuple):
    """A row of what can be done; `name` is the option, and the method of Lab."""

    name: str
    default: int
    what: str
    help: str


EXPERIMENTS = (
    Experiment("cuts", 50_000, "single cuts", "at every byte and erase, with torn bits"),
    Experiment("doubles", 5_000, "double cuts", "again in the recovery and the first steps after"),
    Experiment("rots", 16_000, "rotten bits", "each bit of a full flash, alone"),
    Experiment("wavers", 4_000, "wavering cells", "cuts whose cells read differently each time"),
    Experiment("faults", 4_000, "failing calls", "of the device, in every operation"),
)

BREAKS = {
    "crc": ((ringsector.Sectors, "verify"), (ringsector.Sectors, "payload")),
    "header-crc": ((ringsector, "parse_header"), (ringrepair, "parse_header")),
}
"""What does without a check, by what it is called on the command line."""


class Task(NamedTuple):
    """One workload of one experiment."""

    experiment: str
    seed: int
    workload: int
    broken: str | None


class Part(NamedTuple):
    """What came of a task: how many images, and (name, what is wrong) of those that failed."""

    images: int
    failures: list[tuple[str, str]]


RunAll = Callable[[str, int, str | None], Iterator[tuple[Task, Part]]]


class Totals:
    """What a run came to; images and workloads by experiment, failures by kind."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.images = dict.fromkeys((row.name for row in EXPERIMENTS), 0)
        self.workloads = dict.fromkeys((row.name for row in EXPERIMENTS), 0)
        self.kinds = dict.fromkeys(KINDS, 0)


def main(arguments: Sequence[str]) -> int:
    """Run the experiments, print the failures and a summary; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.case:
        return _replay(options.case, options.broken)
    wanted = {row.name: getattr(options, row.name) for row in EXPERIMENTS}
    if min(wanted.values()) < 0 or options.jobs < 1:
        raise ToolError("numbers of cuts must be at least 0, and --jobs at least 1")
    seed = int.from_bytes(os.urandom(4), "big") >> (32 - SEED_BITS)
    seed = seed if options.seed is None else options.seed
    if not 0 <= seed < 1 << SEED_BITS:
        raise ToolError(f"--seed must be from 0 to {(1 << SEED_BITS) - 1}")
    what = ", ".join(f"{wanted[row.name]} {row.what}" for row in EXPERIMENTS if wanted[row.name])
    how = f" with {options.broken} broken" if options.broken else ""
    print(f"powercut: seed {seed}, {what}{how}, on CPython {platform.python_version()}")
    sys.stdout.flush()
    totals = Totals()
    started_s = time.monotonic()
    interrupted = False
    try:
        _drive(totals, wanted, seed, options.jobs, options.broken)
    except KeyboardInterrupt:
        interrupted = True
    _progress("")
    _print_summary(totals, seed, time.monotonic() - started_s, interrupted)
    return EXIT_FAILED if sum(totals.kinds.values()) else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattlog-tools powercut",
        description="Runs the ring log on a fake flash, cuts its power at every byte it programs "
        "and at every erase, lets bits rot, waver and calls fail, mounts what is left, and checks "
        "that all is there that was promised and nothing else.",
    )
    for row in EXPERIMENTS:
        parser.add_argument(
            f"--{row.name}",
            type=int,
            default=row.default,
            metavar="N",
            help=f"at least so many {row.what}: {row.help} (default {row.default})",
        )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="the same seed gives the same images (default: any)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="how many processes (default: one for each core)",
    )
    parser.add_argument(
        "--break",
        dest="broken",
        choices=BREAKS,
        help="take this check out of the log: to see that the laboratory notices",
    )
    parser.add_argument(
        "--case",
        type=_case,
        metavar="EXPERIMENT:SEED:WORKLOAD:NAME",
        help="do one thing again, and print what is wrong with it",
    )
    return parser


def _case(text: str) -> tuple[Task, str]:
    experiment, seed, index, name = text.split(":")
    if experiment not in {row.name for row in EXPERIMENTS}:
        raise ValueError(text)
    return Task(experiment, int(seed), int(index), None), name


# ---- running ---------------------------------------------------------------------------------


def mount(device: FakeFlash, log_id: int) -> Any:
    """Mount the log that is tried."""
    return ringlog.RingLog(device, lambda: log_id)


def run_task(task: Task) -> Part:
    """Do all cases of a workload."""
    images = 0
    failures: list[tuple[str, str]] = []
    with broken(task.broken):
        lab = Lab(mount, task.seed)
        try:
            for name, check in getattr(lab, task.experiment)(task.workload):
                images += 1
                with _time_limit():
                    failure = check()
                if failure:
                    failures.append((_joined(name), failure))
                    if len(failures) >= FAILURES_MAX:
                        break
        except Exception as error:  # noqa: BLE001 - without any cut: a finding all the same
            failures.append(("life", words(error)))
    return Part(images, failures)


class _AnySeal(int):
    """A checksum that is right whatever was read; what is written stays as it should be."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __rxor__(self, other: int) -> int:
        return 0

    __hash__ = int.__hash__


def _believing(function: Any) -> Any:
    """Return the same function of ringsector, but for it any checksum is right."""
    real = ringsector.seal_of
    names = {**vars(ringsector), "seal_of": lambda crc: _AnySeal(real(crc))}
    twin = types.FunctionType(function.__code__, names)
    twin.__defaults__ = function.__defaults__
    return twin


@contextlib.contextmanager
def broken(what: str | None) -> Iterator[None]:
    """Take a check out of the log for a while."""
    with contextlib.ExitStack() as stack:
        for owner, name in BREAKS[what] if what else ():
            real = getattr(owner, name)
            setattr(owner, name, _believing(real))
            stack.callback(setattr, owner, name, real)
        yield


def _drive(totals: Totals, wanted: dict[str, int], seed: int, jobs: int, what: str | None) -> None:
    started_s = shown_s = time.monotonic()
    whole = sum(wanted.values())
    with _workers(jobs) as run_all:
        for row in EXPERIMENTS:
            if not wanted[row.name]:
                continue
            # The results come in order, so what is counted does not depend on the cores.
            for task, part in run_all(row.name, seed, what):
                totals.images[row.name] += part.images
                totals.workloads[row.name] += 1
                _note_failures(totals, task, part)
                if sum(totals.kinds.values()) >= FAILURES_MAX:
                    return
                now_s = time.monotonic()
                if now_s - shown_s >= PROGRESS_EVERY_S:
                    shown_s = now_s
                    done = sum(totals.images.values())
                    bar = "#" * min(BAR_WIDTH, BAR_WIDTH * done // whole)
                    rate = done / (now_s - started_s)
                    _progress(f"[{bar:<{BAR_WIDTH}}] {row.what}, {done} images, {rate:.0f}/s")
                if totals.images[row.name] >= wanted[row.name]:
                    break


@contextlib.contextmanager
def _workers(jobs: int) -> Iterator["RunAll"]:
    """Hand out what runs the workloads of an experiment, one after the other or side by side."""

    def tasks(experiment: str, seed: int, what: str | None) -> Iterator[Task]:
        return (Task(experiment, seed, index, what) for index in itertools.count())

    if jobs == 1:
        yield lambda *row: ((task, run_task(task)) for task in tasks(*row))
        return
    with concurrent.futures.ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn")
    ) as pool:

        def run_all(experiment: str, seed: int, what: str | None) -> Iterator[tuple[Task, Part]]:
            waiting: deque[tuple[Task, concurrent.futures.Future[Part]]] = deque()
            try:
                for task in tasks(experiment, seed, what):
                    waiting.append((task, pool.submit(run_task, task)))
                    if len(waiting) > jobs:
                        done, part = waiting.popleft()
                        yield done, part.result()
            finally:
                for _, part in waiting:
                    part.cancel()

        yield run_all


class NoEnd(Exception):
    """A check takes so long that it will not end."""


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """Raise NoEnd in what goes round in circles without asking the device."""

    def stop(number: int, frame: object) -> None:
        del number, frame
        raise NoEnd(f"no end after {CHECK_S_MAX} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CHECK_S_MAX)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _note_failures(totals: Totals, task: Task, part: Part) -> None:
    how = f" --break {task.broken}" if task.broken else ""
    for name, failure in part.failures:
        kind = failure.partition(":")[0].partition(" ")[0]
        totals.kinds[kind if kind in totals.kinds else "raised"] += 1
        _progress("")
        print(
            f"FAIL {failure}; again with: wattlog-tools powercut{how} --case "
            f"{task.experiment}:{task.seed}:{task.workload}:{name}"
        )
        sys.stdout.flush()


def _replay(case: tuple[Task, str], what: str | None) -> int:
    task, wanted_name = case
    failure: str | None = None
    found = False
    with broken(what):
        lab = Lab(mount, task.seed)
        try:
            for name, check in getattr(lab, task.experiment)(task.workload):
                if _joined(name) == wanted_name:
                    found = True
                    with _time_limit():
                        failure = check()
                    break
        except Exception as error:  # noqa: BLE001 - without any cut: a finding all the same
            lab.error = error
            found = True
            failure = words(error)
    if not found:
        raise ToolError(f"workload {task.workload} has no case {wanted_name}")
    if lab.error:
        traceback.print_exception(lab.error)
    print(f"{task.experiment}:{task.seed}:{task.workload}:{wanted_name}: {failure or 'all holds'}")
    return EXIT_FAILED if failure else EXIT_OK


def _joined(name: tuple[int, ...]) -> str:
    return ".".join(map(str, name))


def _print_summary(totals: Totals, seed: int, seconds: float, interrupted: bool) -> None:
    for row in EXPERIMENTS:
        if totals.images[row.name]:
            count = totals.workloads[row.name]
            line = f"  {row.what:<16}{totals.images[row.name]} of {count} workloads"
            if row.name == "cuts":
                everywhere = -(-count // EVERYWHERE_OF)
                line += f", {everywhere} of them at every byte and erase"
            print(line)
    did = ", ".join(f"{totals.images[row.name]} {row.what}" for row in EXPERIMENTS)
    kinds = ", ".join(f"{count} {kind}" for kind, count in totals.kinds.items())
    end = ", interrupted" if interrupted else ""
    print(f"powercut: {did}: {kinds}; seed {seed}, {seconds:.0f} s{end}")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
