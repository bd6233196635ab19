"""SQL for batches: look up at once what a group's plans need to know, then write the plans."""

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from wattlog.sml import server_id_text
from wattlog_host import gaps
from wattlog_host.gaps import Gap, Span
from wattlog_host.ingest import Known, Plan, Same, plan
from wattlog_host.placing import SYNC, SyncPoint, clock_by_sync
from wattlog_host.store import lookup, places, tables
from wattlog_host.store.database import inserted_id
from wattlog_host.store.records import DeadLetter, Floor, Incoming, Latest, Losses
from wattlog_host.wire import Batch
from wattlog_pi.system_clock import Trust

# No batch has more records, so that none begins further before what it reaches into.
RECORDS_MAX = 64
# What lies closer together is looked up together.
_CLUSTER_SEQS = 4_096
# How often a log may have been renewed for what is under its first id to be found; see ringlog.
_RENEWALS_MAX = 256
_ID_MASK = 0xFFFFFFFF

_BATCH, _EDGE, _GAP = tables.batch.c, tables.edge.c, tables.gap.c
_LOG, _METER = tables.edge_log.c, tables.meter.c

_IS_WANTED = sa.and_(_LOG.edge_id == _EDGE.id, _LOG.log.in_(sa.bindparam("numbers")))
_LOGS = (
    sa.select(
        _EDGE.name,
        _EDGE.id.label("edge_id"),
        _LOG.id,
        _LOG.log,
        _LOG.settled_seq,
        _LOG.is_expected,
    )
    .select_from(tables.edge.outerjoin(tables.edge_log, _IS_WANTED))
    .where(_EDGE.name.in_(sa.bindparam("names")))
)
_METERS = sa.select(_METER.server_id, _METER.id).where(
    _METER.server_id.in_(sa.bindparam("server_ids"))
)
_IN_LOG = _BATCH.log_id == sa.bindparam("log_id")
_STORED = sa.select(_BATCH.first_seq, _BATCH.records).where(
    _IN_LOG,
    _BATCH.first_seq > sa.bindparam("after"),
    _BATCH.first_seq <= sa.bindparam("last"),
)
_STORED_BATCH = sa.select(
    _BATCH.packed, _BATCH.skipped, _BATCH.readings, _BATCH.received_ms, _BATCH.boot,
    _BATCH.first_uptime_ms, _BATCH.is_received_sure,
).where(_IN_LOG, _BATCH.first_seq == sa.bindparam("first_seq"))  # fmt: skip
_KIN = (
    sa.select(_LOG.id, _LOG.log, _BATCH.packed, _BATCH.readings, _BATCH.received_ms,
              _BATCH.is_received_sure)
    .select_from(tables.batch.join(tables.edge_log).join(tables.edge))
    .where(
        _EDGE.name == sa.bindparam("edge"),
        _LOG.log.in_(sa.bindparam("numbers")),
        _BATCH.first_seq == sa.bindparam("first_seq"),
        _BATCH.boot == sa.bindparam("boot"),
    )
    .limit(1)
)  # fmt: skip
_FOLLOWING = (
    sa.select(_BATCH.first_seq, _BATCH.boot, _BATCH.first_uptime_ms, _BATCH.offset_ms)
    .where(_IN_LOG, _BATCH.first_seq > sa.bindparam("last_seq"))
    .order_by(_BATCH.first_seq)
    .limit(1)
)
_GAPS = sa.select(_GAP.first_seq, _GAP.last_seq, _GAP.reason, _GAP.noted_ms, _GAP.id).where(
    _GAP.log_id == sa.bindparam("log_id"),
    _GAP.last_seq >= sa.bindparam("first"),
    _GAP.first_seq <= sa.bindparam("last"),
)
_SETTLE = (
    sa.update(tables.edge_log)
    .where(_LOG.id == sa.bindparam("log_id"))
    .values(settled_seq=sa.bindparam("last_seq"), is_expected=False)
)
_INSERT = {table: sa.insert(table) for table in tables.METADATA.sorted_tables}
_DELETE_BATCH = tuple(
    sa.delete(table).where(
        table.c.log_id == sa.bindparam("log_id"), table.c.first_seq == sa.bindparam("first_seq")
    )
    for table in (tables.series, tables.batch)
)
_DELETE_GAPS = sa.delete(tables.gap).where(_GAP.id.in_(sa.bindparam("ids")))


