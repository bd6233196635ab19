"""From the broker to the store and back, in the event loop; the decisions are the desk's."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from wattlog_host.desk import Answer, Desk, Group
from wattlog_host.live import LiveView
from wattlog_host.store.records import (
    Committed,
    DeadLetter,
    Event,
    Floor,
    Incoming,
    StoreError,
)
from wattlog_pi.system_clock import Trust


class Store(Protocol):
    """What the intake needs of the store."""

    async def commit(self, items: Sequence[Incoming]) -> Committed:
        """Store durably."""

    async def settle(self, floors: Sequence[Floor]) -> Committed:
        """Note what is lost."""

    async def add_aside(self, letters: Sequence[DeadLetter], events: Sequence[Event]) -> Committed:
        """Store what is not a batch."""

    def size_bytes(self) -> int:
        """Return what the database takes."""


class Intake:
    """Takes messages at once, writes them in groups, answers when they are durable."""

    def __init__(
        self,
        store: Store,
        view: LiveView,
        publish: Callable[[str, bytes], Awaitable[bool]],
        changed: Callable[[], None],
        clock_ms: Callable[[], int],
        trust: Callable[[], Trust],
    ) -> None:
        """Take the store, the view to keep, how to publish, whom to tell, the clock, its trust."""
        self._store = store
        self._desk = Desk(view)
        self._trust = trust
        self._publish = publish
        self._changed = changed
        self._clock_ms = clock_ms
        self._waiting = asyncio.Event()

    def on_message(self, topic: str, payload: bytes) -> None:
        """Take one message; never waits and never raises on its bytes."""
        # Only a batch's arrival is ever relied on, and asking takes as long as taking a message.
        # It comes first: a clock that is set in between is then called unsure.
        trust = self._trust() if topic.endswith("/b") else Trust.NOBODY
        if self._desk.on_message(topic, payload, self._clock_ms(), trust):
            self._changed()
        self._waiting.set()

    def say(self, kind: str, text: str, edge: str | None = None) -> None:
        """Tell the person at the page, and the log, something of an agent, or the host itself."""
        self._desk.say(kind, text, self._clock_ms(), edge)
        self._waiting.set()
        self._changed()

    async def run(self) -> None:
        """Write what waits, group by group, until cancelled."""
        while True:
            await self._waiting.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits now."""
        self._waiting.clear()
        while (group := self._desk.take()) is not None:
            try:
                await self._write(group)
            except StoreError as err:
                self._desk.on_trouble(group, err, self._clock_ms())
            else:
                self._desk.on_no_trouble(self._clock_ms())
            self._changed()

    async def _write(self, group: Group) -> None:
        if group.letters or group.events:
            done = await self._store.add_aside(group.letters, group.events)
            await self._answer(self._desk.on_aside(group, done, self._clock_ms()))
        if group.batches:
            done = await self._store.commit(group.batches)
            size_bytes = self._store.size_bytes()
            await self._answer(self._desk.on_committed(done, size_bytes, self._clock_ms()))
        if group.floors:
            done = await self._store.settle(group.floors)
            self._desk.on_settled(group, done, self._clock_ms())

    async def _answer(self, answers: Iterable[Answer]) -> None:
        # Lost or not, it is best effort: the agent asks again by sending again.
        for topic, payload in answers:
            await self._publish(topic, payload)
