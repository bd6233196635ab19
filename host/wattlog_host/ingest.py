"""What a batch means for the store: pure planning, no database and no clock.

The plan of a batch is complete but for the clocks that other batches give it: what a sync point
or a meter's counter in one batch means for the times of others is placing.py, over all of them.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

from wattlog.channels import in_range, rescaled
from wattlog.recordreader import Row, Sync, split
from wattlog.records import RENEW
from wattlog_host.gaps import DAMAGED, REFUSED, Span, spans_of
from wattlog_host.placing import (
    AGREED,
    ARRIVAL,
    CLOCK_AHEAD_MS_MAX,
    CLOCK_BEHIND_MS_MAX,
    EPOCH_MS_PLAUSIBLE,
    SURE,
    UNSURE,
    Clock,
    SyncPoint,
    ahead_by_sync,
    ahead_ms_max,
    clock_by_sync,
    offset_by_arrival,
    zero_of,
)
from wattlog_host.units import BY_ID
from wattlog_host.wire import HOLE, Batch, batch_of, pack_records
from wattlog_pi.system_clock import Trust

# What recordreader says of a record whose own bytes may be well: what it depends on is not there.
_ORPHANED = ("no head", "no key")
_NO_CLOCK = Clock(0)


class Stored(Protocol):
    """A committed batch: its records, and how many readings of them count."""

    @property
    def packed(self) -> bytes:
        """As they came."""

    @property
    def readings(self) -> int:
        """So many."""


class Same(NamedTuple):
    """The committed batch of the same name."""

    packed: bytes
    readings: int


@dataclass(frozen=True, slots=True)
class Known:
    """What the store already holds around a batch."""

    same: Same | None = None
    kin: Stored | None = None
    """The same batch under another id of its log, from which it moves here."""
    has_moved: bool = False
    """It is stored under a later id of its log."""
    seqs: Collection[int] = ()
    """Records within the batch's range that other batches brought."""
    clashes: Collection[int] = ()
    """Those of them that this batch holds too, and that are not the same there."""
    syncs: Sequence[SyncPoint] = ()
    """Of this boot, rising."""
    following: tuple[int, int] | None = None
    """(uptime_ms, time_ms) of this boot's first stored batch after this one."""


class Series(NamedTuple):
    """One meter's readings in a batch: how many, from when to when.

    zero_ms  when the meter's seconds counter stood at 0, None where it has none or it jumps
    """

    readings: int
    first_ms: int
    last_ms: int
    zero_ms: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write for one batch.

    accept   the batch is to be stored, in place of known.same or known.kin where there is one
    reason   RENEW: its numbers are taken, it shall come again under another log id; else None
    batch    what to store: the one that came, or what both of the same name hold together
    received_ms  when it came, as well as that is known, and trust, how well
    skipped  bit i is set where record i counts in another batch
    gaps     records that are lost for good, and why
    """

    accept: bool
    batch: Batch
    received_ms: int
    reason: str | None = None
    rows: Sequence[Row] = ()
    skipped: int = 0
    first_uptime_ms: int = 0
    last_uptime_ms: int = 0
    clock: Clock = _NO_CLOCK
    source: str = ARRIVAL
    series: Mapping[bytes, Series] = field(default_factory=dict)
    syncs: Sequence[SyncPoint] = ()
    gaps: Sequence[tuple[Span, str]] = ()
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(counter, reason) -> how many to add."""
    ahead_ms: int | None = None
    """How far the edge's clock is ahead of ours, below 0 also for a backlog; None is unknown."""
    is_behind: bool = False
    """Whether it is ours that is wrong."""
    trust: Trust = Trust.NETWORK


def plan(batch: Batch, known: Known, received_ms: int, trust: Trust = Trust.NETWORK) -> Plan:
    """Return what to write for a batch that came at received_ms by a clock of such trust."""
    counts = Counter[tuple[str, str]]()
    before = known.same or known.kin
    if before is None and not known.has_moved:
        counts["batches", ""] = 1
        counts.update(("rejected", f"record: {reason}") for _, reason in batch.rejected)
    else:
        counts["duplicates", ""] = 1
    together = batch if before is None else merged(batch, before.packed)
    if together is None or known.clashes:
        return Plan(False, batch, received_ms, RENEW, counts=Counter({("renewals", ""): 1}))
    if known.has_moved or (known.same is not None and together.packed == known.same.packed):
        return Plan(False, batch, received_ms, counts=counts)
    batch = together
    uptimes = [record.uptime_ms for record in batch.records] or [0]
    first_ms, last_ms = min(uptimes), max(uptimes)
    rows, skipped = _own_rows(batch, known.seqs)
    points, aheads = _new_syncs(batch, known, received_ms - last_ms, trust, counts)
    all_points = sorted([*known.syncs, *points])
    behind_ms = 0
    placed = clock_by_sync(all_points, first_ms, last_ms, received_ms, trust)
    if placed is not None:
        clock, source = placed
        behind_ms = max(0, clock.at(last_ms) - received_ms)
        received_ms += behind_ms if trust < Trust.NETWORK else 0
    else:
        if all_points:
            counts["rejected", "clock ahead"] += 1
            aheads.append(ahead_by_sync(all_points, last_ms, received_ms))
        clock = Clock(offset_by_arrival(received_ms, last_ms, known.following))
        source = ARRIVAL
    if before is None:
        count_values(rows, counts)
    counts["readings", ""] = len(rows) - (0 if before is None else before.readings)
    counts["duplicates", "reading"] = skipped.bit_count()
    return Plan(
        True,
        batch,
        received_ms,
        None,
        rows,
        skipped,
        first_ms,
        last_ms,
        clock,
        source,
        series_of(rows, clock),
        points,
        _lost(batch, known.seqs),
        counts,
        max(aheads, default=None),
        behind_ms > CLOCK_AHEAD_MS_MAX,
        trust,
    )


