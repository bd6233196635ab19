"""Years of readings: what they take, what making their buckets costs, what a question costs.

A database is filled through desk, planning and store as by a head, and its buckets are made as
the host makes them. Then a real host serves it, and is asked over HTTP as a browser asks. What it
costs is read from the kernel's books of the host's threads; RSS is the peak since the question
began. Beside them stand energy-monitor's figures for the same data, from wattlog's notes of a
measurement of it with its own server on a machine like this.
"""

import http.client
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wattlog_host.clock import now_ms
from wattlog_host.desk import GROUP_ITEMS_MAX, Desk, work
from wattlog_host.live import HostView, LiveView
from wattlog_host.store.writer import Writer
from wattlog_pi.system_clock import Trust
from wattlog_tools.bench_edge import BATCH_READINGS, Edge
from wattlog_tools.bench_host import PATIENCE_S, Served, serving
from wattlog_tools.console import ToolError

DAY_S = 86_400
ASKED = 15
REST_S = 10.0
"""Between filling and asking: a processor that has worked for minutes is slower, and the disk is
still written to."""

SHAPES = ((365, 10), (30, 1))
"""Days, and seconds between two readings."""

YEAR_MS = 365 * DAY_S * 1_000


class Asked(NamedTuple):
    """A question: what it is called, its path, and what energy-monitor needed for it.

    Of energy-monitor: CPU seconds, bytes as sent, peak RSS in MB.
    """

    name: str
    path: str
    peer: tuple[float, int, int]


QUESTIONS = (
    Asked("year of power", "/api/readings?points=2000&start={year}", (53.79, 32_031_533, 1754)),
    Asked("30 days of power", "/api/readings?points=2000&start={month}", (4.02, 2_638_059, 201)),
    Asked("day of power", "/api/readings?points=2000&start={day}", (0.13, 86_198, 66)),
    Asked("summary", "/api/energy_summary", (22.04, 8_356, 68)),
    Asked("stats of a year", "/api/stats?start={year}&end={now}", (1.28, 192, 60)),
    Asked("stats of 30 days", "/api/stats?start={month}&end={now}", (0.13, 191, 60)),
    Asked("newest reading", "/api/latest_reading", (0.004, 400, 58)),
)


class Built(NamedTuple):
    """A filled database: seconds of the processor for committing and for buckets, and bytes."""

    readings: int
    commit_cpu_s: float
    roll_cpu_s: float
    database_bytes: int


class Answer(NamedTuple):
    """What a question cost, medians: ms of the processor, bytes as sent, peak MB."""

    name: str
    cpu_ms: float
    wire_bytes: int
    rss_mb: float
    peer: tuple[float, int, int]


class Figures(NamedTuple):
    """All of it for one database."""

    days: int
    interval_s: int
    built: Built
    answers: Sequence[Answer]
    idle_mb: float


def measure(shapes: Sequence[tuple[int, int]] = SHAPES) -> list[Figures]:
    """Fill a database for each (days, s between readings), and ask; takes minutes for a year."""
    return [_measure(*shape) for shape in shapes]


def lines(figures: Sequence[Figures]) -> list[str]:
    """Return the figures for a person."""
    return [line for one in figures for line in _lines(one)]


def _measure(days: int, interval_s: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="wattlog-bench-") as name:
        folder = Path(name)
        end_ms = now_ms()
        built = build(folder / "data" / "wattlog.db", days, interval_s, end_ms)
        answers, idle_mb = _ask(folder, end_ms)
    return Figures(days, interval_s, built, answers, idle_mb)


