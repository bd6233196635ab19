"""SQL for batches: look up at once what a group's plans need to know, then write the plans."""

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from wattlog.sml import server_id_text
from wattlog_host import gaps
from wattlog_host.gaps import Gap, Span
from wattlog_host.ingest import Known, Plan, Same, merged, plan
from wattlog_host.placing import SYNC, SyncPoint, clock_by_sync
from wattlog_host.store import days, due, lookup, many, places, sharing, tables
from wattlog_host.store.days import FROM_DAY, since
from wattlog_host.store.kin import Kin, KinFinder
from wattlog_host.store.logs import IDS, Log, Logs
from wattlog_host.store.places import RECORDS_MAX
from wattlog_host.store.records import (
    METERS_SHOWN_MAX,
    DeadLetter,
    Floor,
    Incoming,
    Latest,
    Losses,
)
from wattlog_host.wire import Batch
from wattlog_pi.system_clock import Trust

T = TypeVar("T")

# What lies closer together is looked up together.
_CLUSTER_SEQS = 4_096

_BATCH, _METER, _SYNC_POINT = tables.batch.c, tables.meter.c, tables.sync_point.c

_METERS = sa.select(_METER.server_id, _METER.id).where(
    _METER.server_id.in_(sa.bindparam("server_ids"))
)
_IN_LOG = _BATCH.log_id == sa.bindparam("log_id")
_STORED = sa.select(_BATCH.first_seq, _BATCH.records).where(
    _IN_LOG,
    _BATCH.first_seq > sa.bindparam("after"),
    _BATCH.first_seq <= sa.bindparam("last"),
    since(_BATCH.day, FROM_DAY),
)
_STORED_BATCH = sa.select(
    _BATCH.packed, _BATCH.skipped, _BATCH.readings, _BATCH.received_ms, _BATCH.boot,
    _BATCH.first_uptime_ms, _BATCH.received_trust,
).where(
    _IN_LOG, _BATCH.first_seq == sa.bindparam("first_seq"), since(_BATCH.day, FROM_DAY),
)  # fmt: skip
_FOLLOWING = (
    sa.select(_BATCH.first_seq, _BATCH.boot, _BATCH.first_uptime_ms, _BATCH.offset_ms)
    .where(_IN_LOG, _BATCH.first_seq > sa.bindparam("last_seq"), since(_BATCH.day, FROM_DAY))
    .order_by(_BATCH.first_seq)
    .limit(1)
)
_NEW_BATCH, _NEW_SERIES = sa.insert(tables.batch), sa.insert(tables.series)
# One that is there already is the same one: what was looked up need not have all of them.
_NEW_SYNC = sa.insert(tables.sync_point).from_select(
    ["log_id", "boot", "uptime_ms", "epoch_ms", "grade"],
    sa.select(
        *(
            sa.bindparam(name, type_=sa.BigInteger)
            for name in ("log_id", "boot", "uptime_ms", "epoch_ms", "grade")
        )
    ).where(
        ~sa.exists().where(
            _SYNC_POINT.log_id == sa.bindparam("log_id"),
            _SYNC_POINT.boot == sa.bindparam("boot"),
            _SYNC_POINT.uptime_ms == sa.bindparam("uptime_ms"),
        )
    ),
)
_DELETE_BATCH = tuple(
    sa.delete(table).where(
        table.c.log_id == sa.bindparam("log_id"),
        table.c.first_seq == sa.bindparam("first_seq"),
        since(table.c.day, FROM_DAY),
    )
    for table in (tables.series, tables.batch)
)


