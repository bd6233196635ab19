"""One run of a fleet: the programs are started, heads send, some are killed, all is compared."""

import argparse
import contextlib
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wattlog_host.clock import now_ms
from wattlog_host.store.kinds import Place
from wattlog_tools import fleet_check, fleet_parts
from wattlog_tools.console import StopSignal, ToolError
from wattlog_tools.fleet_crew import Crew, Stopped, crew_of
from wattlog_tools.fleet_head import Plan, edge_of
from wattlog_tools.fleet_link import Login
from wattlog_tools.fleet_load import SHARED_USER, Begin, Order, Tally
from wattlog_tools.fleet_parts import Part, Usage
from wattlog_tools.fleet_report import Blow, Ran

START_S_MAX = 60.0
DRAIN_S_MAX = 600.0
RESTART_S_MAX = 120.0
SAMPLE_EVERY_S = 1.0
SHOW_EVERY_S = 0.5
LINE_EVERY_S = 10.0
"""Where no terminal is, there is a line now and then."""
LEVEL_SLACK = 1.05
BAR_WIDTH = 30
GENERATOR = "generator"


class Kind(NamedTuple):
    """What can be killed: the option's word, and the names of the parts that it means."""

    word: str
    parts: str


KINDS = (
    Kind("host", "host"),
    Kind("worker", "worker-1"),
    Kind("postmaster", "postmaster"),
    Kind("broker", "broker"),
)


