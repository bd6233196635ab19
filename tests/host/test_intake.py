"""From message to store and back, with a store that can fail; in the event loop and without."""

import asyncio

import msgpack
import pytest

from wattlog.records import RENEW
from wattlog_host import desk as desk_module
from wattlog_host.desk import Desk, work
from wattlog_host.intake import Intake
from wattlog_host.live import HostView, LiveView
from wattlog_host.store.records import Committed, Losses, LostRun, Outcome, StoreError
from wattlog_pi.system_clock import Trust

TOPIC = "wattlog/1/cellar/b"
STATUS = "wattlog/1/cellar/s"
LOG = 4_000_000_099


class FakeStore:
    """Takes everything; trouble is raised instead, if there is any."""

    def __init__(self):
        self.groups, self.letters, self.events, self.floors = [], [], [], []
        self.trouble = self.ahead_ms = self.reason = None
        self.is_behind = False
        self.trusts = []
        self.settled = Committed()

    def commit(self, items):
        self._fail()
        self.groups.append(len(items))
        self.trusts += [item.trust for item in items]
        return Committed(
            tuple(
                Outcome(item, self.reason, True, self.ahead_ms, self.is_behind) for item in items
            )
        )

    def settle(self, floors):
        self._fail()
        self.floors += [
            (floor.edge, floor.log, floor.first_seq, len(self.groups)) for floor in floors
        ]
        self.bases = [floor.base_seq for floor in floors]
        return self.settled

    def add_aside(self, letters, events):
        self._fail()
        self.letters += letters
        self.events += events
        return Committed()

    def size_bytes(self):
        return 1

    def _fail(self):
        if self.trouble:
            raise StoreError(self.trouble)


class AsyncStore:
    """The same, awaited."""

    def __init__(self, store):
        self._store = store
        self.size_bytes = store.size_bytes

    async def commit(self, items):
        return self._store.commit(items)

    async def settle(self, floors):
        return self._store.settle(floors)

    async def add_aside(self, letters, events):
        return self._store.add_aside(letters, events)


class World:
    """A host's middle, in the event loop or in one thread."""

    def __init__(self, is_async):
        self.now_ms = 1_795_000_000_000
        self.trust = Trust.NETWORK
        self.store = FakeStore()
        self.view = LiveView(HostView("1", self.now_ms), {})
        self.sent = []
        self.desk = Desk(self.view)
        self.intake = None
        if is_async:
            self.intake = Intake(
                AsyncStore(self.store),
                self.view,
                self._publish,
                lambda: None,
                lambda: self.now_ms,
                lambda: self.trust,
            )
            self.desk = self.intake._desk

    async def _publish(self, topic, payload):
        self._sent(topic, payload)
        return True

    def _sent(self, topic, payload):
        self.sent.append((topic, msgpack.unpackb(payload), len(self.store.groups)))

    def take(self, *payloads, topic=TOPIC):
        for payload in payloads:
            self.desk.on_message(topic, payload, self.now_ms, self.trust)
        self.flush()

    def flush(self):
        if self.intake:
            asyncio.run(self.intake.flush())
        else:
            for topic, payload in work(self.desk, self.store, self.now_ms):
                self._sent(topic, payload)

    def say(self, *what):
        kind, text, *edge = what
        self.desk.say(kind, text, self.now_ms, *edge)


@pytest.fixture(params=["in the event loop", "in one thread"])
def world(request):
    return World(request.param == "in the event loop")


def test_a_batch_is_acknowledged_after_the_commit(world, wire):
    batch = wire.batch(wire.reading(), wire.reading(2), first_seq=5)
    world.take(batch)
    assert world.sent == [("wattlog/1/cellar/a", wire.ack(batch), 1)]


def test_what_waits_together_is_committed_together(world, wire):
    world.take(*[wire.batch(wire.reading(), first_seq=n) for n in range(1, 301)])
    assert world.store.groups == [
        desk_module.GROUP_ITEMS_MAX,
        300 - desk_module.GROUP_ITEMS_MAX,
    ]
    assert [ack[2] for _, ack, _ in world.sent] == list(range(1, 301))


