"""A head of a fleet: the core's own uplink, writer and log, and a meter that is a pure function.

Whoever checks a database makes the same meter again from (plan, number) and knows all that may
be stored. What stands between a real head and this one is its serial line and its decoder, which
the host never sees.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from wattlog import __version__, live, records, uplink
from wattlog.ports import Link
from wattlog.reading import Reading
from wattlog.ringlog import RingLog
from wattlog_sim.lcg import Lcg

WINDOW = 2
IMPORT, EXPORT, POWER = 1, 4, 10
SYNC_EVERY_MS = 3_600_000
LOG_SECTORS = 4
LOG_SECTOR_BYTES = 2_048
"""Some 200 readings, which is half an hour of one every 10 s: a fleet has to fit in memory."""

_STEPS = 64
_WS_PER_WH_E1 = 360
_BLANK = b"\xff" * LOG_SECTOR_BYTES
_MASK = 0xFFFF_FFFF


class Plan(NamedTuple):
    """What all heads of a fleet have in common; times in ms.

    spread_ms  within so long all of them start, one after the other
    status_ms  between two status messages; 0: only when they connect
    live_ms    between two live readings; 0: none is sent
    """

    seed: int
    heads: int
    interval_ms: int
    batch_ms: int
    spread_ms: int
    status_ms: int
    live_ms: int


class Meter:
    """One head's meter and names; readings are numbered from 0.

    Power keeps for an interval and repeats after _STEPS of them, so that the registers of any
    reading are known without those before.
    """

    def __init__(self, plan: Plan, number: int) -> None:
        """Make the meter of the head with this number."""
        lcg = Lcg(plan.seed, number)
        self.edge = edge_of(number)
        self.server_id = b"\x0a\x01WLF" + number.to_bytes(5, "big")
        self.boot = 1 + (lcg.below(1 << 16) << 15 | lcg.below(1 << 15))
        self.log_id = lcg.below(1 << 16) << 16 | lcg.below(1 << 16)
        self.begin_ms = number * plan.spread_ms // plan.heads
        """When it starts, after the fleet does."""
        self.uptime_ms = 1_000 + lcg.below(60_000)
        """Of its first reading: each has a clock of its own."""
        self._sec_index = lcg.below(1 << 16) << 8
        self._interval_ms = plan.interval_ms
        self._base_w = lcg.below(3_000) - (800 if number % 4 == 0 else -50)
        self._turn = lcg.below(_STEPS)
        self._import_ws = lcg.below(1 << 16) * 3_600_000
        self._export_ws = lcg.below(1 << 16) * 360_000 if number % 4 == 0 else 0
        self._readings_per_sync = max(1, SYNC_EVERY_MS // plan.interval_ms)

    def uptime_of(self, index: int) -> int:
        """Return the head's uptime at this reading."""
        return self.uptime_ms + index * self._interval_ms

    def due_ms(self, index: int) -> int:
        """Return when it is read, after the fleet's start."""
        return self.begin_ms + index * self._interval_ms

    def is_sync_due(self, index: int) -> bool:
        """Tell whether a sync point is logged before this reading."""
        return index % self._readings_per_sync == 0

    def index_of(self, seq: int) -> int | None:
        """Return which reading has this number in the log; None for a sync point's."""
        syncs, place = divmod(seq - 1, self._readings_per_sync + 1)
        return syncs * self._readings_per_sync + place - 1 if place else None

    def sec_index(self, index: int) -> int:
        """Return the meter's own seconds counter."""
        return self._sec_index + self.uptime_of(index) // 1_000

    def values(self, index: int) -> tuple[int, int, int]:
        """Return import and export in 0.1 Wh, power in 0.1 W."""
        rounds, rest = divmod(index, _STEPS)
        up_w, down_w = self._sums(_STEPS)
        rest_up_w, rest_down_w = self._sums(rest)
        up_ws = (rounds * up_w + rest_up_w) * self._interval_ms // 1_000
        down_ws = (rounds * down_w + rest_down_w) * self._interval_ms // 1_000
        return (
            (self._import_ws + up_ws) // _WS_PER_WH_E1,
            (self._export_ws + down_ws) // _WS_PER_WH_E1,
            10 * (self._base_w + _FLICKER[(self._turn + rest) % _STEPS]),
        )

    def reading(self, index: int) -> Reading:
        """Return the reading as the interpreter of a head would."""
        import_e1, export_e1, power_e1 = self.values(index)
        values = [(IMPORT, import_e1, -1), (EXPORT, export_e1, -1), (POWER, power_e1, -1)]
        return Reading(self.server_id, self.sec_index(index), values, ())

    def _sums(self, count: int) -> tuple[int, int]:
        """Return the power drawn and fed in during so many intervals, added up in W."""
        end = self._turn + count
        flicker_w = _SUMS[end] - _SUMS[self._turn]
        if self._base_w >= _FLICKER_W:
            return self._base_w * count + flicker_w, 0
        powers = [self._base_w + one for one in _FLICKERS[self._turn : end]]
        drawn_w = sum(one for one in powers if one > 0)
        return drawn_w, drawn_w - sum(powers)


_FLICKER_W = 400
_LCG = Lcg(8, 8)
_FLICKER = [_LCG.below(2 * _FLICKER_W) - _FLICKER_W for _ in range(_STEPS)]
_FLICKERS = 2 * _FLICKER
_SUMS = [sum(_FLICKERS[:count]) for count in range(2 * _STEPS + 1)]