class Writing:
    """What one transaction writes, and what it touched."""

    def __init__(self, connection: sa.Connection) -> None:
        """Start with nothing written."""
        self.counts: Counter[tuple[str, str]] = Counter()
        self.meter_ids: set[int] = set()
        self.meters_new: list[tuple[str, str]] = []
        self._spans: list[due.Span] = []
        self._newest_day = 0
        self._connection = connection
        self._rows: dict[tuple[int, int], Any] = {}
        """(id of the log, first_seq) -> row of a stored batch that comes again."""
        self._behind: dict[tuple[int, int], Any] = {}
        """(id of the log, last_seq) -> row of the next stored batch, None where there is none."""
        self._logs = Logs(connection)
        self._kin = KinFinder(connection, self._logs)

    @property
    def lost(self) -> Counter[tuple[str, str]]:
        """(edge, reason) -> how many more records are lost."""
        return self._logs.lost

    def write(self, items: Sequence[Incoming]) -> list[Plan]:
        """Plan each batch against what is stored and those before it; write; return the plans."""
        self._logs.open([(item.batch.edge, item.batch.log, item.received_ms) for item in items])
        self._look_up(items)
        planned = [self._plan(item) for item in items]
        self._write_batches()
        self._place()
        self._logs.write_marks()
        due.mark(self._connection, self._spans)
        self._logs.write_gaps()
        return planned

    def settle(self, floors: Sequence[Floor]) -> None:
        """Note as lost what an edge will not send any more and is not stored."""
        self._logs.open([(floor.edge, floor.log, floor.received_ms) for floor in floors])
        for floor in floors:
            log = self._logs[floor.edge, floor.log]
            if log.is_expected:
                # What is below was settled under another id, and is no gap of this one.
                log.settled_seq = min(floor.base_seq or 0, floor.first_seq - 1)
            elif floor.first_seq - 1 <= log.settled_seq:
                continue
            span = Span(log.settled_seq + 1, floor.first_seq - 1)
            self._logs.load_gaps([(log, span)])
            for lost in lookup.missing(self._connection, log, span):
                self._logs.lose(log, Gap(lost, gaps.EVICTED, floor.received_ms))
            self._logs.settle(log, span.last)
            self._logs.write_gaps()

    def refuse(self, letters: Iterable[DeadLetter]) -> None:
        """Note as lost what was in refused batches and is not stored."""
        known = [(one.name, one.received_ms) for one in letters if one.name is not None]
        self._logs.open([(name.edge, name.log, now_ms) for name, now_ms in known])
        for name, now_ms in known:
            log = self._logs[name.edge, name.log]
            if not name.count:
                continue
            span = Span(name.first_seq, name.first_seq + min(name.count, RECORDS_MAX) - 1)
            self._logs.load_gaps([(log, span)])
            for lost in lookup.missing(self._connection, log, span):
                self._logs.lose(log, Gap(lost, gaps.REFUSED, now_ms))
            self._logs.write_gaps()

    def losses(self) -> Losses | None:
        """Return all that is lost, None where that did not change."""
        return lookup.losses(self._connection) if self._logs.have_gaps_changed else None

    def latest(self) -> list[Latest]:
        """Return the newest reading of each meter that was touched, and is shown."""
        fresh = {
            (log.id, first_seq): planned.batch
            for log in self._logs
            for first_seq, planned in log.fresh.items()
        }
        likely_day = max(0, self._newest_day - 1)
        shown = sorted(one for one in self.meter_ids if one <= METERS_SHOWN_MAX)
        return lookup.latest(self._connection, shown, fresh, likely_day)

    # --- looking up ------------------------------------------------------------------------

    def _look_up(self, items: Sequence[Incoming]) -> None:
        """Load what the plans of these batches may need, at once for many."""
        by_log: dict[Log, list[Batch]] = {}
        uptimes: dict[tuple[Log, int], int] = {}
        for item in items:
            batch = item.batch
            log = self._logs[batch.edge, batch.log]
            by_log.setdefault(log, []).append(batch)
            if batch.boot is not None and batch.records:
                uptime_ms = min(record.uptime_ms for record in batch.records)
                name = log, batch.boot
                uptimes[name] = min(uptimes.get(name, uptime_ms), uptime_ms)
        self._load_around(
            [(log, span) for log, batches in by_log.items() for span in _clusters(batches)]
        )
        for log, batches in by_log.items():
            if log.kin:
                self._kin.look_up(log, [one.first_seq for one in batches])
        wanted = [(log.id, boot, uptime_ms) for (log, boot), uptime_ms in uptimes.items()]
        found = places.syncs_from(self._connection, wanted)
        for (log, boot), syncs in zip(uptimes, found, strict=True):
            log.syncs[boot] = syncs
        self._load_rows(
            (log, one.first_seq)
            for log, batches in by_log.items()
            for one in batches
            if one.first_seq in log.stored
        )
        self._load_behind(
            (log, one.last_seq)
            for log, batches in by_log.items()
            for one in batches
            if one.first_seq not in log.stored and not log.syncs.get(one.boot or 0)
        )

    def _load_around(self, wanted: Sequence[tuple[Log, Span]]) -> None:
        """Load which batches reach into these runs, and their gaps."""
        asked = []
        for log, span in wanted:
            after = span.first - RECORDS_MAX
            around = {"after": after, "last": span.last}
            asked.append({"log_id": log.id, "from_day": log.marks.from_day(after + 1)} | around)
        found = many.of_each(self._connection, _STORED, asked)
        for (log, _), rows in zip(wanted, found, strict=True):
            for row in rows:
                if row.first_seq not in log.fresh:
                    log.stored[row.first_seq] = row.records
        self._logs.load_gaps(wanted)

    def _load_rows(self, wanted: Iterable[tuple[Log, int]]) -> None:
        """Load what is stored under these numbers."""
        names = dict.fromkeys(wanted)
        asked = [log.name_of(first_seq) for log, first_seq in names]
        found = many.one_of_each(self._connection, _STORED_BATCH, asked)
        for (log, first_seq), row in zip(names, found, strict=True):
            self._rows[log.id, first_seq] = row

    def _load_behind(self, wanted: Iterable[tuple[Log, int]]) -> None:
        """Load what is stored behind these numbers."""
        names = dict.fromkeys(wanted)
        asked = [log.name_of(last_seq + 1) | {"last_seq": last_seq} for log, last_seq in names]
        found = many.of_each(self._connection, _FOLLOWING, asked)
        for (log, last_seq), rows in zip(names, found, strict=True):
            self._behind[log.id, last_seq] = next(iter(rows), None)

    def _known(self, log: Log, item: Incoming) -> tuple[Known, int, Trust]:
        """Return what the plan needs to know, and when this batch came first, by which trust."""
        batch = item.batch
        same = kin = None
        has_moved = False
        came_ms, trust, boot = item.received_ms, item.trust, batch.boot
        if batch.first_seq in log.fresh:
            planned = log.fresh[batch.first_seq]
            same, boot = Same(planned.batch.packed, len(planned.rows)), planned.batch.boot or boot
            came_ms, trust = planned.received_ms, planned.trust
        elif batch.first_seq in log.stored:
            row = self._stored_batch(log, batch.first_seq)
            same, boot = Same(row.packed, row.readings), row.boot or boot
            came_ms, trust = row.received_ms, Trust(row.received_trust)
            if boot is not None and boot not in log.syncs:
                wanted = [(log.id, boot, row.first_uptime_ms)]
                (log.syncs[boot],) = places.syncs_from(self._connection, wanted)
        elif log.kin and boot is not None:
            kin = self._kin.same(log, batch)
            if kin is not None:
                came_ms, trust = kin.received_ms, kin.trust
                has_moved = log.is_before(kin.number)
                both = merged(batch, kin.packed)
                if has_moved and both is not None and both.packed != kin.packed:
                    # It has more than what has moved: that is to come under the later id, too.
                    clashes = set(range(batch.first_seq, batch.last_seq + 1))
                    return Known(clashes=clashes), came_ms, trust
        if has_moved or (same is not None and same.packed == batch.packed):
            return Known(same, has_moved=has_moved), came_ms, trust
        syncs = log.syncs.get(boot or 0, [])
        is_late = self._is_late(batch, syncs, came_ms, trust)
        following = self._following(log, batch) if is_late else None
        before = same or kin
        whole = (merged(batch, before.packed) if before is not None else None) or batch
        if whole.last_seq > batch.last_seq:  # what is stored has more records
            self._load_around([(log, Span(batch.first_seq, whole.last_seq))])
        seqs, clashes = self._seqs_of_others(log, whole)
        return Known(same, kin, has_moved, seqs, clashes, syncs, following), came_ms, trust

    def _is_late(
        self, batch: Batch, syncs: Sequence[SyncPoint], came_ms: int, trust: Trust
    ) -> bool:
        """Tell whether a batch may have to be placed by its arrival."""
        uptimes = [record.uptime_ms for record in batch.records]
        ends = (min(uptimes), max(uptimes)) if uptimes else None
        return ends is not None and clock_by_sync(syncs, *ends, came_ms, trust) is None

    def _seqs_of_others(self, log: Log, batch: Batch) -> tuple[set[int], set[int]]:
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
        if log.kin:
            seqs |= self._kin.shared(log, batch)
        return seqs, clashes

    def _following(self, log: Log, batch: Batch) -> tuple[int, int] | None:
        """Return (uptime_ms, time_ms) of the next batch of the log, if it is of this boot."""
        if (log.id, batch.last_seq) not in self._behind:
            self._load_behind([(log, batch.last_seq)])
        row = self._behind[log.id, batch.last_seq]
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

    def _stored_batch(self, log: Log, first_seq: int) -> Any:
        if (log.id, first_seq) not in self._rows:
            self._load_rows([(log, first_seq)])
        return self._rows[log.id, first_seq]

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
        if isinstance(known.kin, Kin):
            self._take_away(log, known.kin, batch, item.received_ms)
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
            self._logs.lose(log, Gap(lost, reason, item.received_ms))
        return planned

    def _expect_renewal(self, log: Log, now_ms: int) -> None:
        """Have a row for the next id of a log, which is told to take it."""
        following = (log.number + 1) % IDS
        self._logs.open([(log.edge, following, now_ms)], is_expected=True)

    def _take_away(self, log: Log, kin: Kin, batch: Batch, now_ms: int) -> None:
        """Forget a batch under the id of its log that it came under before; keep its books."""
        self._logs.open([(log.edge, kin.number, now_ms)])
        other = self._logs[log.edge, kin.number]
        other.stored.pop(batch.first_seq, None)
        self._kin.is_gone(other, batch.first_seq)
        is_written = True
        if other.fresh.pop(batch.first_seq, None) is not None:
            is_written = batch.first_seq in other.rewritten
            other.rewritten.discard(batch.first_seq)
        if is_written:
            self._delete(other, batch.first_seq)
        # What it lacked is lost here, and not there. But there its numbers stand for what never
        # came, if they had been given up before they were given again.
        span = Span(batch.first_seq, batch.last_seq)
        self._logs.load_gaps([(other, span)])
        other.gaps = gaps.without(other.gaps, span)
        settled = Span(span.first, min(span.last, other.settled_seq))
        if settled.last < settled.first:
            return
        fresh = sorted(Span(seq, one.batch.last_seq) for seq, one in other.fresh.items())
        for missing in lookup.missing(self._connection, other, settled):
            for lost in gaps.uncovered(missing, fresh):
                self._logs.lose(other, Gap(lost, gaps.EVICTED, now_ms))

    def _write_batches(self) -> None:
        batches, series = [], []
        plans = [(log, planned) for log in self._logs for planned in log.fresh.values()]
        meter_ids = self._meter_ids(plans)
        days_of = self._days_of(plans)
        for log, planned in plans:
            batch = planned.batch
            day = days_of[log.id, batch.first_seq]
            name: dict[str, object] = {"log_id": log.id, "first_seq": batch.first_seq, "day": day}
            if batch.first_seq in log.rewritten:
                self._delete(log, batch.first_seq)
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
                    "received_trust": planned.trust,
                }
            )
            for server_id, one in planned.series.items():
                series.append(name | places.series_values(meter_ids[server_id], one))
                span = due.Span(meter_ids[server_id], one.first_ms, one.last_ms)
                self._spans.append(span)
        days.ensure(self._connection, days_of.values())
        syncs = [
            {"log_id": log.id, "boot": boot} | point._asdict()
            for log in self._logs
            for boot, points in log.syncs_new.items()
            for point in points
        ]
        for insert, rows in ((_NEW_BATCH, batches), (_NEW_SERIES, series), (_NEW_SYNC, syncs)):
            if rows:
                self._connection.execute(insert, rows)

    def _days_of(self, plans: Sequence[tuple[Log, Plan]]) -> dict[tuple[int, int], int]:
        """Return the day that each batch goes to, and have its log know."""
        found: dict[tuple[int, int], int] = {}
        written: dict[Log, list[tuple[int, int]]] = {}
        for log, planned in plans:
            first_seq = planned.batch.first_seq
            ends = (one.last_ms for one in planned.series.values())
            day = days.day_of(self._connection, planned.received_ms, *ends)
            found[log.id, first_seq] = day
            written.setdefault(log, []).append((day, first_seq))
        self._newest_day = max(found.values(), default=0)
        days.note(
            self._connection,
            [days.Written(log.id, log.marks, own) for log, own in written.items()],
        )
        return found

    def _meter_ids(self, plans: Sequence[tuple[Log, Plan]]) -> dict[bytes, int]:
        """Return the number of each meter that these plans have readings of."""
        seen: dict[bytes, tuple[str, int]] = {}
        for log, planned in plans:
            for server_id in planned.series:
                seen.setdefault(server_id, (log.edge, planned.received_ms))
        if not seen:
            return {}
        ids = self._known_meters(seen)
        new = [
            {"server_id": one, "label": server_id_text(one), "first_seen_ms": received_ms}
            for one, (_, received_ms) in seen.items()
            if one not in ids
        ]
        if new:
            added = sharing.add_meters(self._connection, new)
            self.meters_new += [(seen[one][0], server_id_text(one)) for one in added]
            ids = self._known_meters(seen)
        self.meter_ids.update(ids.values())
        return ids

    def _known_meters(self, server_ids: Iterable[bytes]) -> dict[bytes, int]:
        rows = self._connection.execute(_METERS, {"server_ids": sorted(server_ids)})
        return {row.server_id: row.id for row in rows}

    def _place(self) -> None:
        """Give the batches beside those that came the clock that these mean for them."""
        beside: dict[Log, tuple[list[int], list[int]]] = {}
        """Which batches have got a sync point now, and which are new, or again, without one."""
        for log in self._logs:
            by_sync: list[int] = []
            others: list[int] = []
            for first_seq, planned in log.fresh.items():
                (by_sync if planned.source == SYNC else others).append(first_seq)
            beside[log] = by_sync, others
        new = [
            places.NewSyncs(log, boot, points)
            for log in self._logs
            for boot, points in log.syncs_new.items()
        ]
        for part in _parts(new, places.LOGS_AT_ONCE):
            found = places.moves_by_sync(self._connection, part)
            for (log, _, _), moves in zip(part, found, strict=True):
                self._move(log, moves)
                by_sync, others = beside[log]
                for move in moves:
                    (by_sync if move.source == SYNC else others).append(move.first_seq)
        touched = [places.Beside(log, *both) for log, both in beside.items() if any(both)]
        for those in _parts(touched, places.LOGS_AT_ONCE):
            for log, moves in places.moves_by_meter(self._connection, those):
                self._move(log, moves)

    def _move(self, log: Log, moves: Sequence[places.Move]) -> None:
        spans = places.apply(self._connection, log, moves)
        self.meter_ids.update(span.meter_id for span in spans)
        self._spans += spans

    def _delete(self, log: Log, first_seq: int) -> None:
        """Delete a batch, and note when it had readings."""
        self._spans += places.spans_of(self._connection, log, {first_seq})
        for statement in _DELETE_BATCH:
            self._connection.execute(statement, log.name_of(first_seq))
        self._rows.pop((log.id, first_seq), None)
        for name in [one for one in self._behind if one[0] == log.id]:
            del self._behind[name]


def _parts(items: Sequence[T], count_max: int) -> Iterator[Sequence[T]]:
    """Yield them in their order, at most so many at once."""
    return (items[at : at + count_max] for at in range(0, len(items), count_max))


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
