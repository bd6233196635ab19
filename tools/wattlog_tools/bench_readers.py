"""Storing readings while browsers load years: how long a head waits for its acknowledgement.

A real host serves a year of readings. A head sends it batches over MQTT, each when the one before
is acknowledged and a pause is over, and what it waits is measured: broker, planning, the commit
with its flush to the disk, and the way back. How long the commits took the host says itself. Half
of the time ten others load the year over HTTP as fast as they are answered, from a process of
their own.
"""

import asyncio
import http.client
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import aiomqtt
from prometheus_client.parser import text_string_to_metric_families

from wattlog_host.clock import now_ms
from wattlog_host.wire import topic_ack
from wattlog_tools.bench_edge import BATCH_READINGS, Edge
from wattlog_tools.bench_history import DAY_S, build
from wattlog_tools.bench_host import PATIENCE_S, Served, serving
from wattlog_tools.console import ToolError

DAYS = 365
LIVE_DAYS = 10
"""The last of them are sent while it is measured."""
INTERVAL_S = 60
LIVE_INTERVAL_S = 10
READERS = 10
BATCHES = 200
ROUNDS = 2
PAUSE_S = 0.05
COMMITS = "wattlog_commit_seconds_bucket"
YEAR = "/api/readings?points=2000&start={start}&end={end}"


class Waits(NamedTuple):
    """From publishing a batch to its acknowledgement, and what the commit took of it, in ms.

    A commit is as exact as the edges between which the host counts it.
    """

    p50_ms: float
    p99_ms: float
    max_ms: float
    commit_p50_ms: float
    commit_p99_ms: float


class Figures(NamedTuple):
    """Both sides, and how many years were loaded in a second meanwhile."""

    batches: int
    readers: int
    alone: Waits
    beside: Waits
    years_per_s: float


class _Side:
    """What is measured of one side, turn by turn."""

    def __init__(self) -> None:
        self.waits_ms: list[float] = []
        self.commits: Counter[float] = Counter()

    def figures(self) -> Waits:
        cuts = statistics.quantiles(self.waits_ms, n=100, method="inclusive")
        commits = (1e3 * quantile_s(self.commits, share) for share in (0.5, 0.99))
        return Waits(cuts[49], cuts[98], max(self.waits_ms), *commits)


def measure(
    days: int = DAYS, readers: int = READERS, batches: int = BATCHES, rounds: int = ROUNDS
) -> Figures:
    """Fill a database, then send batches with and without readers, in turns; takes minutes."""
    if 2 * rounds * batches * BATCH_READINGS * LIVE_INTERVAL_S >= LIVE_DAYS * DAY_S:
        raise ToolError("so many batches would lie in the future")
    with tempfile.TemporaryDirectory(prefix="wattlog-bench-") as name:
        folder, end_ms = Path(name), now_ms()
        live_ms = end_ms - LIVE_DAYS * DAY_S * 1_000
        build(folder / "data" / "wattlog.db", days - LIVE_DAYS, INTERVAL_S, live_ms)
        head = Edge(1, live_ms, LIVE_INTERVAL_S, has_phases=True)
        head.name = "sender"
        with serving(folder) as served:
            path = YEAR.format(start=end_ms - days * DAY_S * 1_000, end=end_ms)
            return asyncio.run(_measure(served, path, head, (readers, batches, rounds)))


async def _measure(served: Served, path: str, head: Edge, sizes: tuple[int, int, int]) -> Figures:
    readers, batches, rounds = sizes
    alone, beside = _Side(), _Side()
    years, busy_s = 0, 0.0
    async with aiomqtt.Client("127.0.0.1", served.mqtt_port) as client:
        await client.subscribe(topic_ack(head.name))
        await _send(client, head, 1)
        for _ in range(rounds):
            await _turn(served, client, head, batches, alone)
            crowd = _Crowd(served.http_port, path, readers)
            try:
                await asyncio.to_thread(crowd.wait_for_first)
                began_s = time.perf_counter()
                await _turn(served, client, head, batches, beside)
                busy_s += time.perf_counter() - began_s
            finally:
                years += await asyncio.to_thread(crowd.end)
    sides = alone.figures(), beside.figures()
    return Figures(rounds * batches, readers, *sides, years / busy_s)


