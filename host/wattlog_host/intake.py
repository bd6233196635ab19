"""From the broker to the store and back: bounded queue, group commit, then acknowledgement."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from wattlog_host.live import LiveView
from wattlog_host.store.records import (
    Committed,
    DeadLetter,
    Event,
    Incoming,
    Latest,
    StoreError,
)
from wattlog_host.wire import (
    MESSAGE_BYTES_MAX,
    WireError,
    decode_batch,
    decode_status,
    pack_ack,
    parse_topic,
    topic_ack,
)

LOG = logging.getLogger(__name__)

QUEUE_BYTES_MAX = 8 * 2**20
GROUP_ITEMS_MAX = 64
EVENT_MS_MIN = 60_000
# What agents provoke; the host itself has a budget of its own, which no agent can use up.
EVENTS_PER_MINUTE_MAX = 60
EVENTS_PER_EDGE_MAX = 30
# What an item takes beside its payload; rounded up, so that the bound holds.
_ITEM_BYTES = 512


class Store(Protocol):
    """What the intake needs of the store."""

    async def commit(self, items: Sequence[Incoming]) -> Committed:
        """Store durably."""

    async def add_aside(self, letters: Sequence[DeadLetter], events: Sequence[Event]) -> None:
        """Store what is not a batch."""

    async def latest(self) -> list[Latest]:
        """Return every meter's newest reading."""

    def size_bytes(self) -> int:
        """Return what the database takes."""


Nack = tuple[str, int, int, int, str]
"""(edge, boot, first_seq, count, reason) of a batch that is refused for ever."""