def merged(batch: Batch, packed: bytes) -> Batch | None:
    """Return what both of one name hold together; None where a record differs."""
    if packed == batch.packed:
        return batch
    ours, theirs = split(packed), split(batch.packed)
    size = max(len(ours), len(theirs))
    ours += [b""] * (size - len(ours))
    theirs += [b""] * (size - len(theirs))
    if any(a and b and a != b for a, b in zip(ours, theirs, strict=True)):
        return None
    both = [a or b for a, b in zip(ours, theirs, strict=True)]
    return batch_of(batch.edge, batch.log, batch.first_seq, both, pack_records(both))


def series_of(rows: Sequence[Row], clock: Clock) -> dict[bytes, Series]:
    """Return each meter's readings in a batch, as the clock places them."""
    by_meter: dict[bytes, list[Row]] = {}
    for row in rows:
        by_meter.setdefault(row.server_id, []).append(row)
    return {server_id: _series(own, clock) for server_id, own in by_meter.items()}


def stored_values(values: Sequence[tuple[int, int, int]]) -> dict[int, int]:
    """Return channel -> value in the channel's fixed decimals, without what cannot be kept."""
    found = {}
    for number, value, scale in values:
        limits = _limits(number, scale)
        if isinstance(limits, _Limits) and limits.low <= value <= limits.high:
            kept = rescaled(value, scale, limits.decimals)
            if kept is not None:
                found[number] = kept
    return found


def count_values(rows: Sequence[Row], counts: Counter[tuple[str, str]]) -> None:
    """Count each value that cannot be kept, by reason."""
    for row in rows:
        for number, value, scale in row.values:
            limits = _limits(number, scale)
            if limits is None:
                counts["rejected", "unknown channel"] += 1
            elif not limits.low <= value <= limits.high:
                counts["rejected", f"{limits.key} out of range"] += 1
            elif limits.step > 1 and value % limits.step:
                counts["rejected", f"{limits.key} too fine"] += 1


class _Limits(NamedTuple):
    """What a channel's values may be in one scale: from low to high, in steps."""

    key: str
    low: int
    high: int
    step: int
    decimals: int


@lru_cache(maxsize=4_096)
def _limits(number: int, scale: int) -> _Limits | None:
    channel = BY_ID.get(number)
    if channel is None:
        return None
    # The greatest and least integers in this scale that are within the range.
    if scale >= 0:
        unit = 10**scale
        low, high = -(-channel.low // unit), channel.high // unit
    else:
        low, high = channel.low * 10**-scale, channel.high * 10**-scale
    assert in_range(channel, low, scale)
    assert in_range(channel, high, scale)
    step = 10 ** max(0, -scale - channel.decimals)
    return _Limits(channel.key, low, high, step, channel.decimals)


def _own_rows(batch: Batch, others: Collection[int]) -> tuple[list[Row], int]:
    """Return the readings that count in this batch, and which of its records do not."""
    if not others:
        return [record for record in batch.records if isinstance(record, Row)], 0
    skipped = 0
    rows = []
    for record in batch.records:
        if record.seq in others:
            skipped |= 1 << record.seq - batch.first_seq
        elif isinstance(record, Row):
            rows.append(record)
    return rows, skipped


def _new_syncs(
    batch: Batch, known: Known, zero_ms: int, trust: Trust, counts: Counter[tuple[str, str]]
) -> tuple[list[SyncPoint], list[int]]:
    """Return the sync points to believe, and by how many ms each clock that is set is ahead.

    zero_ms is the latest that the boot can have begun by our clock.
    """
    uptimes = {point.uptime_ms for point in known.syncs}
    points, aheads = [], []
    for record in batch.records:
        if not isinstance(record, Sync) or record.uptime_ms in uptimes:
            continue
        if record.epoch_ms not in EPOCH_MS_PLAUSIBLE:
            counts["rejected", "clock not set"] += 1
            continue
        ahead_ms = record.epoch_ms - record.uptime_ms - zero_ms
        aheads.append(ahead_ms)
        grade = SURE if record.is_sure else UNSURE
        if ahead_ms > ahead_ms_max(grade, trust):
            counts["rejected", "clock ahead"] += 1
            continue
        # Two clocks that agree confirm each other; ours cannot if it goes on where it stopped.
        agrees = -CLOCK_BEHIND_MS_MAX <= ahead_ms <= CLOCK_AHEAD_MS_MAX
        if agrees and trust > Trust.NOBODY:
            grade = max(grade, AGREED)
        uptimes.add(record.uptime_ms)
        points.append(SyncPoint(record.uptime_ms, record.epoch_ms, grade))
    return points, aheads


def _series(rows: Sequence[Row], clock: Clock) -> Series:
    if clock.steps:
        times = [clock.at(row.uptime_ms) for row in rows]
    else:
        times = [row.uptime_ms + clock.offset_ms for row in rows]
    samples = [
        (time_ms, row.sec_index)
        for time_ms, row in zip(times, rows, strict=True)
        if row.sec_index is not None
    ]
    return Series(len(rows), min(times), max(times), zero_of(samples))


def _lost(batch: Batch, others: Collection[int]) -> list[tuple[Span, str]]:
    """Return the records that this batch should hold and does not, unless another one does."""
    if not batch.rejected:
        return []
    damaged = any(reason in (HOLE, *_ORPHANED) for _, reason in batch.rejected)
    seqs = [seq for seq, _ in batch.rejected if seq not in others]
    return [(span, DAMAGED if damaged else REFUSED) for span in spans_of(seqs)]
