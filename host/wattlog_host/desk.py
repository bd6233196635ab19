"""What is done with a message, without waiting: sorted, written in groups, answered when durable.

The desk knows no clock, no socket and no thread. Who runs it hands messages in, takes groups out,
writes them, and publishes what the desk then returns: intake.py for the host, work() for whoever
has all of it in one thread.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wattlog.records import RENEW
from wattlog_host.bounds import MESSAGE_BYTES_MAX, WireError
from wattlog_host.gaps import DAMAGED, EVICTED, REFUSED
from wattlog_host.live import LiveView
from wattlog_host.status import Status, decode_status
from wattlog_host.store.records import (
    BatchName,
    Committed,
    DeadLetter,
    Event,
    Floor,
    Incoming,
    StoreError,
)
from wattlog_host.wire import decode_batch, decode_live, pack_ack, parse_topic, topic_ack
from wattlog_pi.system_clock import Trust

LOG = logging.getLogger(__name__)

QUEUE_BYTES_MAX = 8 * 2**20
GROUP_ITEMS_MAX = 256
FLOORS_MAX = 1_000
SETTLED_MAX = 100_000
"""Logs of which is remembered what was settled; of others it is looked up anew."""
EVENT_MS_MIN = 60_000
# What agents provoke; the host itself has a budget of its own, which no agent can use up.
EVENTS_PER_MINUTE_MAX = 60
EVENTS_PER_EDGE_MAX = 30
# What an item takes beside its payload; rounded up, so that the bound holds.
_ITEM_BYTES = 512

LOST_TEXTS = {
    EVICTED: "never came, no longer in its log",
    DAMAGED: "could not be read in its log any more",
    REFUSED: "came in a form that this host refuses",
}

RENEWED_TEXT = (
    "its log gives numbers that stand for other readings here; was it put back from an older "
    "copy? what is refused now comes again under another log id"
)

Answer = tuple[str, bytes]
"""(topic, payload) to be published."""


class SyncStore(Protocol):
    """What work() needs of the store."""

    def commit(self, items: Sequence[Incoming]) -> Committed:
        """Store durably."""

    def settle(self, floors: Sequence[Floor]) -> Committed:
        """Note what is lost."""

    def add_aside(self, letters: Sequence[DeadLetter], events: Sequence[Event]) -> Committed:
        """Store what is not a batch."""

    def size_bytes(self) -> int:
        """Return what the database takes."""


@dataclass(frozen=True, slots=True)
class Group:
    """What is written together; letters and events first, floors last."""

    letters: Sequence[DeadLetter]
    events: Sequence[Event]
    batches: Sequence[Incoming]
    floors: Sequence[Floor]


class Desk:
    """Takes messages at any time and gives out groups; bounded, and counts what it drops."""

    def __init__(self, view: LiveView) -> None:
        """Take the view to keep."""
        self._view = view
        self._batches: deque[Incoming] = deque()
        self._letters: deque[DeadLetter] = deque()
        self._events: deque[Event] = deque(maxlen=EVENTS_PER_MINUTE_MAX + EVENTS_PER_EDGE_MAX)
        self._floors: dict[tuple[str, int], Floor] = {}
        self._settled: dict[tuple[str, int], int] = {}
        self._bytes = 0
        self._told_ms: dict[tuple[str, str | None, str], int] = {}

    # --- what comes in ---------------------------------------------------------------------

    def on_message(self, topic: str, payload: bytes, now_ms: int, trust: Trust) -> bool:
        """Take one message, never raising on its bytes; tell whether the view has changed.

        trust is how far now_ms can be believed, and asked for before it.
        """
        known = parse_topic(topic)
        if known is None or known[1] == "u":  # of an update: see updates.py
            return False
        edge, kind = known
        try:
            if kind == "b":
                batch = decode_batch(payload)
                _require_own(batch.edge, edge)
                self._queue_batch(Incoming(topic, batch, now_ms, payload, trust))
                return False
            if kind == "l":
                live = decode_live(payload)
                _require_own(live.edge, edge)
                return self._view.on_live(live, now_ms)
            status = decode_status(payload)
            _require_own(status.edge, edge)
            self._on_status(status, now_ms)
        except WireError as err:
            name = None
            if err.edge == edge and err.log is not None and err.first_seq is not None:
                name = BatchName(edge, err.log, err.first_seq, 0)
            self._queue_letter(
                DeadLetter(topic, err.reason, payload[:MESSAGE_BYTES_MAX], now_ms, name)
            )
            if kind == "s":
                text = f"agent {edge}: its status was not understood: {err.reason}"
                self.say("status", text, now_ms, edge, about="status not understood")
        return True

    def say(
        self, kind: str, text: str, now_ms: int, edge: str | None = None, about: str | None = None
    ) -> None:
        """Tell the person at the page, and the log; the same thing once a minute at most.

        about is what makes it the same thing; without it, that is the text.
        """
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

    def _on_status(self, status: Status, now_ms: int) -> None:
        for kind, text in self._view.on_status(status, now_ms):
            self.say(kind, text, now_ms, status.edge)
        log = status.log
        # A claimant may not have the name: what it says of its log is not about ours.
        if status.state != "online" or log.id is None or log.first_seq is None:
            return
        key = (status.edge, log.id)
        if log.first_seq <= self._settled.get(key, 1):
            return
        if key in self._floors or len(self._floors) < FLOORS_MAX:
            self._floors[key] = Floor(status.edge, log.id, log.first_seq, now_ms, log.base_seq)

    def _queue_batch(self, item: Incoming) -> None:
        if self._fits(len(item.message)):
            self._batches.append(item)

    def _queue_letter(self, letter: DeadLetter) -> None:
        if self._fits(len(letter.payload)):
            self._letters.append(letter)

    def _fits(self, payload_bytes: int) -> bool:
        """Count the bytes in where there is room; otherwise the message is dropped: sent again."""
        if self._bytes + payload_bytes + _ITEM_BYTES > QUEUE_BYTES_MAX:
            self._view.dropped["queue full"] += 1
            return False
        self._bytes += payload_bytes + _ITEM_BYTES
        return True

    # --- what goes out ---------------------------------------------------------------------

    def take(self) -> Group | None:
        """Return what is to be written next, None where nothing waits.

        A floor waits for the batches that came before it: they are not lost.
        """
        batches = [
            self._batches.popleft() for _ in range(min(len(self._batches), GROUP_ITEMS_MAX))
        ]
        letters = [
            self._letters.popleft() for _ in range(min(len(self._letters), GROUP_ITEMS_MAX))
        ]
        events = [self._events.popleft() for _ in range(len(self._events))]
        floors: list[Floor] = []
        if not self._batches and not self._letters:
            floors = list(self._floors.values())
            self._floors.clear()
        if not (batches or letters or events or floors):
            return None
        self._bytes -= sum(len(item.message) + _ITEM_BYTES for item in batches)
        self._bytes -= sum(len(letter.payload) + _ITEM_BYTES for letter in letters)
        return Group(letters, events, batches, floors)

    def on_aside(self, group: Group, done: Committed, now_ms: int) -> list[Answer]:
        """Return the refusals, once what they refuse is kept aside."""
        self._on_losses(done, now_ms)
        return [
            _answer(letter.name, letter.payload, letter.reason)
            for letter in group.letters
            if letter.name is not None
        ]

    def on_committed(self, done: Committed, database_bytes: int, now_ms: int) -> list[Answer]:
        """Return the acknowledgements, once the batches are durable."""
        answers = []
        for outcome in done.outcomes:
            batch = outcome.incoming.batch
            name = BatchName(batch.edge, batch.log, batch.first_seq, batch.count)
            answers.append(_answer(name, outcome.incoming.message, outcome.reason))
            if outcome.reason == RENEW:
                text = f"agent {batch.edge}: {RENEWED_TEXT}"
                self.say("renewed", text, now_ms, batch.edge, about=f"{RENEW} {batch.log}")
            elif outcome.reason is not None:
                text = f"agent {batch.edge}: a batch was refused: {outcome.reason}"
                self.say("refused", text, now_ms, batch.edge, about=outcome.reason)
            if outcome.is_new:
                for kind, text in self._view.on_batch(
                    batch, outcome.incoming.received_ms, outcome.ahead_ms, outcome.is_behind
                ):
                    self.say(kind, text, now_ms, batch.edge)
        self._view.on_latest(done.latest, now_ms)
        self._view.host.database_bytes = database_bytes
        for edge, label in done.meters_new:
            text = f"meter {label} seen for the first time at agent {edge}"
            self.say("meter", text, now_ms, edge)
        self._on_losses(done, now_ms)
        return answers

    def on_settled(self, group: Group, done: Committed, now_ms: int) -> None:
        """Note what is now known to be lost."""
        for floor in group.floors:
            self._settled[floor.edge, floor.log] = floor.first_seq
        while len(self._settled) > SETTLED_MAX:
            del self._settled[next(iter(self._settled))]
        self._on_losses(done, now_ms)

    def on_trouble(self, group: Group, err: StoreError, now_ms: int) -> None:
        """Note that the group was not written: nobody is answered, the agents will send again."""
        self._view.dropped["database trouble"] += len(group.batches) + len(group.letters)
        if self._view.host.store_trouble is None:
            self.say("store", f"database trouble: {err}", now_ms)
        self._view.host.store_trouble = str(err)

    def on_no_trouble(self, now_ms: int) -> None:
        """Note that a group was written."""
        if self._view.host.store_trouble is not None:
            self._view.host.store_trouble = None
            self.say("store", "database works again", now_ms)

    def _on_losses(self, done: Committed, now_ms: int) -> None:
        if done.losses is not None:
            self._view.losses = done.losses
        for (edge, reason), count in done.lost.items():
            if count > 0:
                records = f"{count} records" if count > 1 else "1 record"
                text = f"agent {edge}: {records} {LOST_TEXTS[reason]}"
                self.say("lost", text, now_ms, edge, about=reason)


def work(desk: Desk, store: SyncStore, now_ms: int) -> list[Answer]:
    """Write all that waits, in this thread; return what is to be published."""
    answers: list[Answer] = []
    while (group := desk.take()) is not None:
        try:
            if group.letters or group.events:
                done = store.add_aside(group.letters, group.events)
                answers += desk.on_aside(group, done, now_ms)
            if group.batches:
                done = store.commit(group.batches)
                answers += desk.on_committed(done, store.size_bytes(), now_ms)
            if group.floors:
                desk.on_settled(group, store.settle(group.floors), now_ms)
        except StoreError as err:
            desk.on_trouble(group, err, now_ms)
        else:
            desk.on_no_trouble(now_ms)
    return answers


def _answer(name: BatchName, message: bytes, reason: str | None) -> Answer:
    return topic_ack(name.edge), pack_ack(name.log, name.first_seq, message, reason)


def _require_own(edge: str, topic_edge: str) -> None:
    if edge != topic_edge:
        raise WireError("edge is not the topic's")


def _has_room(recent: Iterable[tuple[str, str | None, str]], edge: str | None) -> bool:
    """Tell whether this edge, None being the host, may say one thing more this minute."""
    edges = [told for _, told, _ in recent]
    if edges.count(edge) >= EVENTS_PER_EDGE_MAX:
        return False
    return edge is None or len(edges) - edges.count(None) < EVENTS_PER_MINUTE_MAX