def test_a_bad_batch_is_kept_aside_and_refused_with_the_reason(world, wire):
    batch = msgpack.packb([2, "cellar", LOG, 5, b""])
    world.take(batch)
    reason = "records: empty"
    assert [letter.reason for letter in world.store.letters] == [reason]
    assert world.sent == [("wattlog/1/cellar/a", wire.ack(batch, reason), 0)]


def test_a_bad_record_costs_its_batch_nothing(world, wire):
    batch = wire.batch(wire.reading(), wire.reading(2), wrong=[1], first_seq=5)
    world.take(batch)
    assert world.store.letters == []
    assert world.sent == [("wattlog/1/cellar/a", wire.ack(batch), 1)]


def test_a_status_that_is_refused_is_said_once_a_minute(world, wire):
    for change in ({"version": 1}, {"boot": -1}, {"version": 1}):
        world.take(wire.status(**change), topic="wattlog/1/cellar/s")
    world.take(wire.status(edge="attic", version=1), topic="wattlog/1/attic/s")
    assert [event.text for event in world.view.events] == [
        "agent attic: its status was not understood: version",
        "agent cellar: its status was not understood: version",
    ]
    assert len(world.store.letters) == 4


def test_a_clock_that_is_ahead_is_said(world, wire):
    world.store.ahead_ms = 100_000
    world.take(wire.batch(wire.reading()))
    assert "cellar is 100 s ahead" in world.view.events[0].text


def test_a_clock_of_ours_that_is_behind_is_said_otherwise(world, wire):
    world.store.ahead_ms, world.store.is_behind = 100_000, True
    world.take(wire.batch(wire.reading()))
    (text,) = [event.text for event in world.view.events if event.kind == "clock"]
    assert text.endswith("and is set from the network; its readings keep its time")


def test_each_batch_comes_with_the_trust_of_its_moment(world, wire):
    world.take(wire.batch(wire.reading()))
    world.trust = Trust.NOBODY
    world.take(wire.batch(wire.reading(), first_seq=2))
    assert world.store.trusts == [Trust.NETWORK, Trust.NOBODY]


def test_the_trust_is_asked_before_the_time(wire):
    world = World(True)
    asked = []
    world.intake._clock_ms = lambda: asked.append("time") or world.now_ms
    world.intake._trust = lambda: asked.append("trust") or Trust.NOBODY
    world.intake.on_message(TOPIC, wire.batch(wire.reading()))
    assert asked == ["trust", "time"]
    world.flush()
    assert world.store.trusts == [Trust.NOBODY]


def test_only_for_a_batch_is_the_trust_asked(wire):
    world = World(True)
    asked = []
    world.intake._trust = lambda: asked.append("trust") or Trust.NOBODY
    world.intake.on_message(STATUS, wire.status())
    assert asked == []


def test_a_log_that_was_put_back_is_said_once_and_told_to_take_its_next_id(world, wire):
    world.store.reason = RENEW
    batches = [wire.batch(wire.reading(), first_seq=seq) for seq in (1, 2)]
    world.take(*batches)
    (event,) = [event for event in world.view.events if event.kind == "renewed"]
    assert "put back from an older copy" in event.text
    assert [ack for _, ack, _ in world.sent] == [wire.ack(one, "renew") for one in batches]


SILENT = (
    ("garbage", TOPIC, b"\xc1"),
    ("a batch of an older agent", TOPIC, msgpack.packb([1, "cellar", 17, 5, [[0, 0, 0]]])),
    ("a batch of a newer agent", TOPIC, msgpack.packb([3, "cellar", 17, 5, b"\1\0"])),
    (
        "a live reading in another's name",
        "wattlog/1/attic/l",
        msgpack.packb([2, "cellar", 17, 5, b"m", 7, [1, 1, 0]]),
    ),
    ("a batch in another's name", "wattlog/1/attic/b", None),
    (
        "a bad batch in another's name",
        "wattlog/1/attic/b",
        msgpack.packb([2, "cellar", 17, 5, b""]),
    ),
    (
        "a status in another's name",
        "wattlog/1/attic/s",
        msgpack.packb({"v": 2, "state": "online", "edge": "cellar"}),
    ),
)


