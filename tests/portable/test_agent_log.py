"""One agent and its log: what is told of it, and what happens when it fails."""

from agent_world import OpenLink, World, frame
from wattlog.channels import TABLE
from wattlog.ramdevice import RamDevice
from wattlog.reading import Reading
from wattlog.records import VALUES_MAX, GroupWriter
from wattlog.ringlog import RingLog
from wattlog.timebase import SYNC_EVERY_MS
from wattlog.uplink import CLAIM_MS


def test_the_log_is_told():
    world = World(OpenLink())
    world.feed(0, frame(7) + frame(8))
    world.agent.step(CLAIM_MS)
    stats = world.log.stats()
    assert world.link.sent[-1]["log"] == {
        "id": 77, "base_seq": 0, "kind": "memory", "first_seq": 1, "next_seq": 3, "records": 2,
        "bytes": stats.bytes, "bytes_max": stats.bytes_max, "evicted": 0, "damaged": 0,
        "unlogged": 0, "trouble": None,
    }  # fmt: skip


def test_a_log_that_fails_is_said_once_and_told_while_metering_goes_on():
    world = World(OpenLink())

    def at(now_ms):
        world.clock.now = 1795296211440 + now_ms
        return now_ms

    world.feed(at(0), frame(0) + frame(1))
    world.agent.step(at(CLAIM_MS))
    world.log.failure = "no space left on device"
    for second in range(4, 7):
        world.feed(at(second * 1000), frame(second))
        world.agent.step(at(second * 1000 + 500))
    wanted = ["the log fails, readings are lost: no space left on device; trying again"]
    assert [line for line in world.said if "log" in line] == wanted
    log = world.link.sent[-1]["log"]
    assert log["trouble"] == "no space left on device"
    assert world.meter()["frames"] == 3  # as of the failure
    world.agent.uplink.announce()
    world.agent.step(at(6_600))
    assert world.link.sent[-1]["log"]["unlogged"] == 3
    assert world.link.lives[-1][3] == 0  # as seldom as ever
    world.log.failure = None
    world.feed(at(7_000), frame(7))
    assert world.said[-1] == "the log works again"
    assert world.link.sent[-1]["log"]["trouble"] is None
    world.agent.step(at(7_001))
    # What was noted last before the failure may not have been kept: the time is noted again.
    assert [row[0] for row in world.records()] == [0, 1, 1, 1, 0]
    assert world.records()[3][3] == 7


def test_a_trouble_that_begins_or_ends_while_it_runs_is_told_at_once():
    world = World(OpenLink())
    world.agent.step(0)
    world.agent.step(CLAIM_MS)
    told = []
    for trouble in ("the file is gone", "the file is gone", None, None):
        world.link.sent = []
        world.agent.tell_log_trouble(trouble)
        world.agent.step(CLAIM_MS + 1)
        told.append([status["log"]["trouble"] for status in world.link.sent])
    assert told == [["the file is gone"], [], [None], []]


def test_a_time_that_could_not_be_logged_is_noted_again_later_and_not_at_every_step():
    world = World()
    world.clock.now = 1795296211440
    world.log.failure = "gone"
    tries = []
    sync = world.agent._writer.sync
    world.agent._writer.sync = lambda *time: tries.append(1) or sync(*time)
    for now_ms in range(0, 5_000, 50):
        world.agent.step(now_ms)
    assert len(tries) == 1
    world.log.failure = None
    world.feed(5_000, frame(1) + frame(2))
    world.agent.step(5_050)
    assert [row[0] for row in world.records()] == [1, 1, 0]
    world.agent.step(5_100)
    assert len(tries) == 2
    world.clock.now += SYNC_EVERY_MS
    world.agent.step(5_100 + SYNC_EVERY_MS)
    assert len(tries) == 3


def test_what_every_channel_together_makes_fits_the_smallest_sector():
    ids = [int(line.split()[0]) for line in TABLE.strip().split("\n")]
    assert len(ids) <= VALUES_MAX
    log = RingLog(RamDevice(2, 512))
    writer = GroupWriter(log, (1 << 32) - 1)
    rows = [(number, -(1 << 63), -12) for number in ids]
    for ms in (0, (1 << 40) - 1):
        writer.reading(ms, Reading(b"x" * 32, (1 << 32) - 1, rows, True))
    writer.close()
    assert writer.reading((1 << 40) - 1, Reading(b"x" * 32, (1 << 32) - 1, rows, True)) == 3


def test_stopping_ends_the_group_so_that_it_can_be_sent():
    world = World()
    world.feed(0, frame(6) + frame(7))
    world.agent.stop_reading()
    assert world.agent._writer.open_seq is None
    assert world.agent.waiting() == 2