class Intake:
    """Takes messages at once, writes them in groups, answers when they are durable."""

    def __init__(
        self,
        store: Store,
        view: LiveView,
        publish: Callable[[str, bytes], Awaitable[bool]],
        changed: Callable[[], None],
        clock_ms: Callable[[], int],
    ) -> None:
        """Take the store, the view to keep, how to publish, whom to tell, and the clock."""
        self._store = store
        self._view = view
        self._publish = publish
        self._changed = changed
        self._clock_ms = clock_ms
        self._batches: deque[Incoming] = deque()
        self._letters: deque[tuple[DeadLetter, Nack | None]] = deque()
        self._events: deque[Event] = deque(maxlen=EVENTS_PER_MINUTE_MAX + EVENTS_PER_EDGE_MAX)
        self._bytes = 0
        self._waiting = asyncio.Event()
        self._told_ms: dict[tuple[str, str | None, str], int] = {}

    # --- what comes in ---------------------------------------------------------------------

    def on_message(self, topic: str, payload: bytes) -> None:
        """Take one message; never waits and never raises on its bytes."""
        known = parse_topic(topic)
        now_ms = self._clock_ms()
        if known is None:
            return
        edge, kind = known
        try:
            if kind == "s":
                status = decode_status(payload)
                if status.edge != edge:
                    raise WireError("edge is not the topic's")
                for event_kind, text in self._view.on_status(status, now_ms):
                    self.say(event_kind, text, edge)
                self._changed()
            elif kind == "b":
                batch = decode_batch(payload)
                if batch.edge != edge:
                    raise WireError("edge is not the topic's")
                self._queue_batch(Incoming(topic, batch, now_ms))
        except WireError as err:
            nack = None
            if err.edge == edge and err.boot is not None and err.first_seq is not None:
                nack = (edge, err.boot, err.first_seq, err.count, str(err))
            letter = DeadLetter(topic, err.reason, payload[:MESSAGE_BYTES_MAX], now_ms)
            self._queue_letter(letter, nack)
            if kind == "s":
                text = f"agent {edge}: its status was not understood: {err.reason}"
                self.say("status", text, edge, about="status not understood")

    def say(self, kind: str, text: str, edge: str | None = None, about: str | None = None) -> None:
        """Tell the person at the page, and the log; the same thing once a minute at most.

        about is what makes it the same thing; without it, that is the text.
        """
        now_ms = self._clock_ms()
        recent = {
            key: told_ms
            for key, told_ms in self._told_ms.items()
            if 0 <= now_ms - told_ms < EVENT_MS_MIN
        }
        self._told_ms = recent
        same = (kind, edge, about or text)
        if same in recent or not _has_room(recent, edge):
            self._view.dropped["events"] += 1
            return
        recent[same] = now_ms
        LOG.info("%s", text)
        event = Event(now_ms, kind, edge, text)
        self._view.events.appendleft(event)
        self._events.append(event)
        self._waiting.set()
        self._changed()

    def _queue_batch(self, item: Incoming) -> None:
        if self._fits(len(item.batch.payload)):
            self._batches.append(item)

    def _queue_letter(self, letter: DeadLetter, nack: Nack | None) -> None:
        if self._fits(len(letter.payload)):
            self._letters.append((letter, nack))

    def _fits(self, payload_bytes: int) -> bool:
        """Count the bytes in where there is room; otherwise the message is dropped: sent again."""
        if self._bytes + payload_bytes + _ITEM_BYTES > QUEUE_BYTES_MAX:
            self._view.dropped["queue full"] += 1
            return False
        self._bytes += payload_bytes + _ITEM_BYTES
        self._waiting.set()
        return True

    # --- what goes to the store ------------------------------------------------------------

    async def run(self) -> None:
        """Write what waits, group by group, until cancelled."""
        while True:
            await self._waiting.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits now."""
        self._waiting.clear()
        while self._batches or self._letters or self._events:
            await self._write_group()

    async def _write_group(self) -> None:
        batches = [
            self._batches.popleft() for _ in range(min(len(self._batches), GROUP_ITEMS_MAX))
        ]
        letters = [
            self._letters.popleft() for _ in range(min(len(self._letters), GROUP_ITEMS_MAX))
        ]
        events = [self._events.popleft() for _ in range(len(self._events))]
        self._bytes -= sum(len(item.batch.payload) + _ITEM_BYTES for item in batches)
        self._bytes -= sum(len(letter.payload) + _ITEM_BYTES for letter, _ in letters)
        try:
            if letters or events:
                await self._store.add_aside([letter for letter, _ in letters], events)
            for _, nack in letters:
                if nack is not None:
                    await self._answer(*nack)
            if batches:
                await self._commit(batches)
        except StoreError as err:
            # Nothing was promised: the agents will send again. Said once per trouble.
            self._view.dropped["database trouble"] += len(batches) + len(letters)
            if self._view.host.store_trouble is None:
                self.say("store", f"database trouble: {err}")
            self._view.host.store_trouble = str(err)
        else:
            if self._view.host.store_trouble is not None:
                self._view.host.store_trouble = None
                self.say("store", "database works again")
        self._changed()

    async def _commit(self, batches: Sequence[Incoming]) -> None:
        done = await self._store.commit(batches)
        for outcome in done.outcomes:
            batch = outcome.incoming.batch
            await self._answer(
                batch.edge, batch.boot, batch.first_seq, batch.count, outcome.reason
            )
            if outcome.is_new:
                for kind, text in self._view.on_batch(
                    batch, outcome.incoming.received_ms, outcome.ahead_ms
                ):
                    self.say(kind, text, batch.edge)
        self._view.on_latest(done.latest, self._clock_ms())
        self._view.host.database_bytes = self._store.size_bytes()
        for edge, label in done.meters_new:
            self.say("meter", f"meter {label} seen for the first time at agent {edge}", edge)

    async def _answer(
        self, edge: str, boot: int, first_seq: int, count: int, reason: str | None
    ) -> None:
        # Lost or not, it is best effort: the agent asks again by sending again.
        await self._publish(topic_ack(edge), pack_ack(boot, first_seq, count, reason))


def _has_room(recent: Iterable[tuple[str, str | None, str]], edge: str | None) -> bool:
    """Tell whether this edge, None being the host, may say one thing more this minute."""
    edges = [told for _, told, _ in recent]
    if edges.count(edge) >= EVENTS_PER_EDGE_MAX:
        return False
    return edge is None or len(edges) - edges.count(None) < EVENTS_PER_MINUTE_MAX
