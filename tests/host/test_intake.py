"""From message to store and back, with a store that can fail."""

import asyncio

import msgpack
import pytest

from wattlog_host import intake as intake_module
from wattlog_host.intake import Intake
from wattlog_host.live import HostView, LiveView
from wattlog_host.store.records import Committed, Outcome, StoreError

TOPIC = "wattlog/1/cellar/b"


class FakeStore:
    """Takes everything; trouble is raised instead, if there is any."""

    def __init__(self):
        self.groups, self.letters, self.events = [], [], []
        self.trouble = self.ahead_ms = None

    async def commit(self, items):
        if self.trouble:
            raise StoreError(self.trouble)
        self.groups.append(len(items))
        return Committed(tuple(Outcome(item, None, True, self.ahead_ms) for item in items))

    async def add_aside(self, letters, events):
        if self.trouble:
            raise StoreError(self.trouble)
        self.letters += letters
        self.events += events

    async def latest(self):
        return []

    def size_bytes(self):
        return 1


class World:
    def __init__(self):
        self.now_ms = 1_795_000_000_000
        self.store = FakeStore()
        self.view = LiveView(HostView("1", self.now_ms), {})
        self.sent = []
        self.intake = Intake(
            self.store, self.view, self._publish, lambda: None, lambda: self.now_ms
        )

    async def _publish(self, topic, payload):
        self.sent.append((topic, msgpack.unpackb(payload), len(self.store.groups)))
        return True

    def take(self, *payloads, topic=TOPIC):
        for payload in payloads:
            self.intake.on_message(topic, payload)
        asyncio.run(self.intake.flush())


@pytest.fixture
def world():
    return World()


def test_a_batch_is_acknowledged_after_the_commit(world, wire):
    world.take(wire.batch(wire.reading(), wire.reading(2), first_seq=5))
    assert world.sent == [("wattlog/1/cellar/a", [1, 17, 5, 2, None], 1)]


def test_what_waits_together_is_committed_together(world, wire):
    world.take(*[wire.batch(wire.reading(), first_seq=n) for n in range(1, 101)])
    assert world.store.groups == [
        intake_module.GROUP_ITEMS_MAX,
        100 - intake_module.GROUP_ITEMS_MAX,
    ]
    assert [ack[2] for _, ack, _ in world.sent] == list(range(1, 101))


def test_a_bad_batch_is_kept_aside_and_refused_with_the_reason(world):
    world.take(msgpack.packb([1, "cellar", 17, 5, []]))
    reason = "records are not an array of 1..256"
    assert [letter.reason for letter in world.store.letters] == [reason]
    assert world.sent == [("wattlog/1/cellar/a", [1, 17, 5, 0, reason], 0)]


def test_a_bad_record_costs_its_batch_nothing(world, wire):
    world.take(wire.batch(wire.reading(), [9], first_seq=5))
    assert world.store.letters == []
    assert world.sent == [("wattlog/1/cellar/a", [1, 17, 5, 2, None], 1)]


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


SILENT = (
    ("garbage", TOPIC, b"\xc1"),
    ("a batch in another's name", "wattlog/1/attic/b", None),
    ("a bad batch in another's name", "wattlog/1/attic/b", msgpack.packb([1, "cellar", 17, 5, 0])),
    (
        "a status in another's name",
        "wattlog/1/attic/s",
        msgpack.packb({"v": 1, "state": "online", "edge": "cellar"}),
    ),
)


@pytest.mark.parametrize(("topic", "payload"), [s[1:] for s in SILENT], ids=[s[0] for s in SILENT])
def test_what_names_nobody_or_another_is_kept_aside_and_answered_to_nobody(
    world, wire, topic, payload
):
    world.take(payload or wire.batch(wire.reading()), topic=topic)
    assert (len(world.store.letters), world.store.groups, world.sent) == (1, [], [])
    assert world.view.edges == {}


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
    payload = wire.batch(wire.reading())
    monkeypatch.setattr(intake_module, "QUEUE_BYTES_MAX", 3 * (len(payload) + 512))
    world.take(*[payload] * 5)
    assert (world.store.groups, world.view.dropped["queue full"]) == ([3], 2)
    world.take(*[payload] * 3)
    assert (world.store.groups, world.view.dropped["queue full"]) == ([3, 3], 2)


def test_the_same_event_is_said_once_a_minute(world):
    for _ in range(3):
        world.intake.say("agent", "agent cellar online", "cellar")
    world.now_ms += intake_module.EVENT_MS_MIN
    world.intake.say("agent", "agent cellar online", "cellar")
    assert len(world.view.events) == 2


def test_events_do_not_storm(world, wire):
    world.take(*[wire.status(boot=n) for n in range(1, 500)], topic="wattlog/1/cellar/s")
    for n in range(500):
        world.intake.say("x", str(n))
    assert len(world.store.events) <= intake_module.EVENTS_PER_MINUTE_MAX


def test_one_agents_events_leave_room_for_the_others_and_the_host(world):
    for edge in ("loud", *[f"e{n}" for n in range(500)]):
        for n in range(100 if edge == "loud" else 1):
            world.intake.say("x", str(n), edge)
    world.intake.say("host", "something")
    said = [event.edge for event in world.view.events]
    asyncio.run(world.intake.flush())
    edges = [event.edge for event in world.store.events]
    assert edges.count("loud") == intake_module.EVENTS_PER_EDGE_MAX
    assert len(edges) == intake_module.EVENTS_PER_MINUTE_MAX + 1
    assert said[0] is None


def test_other_topics_are_not_ours(world):
    world.take(b"x", topic="wattlog/1/cellar/a")
    world.take(b"x", topic="homeassistant/status")
    assert world.store.letters == []
