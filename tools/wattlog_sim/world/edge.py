"""A head in the cellar: the real agent on fake flash, a fake line, a clock that may lie.

The power may go at any byte that is programmed and at any erase. What the log has promised is
written down by a witness beside it, who is asked in the end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from wattlog import agent as agent_module
from wattlog import live as live_module
from wattlog import records
from wattlog import uplink as uplink_module
from wattlog.agent import Agent
from wattlog.ringlog import RingLog
from wattlog_sim.flash import TORN_ERASES, FakeFlash, PowerCut
from wattlog_sim.world.net import Broker, EdgeLink

if TYPE_CHECKING:
    from wattlog.reading import Reading
    from wattlog_sim.world.clock import World

EDGE = "cellar"
FRAME_BYTES_MAX = 2_048
WINDOW = 2

# What would take most of a run's time and show nothing is done less often: the world calls
# whenever something is due, so nobody has to look every 50 ms whether bytes have come.
_SELDOM = (
    (agent_module, "POLL_MS", 3_600_000),
    (live_module, "LIVE_EVERY_MS", 300_000),
    (uplink_module, "STATUS_EVERY_MS", 300_000),
)


@contextmanager
def seldom() -> Iterator[None]:
    """Do so for as long as this lasts."""
    before = [getattr(module, name) for module, name, _ in _SELDOM]
    try:
        for module, name, value in _SELDOM:
            setattr(module, name, value)
        yield
    finally:
        for (module, name, _), value in zip(_SELDOM, before, strict=True):
            setattr(module, name, value)


class Promise(NamedTuple):
    """A reading that the log took: it has to be in the database in the end."""

    boot: int
    uptime_ms: int
    server_id: bytes
    sec_index: int | None
    values: tuple[tuple[int, int, int], ...]
    true_ms: int


class WornFlash(FakeFlash):
    """A flash whose bits may fall by themselves: whoever programs a 1 there gets a 0."""

    def writeblocks(self, block: int, buf: bytes | bytearray | memoryview, offset: int) -> None:
        """Program what can be programmed."""
        start = block * self.sector_bytes + offset
        cells = self.image[start : start + len(buf)]
        super().writeblocks(block, bytes(a & b for a, b in zip(buf, cells, strict=True)), offset)


class Line:
    """The serial line (ports.ByteSource): what the meter sent and nobody has read."""

    def __init__(self) -> None:
        """Start silent."""
        self.name = "uart1"
        self._waiting = b""

    def send(self, data: bytes) -> None:
        """Take bytes from the meter."""
        self._waiting += data

    def read(self, now_ms: int) -> bytes:
        """Return what has come."""
        del now_ms
        data, self._waiting = self._waiting, b""
        return data

    def trouble(self) -> str | None:
        """Tell nothing: this port does not fail."""
        return None


class EdgeClock:
    """The wall clock of the head (ports.Clock): unknown, right, or wrong by so much."""

    def __init__(self, world: "World") -> None:
        """Start without the time."""
        self._world = world
        self._is_known = False
        self._is_sure = False
        self.error_ms = 0

    def epoch_ms(self) -> int | None:
        """Return what the clock says."""
        return self._world.epoch_ms + self.error_ms if self._is_known else None

    def is_sure(self) -> bool:
        """Tell whether it was set from the network since the start."""
        return self._is_sure

    def learn(self) -> None:
        """Get the time from the network."""
        self._is_known = self._is_sure = True
        self.error_ms = 0

    def start(self, behind_ms: int | None) -> None:
        """Start without a battery: with no time, or so far behind where it stopped."""
        self._is_known = behind_ms is not None
        self._is_sure = False
        self.error_ms = -(behind_ms or 0)


class Copy(NamedTuple):
    """What was copied from the flash, and when."""

    image: bytes
    promises: int
    evicted: int


class Edge:
    """One head, on or off."""

    def __init__(
        self, world: "World", broker: Broker, sectors: int, sector_bytes: int, batch_ms: int
    ) -> None:
        """Take the world; the flash is blank and the power is off."""
        self.world = world
        self.broker = broker
        self.image = bytearray(b"\xff" * (sectors * sector_bytes))
        self.flash = WornFlash(sectors, sector_bytes, self.image)
        self.batch_ms = batch_ms
        self.is_wifi_up = True
        self.knows_time_after_ms: int | None = 3_000
        self.starts_behind_ms: int | None = None
        self.clock = EdgeClock(world)
        self.line = Line()
        self.agent: Agent | None = None
        self.log: RingLog | None = None
        self.link: EdgeLink | None = None
        self.promised: dict[tuple[int, int], Promise] = {}
        """(boot, seq) -> what has to arrive."""
        self.taken_away: dict[tuple[int, int], Promise] = {}
        """What went with a flash that an older copy was put in place of: may have arrived."""
        self.maybe: list[Promise] = []
        self.told_time: dict[int, list[int]] = {}
        """boot -> seqs of its sync points of a clock that is set from the network."""
        self.evicted_before = 0
        self.copies = 0
        self.given_twice: set[tuple[int, int]] = set()
        """Of promised those whose number had stood for another reading, of another boot."""
        self._seq_max = 0
        self._seq_max_before = 0
        self.boots = 0
        self.cuts = 0
        self.rots = 0
        self.said: list[str] = []
        self._rng = world.rng("edge")
        self._boot = 0
        self._boot_ms = 0
        self._due_ms = -1
        self._drift_ppm = 0
        self._copy: Copy | None = None

    def power_on(self) -> None:
        """Boot; the power may go again meanwhile."""
        if self.agent is not None:
            return
        world = self.world
        self.boots += 1
        self._boot = self._rng.randrange(1, 1 << 32)
        self._boot_ms = world.now_ms
        self._drift_ppm = self._rng.randrange(-50, 51)
        self.flash = WornFlash(self.flash.sectors, self.flash.sector_bytes, self.image)
        self.flash.seed(self._boot, 0)
        self.line = Line()
        log = RingLog(self.flash, lambda: self._rng.randrange(1, 1 << 32))
        self.log = log
        self.link = EdgeLink(world, self.broker, EDGE, lambda: self.is_wifi_up, self._wake)
        self.agent = Agent(
            EDGE,
            self._boot,
            "simulated",
            [self.line],
            log,
            self.link,
            self.clock,
            self._rng.randrange,
            self.said.append,
            FRAME_BYTES_MAX,
            bytearray(records.BATCH_BYTES),
            WINDOW,
            self.batch_ms,
            log_kind="flash",
        )
        self._watch_writer(self.agent)
        self.clock.start(self.starts_behind_ms)
        if self.knows_time_after_ms is not None:
            world.after(self.knows_time_after_ms, self._learn_time, self.boots)
        self._wake()

    def power_off(self) -> None:
        """Cut the power between two steps."""
        if self.agent is not None:
            self._off()

    def cut_while_writing(self) -> None:
        """Cut the power at a byte or an erase that comes soon, leaving it half done."""
        if self.agent is None:
            return
        if self._rng.randrange(4):
            self.flash.cut_at_byte(self._rng.randrange(60), self._rng.randrange(256))
        else:
            self.flash.cut_at_erase(0, self._rng.randrange(TORN_ERASES))

    def rot(self) -> None:
        """Have one bit of the flash turn."""
        self.rots += 1
        self.image[self._rng.randrange(len(self.image))] ^= 1 << self._rng.randrange(8)

    def copy_flash(self) -> None:
        """Copy the flash as it is, for put_back()."""
        self._copy = Copy(bytes(self.image), len(self.promised), self._evicted())

    def put_back(self) -> None:
        """Put the copy in the place of what the flash holds, and start from it."""
        if self._copy is None:
            return
        self.power_off()
        self.copies += 1
        self._seq_max_before = self._seq_max
        self.evicted_before += self._evicted() - self._copy.evicted
        for key in list(self.promised)[self._copy.promises :]:
            self.taken_away[key] = self.promised.pop(key)
        self.image[:] = self._copy.image
        self.power_on()

    def _evicted(self) -> int:
        """Return how many records the log on the flash has given up."""
        flash = FakeFlash(self.flash.sectors, self.flash.sector_bytes, bytearray(self.image))
        return int(RingLog(flash, lambda: 1).stats().evicted)

    def _learn_time(self, boots: int) -> None:
        if boots == self.boots:
            self.clock.learn()

    def hear(self, data: bytes) -> None:
        """Take bytes from the meter; a head without power is deaf."""
        if self.agent is not None:
            self.line.send(data)
            self._wake()

    def uptime_ms(self) -> int:
        """Return the head's own time since its start: its quartz is not ours."""
        passed_ms = self.world.now_ms - self._boot_ms
        return passed_ms + passed_ms * self._drift_ppm // 1_000_000

    def set_wifi(self, is_up: bool) -> None:
        """Have the Wi-Fi come or go."""
        self.is_wifi_up = is_up
        if not is_up and self.link is not None:
            self.link.lose()

    def step_clock(self, step_ms: int) -> None:
        """Have the clock go wrong, until the next start."""
        self.clock.error_ms = step_ms

    def _wake(self) -> None:
        self._at(self.world.now_ms)

    def _at(self, time_ms: int) -> None:
        """Have a step at that time, unless there is one sooner."""
        if self.world.now_ms <= self._due_ms <= time_ms:
            return
        self._due_ms = time_ms
        self.world.at(time_ms, self._step, self.boots, time_ms)

    def _step(self, boots: int, time_ms: int) -> None:
        if self.agent is None or boots != self.boots or time_ms != self._due_ms:
            return
        self._due_ms = -1
        now_ms = self.uptime_ms()
        try:
            due_ms = self.agent.step(now_ms)
        except PowerCut:
            self._off()
            return
        # Its ms are not ours; one more is always enough.
        self._at(self.world.now_ms + max(1, due_ms - now_ms + 1))

    def _watch_writer(self, agent: Agent) -> None:
        """Write down each reading that the log took, and when it was told the time."""
        writer = agent._writer
        take, note = writer.reading, writer.sync
        boot = self._boot

        def reading(uptime_ms: int, one: "Reading") -> int:
            values = tuple(one.values)
            promise = Promise(
                boot, uptime_ms, one.server_id, one.sec_index, values, self.world.now_ms
            )
            self.maybe.append(promise)
            seq = take(uptime_ms, one)
            self.maybe.pop()
            assert (boot, seq) not in self.promised, "a sequence number came twice"
            self.promised[boot, seq] = promise
            self._seq_max = max(self._seq_max, seq)
            if seq <= self._seq_max_before:
                self.given_twice.add((boot, seq))
            return seq

        def sync(uptime_ms: int, epoch_ms: int, is_sure: bool) -> int:
            seq = note(uptime_ms, epoch_ms, is_sure)
            if is_sure:
                self.told_time.setdefault(boot, []).append(seq)
            return seq

        writer.reading = reading  # type: ignore[assignment, method-assign]
        writer.sync = sync  # type: ignore[method-assign]

    def _off(self) -> None:
        self.cuts += 1
        if self.link is not None:
            self.link.cut()
        self.agent = self.log = self.link = None
        self._due_ms = -1
