"""The store as the event loop sees it: one writer thread, a few readers, nothing blocks."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa
from prometheus_client import Histogram

from wattlog_host.forecast import Measured
from wattlog_host.history.changes import Notes, Unwatched
from wattlog_host.history.columns import History
from wattlog_host.store.kinds import Place
from wattlog_host.store.others import News, Others
from wattlog_host.store.records import (
    Committed,
    DeadLetter,
    Event,
    Floor,
    Incoming,
    Latest,
    Losses,
    PreviousRun,
)
from wattlog_host.store.role import Role
from wattlog_host.store.rollups import READINGS_MAX
from wattlog_host.store.writer import Writer

T = TypeVar("T")

COMMIT_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
"""Edges of what is counted of commits: an SSD takes a few ms, an SD card some hundred."""

BUSY_ITEMS = 64
"""Of so many batches that are stored together more are waiting already."""
BUSY_S = 10.0
ROLL_WAIT_S = 5.0
READINGS_BUSY = 400
"""So many readings' buckets are made at once meanwhile: some 0.1 s of every 5."""


class Store:
    """The database of one host; promises and errors are the Writer's."""

    def __init__(self, place: Place, version: str, now_ms: int, role: Role = Role.ALONE) -> None:
        """Lock, open and upgrade it and note the start of this run; may take a moment."""
        self._core = Writer(place, version, now_ms, role)
        # What others of a cell write tells us nothing.
        self._changes: Notes = self._core.changes if role is Role.ALONE else Unwatched()
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(2, "store-reader")
        # Long questions do not keep short ones waiting.
        self._askers = ThreadPoolExecutor(2, "store-asker")
        self._is_due = asyncio.Event()
        self._is_calm = asyncio.Event()
        self._is_calm.set()
        self._calm_later: asyncio.TimerHandle | None = None
        self.commit_seconds = Histogram(
            "wattlog_commit_seconds",
            "From a group of batches to its being durable.",
            buckets=COMMIT_S,
            registry=None,
        )

    @property
    def previous(self) -> PreviousRun | None:
        """The run before this one."""
        return self._core.previous

    @property
    def counters(self) -> Counter[tuple[str, str]]:
        """Totals since the database exists."""
        return self._core.counters

    @property
    def changes(self) -> Notes:
        """From when on the buckets of meters are no longer what they were."""
        return self._changes

    async def commit(self, items: Sequence[Incoming]) -> Committed:
        """Store the batches in one transaction; durable on return."""
        done = await _on(self._writer, lambda: self._commit(items))
        self._note_busy(is_busy=len(items) >= BUSY_ITEMS)
        self._is_due.set()
        return done

    def _commit(self, items: Sequence[Incoming]) -> Committed:
        with self.commit_seconds.time():
            return self._core.commit(items)

    async def keep_rolled(self, tell: Callable[[int], None]) -> None:
        """Make buckets whenever some are due, for ever; commits that wait come in between.

        Whenever nothing is due, tell hears how many hours could not be made from all they have.
        While batches come faster than they are stored, buckets wait, though not for ever; an hour
        in which several have come is then made once for all of them.
        """
        while True:
            self._is_due.clear()
            while await self._roll():
                pass
            tell(await _on(self._readers, self._core.aside_count))
            await self._is_due.wait()

    async def _roll(self) -> int:
        """Make buckets once no batches wait to be stored, or a few of them after a while."""
        readings_max = READINGS_MAX
        try:
            async with asyncio.timeout(ROLL_WAIT_S):
                await self._is_calm.wait()
        except TimeoutError:
            readings_max = READINGS_BUSY
        return await _on(self._writer, lambda: self._core.roll(readings_max))

    def _note_busy(self, *, is_busy: bool) -> None:
        """Note whether more is waiting than was just stored, for as long as nobody says else."""
        if self._calm_later is not None:
            self._calm_later.cancel()
            self._calm_later = None
        if is_busy:
            self._is_calm.clear()
            later = asyncio.get_running_loop().call_later(BUSY_S, self._is_calm.set)
            self._calm_later = later
        else:
            self._is_calm.set()

    async def let_go_before(self, time_ms: int) -> int:
        """Delete all batches that end before this time; return how many; commits come between."""
        count = 0
        while part := await _on(self._writer, lambda: self._core.let_go_before(time_ms)):
            count += part
        return count

    async def make_days(self, now_ms: int) -> None:
        """Have a place for the batches of the days to come, so that none waits for it."""
        await _on(self._writer, lambda: self._core.make_days(now_ms))

    async def ask(self, question: Callable[[History], T]) -> T:
        """Return what the question finds out of the past."""
        return await _on(self._askers, lambda: self._core.ask(question))

    async def settle(self, floors: Sequence[Floor]) -> Committed:
        """Note as lost what agents will not send any more and is not stored."""
        return await _on(self._writer, lambda: self._core.settle(floors))

    async def add_aside(self, letters: Sequence[DeadLetter], events: Sequence[Event]) -> Committed:
        """Keep messages that cannot be used, and count them, and events, in one transaction."""
        return await _on(self._writer, lambda: self._core.add_aside(letters, events))

    def transact(self, act: Callable[[sa.Connection], T]) -> Future[T]:
        """Have the writer thread run act in a transaction; may be called from any thread."""
        return self._writer.submit(lambda: self._core.transact(act))

    def consult(self, act: Callable[[sa.Connection], T]) -> Future[T]:
        """Have a reader thread run act; may be called from any thread."""
        return self._readers.submit(lambda: self._core.consult(act))

    async def events(self, count_max: int) -> list[Event]:
        """Return the newest events, newest first."""
        return await _on(self._readers, lambda: self._core.events(count_max))

    async def latest(self) -> list[Latest]:
        """Return every meter's newest reading."""
        return await _on(self._readers, self._core.latest)

    async def news_of(self, others: Others) -> News:
        """Return what is new in the database, whoever has written it; see to the totals."""
        await _on(self._writer, self._core.recount)
        return await _on(self._readers, lambda: self._core.look(others.look))

    async def losses(self, count_max: int) -> Losses:
        """Return what is lost for good, and the newest runs of it, newest first."""
        return await _on(self._readers, lambda: self._core.losses(count_max))

    async def check(self) -> None:
        """Raise StoreError where the database cannot be read or its file is gone."""
        await _on(self._readers, self._core.check)

    async def answer(self) -> None:
        """Return once the writer's thread had a moment; never, where it hangs."""
        await _on(self._writer, lambda: None)

    def size_bytes(self) -> int:
        """Return what the database takes on disk, its journal included."""
        return self._core.size_bytes()

    async def measure(self, now_ms: int) -> Measured:
        """Return how large the database is and how it grew; once a day, keep that."""
        if await _on(self._readers, lambda: self._core.size_is_due(now_ms)):
            await _on(self._writer, lambda: self._core.note_size(now_ms))
        return await _on(self._readers, lambda: self._core.measure(now_ms))

    async def close(self, now_ms: int) -> None:
        """Note a clean end and let go of the file; waits for what is being written."""
        try:
            await _on(self._writer, lambda: self._core.close(now_ms))
        finally:
            for executor in (self._writer, self._readers, self._askers):
                await asyncio.to_thread(executor.shutdown)


async def _on(executor: ThreadPoolExecutor, act: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, act)
