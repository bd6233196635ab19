"""One run: a day of trouble, then everything is healed, then the books are compared.

Safety: what the log promised is in the database once and as it was, but for what is noted as a
gap; nothing else is there; nothing is a gap that is there. Liveness: once healed, the backlog is
gone in a tenth of the time that it took to grow, while new readings go on coming.
"""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from wattlog import uplink
from wattlog.channels import rescaled
from wattlog_host.placing import METER, SYNC
from wattlog_host.store.writer import Writer
from wattlog_host.units import BY_ID
from wattlog_sim.world.clock import World
from wattlog_sim.world.edge import EDGE, Edge, Promise, seldom
from wattlog_sim.world.faults import HOUR_MS, Faults
from wattlog_sim.world.host import Host
from wattlog_sim.world.meter import MODEL_NAMES, Truth, damaged, truth
from wattlog_sim.world.net import FAIR, Broker

VARIANTS = len(MODEL_NAMES)
EPOCHS_MS = (1_792_886_400_000, 1_774_742_400_000, 1_790_812_800_000)
"""25 October and 29 March 2026, when clocks are changed, and a day that is like any."""
SETTLE_MS = 90_000
"""After healing: the longest back-offs of link and batch, and the time to notice a dead one."""
TAIL_MS = 60_000
GROUP_RECORDS_MAX = 64
HELD_MS = 40_000
"""A reading may wait so long in the gate until another confirms it."""


class Setup(NamedTuple):
    """What makes a run; str() is the command line that repeats it."""

    seed: int
    hours: int
    interval_s: int

    def __str__(self) -> str:
        """Return the arguments."""
        return f"--seed {self.seed} --hours {self.hours} --interval {self.interval_s}"


class Outcome(NamedTuple):
    """What came of it: counts by name, None or what is wrong, and the digest of every byte."""

    setup: Setup
    counts: dict[str, int]
    drain_s: int
    troubles: list[str]
    digest: str
    failure: str | None


