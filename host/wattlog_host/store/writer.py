"""The store without threads and without waiting: what it does, one call at a time.

Promise: when commit() returns, its batches survive a power cut. When it raises StoreError,
nothing was written and the agents will send again.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa

from wattlog_host.forecast import Measured
from wattlog_host.history.changes import Changes
from wattlog_host.history.columns import History
from wattlog_host.store import (
    database,
    days,
    due,
    lookup,
    retention,
    rollups,
    sizes,
    tables,
)
from wattlog_host.store.batches import Writing
from wattlog_host.store.database import add_counts, inserted_id
from wattlog_host.store.history import SqlHistory
from wattlog_host.store.kinds import Place, kind_of
from wattlog_host.store.precedence import Precedence
from wattlog_host.store.records import (
    METERS_SHOWN_MAX,
    BatchName,
    Committed,
    DeadLetter,
    Event,
    Floor,
    Incoming,
    Latest,
    Losses,
    Outcome,
    PreviousRun,
    StoredReading,
    StoreError,
)
from wattlog_host.store.role import Role

LOG = logging.getLogger(__name__)

T = TypeVar("T")

DEAD_LETTERS_MAX = 1_000
EVENTS_MAX = 1_000
DAYS_AHEAD = 4
REASON_UNSTORABLE = "host cannot store it"

_NOTE_DATA = (
    sa.update(tables.run)
    .where(tables.run.c.id == sa.bindparam("run_id"))
    .values(last_data_ms=sa.bindparam("at_ms"))
)
_NEW_EVENT = sa.insert(tables.event)
_NEW_DEAD_LETTER = sa.insert(tables.dead_letter)

# What a batch, or an hour, of its own can provoke; all else is the database's state, which passes.
_POISON = (sa.exc.IntegrityError, sa.exc.DataError, *lookup.ROT)


class Writer:
    """The database of one host; each call is one transaction, and none may run beside another.

    Only reading calls (latest, events, losses, readings, ask, check) may come from other threads.
    """

    def __init__(self, place: Place, version: str, now_ms: int, role: Role = Role.ALONE) -> None:
        """Lock, open and upgrade it and note the start of this run; may take a moment.

        A worker does neither of the last two: its lead has done so.
        """
        self._role = role
        self.changes = Changes()
        self._precedence = Precedence()
        kind = kind_of(place)
        self._unlock = kind.lock(place)
        self._write_engine = kind.engine(place, role)
        self._read_engine = kind.engine(place, None)
        self.previous: PreviousRun | None = None
        self._run_id: int | None = None
        try:
            if role is Role.WORKER:
                with self._write_engine.begin() as connection:
                    database.require_newest(connection, kind.name(place))
            else:
                database.upgrade(self._write_engine, kind.name(place))
                self.previous, self._run_id = self._begin_run(version, now_ms)
            with self._read_engine.begin() as connection:
                self.counters = database.totals(connection)
            self._watch = kind.watch(place, self._read_engine)
        except BaseException as err:
            self.let_go()
            if isinstance(err, sa.exc.DBAPIError):
                raise StoreError(
                    f"cannot use the database {kind.name(place)}: {err.orig}"
                ) from err
            raise

    def commit(self, items: Sequence[Incoming]) -> Committed:
        """Store the batches in one transaction; durable on return."""
        with self._precedence.taken(), self._guarded():
            done = self._commit_apart(items)
        self.counters.update(done.counts)
        return done

    def settle(self, floors: Sequence[Floor]) -> Committed:
        """Note as lost what agents will not send any more and is not stored."""
        with self._guarded(), self._write_engine.begin() as connection:
            writing = Writing(connection)
            writing.settle(floors)
            losses = writing.losses()
        return Committed(losses=losses, lost=writing.lost)

    def add_aside(self, letters: Sequence[DeadLetter], events: Sequence[Event]) -> Committed:
        """Keep messages that cannot be used, and count them, and events, in one transaction.

        The oldest of either beyond its cap go. What a refused batch held is lost.
        """
        counts = Counter(("dead_letters", letter.reason) for letter in letters)
        with self._guarded(), self._write_engine.begin() as connection:
            for letter in letters:
                _add_dead_letter(connection, letter)
            add_counts(connection, counts)
            for item in events:
                row = {"time_ms": item.time_ms, "kind": item.kind, "edge": item.edge}
                result = connection.execute(_NEW_EVENT, row | {"text": item.text})
                _cap(connection, tables.event, result, EVENTS_MAX)
            writing = Writing(connection)
            writing.refuse(letters)
            losses = writing.losses()
        self.counters.update(counts)
        return Committed(counts=counts, losses=losses, lost=writing.lost)

    def roll(self, readings_max: int = rollups.READINGS_MAX) -> int:
        """Make the buckets of the newest hours that are due; return how many, 0 when none is."""
        with self._guarded():
            hours = self._roll(readings_max)
        for hour in hours:
            self.changes.note(hour.meter_id, hour.hour_ms)
        return len(hours)

    def let_go_before(self, time_ms: int) -> int:
        """Delete some of the batches that end before this time; return how many, 0 for none."""
        with self._guarded(), self._write_engine.begin() as connection:
            return retention.let_go(connection, time_ms)

    def make_days(self, now_ms: int) -> None:
        """Have a place for the batches of the days to come, so that none waits for it."""
        with self._guarded(), self._write_engine.begin() as connection:
            today = days.day_of(connection, now_ms)
            days.ensure(connection, range(today, today + DAYS_AHEAD))

    def ask(self, question: Callable[[History], T]) -> T:
        """Return what the question finds out of the past; it sees one state of the database."""
        with self._reading() as connection:
            return question(SqlHistory(connection, self._precedence.let_pass))

    def due_count(self) -> int:
        """Return about how many hours have buckets to be made."""
        return self.look(due.count)

    def aside_count(self) -> int:
        """Return how many hours have buckets that cannot be made from all their readings."""
        return self.look(due.aside_count)

    def look(self, question: Callable[[sa.Connection], T]) -> T:
        """Return what the question finds; it sees one state of the database."""
        with self._reading() as connection:
            return question(connection)

    def rebuild_begin(self) -> int:
        """Note every hour that has readings as due; return how many. roll() does the work."""
        with self._guarded(), self._write_engine.begin() as connection:
            return due.mark_all(connection)

    def transact(self, act: Callable[[sa.Connection], T]) -> T:
        """Run what has tables of its own in one transaction; durable on return."""
        with self._guarded(), self._write_engine.begin() as connection:
            return act(connection)

    def consult(self, act: Callable[[sa.Connection], T]) -> T:
        """Run what only reads."""
        with self._reading() as connection:
            return act(connection)

    def events(self, count_max: int) -> list[Event]:
        """Return the newest events, newest first."""
        query = sa.select(tables.event).order_by(tables.event.c.id.desc()).limit(count_max)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return [Event(row.time_ms, row.kind, row.edge, row.text) for row in rows]

    def latest(self) -> list[Latest]:
        """Return the newest reading of every meter that is shown."""
        shown = sa.select(tables.meter.c.id).where(tables.meter.c.id <= METERS_SHOWN_MAX)
        with self._reading() as connection:
            meter_ids = connection.execute(shown).scalars().all()
            return lookup.latest(connection, meter_ids)

    def losses(self, count_max: int = lookup.LOSSES_SHOWN) -> Losses:
        """Return what is lost for good, and the newest runs of it."""
        with self._reading() as connection:
            return lookup.losses(connection, count_max)

    def readings(self) -> Iterator[StoredReading]:
        """Return every reading, by log and batch."""
        with self._reading() as connection:
            yield from lookup.readings(connection)

    def recount(self) -> None:
        """Take the totals of all writers."""
        self.counters.update(self.look(database.totals) - self.counters)

    def check(self) -> None:
        """Raise StoreError where the database cannot be read or its file is gone."""
        with self._reading() as connection:
            connection.execute(sa.text("SELECT 1")).scalar()

    def size_bytes(self) -> int:
        """Return what the database takes on disk, its journal included."""
        return self._watch.size_bytes()

    def size_is_due(self, now_ms: int) -> bool:
        """Tell whether this day's size is still to be noted."""
        return self.look(lambda connection: sizes.is_due(connection, now_ms))

    def note_size(self, now_ms: int) -> None:
        """Keep what the database takes, so that it is known later how it grew."""
        with self._guarded(), self._write_engine.begin() as connection:
            sizes.note(connection, now_ms, self._watch.used_bytes(connection))

    def measure(self, now_ms: int) -> Measured:
        """Return how large the database is and how it grew."""
        with self._reading() as connection:
            used_bytes = self._watch.used_bytes(connection)
            return sizes.measured(connection, now_ms, used_bytes, self._watch.free_bytes())

    def close(self, now_ms: int) -> None:
        """Note a clean end and let go of the file."""
        run = tables.run
        try:
            if self._run_id is not None:
                with self._guarded(), self._write_engine.begin() as connection:
                    connection.execute(
                        sa.update(run).where(run.c.id == self._run_id).values(ended_ms=now_ms)
                    )
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Let go of the file as if the process had been killed: nothing is noted."""
        self._write_engine.dispose()
        self._read_engine.dispose()
        self._unlock()

    # --- buckets ---------------------------------------------------------------------------

    def _roll(self, readings_max: int) -> Sequence[due.Due]:
        """Make buckets; where one hour spoils the transaction, it is found and set aside."""
        for hours_max in (rollups.HOURS_MAX, 1):
            try:
                with self._write_engine.begin() as connection:
                    return rollups.roll(connection, readings_max, hours_max)
            except _POISON:
                LOG.debug("buckets of one in %d hours cannot be made", hours_max, exc_info=True)
        with self._write_engine.begin() as connection:
            return rollups.set_aside(connection)

    # --- committing ------------------------------------------------------------------------

    def _commit_apart(self, items: Sequence[Incoming]) -> Committed:
        """Commit all; where one batch spoils the transaction, find it and put it aside."""
        try:
            return self._commit(items)
        except _POISON:
            if len(items) == 1:
                return self._put_aside(items[0])
        done = [self._commit_apart([item]) for item in items]
        counts: Counter[tuple[str, str]] = Counter()
        lost: Counter[tuple[str, str]] = Counter()
        for one in done:
            counts.update(one.counts)
            lost.update(one.lost)
        return Committed(
            tuple(outcome for one in done for outcome in one.outcomes),
            tuple(latest for one in done for latest in one.latest),
            tuple(meter for one in done for meter in one.meters_new),
            counts,
            next((one.losses for one in reversed(done) if one.losses is not None), None),
            lost,
        )

    def _commit(self, items: Sequence[Incoming]) -> Committed:
        outcomes = []
        with self._write_engine.begin() as connection:
            writing = Writing(connection)
            plans = writing.write(items)
            for item, planned in zip(items, plans, strict=True):
                outcomes.append(
                    Outcome(
                        item, planned.reason, planned.accept, planned.ahead_ms, planned.is_behind
                    )
                )
            # A worker shows nothing, and to look up each meter takes as long as to store it.
            latest = [] if self._role is Role.WORKER else writing.latest()
            add_counts(connection, writing.counts)
            if self._run_id is not None:
                at_ms = max(item.received_ms for item in items)
                connection.execute(_NOTE_DATA, {"run_id": self._run_id, "at_ms": at_ms})
            losses = None if self._role is Role.WORKER else writing.losses()
        return Committed(
            tuple(outcomes),
            tuple(latest),
            tuple(writing.meters_new),
            writing.counts,
            losses,
            writing.lost,
        )

    def _put_aside(self, item: Incoming) -> Committed:
        counts = {("dead_letters", REASON_UNSTORABLE): 1}
        letter = _letter(item, REASON_UNSTORABLE)
        with self._write_engine.begin() as connection:
            _add_dead_letter(connection, letter)
            add_counts(connection, counts)
            writing = Writing(connection)
            writing.refuse([letter])
            losses = writing.losses()
        outcomes = (Outcome(item, REASON_UNSTORABLE),)
        return Committed(outcomes, counts=counts, losses=losses, lost=writing.lost)

    def _begin_run(self, version: str, now_ms: int) -> tuple[PreviousRun | None, int]:
        run = tables.run.c
        query = sa.select(tables.run).order_by(run.id.desc()).limit(1)
        with_data = (
            sa.select(run.last_data_ms)
            .where(run.last_data_ms.is_not(None))
            .order_by(run.id.desc())
            .limit(1)
        )
        with self._write_engine.begin() as connection:
            row = connection.execute(query).one_or_none()
            last_data_ms = connection.execute(with_data).scalar_one_or_none()
            result = connection.execute(
                sa.insert(tables.run).values(version=version, started_ms=now_ms)
            )
            run_id = inserted_id(result)
            due.retry(connection)  # this program may know better than the one before
        if row is None:
            return None, run_id
        return PreviousRun(row.started_ms, last_data_ms, row.ended_ms), run_id

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn what the database says into StoreError; see at the end that it has its names."""
        try:
            yield
        except sa.exc.DBAPIError as err:
            raise StoreError(database.words_of(err)) from err
        except sa.exc.SQLAlchemyError as err:
            raise StoreError(type(err).__name__) from err
        # Afterwards, because what went into a file without a name is promised to nobody.
        self._watch.require()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._guarded(), self._read_engine.begin() as connection:
            yield connection


def _letter(item: Incoming, reason: str) -> DeadLetter:
    batch = item.batch
    name = BatchName(batch.edge, batch.log, batch.first_seq, batch.count)
    return DeadLetter(item.topic, reason, item.message, item.received_ms, name)


def _add_dead_letter(connection: sa.Connection, letter: DeadLetter) -> None:
    result = connection.execute(
        _NEW_DEAD_LETTER,
        {
            "topic": letter.topic,
            "reason": letter.reason,
            "payload": letter.payload,
            "received_ms": letter.received_ms,
        },
    )
    _cap(connection, tables.dead_letter, result, DEAD_LETTERS_MAX)


def _cap(
    connection: sa.Connection, table: sa.Table, result: sa.CursorResult[object], rows_max: int
) -> None:
    id_last = inserted_id(result)
    connection.execute(sa.delete(table).where(table.c.id <= id_last - rows_max))