class Fleet:
    """One run of it, from the start of the programs to the comparison."""

    def __init__(
        self,
        options: argparse.Namespace,
        folder: Path,
        place: Place,
        server: fleet_parts.Postgres | None,
        stop: StopSignal,
    ) -> None:
        """Take what was asked for, a folder, the database, and what hears Ctrl-C."""
        self._options, self._place, self._stop = options, place, stop
        plan_ms = {
            name: round(1000 * getattr(options, name))
            for name in ("interval", "batch", "status", "live")
        }
        self.plan = Plan(
            options.seed,
            options.heads,
            plan_ms["interval"],
            plan_ms["batch"],
            max(plan_ms["interval"], plan_ms["batch"], 1000 * options.heads // options.begin),
            plan_ms["status"],
            plan_ms["live"],
        )
        is_shared = options.connections < options.heads
        users = [] if is_shared else [edge_of(number) for number in range(options.heads)]
        broker, self._access = fleet_parts.broker(
            folder, users, options.connections, SHARED_USER if is_shared else None
        )
        self._parts = [broker]
        self._parts += [server.part] if server is not None else []
        self._parts += fleet_parts.hosts(folder, self._access, place, options.workers)
        # The fleet's time begins when its first head starts; it is measured from when all are on.
        self._spread_s = self.plan.spread_ms / 1000
        self._end_s = self._spread_s + 60 * options.minutes
        kills = [next(kind.parts for kind in KINDS if kind.word == word) for word in options.kill]
        step_s = 60 * options.minutes / (len(kills) + 1)
        self._blows = [
            Blow(part, self._spread_s + step_s * (index + 1)) for index, part in enumerate(kills)
        ]
        self._start_s = 0.0
        self._start_epoch_ms = 0
        self._levels: list[tuple[float, int]] = []
        self._usage: dict[str, Usage] = {}
        self._peak_bytes: dict[str, int] = {}
        self._sampled_s = self._shown_s = 0.0

    def run(self) -> Ran:
        """Start all, wait for its end, compare; return what it was."""
        with contextlib.ExitStack() as stack:
            for part in self._parts:
                progress(f"starting {part.name}")
                part.start()
                stack.push(partial(_end, part))
                self._wait_for(part, START_S_MAX)
            crew = stack.enter_context(crew_of(self._orders()))
            marks = self._drive(crew)
            results = crew.end()
            for part in self._parts:
                if part.name.startswith(("host", "worker")):
                    part.stop()
            self._sample(crew)
            made = [0] * self.plan.heads
            for index, result in enumerate(results):
                made[index :: len(results)] = result.made
            found = fleet_check.look(
                self._place, self.plan, made, self._start_epoch_ms, self._tell_check(sum(made))
            )
        progress("")
        return Ran(
            self._options,
            isinstance(self._place, Path),
            marks,
            results,
            self._blows,
            self._usage,
            self._peak_bytes,
            found,
        )

    def _orders(self) -> list[Order]:
        options, count = self._options, self._options.generators
        login = Login(self._access.port, self._access.password)
        return [
            Order(
                self.plan,
                range(index, options.heads, count),
                len(range(index, options.connections, count)),
                login,
            )
            for index in range(count)
        ]

    def _wait_for(self, part: Part, s_max: float) -> None:
        deadline_s = time.monotonic() + s_max
        while not part.tend():
            self._pause(0.1)
            if time.monotonic() > deadline_s:
                raise ToolError(f"{part.name} does not start: {part.words()}")

    def _pause(self, seconds: float) -> None:
        self._stop.wait(seconds)
        if self._stop.count:
            raise Stopped

    # ---- the run -------------------------------------------------------------------------------

    def _drive(self, crew: Crew) -> dict[str, tuple[float, Tally]]:
        """Go through the run until all is acknowledged; return how it stood at its marks."""
        ahead_s = 1 + 5e-4 * self.plan.heads
        self._start_s = time.monotonic() + ahead_s
        self._start_epoch_ms = now_ms() + round(1000 * ahead_s)
        crew.begin(Begin(self._start_s, self._start_epoch_ms, round(1000 * self._end_s)))
        marks: dict[str, tuple[float, Tally]] = {}
        while True:
            tally = crew.hear(self._stop, 0.1)
            now_s = time.monotonic() - self._start_s
            for mark, at_s in (("steady", self._spread_s), ("end", self._end_s)):
                if now_s >= at_s and mark not in marks:
                    marks[mark] = (now_s, tally)
            self._tend(now_s, tally)
            if time.monotonic() - self._sampled_s >= SAMPLE_EVERY_S:
                self._sample(crew)
            self._show(now_s, tally)
            if now_s >= self._end_s and tally.waiting == 0 and not self._is_down():
                marks["drained"] = (now_s, tally)
                return marks
            if now_s > self._end_s + DRAIN_S_MAX:
                marks["drained"] = (now_s, tally)  # what is not there is lost: the check tells
                return marks

    def _is_down(self) -> bool:
        return any(not part.is_ready for part in self._parts)

    def _tend(self, now_s: float, tally: Tally) -> None:
        """Kill whom it is time to kill, bring back who was, and see when all is caught up."""
        for part in self._parts:
            part.tend()
        ready = {part.name: part.is_ready for part in self._parts}
        self._levels = [one for one in self._levels if now_s - one[0] < 2 * self._spread_s]
        for index, blow in enumerate(self._blows):
            if blow.done_s is None and now_s >= blow.due_s and all(ready.values()):
                level = max((waiting for _, waiting in self._levels), default=0)
                next(part for part in self._parts if part.name == blow.part).kill()
                self._blows[index] = blow._replace(done_s=now_s, level=level)
                return
            if blow.done_s is None:
                break
            if blow.ready_s is None:
                if ready[blow.part]:
                    self._blows[index] = blow._replace(ready_s=now_s)
                elif now_s - blow.done_s > RESTART_S_MAX:
                    raise ToolError(f"{blow.part} does not come back")
            elif blow.over_s is None and self._is_caught_up(blow, tally):
                self._blows[index] = blow._replace(over_s=now_s)
        self._levels.append((now_s, tally.made - tally.stored - tally.refused))

    def _is_caught_up(self, blow: Blow, tally: Tally) -> bool:
        """Tell whether what waited because of a kill is stored: no more waits than before it."""
        assert blow.ready_s is not None
        waiting = tally.made - tally.stored - tally.refused
        is_answered = tally.oldest_s is None or tally.oldest_s > self._start_s + blow.ready_s
        return (
            tally.connected == self.plan.heads
            and is_answered
            and waiting <= max(LEVEL_SLACK * blow.level, 1)
        )

    def _sample(self, crew: Crew) -> None:
        self._sampled_s = time.monotonic()
        for part in self._parts:
            usage = part.sample()
            self._note(part.name, usage)
        mine = [fleet_parts.usage_of(pid) for pid in (os.getpid(), *crew.pids())]
        self._note(
            GENERATOR, Usage(sum(one.cpu_s for one in mine), sum(one.rss_bytes for one in mine))
        )

    def _note(self, name: str, usage: Usage) -> None:
        before = self._usage.get(name, usage)
        self._usage[name] = Usage(max(before.cpu_s, usage.cpu_s), usage.rss_bytes)
        self._peak_bytes[name] = max(self._peak_bytes.get(name, 0), usage.rss_bytes)

    # ---- what is shown -------------------------------------------------------------------------

    def _show(self, now_s: float, tally: Tally) -> None:
        every_s = SHOW_EVERY_S if sys.stderr.isatty() else LINE_EVERY_S
        if time.monotonic() - self._shown_s < every_s:
            return
        self._shown_s = time.monotonic()
        share = min(1.0, max(0.0, now_s / self._end_s))
        bar = "#" * int(BAR_WIDTH * share)
        down = [part.name for part in self._parts if not part.is_ready]
        what = f"{tally.connected} heads, {tally.stored} of {tally.made} readings stored"
        if now_s >= self._end_s:
            what += f", waiting for {tally.waiting or 0}"
        what += f", {tally.resent} batches sent again" if tally.resent else ""
        what += f", {' '.join(down)} down" if down else ""
        how_far = f"{_clock(now_s)} of {_clock(self._end_s)}, {what}"
        if sys.stderr.isatty():
            progress(f"[{bar:<{BAR_WIDTH}}] {how_far}")
        else:
            print(f"fleet: {how_far}", file=sys.stderr, flush=True)

    def _tell_check(self, made: int) -> fleet_check.Progress:
        def tell(count: int) -> None:
            bar = "#" * (BAR_WIDTH * min(count, made) // max(1, made))
            progress(f"[{bar:<{BAR_WIDTH}}] compared {count} of {made} readings")
            if self._stop.count:
                raise Stopped

        return tell


def _clock(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02}"


def _end(part: Part, kind: type[BaseException] | None, *_: object) -> None:
    """End it; at Ctrl-C at once, for all it has goes with it."""
    part.stop(0 if kind is Stopped else fleet_parts.STOP_S_MAX)


def progress(text: str) -> None:
    """Show how far it is, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