@dataclass(slots=True)
class _Log:
    """One log, as far as this transaction needs it; stored, gaps and syncs are kept current."""

    id: int
    edge: str
    number: int
    settled_seq: int
    is_expected: bool
    has_kin: bool
    """Whether it was renewed: some of its batches may be stored under another id."""
    stored: dict[int, int] = field(default_factory=dict)
    """first_seq -> number of records, of batches around those that come."""
    gaps: list[Gap] = field(default_factory=list)
    gaps_before: list[Gap] = field(default_factory=list)
    syncs: dict[int, list[SyncPoint]] = field(default_factory=dict)
    syncs_new: dict[int, list[SyncPoint]] = field(default_factory=dict)
    fresh: dict[int, Plan] = field(default_factory=dict)
    """first_seq -> plan of what is to be written."""
    rewritten: set[int] = field(default_factory=set)
    """first_seq of those that are to be written in place of a stored one."""


class _Kin(NamedTuple):
    """A batch that is stored under another id of its log."""

    log_id: int
    number: int
    packed: bytes
    readings: int
    received_ms: int
    is_received_sure: bool


class Writing:
    """What one transaction writes, and what it touched."""

    def __init__(self, connection: sa.Connection) -> None:
        """Start with nothing written."""
        self.counts: Counter[tuple[str, str]] = Counter()
        self.lost: Counter[tuple[str, str]] = Counter()
        self.meter_ids: set[int] = set()
        self.meters_new: list[tuple[str, str]] = []
        self.gaps_changed = False
        self._connection = connection
        self._logs: dict[tuple[str, int], _Log] = {}

    def write(self, items: Sequence[Incoming]) -> list[Plan]:
        """Plan each batch against what is stored and those before it; write; return the plans."""
        self._open_logs([(item.batch.edge, item.batch.log, item.received_ms) for item in items])
        self._look_up(items)
        planned = [self._plan(item) for item in items]
        self._write_batches()
        self._place()
        self._write_gaps()
        return planned

    def settle(self, floors: Sequence[Floor]) -> None:
        """Note as lost what an edge will not send any more and is not stored."""
        self._open_logs([(floor.edge, floor.log, floor.received_ms) for floor in floors])
        for floor in floors:
            log = self._logs[floor.edge, floor.log]
            if log.is_expected:
                # What is below was settled under another id, and is no gap of this one.
                log.settled_seq = min(floor.base_seq or 0, floor.first_seq - 1)
            elif floor.first_seq - 1 <= log.settled_seq:
                continue
            span = Span(log.settled_seq + 1, floor.first_seq - 1)
            self._load_gaps(log, span)
            for lost in lookup.missing(self._connection, log.id, span):
                self._lose(log, Gap(lost, gaps.EVICTED, floor.received_ms))
            log.settled_seq, log.is_expected = span.last, False
            self._connection.execute(_SETTLE, {"log_id": log.id, "last_seq": span.last})
            self._write_gaps()

    def refuse(self, letters: Iterable[DeadLetter]) -> None:
        """Note as lost what was in refused batches and is not stored."""
        known = [(one.name, one.received_ms) for one in letters if one.name is not None]
        self._open_logs([(name.edge, name.log, now_ms) for name, now_ms in known])
        for name, now_ms in known:
            log = self._logs[name.edge, name.log]
            if not name.count:
                continue
            span = Span(name.first_seq, name.first_seq + min(name.count, RECORDS_MAX) - 1)
            self._load_gaps(log, span)
            for lost in lookup.missing(self._connection, log.id, span):
                self._lose(log, Gap(lost, gaps.REFUSED, now_ms))
            self._write_gaps()

    def losses(self) -> Losses | None:
        """Return all that is lost, None where that did not change."""
        return lookup.losses(self._connection) if self.gaps_changed else None

    def latest(self) -> list[Latest]:
        """Return the newest reading of each meter that was touched."""
        fresh = {
            (log.id, first_seq): planned.batch
            for log in self._logs.values()
            for first_seq, planned in log.fresh.items()
        }
        return lookup.latest(self._connection, sorted(self.meter_ids), fresh)

    # --- looking up ------------------------------------------------------------------------

    def _open_logs(
        self, wanted: Sequence[tuple[str, int, int]], *, is_expected: bool = False
    ) -> None:
        """Have a row for each (edge, log), made now where there is none."""
        if not wanted:
            return
        names = sorted({name for name, _, _ in wanted})
        # With the ids before and after, which tell whether a log was renewed.
        numbers = sorted({number + by & _ID_MASK for _, number, _ in wanted for by in (-1, 0, 1)})
        rows = self._connection.execute(_LOGS, {"names": names, "numbers": numbers}).all()
        edge_ids = {row.name: row.edge_id for row in rows}
        found = {(row.name, row.log): row for row in rows}
        for name, number, now_ms in wanted:
            if (name, number) in self._logs:
                continue
            has_kin = any((name, number + by & _ID_MASK) in found for by in (-1, 1))
            row = found.get((name, number))
            if row is not None:
                self._logs[name, number] = _Log(
                    row.id, name, number, row.settled_seq, row.is_expected, has_kin
                )
                continue
            if name not in edge_ids:
                edge_ids[name] = self._insert(tables.edge, name=name, first_seen_ms=now_ms)
            log_id = self._insert(
                tables.edge_log,
                edge_id=edge_ids[name],
                log=number,
                first_seen_ms=now_ms,
                settled_seq=0,
                is_expected=is_expected,
            )
            self._logs[name, number] = _Log(log_id, name, number, 0, is_expected, has_kin)

    def _look_up(self, items: Sequence[Incoming]) -> None:
        """Load what the plans of these batches may need, at once for many."""
        by_log: dict[tuple[str, int], list[Batch]] = {}
        for item in items:
            by_log.setdefault((item.batch.edge, item.batch.log), []).append(item.batch)
        for key, batches in by_log.items():
            log = self._logs[key]
            for span in _clusters(batches):
                around = {"after": span.first - RECORDS_MAX, "last": span.last}
                rows = self._connection.execute(_STORED, {"log_id": log.id} | around)
                log.stored.update((row.first_seq, row.records) for row in rows)
                self._load_gaps(log, span)
            uptimes: dict[int, int] = {}
            for one in batches:
                if one.boot is not None and one.records:
                    uptime_ms = min(record.uptime_ms for record in one.records)
                    uptimes[one.boot] = min(uptimes.get(one.boot, uptime_ms), uptime_ms)
            for boot, uptime_ms in uptimes.items():
                log.syncs[boot] = places.syncs_from(self._connection, log.id, boot, uptime_ms)

    def _load_gaps(self, log: _Log, span: Span) -> None:
        """Load the gaps that touch a run, and its neighbours, which they may become one with."""
        around = {"first": span.first - 1, "last": span.last + 1}
        rows = self._connection.execute(_GAPS, {"log_id": log.id} | around)
        known = {one.id for one in log.gaps_before}
        loaded = [
            Gap(Span(row.first_seq, row.last_seq), row.reason, row.noted_ms, row.id)
            for row in rows
            if row.id not in known
        ]
        log.gaps_before += loaded
        log.gaps = sorted([*log.gaps, *loaded])

    def _known(self, log: _Log, item: Incoming) -> tuple[Known, int, Trust]:
        """Return what the plan needs to know, and when this batch came first, by which trust."""
        batch = item.batch
        same = kin = None
        has_moved = False
        came_ms, trust, boot = item.received_ms, item.trust, batch.boot
        if batch.first_seq in log.fresh:
            planned = log.fresh[batch.first_seq]
            same, boot = Same(planned.batch.packed, len(planned.rows)), planned.batch.boot or boot
            came_ms, trust = planned.received_ms, _trust(planned.is_sure)
        elif batch.first_seq in log.stored:
            row = self._stored_batch(log, batch.first_seq)
            same, boot = Same(row.packed, row.readings), row.boot or boot
            came_ms, trust = row.received_ms, _trust(row.is_received_sure)
            if boot is not None and boot not in log.syncs:
                log.syncs[boot] = places.syncs_from(
                    self._connection, log.id, boot, row.first_uptime_ms
                )
        elif log.has_kin and boot is not None:
            kin = self._kin(log, batch.first_seq, boot)
            if kin is not None:
                came_ms, trust = kin.received_ms, _trust(kin.is_received_sure)
                has_moved = kin.number - log.number & _ID_MASK < _RENEWALS_MAX
        if has_moved or (same is not None and same.packed == batch.packed):
            return Known(same, has_moved=has_moved), came_ms, trust
        syncs = log.syncs.get(boot or 0, [])
        following = None
        if batch.records:
            uptimes = [record.uptime_ms for record in batch.records]
            ends = min(uptimes), max(uptimes)
            if clock_by_sync(syncs, *ends, came_ms, trust is Trust.NETWORK) is None:
                following = self._following(log, batch)
        seqs, clashes = self._seqs_of_others(log, batch)
        return Known(same, kin, has_moved, seqs, clashes, syncs, following), came_ms, trust

    def _kin(self, log: _Log, first_seq: int, boot: int) -> "_Kin | None":
        """Return where the same batch is under an earlier or later id of its log, if anywhere."""
        numbers = [log.number + by & _ID_MASK for by in range(1 - _RENEWALS_MAX, _RENEWALS_MAX)]
        numbers.remove(log.number)
        for number in numbers:
            other = self._logs.get((log.edge, number))
            planned = other.fresh.get(first_seq) if other is not None else None
            if other is not None and planned is not None and planned.batch.boot == boot:
                return _Kin(
                    other.id, number, planned.batch.packed, len(planned.rows),
                    planned.received_ms, planned.is_sure,
                )  # fmt: skip
        name = {"edge": log.edge, "numbers": numbers, "first_seq": first_seq, "boot": boot}
        row = self._connection.execute(_KIN, name).one_or_none()
        return None if row is None else _Kin(*row)

    def _seqs_of_others(self, log: _Log, batch: Batch) -> tuple[set[int], set[int]]:
        """Return which of the batch's records count in others that reach into its range.

        Then, which of these are not what the batch has under their numbers.
        """
        seqs: set[int] = set()
        clashes: set[int] = set()
        own = {record.seq: record for record in batch.records}
        for first_seq in range(batch.first_seq - RECORDS_MAX + 1, batch.last_seq + 1):
            count = log.stored.get(first_seq)
            if count is None or first_seq == batch.first_seq:
                continue
            if first_seq + count <= batch.first_seq:
                continue
            if first_seq in log.fresh:
                planned = log.fresh[first_seq]
                other, skipped = planned.batch, planned.skipped
            else:
                row = self._stored_batch(log, first_seq)
                other = lookup.batch_from(log.edge, batch.log, first_seq, row.packed)
                skipped = lookup.as_bits(row.skipped)
            for record in other.records:
                if skipped >> record.seq - first_seq & 1:
                    continue
                seqs.add(record.seq)
                is_same = other.boot == batch.boot and own.get(record.seq) == record
                if record.seq in own and not is_same:
                    clashes.add(record.seq)
        return seqs, clashes

    def _following(self, log: _Log, batch: Batch) -> tuple[int, int] | None:
        """Return (uptime_ms, time_ms) of the next batch of the log, if it is of this boot."""
        row = self._connection.execute(
            _FOLLOWING, {"log_id": log.id, "last_seq": batch.last_seq}
        ).one_or_none()
        later = [seq for seq in log.fresh if seq > batch.last_seq]
        if later and (row is None or min(later) <= row.first_seq):
            planned = log.fresh[min(later)]
            if planned.batch.boot != batch.boot:
                return None
            uptime_ms = planned.first_uptime_ms
            return uptime_ms, uptime_ms + planned.clock.offset_ms
        if row is None or row.boot != batch.boot:
            return None
        return row.first_uptime_ms, row.first_uptime_ms + row.offset_ms

    def _stored_batch(self, log: _Log, first_seq: int) -> Any:
        name = {"log_id": log.id, "first_seq": first_seq}
        return self._connection.execute(_STORED_BATCH, name).one()

    # --- writing ---------------------------------------------------------------------------

    def _plan(self, item: Incoming) -> Plan:
        batch = item.batch
        log = self._logs[batch.edge, batch.log]
        known, received_ms, trust = self._known(log, item)
        planned = plan(batch, known, received_ms, trust)
        self.counts.update(planned.counts)
        if not planned.accept:
            if planned.reason is not None:
                self._expect_renewal(log, item.received_ms)
            return planned
        batch = planned.batch
        if known.same is not None and batch.first_seq not in log.fresh:
            log.rewritten.add(batch.first_seq)
        if isinstance(known.kin, _Kin):
            self._take_away(log.edge, known.kin, batch.first_seq)
        log.fresh[batch.first_seq] = planned
        log.stored[batch.first_seq] = batch.count
        if planned.syncs and batch.boot is not None:
            for sync in planned.syncs:
                insort(log.syncs.setdefault(batch.boot, []), sync)
            log.syncs_new.setdefault(batch.boot, []).extend(planned.syncs)
        # What a batch says of its own range counts, whatever was feared before.
        span = Span(batch.first_seq, batch.last_seq)
        if log.gaps and any(one.span.first <= span.last for one in log.gaps):
            log.gaps = gaps.without(log.gaps, span)
        for lost, reason in planned.gaps:
            self._lose(log, Gap(lost, reason, item.received_ms))
        return planned

    def _expect_renewal(self, log: _Log, now_ms: int) -> None:
        """Have a row for the next id of a log, which is told to take it."""
        following = log.number + 1 & _ID_MASK
        self._open_logs([(log.edge, following, now_ms)], is_expected=True)
        log.has_kin = self._logs[log.edge, following].has_kin = True

    def _take_away(self, edge: str, kin: _Kin, first_seq: int) -> None:
        """Forget a batch under the id of its log that it came under before."""
        other = self._logs.get((edge, kin.number))
        is_written = True
        if other is not None:
            other.stored.pop(first_seq, None)
            if other.fresh.pop(first_seq, None) is not None:
                is_written = first_seq in other.rewritten
                other.rewritten.discard(first_seq)
        if is_written:
            for statement in _DELETE_BATCH:
                self._connection.execute(statement, {"log_id": kin.log_id, "first_seq": first_seq})

    def _lose(self, log: _Log, gap: Gap) -> None:
        before = sum(one.span.last - one.span.first + 1 for one in log.gaps)
        log.gaps = gaps.with_gap(log.gaps, gap)
        after = sum(one.span.last - one.span.first + 1 for one in log.gaps)
        self.lost[log.edge, gap.reason] += after - before

    def _write_batches(self) -> None:
        batches, series = [], []
        plans = [(log, planned) for log in self._logs.values() for planned in log.fresh.values()]
        meter_ids = self._meter_ids(plans)
        for log, planned in plans:
            batch = planned.batch
            name: dict[str, object] = {"log_id": log.id, "first_seq": batch.first_seq}
            if batch.first_seq in log.rewritten:
                for statement in _DELETE_BATCH:
                    self._connection.execute(statement, name)
            batches.append(
                name
                | {
                    "records": batch.count,
                    "readings": len(planned.rows),
                    "skipped": lookup.as_int64(planned.skipped),
                    "boot": batch.boot or 0,
                    "first_uptime_ms": planned.first_uptime_ms,
                    "last_uptime_ms": planned.last_uptime_ms,
                    "offset_ms": planned.clock.offset_ms,
                    "steps": lookup.pack_steps(planned.clock),
                    "time_source": planned.source,
                    "received_ms": planned.received_ms,
                    "packed": batch.packed,
                    "is_received_sure": planned.is_sure,
                }
            )
            series += [
                name | places.series_values(meter_ids[server_id], one)
                for server_id, one in planned.series.items()
            ]
        syncs = [
            {"log_id": log.id, "boot": boot} | point._asdict()
            for log in self._logs.values()
            for boot, points in log.syncs_new.items()
            for point in points
        ]
        for table, rows in (
            (tables.batch, batches),
            (tables.series, series),
            (tables.sync_point, syncs),
        ):
            if rows:
                self._connection.execute(_INSERT[table], rows)

    def _meter_ids(self, plans: Sequence[tuple[_Log, Plan]]) -> dict[bytes, int]:
        """Return the number of each meter that these plans have readings of."""
        seen: dict[bytes, tuple[str, int]] = {}
        for log, planned in plans:
            for server_id in planned.series:
                seen.setdefault(server_id, (log.edge, planned.received_ms))
        if not seen:
            return {}
        rows = self._connection.execute(_METERS, {"server_ids": sorted(seen)})
        ids: dict[bytes, int] = {row.server_id: row.id for row in rows}
        for server_id, (edge, received_ms) in seen.items():
            if server_id in ids:
                continue
            label = server_id_text(server_id)
            self.meters_new.append((edge, label))
            ids[server_id] = self._insert(
                tables.meter, server_id=server_id, label=label, first_seen_ms=received_ms
            )
        self.meter_ids.update(ids.values())
        return ids

    def _place(self) -> None:
        """Give the batches beside those that came the clock that these mean for them."""
        for log in self._logs.values():
            placed = [seq for seq, planned in log.fresh.items() if planned.source == SYNC]
            others = [seq for seq in log.fresh if seq not in set(placed)]
            for boot, points in log.syncs_new.items():
                moves = places.moves_by_sync(self._connection, log.id, boot, points)
                self.meter_ids |= places.apply(self._connection, log.id, moves)
                placed += [move.first_seq for move in moves if move.source == SYNC]
                others += [move.first_seq for move in moves if move.source != SYNC]
            if placed or others:
                moves = places.moves_by_meter(self._connection, log.id, placed, others)
                self.meter_ids |= places.apply(self._connection, log.id, moves)

    def _write_gaps(self) -> None:
        for log in self._logs.values():
            ids = {one.id for one in log.gaps}
            gone = [one.id for one in log.gaps_before if one.id not in ids]
            new = [one for one in log.gaps if one.id is None]
            if gone:
                self._connection.execute(_DELETE_GAPS, {"ids": gone})
            for one in new:
                self._insert(
                    tables.gap,
                    log_id=log.id,
                    first_seq=one.span.first,
                    last_seq=one.span.last,
                    reason=one.reason,
                    noted_ms=one.noted_ms,
                )
            self.gaps_changed = self.gaps_changed or bool(gone or new)
            log.gaps, log.gaps_before = [], []

    def _insert(self, table: sa.Table, **values: object) -> int:
        """Return the number that the database gives the row."""
        return inserted_id(self._connection.execute(_INSERT[table], values))


def _trust(is_sure: bool) -> Trust:
    return Trust.NETWORK if is_sure else Trust.NOBODY


def _clusters(batches: Sequence[Batch]) -> list[Span]:
    """Return runs of records that hold all these batches and not much else."""
    spans: list[Span] = []
    for batch in sorted(batches, key=lambda one: one.first_seq):
        if spans and batch.first_seq - spans[-1].last < _CLUSTER_SEQS:
            last = max(spans[-1].last, batch.last_seq)
            spans[-1] = Span(spans[-1].first, last)
        else:
            spans.append(Span(batch.first_seq, batch.last_seq))
    return spans