@pytest.mark.parametrize(("topic", "payload"), [s[1:] for s in SILENT], ids=[s[0] for s in SILENT])
def test_what_names_nobody_or_another_is_kept_aside_and_answered_to_nobody(
    world, wire, topic, payload
):
    world.take(payload or wire.batch(wire.reading()), topic=topic)
    assert (len(world.store.letters), world.store.groups, world.sent) == (1, [], [])
    assert (world.view.edges, world.view.meters) == ({}, {})


def test_a_huge_message_is_kept_only_to_the_limit(world):
    world.take(b"\x00" * 1_000_000)
    assert [(len(lt.payload), lt.reason) for lt in world.store.letters] == [
        (16_384, "message too long")
    ]


def test_database_trouble_is_silence_said_once_and_ends(world, wire):
    world.store.trouble = "disk full"
    world.take(wire.batch(wire.reading()))
    world.take(wire.batch(wire.reading()))
    assert world.sent == []
    assert world.view.host.store_trouble == "disk full"
    assert [event.text for event in world.view.events] == ["database trouble: disk full"]
    world.store.trouble = None
    world.take(wire.batch(wire.reading()))
    assert len(world.sent) == 1
    assert world.view.host.store_trouble is None
    assert world.view.events[0].text == "database works again"


def test_the_queue_is_bounded_by_bytes_and_counts_what_it_drops(world, wire, monkeypatch):
    payloads = [wire.batch(wire.reading(), first_seq=seq) for seq in range(1, 6)]
    monkeypatch.setattr(desk_module, "QUEUE_BYTES_MAX", 3 * (len(payloads[0]) + 640))
    world.take(*payloads)
    assert (world.store.groups, world.view.dropped["queue full"]) == ([3], 2)
    world.take(*payloads[:3])
    assert (world.store.groups, world.view.dropped["queue full"]) == ([3, 3], 2)


def test_a_batch_that_comes_again_while_it_waits_is_written_and_answered_once(world, wire):
    payload, other = (wire.batch(wire.reading(value), first_seq=1) for value in (1, 2))
    foreign = "wattlog/1/attic/b"
    world.desk.on_message(foreign, payload, world.now_ms, world.trust)
    world.take(payload, other, payload, payload)
    assert (world.store.groups, world.view.dropped["came while it waited"]) == ([2], 2)
    assert [topic for topic, _, _ in world.sent] == ["wattlog/1/cellar/a"] * 2
    assert [letter.topic for letter in world.store.letters] == [foreign]
    world.store.trouble = "disk full"
    world.take(payload)
    world.store.trouble = None
    world.take(payload)
    assert world.store.groups == [2, 1], "what was not written is taken when it comes again"


def test_the_same_event_is_said_once_a_minute(world):
    for _ in range(3):
        world.say("agent", "agent cellar online", "cellar")
    world.now_ms += desk_module.EVENT_MS_MIN
    world.say("agent", "agent cellar online", "cellar")
    assert len(world.view.events) == 2


def test_events_do_not_storm(world, wire):
    world.take(*[wire.status(boot=n) for n in range(1, 500)], topic="wattlog/1/cellar/s")
    for n in range(500):
        world.say("x", str(n))
    assert len(world.store.events) <= desk_module.EVENTS_PER_MINUTE_MAX


def test_one_agents_events_leave_room_for_the_others_and_the_host(world):
    for edge in ("loud", *[f"e{n}" for n in range(500)]):
        for n in range(100 if edge == "loud" else 1):
            world.say("x", str(n), edge)
    world.say("host", "something")
    said = [event.edge for event in world.view.events]
    world.flush()
    edges = [event.edge for event in world.store.events]
    assert edges.count("loud") == desk_module.EVENTS_PER_EDGE_MAX
    assert len(edges) == desk_module.EVENTS_PER_MINUTE_MAX + 1
    assert said[0] is None


def test_other_topics_are_not_ours(world):
    world.take(b"x", topic="wattlog/1/cellar/a")
    world.take(b"x", topic="homeassistant/status")
    assert world.store.letters == []