async def _turn(
    served: Served, client: aiomqtt.Client, head: Edge, count: int, side: _Side
) -> None:
    """Send so many batches, and add what was measured to the side."""
    before = await asyncio.to_thread(_commits, served.http_port)
    side.waits_ms += await _send(client, head, count)
    side.commits += await asyncio.to_thread(_commits, served.http_port) - before


def _commits(port: int) -> Counter[float]:
    """Return how many commits the host has made, by the edge below which they took, in s."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    below = [
        (float(sample.labels["le"]), int(sample.value))
        for family in families
        for sample in family.samples
        if sample.name == COMMITS
    ]
    return Counter(
        {edge_s: number - before for (_, before), (edge_s, number) in pairwise([(0, 0), *below])}
    )


def quantile_s(counts: Mapping[float, int], share: float) -> float:
    """Return the time that this share of them did not exceed, evenly between the edges.

    counts is how many took at most so many seconds, and more than the edge before; what lies
    beyond the last edge counts as that edge.
    """
    rest = share * sum(counts.values())
    low_s = 0.0
    for edge_s in sorted(edge_s for edge_s in counts if math.isfinite(edge_s)):
        if counts[edge_s] and rest <= counts[edge_s]:
            return low_s + (edge_s - low_s) * rest / counts[edge_s]
        rest -= counts[edge_s]
        low_s = edge_s
    return low_s


async def _send(client: aiomqtt.Client, head: Edge, count: int) -> list[float]:
    """Send so many batches; return how long each waited, in ms."""
    waits = []
    for _ in range(count):
        where, payload = head.message()
        began_s = time.perf_counter()
        await client.publish(where, payload)
        async with asyncio.timeout(PATIENCE_S):
            await anext(client.messages)
        waits.append(1e3 * (time.perf_counter() - began_s))
        await asyncio.sleep(PAUSE_S)
    return waits


class _Crowd:
    """Readers in a process of their own, so that they wait for nobody's lock but the host's."""

    def __init__(self, port: int, path: str, readers: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wattlog_tools.bench_readers", str(port), path, str(readers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for_first(self) -> None:
        """Return once one of them has a year."""
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise ToolError("the readers ended")

    def end(self) -> int:
        """End them; return how many years they were given after the first."""
        out, _ = self._process.communicate("", PATIENCE_S)
        return int(out.split()[-1])


def lines(figures: Figures) -> list[str]:
    """Return the figures for a person."""
    sides = ("alone", figures.alone), (f"beside {figures.readers} readers", figures.beside)
    return [
        f"a head's wait for its acknowledgement, {figures.batches} batches of {BATCH_READINGS} "
        f"each; the readers are given {figures.years_per_s:.1f} years a second",
        f"  {'':<20}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}   its commit:{'p50':>10}{'p99':>8}",
        *(
            f"  {name:<20}{one.p50_ms:>8.1f}{one.p99_ms:>8.1f}{one.max_ms:>8.1f}"
            f"{one.commit_p50_ms:>24.1f}{one.commit_p99_ms:>8.1f}"
            for name, one in sides
        ),
    ]


def main(arguments: Sequence[str]) -> int:
    """Load a path again and again from so many connections until stdin ends; print how often."""
    port, path, readers = int(arguments[0]), arguments[1], int(arguments[2])
    stop = threading.Event()
    counts = [0] * readers

    def load(index: int) -> None:
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
            try:
                connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
                response = connection.getresponse()
                response.read()
            finally:
                connection.close()
            if response.status == 200:
                counts[index] += 1
                first.set()

    first = threading.Event()
    threads = [threading.Thread(target=load, args=(index,)) for index in range(readers)]
    for one in threads:
        one.start()
    first.wait(PATIENCE_S)
    print("ready", flush=True)
    before = sum(counts)
    sys.stdin.read()
    total = sum(counts) - before
    stop.set()
    for one in threads:
        one.join()
    print(total)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
