"""A process of the fleet: its heads, their connections, and what it tells of them.

Several may run beside each other; each has every so-manieth head. It speaks with the command
through a pipe, waits on sockets only, and ends when the pipe does.
"""

import gc
import heapq
import selectors
import signal
import time
from array import array
from collections import Counter
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import NamedTuple

from wattlog.records import BATCH_BYTES
from wattlog.uplink import UP
from wattlog_sim.lcg import Lcg
from wattlog_tools.fleet_head import Head, Meter, Plan, set_pace
from wattlog_tools.fleet_link import HeadLink, Login, Post, Wire

TELL_EVERY_S = 0.5
STEPS_MAX = 500
"""Heads that are stepped before sockets are looked at again."""
WAIT_S_MAX = 0.25
STEP_MS_MAX = 60_000
SHARED_USER = "wattlog-fleet"

_SUB_BITS = 5


class Order(NamedTuple):
    """What a process is to do.

    numbers      its heads
    connections  of this process; as many as heads: each has its own
    """

    plan: Plan
    numbers: range
    connections: int
    login: Login


class Begin(NamedTuple):
    """Start at start_s of the monotonic clock, when the wall clock says start_epoch_ms."""

    start_s: float
    start_epoch_ms: int
    end_ms: int


class Tally(NamedTuple):
    """How it stands; oldest_s is when the oldest batch went that has no answer, None for none."""

    made: int
    stored: int
    refused: int
    batches: int
    resent: int
    on_way: int
    oldest_s: float | None
    connected: int
    waiting: int | None
    """Records in the heads' logs; looked at only when nothing is read any more."""


class Result(NamedTuple):
    """What a process leaves: readings of each of its heads, and histograms of ms."""

    made: "array[int]"
    evicted: int
    ack_us: Counter[int]
    reading_us: Counter[int]
    late_us: Counter[int]


class Stop(NamedTuple):
    """End now, and say what there was."""


def bucket(value: int) -> int:
    """Return the number of the bucket of a value from 0 on: 32 for each power of two, 3 % wide."""
    shift = max(0, value.bit_length() - _SUB_BITS - 1)
    return (shift << _SUB_BITS) + (value >> shift)


def bucket_end(number: int) -> int:
    """Return the greatest value of that bucket."""
    shift = max(0, (number >> _SUB_BITS) - 1)
    return ((number - (shift << _SUB_BITS) + 1) << shift) - 1


def quantile(counts: Counter[int], share: float) -> int | None:
    """Return what this share of the values did not exceed, None where there are none."""
    left = share * counts.total()
    for number in sorted(counts):
        left -= counts[number]
        if left <= 0:
            return bucket_end(number)
    return None