# --- what is lost ------------------------------------------------------------------------------


def floor(wire, first_seq, state="online", log=LOG):
    return wire.status(state, log={"id": log, "first_seq": first_seq})


def test_a_floor_is_settled_once_after_the_batches_that_came_before_it(world, wire):
    for n in range(1, 2 * desk_module.GROUP_ITEMS_MAX):
        world.desk.on_message(
            TOPIC, wire.batch(wire.reading(), first_seq=n), world.now_ms, world.trust
        )
    world.desk.on_message(STATUS, floor(wire, 100), world.now_ms, world.trust)
    world.flush()
    assert world.store.floors == [("cellar", LOG, 100, 2)]
    for first_seq in (100, 99, 1):
        world.take(floor(wire, first_seq), topic=STATUS)
    assert len(world.store.floors) == 1
    world.take(floor(wire, 101), floor(wire, 102), topic=STATUS)
    world.take(floor(wire, 5, log=7), topic=STATUS)
    assert world.store.floors[1:] == [("cellar", LOG, 102, 2), ("cellar", 7, 5, 2)]


def test_a_floor_says_where_its_log_id_begins(world, wire):
    log = {"id": LOG, "first_seq": 40, "base_seq": 30}
    world.take(wire.status(log=log), topic=STATUS)
    assert world.store.bases == [30]
    assert dict(world.view.edges["cellar"].status.log.counts) == {}


def test_a_log_that_begins_at_1_and_a_claimants_are_no_floor(world, wire):
    world.take(floor(wire, 1), floor(wire, 9, "claim"), floor(wire, 9, "offline"), topic=STATUS)
    world.take(wire.status(log={"id": LOG}), wire.status(), topic=STATUS)
    assert world.store.floors == []


def test_a_floor_that_could_not_be_settled_is_settled_when_it_is_said_again(world, wire):
    world.store.trouble = "disk full"
    world.take(floor(wire, 9), topic=STATUS)
    world.store.trouble = None
    world.take(floor(wire, 9), topic=STATUS)
    assert world.store.floors == [("cellar", LOG, 9, 0)]


def test_what_is_lost_is_said_and_shown(world, wire):
    lost = LostRun("cellar", LOG, 1, 8, "evicted", world.now_ms, None, None)
    world.store.settled = Committed(
        losses=Losses(1, 8, (lost,)), lost={("cellar", "evicted"): 8, ("cellar", "damaged"): 0}
    )
    world.take(floor(wire, 9), topic=STATUS)
    assert [event.text for event in world.view.events if event.kind == "lost"] == [
        "agent cellar: 8 records never came, no longer in its log"
    ]
    assert world.view.losses.records == 8


def test_a_refused_batch_is_said_once_and_its_agent_is_told(world, wire):
    world.store.reason = "why"
    world.take(wire.batch(wire.reading()), wire.batch(wire.reading(), first_seq=2))
    assert [(one.text, one.edge) for one in world.view.events if one.kind == "refused"] == [
        ("agent cellar: a batch was refused: why", "cellar")
    ]
    assert [ack[4] for _, ack, _ in world.sent] == ["why", "why"]


@pytest.mark.parametrize("reason", ["evicted", "damaged", "refused"])
def test_one_lost_record_is_spoken_of_as_one(world, wire, reason):
    world.store.settled = Committed(lost={("cellar", reason): 1})
    world.take(floor(wire, 9), topic=STATUS)
    (text,) = [event.text for event in world.view.events if event.kind == "lost"]
    assert text.startswith("agent cellar: 1 record ")
    assert not {" are ", " were ", " have "} & {f" {word} " for word in text.split()}


def test_a_live_reading_is_shown_and_never_stored(world, wire):
    world.take(wire.live(), topic="wattlog/1/cellar/l")
    assert [meter.latest.values for meter in world.view.meters.values()] == [{1: 19892750000}]
    assert (world.store.groups, world.store.letters, world.sent) == ([], [], [])


def test_a_live_reading_that_is_none_is_kept_aside(world):
    world.take(b"\x90", topic="wattlog/1/cellar/l")
    assert [letter.name for letter in world.store.letters] == [None]