def run(setup: Setup) -> Outcome:
    """Run one seed in a folder of its own."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="wattlog-sim-", dir=memory if memory.is_dir() else None
    ) as folder:
        day = Day(setup, Path(folder) / "wattlog.db")
        failure = None
        try:
            with seldom():
                day.run()
        except AssertionError as error:
            failure = str(error) or "an assertion failed"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            failure = f"{type(error).__name__}: {error}"
        finally:
            day.host.stop()
        return Outcome(
            setup,
            day.counts(),
            day.drain_ms // 1000,
            day.faults.names,
            day.world.digest(),
            failure,
        )


def prepare(setup: Setup) -> Truth:
    """Return the frames of a run; made once per meter and process, and for all that it forks."""
    seconds = (setup.hours + 3) * 3600
    return truth(setup.seed % VARIANTS, setup.interval_s, seconds)


class Day:
    """The world of one run and its books."""

    def __init__(self, setup: Setup, path: Path) -> None:
        """Draw everything from the seed."""
        world = self.world = World(setup.seed, EPOCHS_MS[setup.seed % len(EPOCHS_MS)])
        self.setup = setup
        self.end_ms = setup.hours * HOUR_MS
        self.faults = Faults(world, setup.hours)
        self.broker = Broker(world, world.rng("broker"))
        faults = self.faults
        self.edge = Edge(world, self.broker, faults.sectors, faults.sector_bytes, faults.batch_ms)
        self.host = Host(world, self.broker, path)
        self.truth = prepare(setup)
        self.sent_ms: dict[tuple[tuple[int, int, int], ...], list[int]] = {}
        self.heard = 0
        self.rows = 0
        self.lost = 0
        self.drain_ms = 0
        self._line = world.rng("line")
        self._is_over = False

    def run(self) -> None:
        """Let it happen, heal it, compare."""
        world = self.world
        self.host.start()
        self.edge.power_on()
        self.faults.arm(self.edge, self.broker, self.host)
        self._send(0)
        world.run(self.end_ms)
        self._heal()
        self._drain()
        self._compare()

    def counts(self) -> dict[str, int]:
        """Return what happened, for the summary."""
        return {
            "readings": self.rows,
            "promised": len(self.edge.promised),
            "lost as gaps": self.lost,
            "messages": self.broker.counts["published"],
            "messages lost": self.broker.counts["lost"] + self.broker.counts["overflow"],
            "repeated": self.broker.counts["repeated"],
            "power cuts": self.edge.cuts,
            "host kills": self.host.kills,
            "starts": self.edge.boots,
            "copies put back": self.edge.copies,
            "rotten bits": self.edge.rots,
        }

    # --- what happens ----------------------------------------------------------------------

    def _send(self, index: int) -> None:
        """Have the meter send a frame, and the next one later."""
        if self._is_over:
            return
        if index + 1 < len(self.truth.frames):
            self.world.after(self.truth.interval_s * 1000, self._send, index + 1)
        frame = self.truth.frames[index]
        self.sent_ms.setdefault(self.truth.values[index], []).append(self.world.now_ms)
        if self._line.randrange(1000) < self.faults.damaged_permille:
            frame = damaged(frame, self._line)
        elif self.edge.agent is not None:
            self.heard += 1
        cut = self._line.randrange(len(frame)) if frame else 0
        self.edge.hear(frame[:cut])
        self.edge.hear(frame[cut:])

    def _heal(self) -> None:
        edge, broker = self.edge, self.broker
        broker.restart()
        broker.weather = FAIR
        edge.set_wifi(True)
        if "power" in self.faults.names:
            edge.power_off()  # a cut that is still to strike must not
        edge.power_on()
        self.host.heal()

    def _drain(self) -> None:
        """Wait until the backlog is gone; it has a tenth of the time that it stands for."""
        world, edge = self.world, self.edge
        assert edge.log is not None, "the head is off though it was healed"
        last_seq = edge.log.stats().next_seq - 1
        backlog = edge.log.stats().records
        begin_ms = world.now_ms
        allowed_ms = (
            SETTLE_MS + self.faults.batch_ms + backlog * self.setup.interval_s * 1000 // 10
        )
        while edge.log.stats().first_seq <= last_seq:
            passed_ms = world.now_ms - begin_ms
            assert passed_ms < allowed_ms, f"{backlog} records are not drained in {passed_ms} ms"
            world.run(world.now_ms + 1_000)
        self.drain_ms = world.now_ms - begin_ms
        # The present must not have waited for the past.
        world.run(world.now_ms + TAIL_MS)
        self._is_over = True
        assert edge.agent is not None, "the head is off though it was healed"
        edge.agent.stop_reading()
        edge.hear(b"")  # it steps now, and not only when its next status is due
        world.run(world.now_ms + TAIL_MS)
        # A sync point may still have come, and waits for its group to be sent.
        end_ms = world.now_ms + self.faults.batch_ms
        # The last record of all, if it rots: nothing comes behind it that could be acknowledged.
        while (left := edge.log.stats().records) > edge.rots:
            assert world.now_ms < end_ms, f"{left} records stay in the log"
            world.run(world.now_ms + 1_000)
        # What was given up is told with the next status.
        world.run(world.now_ms + uplink.STATUS_EVERY_MS + 1_000)

    # --- what must hold --------------------------------------------------------------------

    def _compare(self) -> None:
        self.host.stop()
        writer = Writer(self.host.path, "judge", self.world.epoch_ms)
        try:
            self._judge(writer)
        finally:
            with suppress(OSError):
                writer.let_go()

    def _judge(self, writer: Writer) -> None:
        edge = self.edge
        assert edge.log is not None
        expected = dict(edge.promised)
        maybe = list(edge.maybe)
        losses = writer.losses(1_000_000)
        gaps = {
            (run.log, seq)
            for run in losses.newest
            for seq in range(run.first_seq, run.last_seq + 1)
        }
        lost_seqs = {seq for _, seq in gaps}
        # What was noted after the log was empty may wait in it.
        first_kept = edge.log.stats().first_seq
        knows_time = {
            boot
            for boot, seqs in edge.told_time.items()
            if any(seq < first_kept and seq not in lost_seqs for seq in seqs)
        }
        if {"clock", "copy"} & set(self.faults.names):
            knows_time = set()  # the time may be wrong, or under another log than the reading
        seen = set()
        seen_in_logs = set()
        for row in writer.readings():
            key = (row.boot, row.seq)
            self.world.trace(repr(row).encode())
            assert row.edge == EDGE
            assert key not in seen, f"reading {row.seq} is there twice"
            seen.add(key)
            seen_in_logs.add((row.log, row.seq))
            self.rows += 1
            promise = expected.pop(key, None) or edge.taken_away.get(key)
            if promise is None:
                promise = _matching(maybe, row.boot, row.uptime_ms)
                assert promise is not None, f"reading {row.seq} was never taken"
            found = (row.boot, row.uptime_ms, row.server_id, row.sec_index, dict(row.values))
            wanted = (*promise[:4], _stored(promise))
            assert found == wanted, f"reading {row.seq} is {found}, and was {wanted}"
            self._judge_truth(promise, row.time_ms, row.time_source)
            assert row.time_source == SYNC or row.boot not in knows_time, (
                f"reading {row.seq} is placed by {row.time_source}, though its boot knew the time"
            )
        assert not (gaps & seen_in_logs), "what is there is noted as lost"
        missing = {key for key in expected if key[1] not in lost_seqs}
        # What was given up, or rotted with its group's head, of numbers that were given twice has
        # shown to nobody that it was not what is stored under them.
        unsaid = missing & edge.given_twice
        if len(unsaid) <= self._evicted() + GROUP_RECORDS_MAX * edge.rots:
            missing -= unsaid
        assert not missing, f"{len(missing)} readings are lost unsaid, as {min(missing)}"
        self.lost = len(expected)
        self._judge_gaps(gaps)
        self._judge_completeness()

    def _judge_truth(self, promise: Promise, time_ms: int, source: str) -> None:
        """Nothing invented: the meter has sent just that, and just then."""
        # A house at rest sends the same more than once.
        sent_ms = max(
            (at for at in self.sent_ms[promise.values] if at <= promise.true_ms), default=None
        )
        assert sent_ms is not None, f"the meter never sent {promise.values}"
        late_ms = promise.true_ms - sent_ms
        assert late_ms <= HELD_MS, f"read {late_ms} ms after it was sent"
        if "clock" not in self.faults.names and source in (SYNC, METER):
            error_ms = abs(time_ms - self.world.epoch_ms_start - sent_ms)
            assert error_ms <= HELD_MS, f"placed {error_ms} ms beside its time"

    def _evicted(self) -> int:
        """Return how many records were given up in all."""
        now = self.edge.log.stats().evicted if self.edge.log else 0
        return self.edge.evicted_before + now

    def _judge_gaps(self, gaps: set[tuple[int, int]]) -> None:
        """A gap is what the log gave up, and not more."""
        evicted = self._evicted()
        # A record that was torn in its last byte may have been promised, for all the log knows; a
        # bit that rots in the first of a group takes the group with it.
        most = evicted + self.edge.cuts + GROUP_RECORDS_MAX * self.edge.rots
        # What had been given up before a copy was made is told by both: by the log that was
        # replaced, and by the copy under its next id. Nobody can tell whether it was the same.
        told = len({seq for _, seq in gaps}) if self.edge.copies else len(gaps)
        assert told <= most, f"{told} records are gaps, {evicted} were evicted"
        if self.faults.sectors * self.faults.sector_bytes > 40 * len(self.edge.promised):
            assert not evicted, "the log was not full, but gave up records"

    def _judge_completeness(self) -> None:
        """A good frame that was heard is a reading, but for the few that a start may cost."""
        least = self.heard - 3 * self.edge.boots - 2
        count = len(self.edge.promised) + len(self.edge.taken_away)
        assert count >= least, f"{self.heard} good frames were heard, {count} were logged"


def _matching(maybe: list[Promise], boot: int, uptime_ms: int) -> Promise | None:
    """Return the reading that was being written when the power went."""
    return next((one for one in maybe if one.boot == boot and one.uptime_ms == uptime_ms), None)


def _stored(promise: Promise) -> dict[int, int | None]:
    """Return the values as the host stores them."""
    stored = {}
    for number, value, scale in promise.values:
        stored[number] = rescaled(value, scale, BY_ID[number].decimals)
    return stored
