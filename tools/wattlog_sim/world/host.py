"""The host of one run: the real desk, planning and database, killed where it hurts.

A kill strikes between two steps, before the n-th SQL statement of a transaction, or after a
commit whose answers are not all out. What the process knew is gone; the database is what it is.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from wattlog_host.desk import Desk, work
from wattlog_host.live import HostView, LiveView
from wattlog_host.store.writer import Writer
from wattlog_pi.system_clock import Trust
from wattlog_sim.world.net import Broker, Client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wattlog_sim.world.clock import World

WORK_MS = 20
"""How long messages wait for others that are written with them."""
RECONNECT_MS = 5_000
STATEMENTS_MAX = 24
VERSION = "simulated"


class Killed(BaseException):
    """The process is gone."""


class Host:
    """One host, running or not."""

    def __init__(self, world: "World", broker: Broker, path: Path) -> None:
        """Take the world and where the database is to be; nothing runs yet."""
        self.world = world
        self.broker = broker
        self.path = path
        self.kills = 0
        self.answers = 0
        self.behind_ms = 0
        self._rng = world.rng("host")
        self._writer: Writer | None = None
        self._desk: Desk | None = None
        self._client: Client | None = None
        self._is_working = False
        self._statements_left: int | None = None
        self._answers_left: int | None = None

    def start(self) -> None:
        """Start, unless it runs."""
        if self._writer is not None:
            return
        self._writer = Writer(self.path, VERSION, self._now_ms())
        view = LiveView(HostView(VERSION, self._now_ms()), self._writer.counters)
        self._desk = Desk(view)
        self._is_working = False
        self._statements_left = self._answers_left = None
        # The one place where a process of SQL can be struck between two statements.
        engine = self._writer._write_engine
        event.listen(engine, "before_cursor_execute", self._on_statement)
        self._connect()

    def stop(self) -> None:
        """End as a process that is killed between two steps does."""
        if self._writer is not None:
            self._writer.let_go()
        if self._client is not None:
            self.broker.leave(self._client, said_goodbye=False)
        self._writer = self._desk = self._client = None

    def kill_soon(self) -> None:
        """Be killed: at once, in one of the next transactions, or before all answers are out."""
        if self._writer is None:
            return
        way = self._rng.randrange(3)
        if way == 0:
            self.kills += 1
            self.stop()
        elif way == 1:
            self._statements_left = self._rng.randrange(STATEMENTS_MAX)
        else:
            self._answers_left = self._rng.randrange(3)

    def set_clock(self, behind_ms: int) -> None:
        """Have the clock go so far behind, or be set from the network for 0."""
        self.behind_ms = behind_ms

    def _now_ms(self) -> int:
        return self.world.epoch_ms - self.behind_ms

    def _trust(self) -> Trust:
        return Trust.NOBODY if self.behind_ms else Trust.NETWORK

    def heal(self) -> None:
        """Run, and be killed no more."""
        self._statements_left = self._answers_left = None
        self.start()

    def _on_statement(self, *_: Any) -> None:
        if self._statements_left is not None:
            self._statements_left -= 1
            if self._statements_left < 0:
                raise Killed

    def _connect(self) -> None:
        if self._writer is None or self._client is not None:
            return
        topics = ("wattlog/1/+/b", "wattlog/1/+/s", "wattlog/1/+/l")
        client = Client("host", topics, self._deliver, self._drop)
        if self.broker.connect(client):
            self._client = client
        else:
            self.world.after(RECONNECT_MS, self._connect)

    def _drop(self) -> None:
        self._client = None
        self.world.after(RECONNECT_MS, self._connect)

    def _deliver(self, topic: str, payload: bytes) -> None:
        if self._desk is None:
            return
        self._desk.on_message(topic, payload, self._now_ms(), self._trust())
        if not self._is_working:
            self._is_working = True
            self.world.after(WORK_MS, self._work, self._desk)

    def _work(self, desk: Desk) -> None:
        if desk is not self._desk or self._writer is None:
            return
        self._is_working = False
        try:
            self._publish(work(desk, self._writer, self._now_ms()))
        except Killed:
            self.kills += 1
            self.stop()

    def _publish(self, answers: "Sequence[tuple[str, bytes]]") -> None:
        for topic, payload in answers:
            if self._answers_left is not None:
                self._answers_left -= 1
                if self._answers_left < 0:
                    raise Killed
            self.answers += 1
            self.broker.publish(topic, payload, retain=False)