def edge_of(number: int) -> str:
    """Return the id of the head with this number."""
    return f"fleet-{number:06d}"


class Memory:
    """The flash of a head, as ringlog wants it; what is blank is shared until it is written."""

    __slots__ = ("_sectors",)

    def __init__(self) -> None:
        """Start blank."""
        self._sectors: list[bytearray | None] = [None] * LOG_SECTORS

    def readblocks(self, block: int, buf: bytearray | memoryview, offset: int) -> None:
        """Fill buf from this place."""
        buf[:] = memoryview(self._sectors[block] or _BLANK)[offset : offset + len(buf)]

    def writeblocks(self, block: int, buf: bytes | bytearray | memoryview, offset: int) -> None:
        """Write buf to this place."""
        sector = self._sectors[block]
        if sector is None:
            sector = self._sectors[block] = bytearray(_BLANK)
        sector[offset : offset + len(buf)] = buf

    def ioctl(self, op: int, arg: int) -> int | None:
        """Return the number of sectors (op 4) or their bytes (5), or erase one (6)."""
        if op == 6:
            self._sectors[arg] = None
            return 0
        return {4: LOG_SECTORS, 5: LOG_SECTOR_BYTES}.get(op)


class Head:
    """One head, stepped with the time since the fleet's start.

    now_ms of every call is that time; the head's own uptime is another.
    """

    def __init__(
        self,
        plan: Plan,
        number: int,
        link: Link,
        start_epoch_ms: int,
        batch_buf: bytearray,
        lcg: Lcg,
    ) -> None:
        """Make a head that is off until its begin_ms; batch_buf may be shared by many."""
        self.meter = Meter(plan, number)
        self.made = 0
        self._log = RingLog(Memory(), lambda: self.meter.log_id)
        self._writer = records.GroupWriter(self._log, self.meter.boot)
        self._shift_ms = self.meter.uptime_ms - self.meter.begin_ms
        self._epoch_ms = start_epoch_ms - self._shift_ms
        self._has_live = plan.live_ms > 0
        self.uplink = uplink.Uplink(
            self.meter.edge,
            self.meter.boot,
            self._log,
            self._writer,
            link,
            lambda limit: lcg.below(min(limit, 1 << 16)),
            self._describe,
            _say_nothing,
            batch_buf,
            WINDOW,
            plan.batch_ms,
        )

    def step(self, now_ms: int, end_ms: int, late: Callable[[int], None]) -> int:
        """Read the meter where that is due before end_ms, and step the uplink; return when next.

        late hears by how many ms a reading was made too late: the generator's own fault, for its
        time is that at which it was due.
        """
        meter = self.meter
        due_ms = meter.due_ms(self.made)
        while due_ms <= now_ms and due_ms < end_ms:
            uptime_ms = meter.uptime_of(self.made)
            if meter.is_sync_due(self.made):
                self._writer.sync(uptime_ms, self._epoch_ms + uptime_ms, True)
            reading = meter.reading(self.made)
            self._writer.reading(uptime_ms, reading)
            if self._has_live:
                self.uplink.live.offer(0, uptime_ms, reading)
            late(now_ms - due_ms)
            self.made += 1
            due_ms = meter.due_ms(self.made)
        due_up_ms = self.uplink.step(now_ms + self._shift_ms) - self._shift_ms
        return min(due_ms, due_up_ms) if due_ms < end_ms else due_up_ms

    def waiting(self) -> int:
        """Return how many records the host has not yet committed."""
        count: int = self._log.stats().records
        return count

    def evicted(self) -> int:
        """Return how many the log had to give up."""
        count: int = self._log.stats().evicted
        return count

    def stop(self) -> None:
        """Say goodbye."""
        self.uplink.stop()

    def _describe(self, now_ms: int) -> dict[str, object]:
        """Return what a status says, with all that an agent's has."""
        stats = self._log.stats()
        last_ms = self.meter.uptime_of(self.made - 1) if self.made else None
        return {
            "version": __version__,
            "platform": "fleet",
            "log": {
                "id": self._log.id,
                "base_seq": self._log.base_seq,
                "kind": "memory",
                "first_seq": stats.first_seq,
                "next_seq": stats.next_seq,
                "records": stats.records,
                "bytes": stats.bytes,
                "bytes_max": stats.bytes_max,
                "evicted": stats.evicted,
                "damaged": stats.damaged,
                "unlogged": 0,
                "trouble": None,
            },
            "meters": [
                {
                    "port": "simulated",
                    "state": "open",
                    "trouble": None,
                    "server_id": self.meter.server_id if self.made else None,
                    "frames": self.made,
                    "drops": {},
                    "bytes": 360 * self.made,
                    "frame_age_ms": None if last_ms is None else max(0, now_ms - last_ms),
                    "full_dataset": True if self.made else None,
                    "hint": None,
                    "quarantine": {"held": 0},
                }
            ],
        }


def set_pace(plan: Plan) -> None:
    """Have all uplinks of this process send status and live readings as the plan says."""
    uplink.STATUS_EVERY_MS = plan.status_ms or 1 << 40
    live.LIVE_EVERY_MS = plan.live_ms


def seqs(first_seq: int, packed: Iterable[bytes]) -> list[int]:
    """Return the numbers of the readings among a batch's records."""
    return [
        first_seq + place
        for place, record in enumerate(packed)
        if record and record[0] >> 6 != records.SYNC
    ]


def _say_nothing(text: str) -> None:
    """Take what an agent tells a person: ten thousand of them would fill the screen."""