def _lines(figures: Figures) -> list[str]:
    built = figures.built
    each = 1e6 / built.readings
    out = [
        f"history: {figures.days} days, a reading every {figures.interval_s} s, "
        f"{built.readings} readings of 6 channels",
        f"  {built.database_bytes / built.readings:.1f} bytes a reading with buckets (peer: 330); "
        f"CPU us each: {built.commit_cpu_s * each:.1f} to commit, "
        f"{built.roll_cpu_s * each:.1f} for buckets",
        f"  {'':<18}{'CPU ms':>8}{'bytes':>9}{'MB':>6}   energy-monitor: "
        f"{'CPU ms':>7}{'bytes':>10}{'MB':>6}{'times its CPU':>15}",
    ]
    for one in figures.answers:
        cpu_s, wire_bytes, rss_mb = one.peer
        out.append(
            f"  {one.name:<18}{one.cpu_ms:>8.1f}{one.wire_bytes:>9}{one.rss_mb:>6.0f}   "
            f"{'':<16}{1e3 * cpu_s:>7.0f}{wire_bytes:>10}{rss_mb:>6}"
            f"{f'1/{1e3 * cpu_s / max(one.cpu_ms, 0.1):.0f}':>15}"
        )
    return [*out, f"  the host at rest: {figures.idle_mb:.0f} MB"]


def build(path: Path, days: int, interval_s: int, end_ms: int) -> Built:
    """Fill a new database with so many days up to end_ms, with a hole a week."""
    writer = Writer(path, "bench", end_ms)
    desk = Desk(LiveView(HostView("bench", end_ms), writer.counters))
    start_ms = end_ms - days * DAY_S * 1_000
    head = Edge(1, start_ms, interval_s, has_phases=True, pause_every_s=7 * DAY_S)
    commit_s = roll_s = 0.0
    readings = 0
    # A batch takes so long, with a hole in it, and no reading lies in the future.
    last_s = days * DAY_S - 3_600 - BATCH_READINGS * interval_s
    while head.second < last_s:
        messages: list[tuple[str, bytes]] = []
        while len(messages) < GROUP_ITEMS_MAX and head.second < last_s:
            messages.append(head.message())
        readings += len(messages) * BATCH_READINGS
        started_s = time.process_time()
        for where, payload in messages:
            desk.on_message(where, payload, end_ms, Trust.NETWORK)
        work(desk, writer, end_ms)
        committed_s = time.process_time()
        while writer.roll():
            pass
        roll_s += time.process_time() - committed_s
        commit_s += committed_s - started_s
    assert writer.counters["readings", ""] == readings, "every reading is stored"
    writer.close(end_ms)
    return Built(readings, commit_s, roll_s, path.stat().st_size)


def _ask(folder: Path, end_ms: int) -> tuple[list[Answer], float]:
    """Serve the database of the folder with a real host, and ask."""
    os.sync()
    time.sleep(REST_S)  # noqa: TID251 - it is for the machine that it waits
    with serving(folder) as served:
        idle_mb = _peak_mb(served.pid)
        times = {"now": end_ms, "day": end_ms - 86_400_000, "month": end_ms - 30 * 86_400_000}
        times["year"] = end_ms - YEAR_MS
        answers = []
        for question in QUESTIONS:
            path = question.path.format(**times)
            costs = [_get(served, path) for _ in range(ASKED)]
            cpu_ms, wire_bytes, rss_mb = (
                statistics.median(one) for one in zip(*costs, strict=True)
            )
            answers.append(Answer(question.name, cpu_ms, int(wire_bytes), rss_mb, question.peer))
        return answers, idle_mb


def _get(served: Served, path: str) -> tuple[float, int, float]:
    """Ask once; return ms of the processor, bytes of the answer, and peak MB."""
    pid = served.pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    before_ns = _cpu_ns(pid)
    connection = http.client.HTTPConnection("127.0.0.1", served.http_port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ToolError(f"{path} answered {response.status}: {body[:200]!r}")
    return (_cpu_ns(pid) - before_ns) / 1e6, len(body), _peak_mb(pid)


def _cpu_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    days, interval_s = map(int, arguments)
    print("\n".join(lines(measure([(days, interval_s)]))))
    return 0