class Load:
    """The heads of one process, and what is due when; now_ms counts from the fleet's start."""

    def __init__(self, order: Order, begin: Begin) -> None:
        """Make all heads; none is on before its time."""
        self._begin = begin
        self._selector = selectors.DefaultSelector()
        self._awake: set[HeadLink] = set()
        self._post = Post()
        self._stored = self._refused = self._batches = 0
        self.ack_us: Counter[int] = Counter()
        self.reading_us: Counter[int] = Counter()
        self.late_us: Counter[int] = Counter()
        set_pace(order.plan)
        lcg, batch_buf = Lcg(order.plan.seed, -1 - order.numbers.start), bytearray(BATCH_BYTES)
        is_own = order.connections >= len(order.numbers)
        count = 0 if is_own else order.connections
        shared = [self._wire(SHARED_USER, order) for _ in range(count)]
        self._heads: list[Head] = []
        for place, number in enumerate(order.numbers):
            meter = Meter(order.plan, number)
            wire = shared[place % len(shared)] if shared else self._wire(meter.edge, order)
            link = HeadLink(meter.edge, meter.boot, wire, is_own=is_own)
            link.number = place
            self._heads.append(
                Head(order.plan, number, link, begin.start_epoch_ms, batch_buf, lcg)
            )
        self._place = {head.meter.edge: place for place, head in enumerate(self._heads)}
        self._due_ms = [head.meter.begin_ms for head in self._heads]
        self._heap = [(due_ms, place) for place, due_ms in enumerate(self._due_ms)]
        heapq.heapify(self._heap)

    def _wire(self, name: str, order: Order) -> Wire:
        return Wire(name, order.login, self._selector, self._post, self._awake)

    def now_ms(self) -> int:
        """Return the time since the fleet's start."""
        return int(1000 * (time.monotonic() - self._begin.start_s))

    def turn(self, until_s: float) -> None:
        """Do what is due, then wait for sockets; until_s is of the monotonic clock."""
        now_ms = self.now_ms()
        self._post.is_timed = now_ms < self._begin.end_ms
        for _ in range(STEPS_MAX):
            if not self._heap or self._heap[0][0] > now_ms:
                break
            due_ms, place = heapq.heappop(self._heap)
            if due_ms == self._due_ms[place]:
                self._step(place, now_ms)
        wait_s = min(until_s - time.monotonic(), WAIT_S_MAX)
        if self._heap:
            wait_s = min(wait_s, (self._heap[0][0] - self.now_ms()) / 1000)
        for key, mask in self._selector.select(max(0.0, wait_s)):
            key.data.ready(mask)
        now_ms = self.now_ms()
        while self._awake:
            self._step(self._awake.pop().number, now_ms)
        self._note_answers()

    def tally(self) -> Tally:
        """Return how it stands."""
        oldest = next(iter(self._post.on_way.values()), None)
        is_over = self.now_ms() >= self._begin.end_ms
        return Tally(
            sum(head.made for head in self._heads),
            self._stored,
            self._refused,
            self._batches,
            self._post.resent,
            len(self._post.on_way),
            None if oldest is None else oldest.at_s,
            sum(head.uplink.state == UP for head in self._heads),
            sum(head.waiting() for head in self._heads) if is_over else None,
        )

    def result(self) -> Result:
        """Return what there was."""
        return Result(
            array("Q", (head.made for head in self._heads)),
            sum(head.evicted() for head in self._heads),
            self.ack_us,
            self.reading_us,
            self.late_us,
        )

    def close(self) -> None:
        """Say goodbye for all heads."""
        for head in self._heads:
            head.stop()
        self._selector.close()

    def _step(self, place: int, now_ms: int) -> None:
        due_ms = self._heads[place].step(now_ms, self._begin.end_ms, self._note_late)
        due_ms = min(max(due_ms, now_ms), now_ms + STEP_MS_MAX)
        if due_ms != self._due_ms[place] or due_ms <= now_ms:
            self._due_ms[place] = due_ms
            heapq.heappush(self._heap, (due_ms, place))

    def _note_late(self, late_ms: int) -> None:
        self.late_us[bucket(1000 * late_ms)] += 1

    def _note_answers(self) -> None:
        for edge, sent, at_s, reason in self._post.settled:
            self._batches += 1
            if reason is not None:
                self._refused += sent.readings
                continue
            self._stored += sent.readings
            if sent.counts:
                self.ack_us[bucket(int(1e6 * (at_s - sent.at_s)))] += 1
                meter = self._heads[self._place[edge]].meter
                index = meter.index_of(sent.first_seq) or 0
                read_s = self._begin.start_s + meter.due_ms(index) / 1000
                self.reading_us[bucket(max(0, int(1e6 * (at_s - read_s))))] += 1
        self._post.settled.clear()


def run(order: Order, pipe: Connection) -> None:
    """Be a process of the fleet: hear Begin, tell how it stands, hear Stop, tell the Result."""
    # Ctrl-C is the command's business; where it is gone, so is the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        begin = pipe.recv()
        load = Load(order, begin)
        gc.collect()
        gc.freeze()  # ten thousand heads need not be looked at again and again
        while not pipe.poll():
            pipe.send(load.tally())
            until_s = time.monotonic() + TELL_EVERY_S
            while time.monotonic() < until_s:
                load.turn(until_s)
        pipe.recv()
        load.close()
        pipe.send(load.result())
        pipe.recv()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def merged(counts: Iterable[Counter[int]]) -> Counter[int]:
    """Return the histogram of all."""
    total: Counter[int] = Counter()
    for one in counts:
        total.update(one)
    return total
