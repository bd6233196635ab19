"""What a batch means for the store: pure planning, no database and no clock.

Time: a reading is placed by the newest sync point of its boot at or before its uptime, else by
the earliest one after it. Without any, it is placed by its arrival and marked so, until a sync
point of that boot turns up. A time that came from a sync point never changes again.

No time lies more than CLOCK_AHEAD_MS_MAX after the arrival: a clock that says so is wrong, and is
not believed. So one bad clock cannot make a reading the newest one until that time has come.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from wattlog.channels import in_range, rescaled
from wattlog_host.units import BY_ID
from wattlog_host.wire import Batch, Reading, SyncPoint

SYNC = "sync"
ARRIVAL = "arrival"

# A clock that was never set says 1970 or 2000. Using it would put readings decades off; not
# using it costs nothing, because they are then placed by their arrival. 2020-01-01, 2100-01-01.
EPOCH_MS_PLAUSIBLE = range(1_577_836_800_000, 4_102_444_800_000)

# Two clocks that are set by the network differ by less. Far behind is no error: it is a backlog.
CLOCK_AHEAD_MS_MAX = 60_000


@dataclass(frozen=True, slots=True)
class Known:
    """What the store already holds about a batch's boot."""

    payload: bytes | None = None
    """The committed batch of the same name."""
    seqs: Collection[int] = ()
    """Readings of this boot whose seq lies within the batch."""
    syncs: Sequence[tuple[int, int]] = ()
    """(uptime_ms, epoch_ms) of this boot."""
    arrivals: Sequence[tuple[int, int]] = ()
    """(reading id, uptime_ms) of this boot placed by arrival; asked for by needs_arrivals()."""
    following: tuple[int, int] | None = None
    """(uptime_ms, time_ms) of this boot's first stored reading after the batch."""


@dataclass(frozen=True, slots=True)
class Row:
    """One reading as the store keeps it; values are channel -> integer in fixed decimals."""

    seq: int
    uptime_ms: int
    server_id: bytes
    sec_index: int | None
    time_ms: int
    time_source: str
    values: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write for one batch.

    accept   the batch is new and is to be stored
    reason   why it is refused for ever, None where it is stored or was already
    """

    accept: bool
    reason: str | None = None
    rows: tuple[Row, ...] = ()
    syncs: tuple[tuple[int, int], ...] = ()
    replaced: tuple[tuple[int, int], ...] = ()
    """(reading id, time_ms) of earlier readings that now have a sync point."""
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(counter, reason) -> how many to add."""
    ahead_ms: int | None = None
    """How far the edge's clock is ahead of ours, below 0 also for a backlog; None is unknown."""


def needs_arrivals(batch: Batch) -> bool:
    """Tell whether this batch may place readings that are stored by arrival."""
    return any(isinstance(record, SyncPoint) for record in batch.records)


def plan(batch: Batch, known: Known, received_ms: int) -> Plan:
    """Return what to write for a batch that came at received_ms."""
    if known.payload is not None:
        if known.payload == batch.payload:
            return Plan(accept=False, counts={("duplicates", ""): 1})
        return Plan(accept=False, reason="another batch of this name is stored")
    counts = Counter(("rejected", f"record: {reason}") for reason in batch.rejected)
    counts["batches", ""] += 1
    # What the edge's uptime was, at least, when the batch arrived.
    uptime_ms_last = max((record.uptime_ms for record in batch.records), default=0)
    latest_ms = received_ms + CLOCK_AHEAD_MS_MAX
    syncs, aheads = _new_syncs(batch, known, received_ms - uptime_ms_last, counts)
    timeline = Timeline([*known.syncs, *syncs])
    arrival_zero_ms = _arrival_zero_ms(known, received_ms - uptime_ms_last)
    rows = []
    for record in batch.records:
        if not isinstance(record, Reading):
            continue
        if record.seq in known.seqs:
            counts["duplicates", "reading"] += 1
            continue
        time_ms = timeline.resolve(record.uptime_ms)
        if time_ms is not None and time_ms > latest_ms:
            counts["rejected", "clock ahead"] += 1
            aheads.append(time_ms - received_ms)
            time_ms = None
        source = ARRIVAL if time_ms is None else SYNC
        if time_ms is None:
            time_ms = arrival_zero_ms + record.uptime_ms
        rows.append(
            Row(
                record.seq,
                record.uptime_ms,
                record.server_id,
                record.sec_index,
                time_ms,
                source,
                _stored_values(record, counts),
            )
        )
    counts["readings", ""] += len(rows)
    replaced = tuple(
        (reading_id, time_ms)
        for reading_id, uptime_ms in known.arrivals
        if (time_ms := timeline.resolve(uptime_ms)) is not None and time_ms <= latest_ms
    )
    ahead_ms = max(aheads, default=None)
    return Plan(True, None, tuple(rows), tuple(syncs), replaced, counts, ahead_ms)


def _arrival_zero_ms(known: Known, zero_ms: int) -> int:
    """Return when the boot began, as far as arrivals tell: at zero_ms, or before.

    A backlog that comes late stays before what the same boot has measured since.
    """
    if known.following is None:
        return zero_ms
    uptime_ms, time_ms = known.following
    return min(zero_ms, time_ms - uptime_ms)


def _new_syncs(
    batch: Batch, known: Known, zero_ms: int, counts: Counter[tuple[str, str]]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the sync points to believe, and by how many ms each clock that is set is ahead.

    zero_ms is the latest that the boot can have begun by our clock.
    """
    uptimes = {uptime_ms for uptime_ms, _ in known.syncs}
    syncs, aheads = [], []
    for record in batch.records:
        if not isinstance(record, SyncPoint) or record.uptime_ms in uptimes:
            continue
        if record.epoch_ms not in EPOCH_MS_PLAUSIBLE:
            counts["rejected", "clock not set"] += 1
            continue
        ahead_ms = record.epoch_ms - record.uptime_ms - zero_ms
        aheads.append(ahead_ms)
        if ahead_ms > CLOCK_AHEAD_MS_MAX:
            counts["rejected", "clock ahead"] += 1
            continue
        uptimes.add(record.uptime_ms)
        syncs.append((record.uptime_ms, record.epoch_ms))
    return syncs, aheads


def _stored_values(reading: Reading, counts: Counter[tuple[str, str]]) -> dict[int, int]:
    """Return channel -> value in the channel's fixed decimals; count what cannot be stored."""
    values = {}
    for number, value, scale in reading.values:
        channel = BY_ID.get(number)
        if channel is None:
            counts["rejected", "unknown channel"] += 1
        elif not in_range(channel, value, scale):
            counts["rejected", f"{channel.key} out of range"] += 1
        elif (stored := rescaled(value, scale, channel.decimals)) is None:
            counts["rejected", f"{channel.key} too fine"] += 1
        else:
            values[number] = stored
    return values


class Timeline:
    """The sync points of one boot, in order of uptime."""

    def __init__(self, syncs: Sequence[tuple[int, int]]) -> None:
        """Take (uptime_ms, epoch_ms) in any order."""
        self._syncs = sorted(syncs)
        self._uptimes = [uptime_ms for uptime_ms, _ in self._syncs]

    def resolve(self, uptime_ms: int) -> int | None:
        """Return the wall time in ms since 1970 UTC, None where no sync point is known."""
        if not self._syncs:
            return None
        index = max(0, bisect_right(self._uptimes, uptime_ms) - 1)
        sync_uptime_ms, epoch_ms = self._syncs[index]
        return epoch_ms + uptime_ms - sync_uptime_ms
