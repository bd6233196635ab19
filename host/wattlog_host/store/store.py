"""The store: one writer thread, a few readers, nothing ever blocks the event loop.

Promise: when commit() returns, its batches survive a power cut. When it raises StoreError,
nothing was written and the agents will send again.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from wattlog_host.store import batches, database, tables
from wattlog_host.store.records import (
    Committed,
    DeadLetter,
    Event,
    Incoming,
    Latest,
    Outcome,
    PreviousRun,
    StoreError,
)

DEAD_LETTERS_MAX = 1_000
EVENTS_MAX = 1_000
REASON_UNSTORABLE = "host cannot store it"

# What a batch of its own can provoke; anything else is the database's state, which passes.
_POISON = (sa.exc.IntegrityError, sa.exc.DataError, ArithmeticError, LookupError, ValueError)

T = TypeVar("T")


class Store:
    """The database of one host."""

    def __init__(self, path: Path, version: str, now_ms: int) -> None:
        """Lock, open and upgrade the file and note the start of this run; may take a moment."""
        self._path = path
        self._lock = database.lock(path)
        self._write_engine = database.engine(path, writes=True)
        self._read_engine = database.engine(path, writes=False)
        try:
            database.upgrade(self._write_engine, path)
            self.previous, self._run_id = self._begin_run(version, now_ms)
            with self._read_engine.begin() as connection:
                rows = connection.execute(sa.select(tables.counter)).all()
            self._files = database.Files(path)
        except BaseException as err:
            self._write_engine.dispose()
            self._read_engine.dispose()
            os.close(self._lock)
            if isinstance(err, sa.exc.DBAPIError):
                raise StoreError(f"cannot use the database {path}: {err.orig}") from err
            raise
        self.counters: Counter[tuple[str, str]] = Counter(
            {(row.name, row.reason): row.value for row in rows}
        )
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(2, "store-reader")

    async def commit(self, items: Sequence[Incoming]) -> Committed:
        """Store the batches in one transaction; durable on return."""
        done = await self._on(self._writer, lambda: self._commit_apart(items))
        self.counters.update(done.counts)
        return done

    async def add_aside(self, letters: Sequence[DeadLetter], events: Sequence[Event]) -> None:
        """Keep messages that cannot be used, and count them, and events, in one transaction.

        The oldest of either beyond its cap go.
        """
        counts = Counter(("dead_letters", letter.reason) for letter in letters)

        def write(connection: sa.Connection) -> None:
            for letter in letters:
                _add_dead_letter(connection, letter)
            batches.add_counts(connection, counts)
            for item in events:
                result = connection.execute(
                    sa.insert(tables.event).values(
                        time_ms=item.time_ms, kind=item.kind, edge=item.edge, text=item.text
                    )
                )
                _cap(connection, tables.event, result, EVENTS_MAX)

        await self._write(write)
        self.counters.update(counts)

    async def events(self, count_max: int) -> list[Event]:
        """Return the newest events, newest first."""
        query = sa.select(tables.event).order_by(tables.event.c.id.desc()).limit(count_max)

        def read(connection: sa.Connection) -> list[Event]:
            rows = connection.execute(query).all()
            return [Event(row.time_ms, row.kind, row.edge, row.text) for row in rows]

        return await self._read(read)

    async def latest(self) -> list[Latest]:
        """Return every meter's newest reading."""

        def read(connection: sa.Connection) -> list[Latest]:
            meter_ids = connection.execute(sa.select(tables.meter.c.id)).scalars().all()
            return batches.latest(connection, meter_ids)

        return await self._read(read)

    async def check(self) -> None:
        """Raise StoreError where the database cannot be read or its file is gone."""
        await self._read(lambda connection: connection.execute(sa.text("SELECT 1")).scalar())

    def size_bytes(self) -> int:
        """Return what the database takes on disk, its journal included."""
        return self._files.size_bytes()

    async def close(self, now_ms: int) -> None:
        """Note a clean end and let go of the file; waits for what is being written."""
        try:
            await self._write(
                lambda connection: connection.execute(
                    sa.update(tables.run)
                    .where(tables.run.c.id == self._run_id)
                    .values(ended_ms=now_ms)
                )
            )
        finally:
            for executor in (self._writer, self._readers):
                await asyncio.to_thread(executor.shutdown)
            self._write_engine.dispose()
            self._read_engine.dispose()
            os.close(self._lock)

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
            run_id = batches.inserted_id(result)
        if row is None:
            return None, run_id
        return PreviousRun(row.started_ms, last_data_ms, row.ended_ms), run_id

    def _commit_apart(self, items: Sequence[Incoming]) -> Committed:
        """Commit all; where one batch spoils the transaction, find it and put it aside."""
        try:
            return self._commit(items)
        except _POISON:
            if len(items) == 1:
                return self._put_aside(items[0])
        done = [self._commit_apart([item]) for item in items]
        counts: Counter[tuple[str, str]] = Counter()
        for one in done:
            counts.update(one.counts)
        return Committed(
            tuple(outcome for one in done for outcome in one.outcomes),
            tuple(latest for one in done for latest in one.latest),
            tuple(meter for one in done for meter in one.meters_new),
            counts,
        )

    def _commit(self, items: Sequence[Incoming]) -> Committed:
        writing = batches.Writing()
        outcomes = []
        with self._write_engine.begin() as connection:
            for item in items:
                planned = writing.write(connection, item)
                if planned.reason is not None:
                    _add_dead_letter(connection, _letter(item, planned.reason))
                    writing.counts["dead_letters", planned.reason] += 1
                outcomes.append(Outcome(item, planned.reason, planned.accept, planned.ahead_ms))
            latest = batches.latest(connection, sorted(writing.meter_ids))
            batches.add_counts(connection, writing.counts)
            connection.execute(
                sa.update(tables.run)
                .where(tables.run.c.id == self._run_id)
                .values(last_data_ms=max(item.received_ms for item in items))
            )
        return Committed(tuple(outcomes), tuple(latest), tuple(writing.meters_new), writing.counts)

    def _put_aside(self, item: Incoming) -> Committed:
        with self._write_engine.begin() as connection:
            _add_dead_letter(connection, _letter(item, REASON_UNSTORABLE))
            counts = {("dead_letters", REASON_UNSTORABLE): 1}
            batches.add_counts(connection, counts)
        return Committed((Outcome(item, REASON_UNSTORABLE),), counts=counts)

    async def _write(self, act: Callable[[sa.Connection], object]) -> None:
        def run() -> None:
            with self._write_engine.begin() as connection:
                act(connection)

        await self._on(self._writer, run)

    async def _read(self, act: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            with self._read_engine.begin() as connection:
                return act(connection)

        return await self._on(self._readers, run)

    async def _on(self, executor: ThreadPoolExecutor, act: Callable[[], T]) -> T:
        def run() -> T:
            result = act()
            # Afterwards, because what went into a file without a name is promised to nobody.
            self._files.require()
            return result

        try:
            return await asyncio.get_running_loop().run_in_executor(executor, run)
        except sa.exc.DBAPIError as err:
            raise StoreError(f"{err.orig}") from err
        except sa.exc.SQLAlchemyError as err:
            raise StoreError(type(err).__name__) from err


def _letter(item: Incoming, reason: str) -> DeadLetter:
    return DeadLetter(item.topic, reason, item.batch.payload, item.received_ms)


def _add_dead_letter(connection: sa.Connection, letter: DeadLetter) -> None:
    result = connection.execute(
        sa.insert(tables.dead_letter).values(
            topic=letter.topic,
            reason=letter.reason,
            payload=letter.payload,
            received_ms=letter.received_ms,
        )
    )
    _cap(connection, tables.dead_letter, result, DEAD_LETTERS_MAX)


def _cap(
    connection: sa.Connection, table: sa.Table, result: sa.CursorResult[object], rows_max: int
) -> None:
    id_last = batches.inserted_id(result)
    connection.execute(sa.delete(table).where(table.c.id <= id_last - rows_max))
