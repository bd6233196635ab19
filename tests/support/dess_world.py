"""The solar poller in virtual time against our fake cloud over real loopback HTTP."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager

import sqlalchemy as sa

from wattlog_host.dess import devcodes, ledger
from wattlog_host.dess.client import Account, Client
from wattlog_host.dess.poller import Poller
from wattlog_host.dess.tokens import TokenFile
from wattlog_host.dess.transport import Limits, Transport
from wattlog_host.dess.worker import Worker
from wattlog_host.store import tables
from wattlog_sim.dess.cloud import Cloud
from wattlog_sim.dess.server import Server

# 2026-06-15 10:00 UTC.
START_MS = 1_781_517_600_000
PASSWORD = "canary-password-71"
LIMITS = Limits(connect_s=2.0, total_s=20.0)
IMPATIENT = Limits(connect_s=2.0, total_s=0.3, body_bytes=200_000)


class Clock:
    """A wall clock and one that never steps; waiting moves both."""

    def __init__(self, start_ms=START_MS):
        self.wall_ms = start_ms
        self.mono_ms = 0
        self.waited_s = 0.0

    def now_ms(self):
        return self.wall_ms

    def monotonic_ms(self):
        return self.mono_ms

    def wait_s(self, pause_s):
        self.waited_s += pause_s
        self.go(int(1000 * pause_s))

    def go(self, ms):
        self.wall_ms += ms
        self.mono_ms += ms


class EngineSink:
    """The ledger in a database of its own, without the store's threads."""

    def __init__(self, engine):
        self.engine = engine

        # No power is cut here: only time is lost by waiting for the disk.
        @sa.event.listens_for(engine, "connect")
        def _fast(dbapi, _):
            dbapi.execute("PRAGMA synchronous=OFF")

        with engine.begin() as connection:
            tables.METADATA.create_all(connection)
        self.fails: Callable[[], None] | None = None

    def put(self, deliveries):
        if self.fails is not None:
            self.fails()
        with self.engine.begin() as connection:
            return ledger.put(connection, deliveries)

    def known(self):
        with self.engine.begin() as connection:
            return ledger.known(connection)

    def series(self, device, channel, from_ms=0, to_ms=2**50):
        with self.engine.begin() as connection:
            return ledger.series(connection, device, channel, from_ms, to_ms)

    def totals(self, device):
        with self.engine.begin() as connection:
            return ledger.totals(connection, device)


class Readers:
    """Done at once, as a store whose readers have nothing else to do."""

    def __init__(self, sink):
        self._sink = sink

    def consult(self, act):
        future = Future()
        with self._sink.engine.begin() as connection:
            future.set_result(act(connection))
        return future


class World:
    """One house: clock, cloud, server, client, worker, ledger."""

    def __init__(
        self,
        folder,
        *,
        interval_min=5,
        limits=LIMITS,
        password=PASSWORD,
        start_ms=START_MS,
        **cloud,
    ):
        self.clock = Clock(start_ms)
        # The cloud's clock is its own: it does not step when the host's does.
        self.cloud = Cloud(lambda: start_ms + self.clock.mono_ms, {"demo": PASSWORD}, **cloud)
        self.server = Server(self.cloud)
        self.server.start()
        self.folder = folder
        self.interval_min = interval_min
        self.limits = limits
        self.password = password
        self.said = []
        self.sink = EngineSink(sa.create_engine(f"sqlite:///{folder / 'solar.db'}"))
        self.transports = []
        self.begin()

    def begin(self):
        """Start, or start again after a power cut: only what is on disk is left."""
        account = Account(self.server.url, "demo")
        self.transport = Transport(self.server.url, self.limits)
        self.transports.append(self.transport)
        self.client = Client(
            account,
            self.transport,
            TokenFile(self.folder / "token.json"),
            lambda: self.password,
            self.clock.now_ms,
            self.clock.wait_s,
        )
        self.poller = Poller(60_000 * self.interval_min, lambda: 0.5)
        self.worker = Worker(
            self.client,
            self.poller,
            devcodes.load(),
            self.sink,
            self.clock.now_ms,
            self.clock.monotonic_ms,
            self.said.append,
        )

    @property
    def view(self):
        return self.worker.view

    def cycle(self):
        """Go to when the next cycle is due, and run it; return its calls."""
        due_ms = self.poller.due_mono_ms
        if due_ms is not None and due_ms > self.clock.mono_ms:
            self.clock.go(due_ms - self.clock.mono_ms)
        self.worker.step()
        return self.view.cycle_calls

    def run(self, hours):
        """Run cycles for so long; return the calls of each."""
        end_ms = self.clock.mono_ms + int(3_600_000 * hours)
        calls = []
        while self.clock.mono_ms < end_ms:
            calls.append(self.cycle())
        return calls

    def close(self):
        self.server.stop()
        for transport in self.transports:
            transport.close()
        self.sink.engine.dispose()


@contextmanager
def world(folder, **more):
    made = World(folder, **more)
    try:
        yield made
    finally:
        made.close()
