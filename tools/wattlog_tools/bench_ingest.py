"""Readings into SQLite, durable: wattlog's desk, planning and store beside one insert each.

The peer does what energy-monitor does with a message: one row through SQLAlchemy's ORM, commit,
read the row back; SQLite in WAL with synchronous=NORMAL, so that it does not even wait for the
disk. wattlog gets batches of an agent's own packing and waits for the disk (synchronous=FULL)
before it acknowledges. Both write to the same folder, in turns, so that a disk or a machine that
slows down meets both.
"""

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import event, orm

from wattlog_host.desk import GROUP_ITEMS_MAX, Desk, work
from wattlog_host.live import HostView, LiveView
from wattlog_host.store.writer import Writer
from wattlog_pi.system_clock import Trust
from wattlog_tools.bench_edge import BATCH_READINGS, Edge, Meter

EDGES = 8
INTERVAL_S = 10
FIRST_S = 1_781_740_800
NOW_MS = 1_790_000_000_000
PEER_READINGS = 300
OUR_BATCHES = 4 * GROUP_ITEMS_MAX


class Figures(NamedTuple):
    """Medians over the turns; ratio is median, least and greatest of the turns' ratios."""

    readings_per_s: float
    peer_per_s: float
    ratio: tuple[float, float, float]
    cpu_us: float
    peer_cpu_us: float
    bytes_per_reading: float
    peer_bytes_per_reading: float


class Turn(NamedTuple):
    """So many readings in so many seconds, of the clock and of the processor."""

    readings: int
    wall_s: float
    cpu_s: float


def measure(rounds: int = 5) -> Figures:
    """Let both sides take turns; takes some seconds."""
    with tempfile.TemporaryDirectory(prefix="wattlog-bench-") as name:
        ours, peer = _Wattlog(Path(name) / "wattlog.db"), _Peer(Path(name) / "peer.db")
        gc.collect()
        gc.freeze()  # as the host does when it has started; the peer has the good of it, too
        turns = [(ours.turn(), peer.turn()) for _ in range(rounds + 1)][1:]  # the first warms up
        gc.unfreeze()
        our_bytes, peer_bytes = ours.close(), peer.close()
    speeds = [[one.readings / one.wall_s for one in side] for side in zip(*turns, strict=True)]
    ratios = [a / b for a, b in zip(*speeds, strict=True)]
    our_us, peer_us = (
        statistics.median(1e6 * one.cpu_s / one.readings for one in side)
        for side in zip(*turns, strict=True)
    )
    return Figures(
        statistics.median(speeds[0]),
        statistics.median(speeds[1]),
        (statistics.median(ratios), min(ratios), max(ratios)),
        our_us,
        peer_us,
        our_bytes,
        peer_bytes,
    )


def lines(figures: Figures) -> list[str]:
    """Return the figures for a person."""
    median, least, most = figures.ratio
    return [
        f"readings into SQLite: batches of {BATCH_READINGS}, {EDGES} agents, 3 channels; the peer "
        "inserts each through the ORM",
        f"  {'':<28}{'readings/s':>11}{'CPU us each':>13}{'bytes each':>12}",
        f"  {'wattlog, synchronous=FULL':<28}{figures.readings_per_s:>11.0f}"
        f"{figures.cpu_us:>13.1f}{figures.bytes_per_reading:>12.1f}",
        f"  {'peer, synchronous=NORMAL':<28}{figures.peer_per_s:>11.0f}"
        f"{figures.peer_cpu_us:>13.1f}{figures.peer_bytes_per_reading:>12.1f}",
        f"  times the peer: {median:.0f} ({least:.0f} .. {most:.0f})",
    ]


# ---- wattlog ---------------------------------------------------------------------------------


