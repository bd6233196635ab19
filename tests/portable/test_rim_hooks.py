"""What the core passes through for the rim: commands that are not its own, and the board's state."""

from agent_world import OpenLink
from agent_world import World as AgentWorld
from wattlog import records
from wattlog.msgpack import pack
from wattlog.records import COMMAND, STATUS, topic
from wattlog.uplink import CLAIM_MS, STATUS_EVERY_MS


class TalkingLink(OpenLink):
    def __init__(self):
        OpenLink.__init__(self)
        self.inbox = []

    def receive(self):
        return self.inbox.pop(0) if self.inbox else None


def connected():
    world = AgentWorld(TalkingLink())
    world.agent.step(0)
    world.agent.step(CLAIM_MS)
    return world


def test_every_command_is_shown_to_the_rim_too():
    world = connected()
    seen = []
    for payload in (b"anything", pack([2, "live", 60])):
        world.link.inbox.append((topic("cellar", COMMAND), payload))
    world.link.inbox.append((topic("cellar", "x"), b"not a command"))
    world.agent.uplink.on_command = lambda payload, now_ms: seen.append((payload, now_ms))
    world.agent.step(5_000)
    assert seen == [(b"anything", 5_000), (pack([2, "live", 60]), 5_000)]


def test_the_state_of_the_board_is_in_the_status_where_there_is_a_board():
    world = connected()
    assert "board" not in world.link.sent[-1]
    world.agent._describe_board = lambda now_ms: {"heap_free": now_ms}
    world.agent.step(CLAIM_MS + STATUS_EVERY_MS)
    assert world.link.sent[-1]["board"] == {"heap_free": CLAIM_MS + STATUS_EVERY_MS}


def test_a_status_too_long_for_the_batchs_memory_is_sent_all_the_same():
    world = connected()
    buffer = world.agent.uplink._buffer
    buffer._view = buffer._view[:100]
    world.agent.step(CLAIM_MS + STATUS_EVERY_MS)
    assert world.link.sent[-1]["uptime_ms"] == CLAIM_MS + STATUS_EVERY_MS


def test_the_own_status_that_comes_back_is_not_even_unpacked():
    world = connected()
    seen = []
    unpack_status = records.unpack_status
    records.unpack_status = lambda payload: seen.append(payload)
    try:
        for fields in (
            {"state": "online", "boot": 5},
            {"state": "online", "boot": 5, "board": {"crash": {"boot": 7}}},
            {"state": "online", "boot": 6},
            {"state": "online", "boot": 6, "reply_to": 5},
            {"state": "offline", "boot": 5},
        ):
            world.link.inbox.append((topic("cellar", STATUS), pack(fields)))
        world.agent.step(5_000)
    finally:
        records.unpack_status = unpack_status
    assert seen == [
        pack({"state": "online", "boot": 6}),
        pack({"state": "online", "boot": 6, "reply_to": 5}),
        pack({"state": "offline", "boot": 5}),
    ]
