"""The poller beside the host: one thread that waits and asks, and hands what is new to the store.

The store's own writer thread writes, one short transaction per record, so that ingest never waits
for the cloud and SQLite has one writer.
"""

import asyncio
import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Protocol, TypeVar

import sqlalchemy as sa

from wattlog_host.dess import ledger, quarters
from wattlog_host.dess.ledger import Delivery, KnownDevice, Stored
from wattlog_host.dess.worker import SinkError, Worker
from wattlog_host.store.records import StoreError

T = TypeVar("T")

STORE_WAIT_S = 30.0
STOP_WAIT_S = 5.0
HISTORY_CHUNK = 50


class Transactions(Protocol):
    """What the store offers: its writer thread, and its readers."""

    def transact(self, act: Callable[[sa.Connection], T]) -> Future[T]:
        """Have act run in a transaction."""

    def consult(self, act: Callable[[sa.Connection], T]) -> Future[T]:
        """Have act read."""


class StoreSink:
    """The ledger through the store's threads; calls wait for them, and must not be one of them."""

    def __init__(self, store: Transactions) -> None:
        """Take the store."""
        self._store = store

    def fill(self, may_go_on: Callable[[], bool]) -> None:
        """Make the quarters of records from before there were any, a day at a time."""
        for device_id, first_ms, last_ms in _result(self._store.consult(quarters.missing)):
            for day in quarters.days_of(first_ms, last_ms):
                if not may_go_on():
                    return
                _result(self._store.transact(functools.partial(_renew, device_id, day)))

    def put(self, deliveries: Sequence[Delivery]) -> Stored:
        """Store; durable on return. Many go in parts, so that others get in between."""
        out = Stored()
        for at in range(0, len(deliveries), HISTORY_CHUNK):
            part = deliveries[at : at + HISTORY_CHUNK]
            stored = _result(self._store.transact(functools.partial(_put, part)))
            out.counts.update(stored.counts)
        return out

    def known(self) -> list[KnownDevice]:
        """Return every device as it was left."""
        return _result(self._store.consult(ledger.known))

    def series(
        self, device_key: str, channel_key: str, from_ms: int, to_ms: int
    ) -> list[tuple[int, Decimal | str | None]]:
        """Return what is stored of a channel."""
        question = functools.partial(_series, device_key, channel_key, from_ms, to_ms)
        return _result(self._store.consult(question))


class Service:
    """Runs a worker in a thread of its own until the host stops."""

    def __init__(
        self,
        worker: Worker,
        sink: StoreSink,
        mono_ms: Callable[[], int],
        abort: Callable[[], None],
    ) -> None:
        """Take the worker; abort ends a call that waits for the cloud."""
        self._worker = worker
        self._sink = sink
        self._mono_ms = mono_ms
        self._abort = abort
        self._stop = threading.Event()

    def wait_s(self, pause_s: float) -> None:
        """Wait, but not beyond the end of the host; for the client and the worker's thread."""
        self._stop.wait(pause_s)

    async def run(self) -> None:
        """Run until cancelled, or until something unforeseen, which the supervisor handles."""
        executor = ThreadPoolExecutor(1, "solar")
        working = asyncio.get_running_loop().run_in_executor(executor, self._work)
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            self._stop.set()
            self._abort()
            # Its last record still goes to the store, which is closed after us.
            await asyncio.wait({working}, timeout=STOP_WAIT_S)
            raise
        finally:
            executor.shutdown(wait=False)

    def _work(self) -> None:
        self._sink.fill(lambda: not self._stop.is_set())
        poller = self._worker.poller
        while not self._stop.is_set():
            self._worker.step()
            due_ms = poller.due_mono_ms or self._mono_ms()
            self._stop.wait(max(1.0, (due_ms - self._mono_ms()) / 1000))


def _put(deliveries: Sequence[Delivery], connection: sa.Connection) -> Stored:
    return ledger.put(connection, deliveries)


def _renew(device_id: int, day: tuple[int, int], connection: sa.Connection) -> None:
    quarters.renew(connection, device_id, day)


def _series(
    device_key: str, channel_key: str, from_ms: int, to_ms: int, connection: sa.Connection
) -> list[tuple[int, Decimal | str | None]]:
    return ledger.series(connection, device_key, channel_key, from_ms, to_ms)


def _result(future: Future[T]) -> T:
    failure: str
    try:
        return future.result(STORE_WAIT_S)
    except StoreError as err:
        failure = str(err)
    except TimeoutError:
        future.cancel()
        failure = f"the database took longer than {STORE_WAIT_S:g} s"
    raise SinkError(failure)