class _Wattlog:
    """The host without its network: message in, acknowledgement out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._edges = [Edge(number, 1000 * FIRST_S, INTERVAL_S) for number in range(EDGES)]
        self._writer = Writer(path, "bench", NOW_MS)
        self._desk = Desk(LiveView(HostView("bench", NOW_MS), self._writer.counters))
        self._readings = 0

    def turn(self) -> Turn:
        """Take and acknowledge batches, in groups as they come while the disk is busy."""
        count = OUR_BATCHES // EDGES
        messages = [edge.message() for _ in range(count) for edge in self._edges]
        answers = 0
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for at in range(0, len(messages), GROUP_ITEMS_MAX):
            for where, payload in messages[at : at + GROUP_ITEMS_MAX]:
                self._desk.on_message(where, payload, NOW_MS, Trust.NETWORK)
            answers += len(work(self._desk, self._writer, NOW_MS))
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        assert answers == len(messages), "every batch is acknowledged"
        self._readings += len(messages) * BATCH_READINGS
        assert self._writer.counters["readings", ""] == self._readings, "every reading is stored"
        return Turn(len(messages) * BATCH_READINGS, wall_s, cpu_s)

    def close(self) -> float:
        """Return bytes per reading."""
        self._writer.close(NOW_MS)
        return self._path.stat().st_size / self._readings


# ---- the peer --------------------------------------------------------------------------------


class _Base(orm.DeclarativeBase):
    pass


class _Row(_Base):
    """energy-monitor's columns, keys and indexes."""

    __tablename__ = "energy_readings"

    timestamp: orm.Mapped[datetime] = orm.mapped_column(primary_key=True, index=True)
    meter_id: orm.Mapped[str] = orm.mapped_column(sa.String(255), index=True)
    power_watts: orm.Mapped[float | None]
    energy_in_kwh: orm.Mapped[float | None]
    energy_out_kwh: orm.Mapped[float | None]
    power_phase_1_watts: orm.Mapped[float | None]
    power_phase_2_watts: orm.Mapped[float | None]
    power_phase_3_watts: orm.Mapped[float | None]
    raw_payload: orm.Mapped[str] = orm.mapped_column(sa.Text)


class _Peer:
    """One ORM insert, commit and refresh per reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = sa.create_engine(
            f"sqlite:///{path}",
            connect_args={"timeout": 20},
            pool_pre_ping=True,
            pool_recycle=3600,
        )

        @event.listens_for(self._engine, "connect")
        def _configure(dbapi: Any, _: Any) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
                dbapi.execute(f"PRAGMA {pragma}")

        _Base.metadata.create_all(self._engine)
        self._session = orm.sessionmaker(self._engine)
        self._meter = Meter(0, INTERVAL_S)
        self._second = 0

    def turn(self) -> Turn:
        """Store PEER_READINGS messages."""
        messages = list(self._messages())
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for at, message in messages:
            self._save(at, message)
        return Turn(len(messages), time.perf_counter() - wall_s, time.process_time() - cpu_s)

    def close(self) -> float:
        """Return bytes per reading."""
        with self._session() as session:
            count = session.query(_Row).count()
        self._engine.dispose()
        return self._path.stat().st_size / count

    def _messages(self) -> Iterator[tuple[datetime, bytes]]:
        start = datetime.fromtimestamp(FIRST_S, UTC).replace(tzinfo=None)
        for _ in range(PEER_READINGS):
            self._second += INTERVAL_S
            power_w, import_wh_e1, export_wh_e1 = self._meter.next()
            message = {
                "Meter_id": "0a0149534b0004210001",
                "Power": power_w,
                "E_in": import_wh_e1 / 1e4,
                "E_out": export_wh_e1 / 1e4,
                "Power_p1": power_w / 2,
                "Power_p2": power_w / 4,
                "Power_p3": power_w / 4,
            }
            at = start + timedelta(seconds=self._second, microseconds=self._second % 999)
            yield at, json.dumps({"Time": at.isoformat(), "MT681": message}).encode()

    def _save(self, at: datetime, payload: bytes) -> None:
        message = json.loads(payload)["MT681"]
        with self._session() as session:
            row = _Row(
                timestamp=at,
                meter_id=message["Meter_id"],
                power_watts=float(message["Power"]),
                energy_in_kwh=float(message["E_in"]),
                energy_out_kwh=float(message["E_out"]),
                power_phase_1_watts=float(message["Power_p1"]),
                power_phase_2_watts=float(message["Power_p2"]),
                power_phase_3_watts=float(message["Power_p3"]),
                raw_payload=json.dumps(message),
            )
            session.add(row)
            session.commit()
            session.refresh(row)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    print("\n".join(lines(measure(*map(int, arguments)))))
    return 0
