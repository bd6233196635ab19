"""SQL for logs: opened for one transaction, with the ids each had before, and what it lost."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from wattlog_host import gaps
from wattlog_host.gaps import Gap, Span
from wattlog_host.ingest import Plan
from wattlog_host.placing import SyncPoint
from wattlog_host.store import days, many, sharing, tables
from wattlog_host.store.days import Marks

# A log that is renewed takes the next id: those less than this apart are of one log; see ringlog.
RENEWALS_MAX = 256
IDS = 1 << 32

_EDGE, _LOG, _GAP = tables.edge.c, tables.edge_log.c, tables.gap.c
_IS_WANTED = sa.and_(_LOG.edge_id == _EDGE.id, _LOG.log.in_(sa.bindparam("numbers")))
_LOGS = (
    sa.select(
        _EDGE.name, _EDGE.id.label("edge_id"), _LOG.id, _LOG.log, _LOG.settled_seq,
        _LOG.is_expected, *(_LOG[name] for name in days.COLUMNS),
    )
    .select_from(tables.edge.outerjoin(tables.edge_log, _IS_WANTED))
    .where(_EDGE.name.in_(sa.bindparam("names")))
)  # fmt: skip
_OTHER = tables.edge_log.alias()
_DISTANCE = _OTHER.c.log - _LOG.log
_KIN = (
    sa.select(_LOG.id, _OTHER.c.id, _OTHER.c.log)
    .join_from(tables.edge_log, _OTHER, _OTHER.c.edge_id == _LOG.edge_id)
    .where(
        _LOG.id.in_(sa.bindparam("ids")),
        _OTHER.c.id != _LOG.id,
        sa.or_(
            _OTHER.c.log.between(_LOG.log - RENEWALS_MAX + 1, _LOG.log + RENEWALS_MAX - 1),
            # Behind the greatest id comes the least.
            sa.and_(_LOG.log < RENEWALS_MAX, _DISTANCE > IDS - RENEWALS_MAX),
            sa.and_(_LOG.log > IDS - RENEWALS_MAX, _DISTANCE < RENEWALS_MAX - IDS),
        ),
    )
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
_MARK = (
    sa.update(tables.edge_log)
    .where(_LOG.id == sa.bindparam("log_id"))
    .values({name: sa.bindparam(f"new_{name}") for name in days.COLUMNS})
)
_NEW_EDGE, _NEW_LOG = sa.insert(tables.edge), sa.insert(tables.edge_log)
_NEW_GAP = sa.insert(tables.gap)
_DELETE_GAPS = sa.delete(tables.gap).where(_GAP.id.in_(sa.bindparam("ids")))


@dataclass(slots=True, eq=False)
class Log:
    """One log, as far as this transaction needs it; stored, gaps and syncs are kept current."""

    id: int
    edge: str
    number: int
    settled_seq: int
    is_expected: bool
    marks: Marks = field(default_factory=Marks)
    kin: dict[int, int] = field(default_factory=dict)
    """number -> id of this log under the ids that it had before, or has got since."""
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

    def name_of(self, first_seq: int) -> dict[str, int]:
        """Return what a query looks for a batch by; it may also look for those behind it."""
        from_day = self.marks.from_day(first_seq)
        return {"log_id": self.id, "first_seq": first_seq, "from_day": from_day}

    def is_before(self, number: int) -> bool:
        """Tell whether this log has got that id since it had its own."""
        return (number - self.number) % IDS < RENEWALS_MAX


class Logs:
    """The logs that one transaction opens.

    lost  (edge, reason) -> how many records were not known to be lost before
    """

    def __init__(self, connection: sa.Connection) -> None:
        """Open none yet."""
        self.lost: Counter[tuple[str, str]] = Counter()
        self.have_gaps_changed = False
        self._connection = connection
        self._open: dict[tuple[str, int], Log] = {}

    def __getitem__(self, name: tuple[str, int]) -> Log:
        """Return an open log by edge and number."""
        return self._open[name]

    def __iter__(self) -> Iterator[Log]:
        """Yield all that are open."""
        return iter(self._open.values())

    def get(self, edge: str, number: int) -> Log | None:
        """Return a log if it is open."""
        return self._open.get((edge, number))

    def open(self, wanted: Sequence[tuple[str, int, int]], *, is_expected: bool = False) -> None:
        """Have a row for each (edge, number, now_ms), made now where there is none."""
        wanted = [one for one in wanted if one[:2] not in self._open]
        if not wanted:
            return
        sharing.take_edges(self._connection, {name: now_ms for name, _, now_ms in wanted})
        seen_ms: dict[tuple[str, int], int] = {}
        for name, number, now_ms in wanted:
            seen_ms.setdefault((name, number), now_ms)
        rows = self._rows(seen_ms, is_expected=is_expected)
        opened: dict[int, Log] = {}
        for name, number in seen_ms:
            row = rows[name, number]
            marks = Marks(*(getattr(row, column) for column in days.COLUMNS))
            log = Log(row.id, name, number, row.settled_seq, row.is_expected, marks)
            self._open[name, number] = opened[log.id] = log
        for log_id, kin_id, number in self._connection.execute(_KIN, {"ids": sorted(opened)}):
            log = opened[log_id]
            log.kin[number] = kin_id
            other = self.get(log.edge, number)
            if other is not None:
                other.kin[log.number] = log.id

    def settle(self, log: Log, last_seq: int) -> None:
        """Note that up to here each record is stored or in a gap."""
        log.settled_seq, log.is_expected = last_seq, False
        self._connection.execute(_SETTLE, {"log_id": log.id, "last_seq": last_seq})

    def write_marks(self) -> None:
        """Write in which days batches of these logs are, where that has changed."""
        rows = []
        for log in self:
            if log.marks.is_changed:
                new = {f"new_{name}": value for name, value in log.marks.columns().items()}
                rows.append({"log_id": log.id} | new)
                log.marks.is_changed = False
        if rows:
            self._connection.execute(_MARK, rows)

    def load_gaps(self, wanted: Sequence[tuple[Log, Span]]) -> None:
        """Load the gaps that touch these runs, and neighbours, which they may become one with."""
        asked = [
            {"log_id": log.id, "first": span.first - 1, "last": span.last + 1}
            for log, span in wanted
        ]
        found = many.of_each(self._connection, _GAPS, asked)
        for (log, _), rows in zip(wanted, found, strict=True):
            if not rows:
                continue
            known = {one.id for one in log.gaps_before}
            loaded = [
                Gap(Span(row.first_seq, row.last_seq), row.reason, row.noted_ms, row.id)
                for row in rows
                if row.id not in known
            ]
            log.gaps_before += loaded
            log.gaps = sorted([*log.gaps, *loaded])

    def lose(self, log: Log, gap: Gap) -> None:
        """Note a run as lost, but for what is noted already."""
        before = sum(one.span.last - one.span.first + 1 for one in log.gaps)
        log.gaps = gaps.with_gap(log.gaps, gap)
        after = sum(one.span.last - one.span.first + 1 for one in log.gaps)
        self.lost[log.edge, gap.reason] += after - before

    def write_gaps(self) -> None:
        """Write what has changed about the gaps that were loaded."""
        for log in self:
            ids = {one.id for one in log.gaps}
            gone = [one.id for one in log.gaps_before if one.id not in ids]
            new = [
                {"log_id": log.id, "first_seq": one.span.first, "last_seq": one.span.last,
                 "reason": one.reason, "noted_ms": one.noted_ms}
                for one in log.gaps
                if one.id is None
            ]  # fmt: skip
            if gone:
                self._connection.execute(_DELETE_GAPS, {"ids": gone})
            if new:
                self._connection.execute(_NEW_GAP, new)
            self.have_gaps_changed = self.have_gaps_changed or bool(gone or new)
            log.gaps, log.gaps_before = [], []

    def _rows(
        self, seen_ms: Mapping[tuple[str, int], int], *, is_expected: bool
    ) -> dict[tuple[str, int], Any]:
        """Return the row of each of these logs, by edge and number; made now if there is none."""
        edge_ids, found = self._look_up(seen_ms)
        missing = {name: at_ms for name, at_ms in seen_ms.items() if name not in found}
        if not missing:
            return found
        edges: dict[str, int] = {}
        for (name, _), at_ms in missing.items():
            if name not in edge_ids:
                edges.setdefault(name, at_ms)
        if edges:
            rows = [{"name": name, "first_seen_ms": at_ms} for name, at_ms in edges.items()]
            self._connection.execute(_NEW_EDGE, rows)
            edge_ids, _ = self._look_up(seen_ms)
        new = [
            {"edge_id": edge_ids[name], "log": number, "first_seen_ms": at_ms, "settled_seq": 0,
             "is_expected": is_expected}
            for (name, number), at_ms in missing.items()
        ]  # fmt: skip
        self._connection.execute(_NEW_LOG, new)
        return self._look_up(seen_ms)[1]

    def _look_up(
        self, wanted: Iterable[tuple[str, int]]
    ) -> tuple[dict[str, int], dict[tuple[str, int], Any]]:
        """Return the ids of the edges of these logs that are there, and the rows of the logs."""
        wanted = set(wanted)
        names = sorted({name for name, _ in wanted})
        numbers = sorted({number for _, number in wanted})
        rows = self._connection.execute(_LOGS, {"names": names, "numbers": numbers}).all()
        # A head may have a log of a number that was asked for another one's sake.
        found = {(row.name, row.log): row for row in rows if (row.name, row.log) in wanted}
        return {row.name: row.edge_id for row in rows}, found
