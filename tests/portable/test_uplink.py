"""The way to the host: commit before release, one id one agent, and no wedge."""

from binascii import crc32

from wattlog import records
from wattlog.live import LIVE_EVERY_MS
from wattlog.msgpack import pack, unpack
from wattlog.ramdevice import RamDevice
from wattlog.reading import Reading
from wattlog.recordreader import split
from wattlog.ringlog import LogError, RingLog
from wattlog.uplink import (
    ACK_MS_MAX,
    ACK_MS_MIN,
    BACKOFF_MS_MAX,
    BACKOFF_MS_MIN,
    BATCH_MS,
    BATCHES_PER_STEP,
    CLAIM_MS,
    CONNECT_MS_MAX,
    DOWN,
    LOG_WAIT_MS,
    RENEW_EVERY_MS,
    STATUS_EVERY_MS,
    UP,
    Backoff,
    LinkError,
    Uplink,
)

EDGE = "cellar"
BOOT = 5
LOG_ID = 0xC0FFEE
WINDOW = 3
SECTOR_BYTES = 256
T_BATCH = "wattlog/1/cellar/b"
T_ACK = "wattlog/1/cellar/a"
T_STATUS = "wattlog/1/cellar/s"
T_LIVE = "wattlog/1/cellar/l"
T_COMMAND = "wattlog/1/cellar/c"
BUF = bytearray(records.BATCH_BYTES)


class FakeLink:
    """A connection that does what the test says."""

    def __init__(self):
        self.opened = 0
        self.closed = 0
        self.up = True
        self.failure = None
        self.refuse_open = None
        self.sent = []
        self.inbox = []
        self.will = None
        self.checks = {}  # of the batches as they were sent last, by log id and first seq

    def open(self, will):
        self.opened += 1
        self.will = will
        if self.refuse_open:
            raise LinkError(self.refuse_open)

    def is_up(self):
        if self.failure:
            raise LinkError(self.failure)
        return self.up

    def publish(self, topic, payload, retain):
        if self.failure:
            raise LinkError(self.failure)
        self.sent.append((topic, bytes(payload), retain))
        if topic == T_BATCH:
            row = unpack(bytes(payload))
            self.checks[row[2], row[3]] = crc32(bytes(payload))

    def receive(self):
        return self.inbox.pop(0) if self.inbox else None

    def close(self):
        self.closed += 1

    def take(self, topic):
        found = [payload for name, payload, _ in self.sent if name == topic]
        self.sent = [row for row in self.sent if row[0] != topic]
        return found


class World:
    """One uplink with its fakes, and a clock that the test turns."""

    def __init__(self, device=None, boot=BOOT):
        self.device = device or RamDevice(8, SECTOR_BYTES)
        self.log = RingLog(self.device, lambda: LOG_ID)
        self.writer = records.GroupWriter(self.log, boot)
        self.link = FakeLink()
        self.said = []
        self.now_ms = 0
        self.uplink = Uplink(
            EDGE,
            boot,
            self.log,
            self.writer,
            self.link,
            lambda n: 0,
            lambda now: {"n": now},
            self.said.append,
            BUF,
            WINDOW,
        )

    def group(self, count=1):
        """Log a group of so many records; return the seq of its last."""
        for _ in range(count):
            seq = self.writer.sync(self.now_ms, 1_795_296_211_440, True)
        self.writer.close()
        return seq

    def groups(self, count):
        for _ in range(count):
            self.group()

    def step(self, pass_ms=0):
        self.now_ms += pass_ms
        return self.uplink.step(self.now_ms)

    def ack(self, first_seq, reason=None, log_id=LOG_ID, check=None):
        """Answer what was sent last under this name, unless the check says otherwise."""
        if check is None:
            check = self.link.checks[log_id, first_seq]
        self.link.inbox.append((T_ACK, pack([2, log_id, first_seq, check, reason])))

    def status(self, **fields):
        fields["v"] = 2
        self.link.inbox.append((T_STATUS, pack(fields)))

    def states(self):
        return [unpack(payload)["state"] for payload in self.link.take(T_STATUS)]

    def sent(self):
        """(first seq, count) of the batches sent since the last time."""
        rows = [unpack(batch) for batch in self.link.take(T_BATCH)]
        return [(row[3], len(split(row[4]))) for row in rows]

    def kept(self):
        return self.log.stats().records


def up(**more):
    world = World(**more)
    world.step()
    world.step(CLAIM_MS)
    assert world.uplink.state == UP
    assert world.states() == ["claim", "online"]
    return world


def test_connecting_claims_the_id_and_then_takes_it():
    world = World()
    assert world.step() == CLAIM_MS
    assert world.link.sent == [
        (T_STATUS, pack({"v": 2, "state": "claim", "edge": EDGE, "boot": BOOT}), False)
    ]
    world.group()
    world.step(CLAIM_MS - 1)
    assert world.sent() == []
    world.step(1)
    online = [row for row in world.link.sent if row[0] == T_STATUS][-1]
    assert unpack(online[1])["state"] == "online"
    assert online[2] is True
    assert world.sent() == [(1, 1)]


def test_the_last_will_says_offline():
    world = up()
    assert unpack(world.link.will) == {"v": 2, "state": "offline", "edge": EDGE, "boot": BOOT}


def test_a_record_stays_until_its_batch_is_acknowledged():
    world = up()
    world.group(2)
    world.step()
    (batch,) = world.link.take(T_BATCH)
    payloads = [payload for _, payload in world.log.read_after(0)]
    bin_ = b"".join([bytes([len(payload)]) + payload for payload in payloads])
    assert unpack(batch) == [2, EDGE, LOG_ID, 1, bin_]
    assert world.kept() == 2
    world.ack(1)
    world.step()
    assert world.kept() == 0


def test_batches_that_the_host_has_settled_are_counted_once():
    world = up()
    world.group(2)
    world.step()
    check = world.link.checks[LOG_ID, 1]
    for first_seq, log_id in ((1, LOG_ID + 1), (2, LOG_ID)):
        world.ack(first_seq, None, log_id, check)
    world.step()
    assert world.uplink.acked == 0
    world.ack(1)
    world.ack(1)
    world.step()
    assert world.uplink.acked == 1


def test_a_group_that_grows_is_ended_after_a_while_and_sent():
    world = up()
    world.writer.sync(0, 0, True)
    world.step()  # the first goes at once
    assert world.sent() == [(1, 1)]
    ended_ms = world.now_ms
    for _ in range(3):
        world.writer.sync(0, 0, True)
    assert world.step(10) == ended_ms + ACK_MS_MIN
    world.ack(1)
    assert world.step(10) == ended_ms + STATUS_EVERY_MS
    while world.now_ms < ended_ms + BATCH_MS - 1_000:
        world.step(1_000)
    assert world.step(0) == ended_ms + BATCH_MS
    assert world.sent() == []
    world.step(1_000)
    assert world.sent() == [(2, 3)]


def test_a_group_that_grows_is_not_ended_before_all_else_is_sent():
    world = up()
    world.groups(WINDOW)
    world.writer.sync(0, 0, True)
    world.step()
    assert len(world.sent()) == WINDOW
    world.step(BATCH_MS)
    assert world.writer.open_seq == WINDOW + 1
    world.ack(1)
    world.step(1)
    assert world.writer.open_seq is None


def test_a_group_is_not_ended_while_there_is_no_connection():
    world = World()
    world.link.up = False
    world.writer.sync(0, 0, True)
    for _ in range(100):
        world.step(1_000)
    assert world.writer.open_seq == 1


def test_as_many_batches_are_on_their_way_as_the_window_holds():
    world = up()
    world.groups(WINDOW + 2)
    world.step()
    assert world.sent() == [(1, 1), (2, 1), (3, 1)]
    world.step(1)
    assert world.sent() == []
    world.ack(1)
    world.step(1)
    assert world.sent() == [(4, 1)]


def test_what_the_host_has_other_records_for_is_sent_under_the_next_log_id():
    world = up()
    world.groups(WINDOW)
    world.step()
    assert world.sent() == [(1, 1), (2, 1), (3, 1)]
    world.ack(3)  # out of turn
    world.ack(2, records.RENEW)
    world.step(1)
    assert world.sent() == []
    assert world.log.id == LOG_ID  # what came before is not settled yet
    world.step(ACK_MS_MIN)
    assert world.sent() == [(1, 1)]  # and only that is sent again
    world.ack(1)
    world.step(1)
    assert world.log.id == LOG_ID + 1
    batches = [unpack(batch) for batch in world.link.take(T_BATCH)]
    assert [(row[2], row[3]) for row in batches] == [(LOG_ID + 1, 2), (LOG_ID + 1, 3)]
    world.step(1)
    assert world.states() == ["online"]  # it names the log
    assert [text for text in world.said if "older copy" in text] != []
    # What is still said of the old log means nothing.
    world.ack(2)
    world.ack(2, records.RENEW)
    world.ack(3, "poison")
    world.step(1)
    assert (world.kept(), world.log.id, world.uplink.refused) == (2, LOG_ID + 1, 0)
    world.ack(2, log_id=LOG_ID + 1)
    world.ack(3, log_id=LOG_ID + 1)
    world.step(1)
    assert world.kept() == 0


def test_a_log_is_renewed_as_often_as_the_host_asks_for_it_but_at_its_own_pace():
    world = up()
    world.group()
    for log_id in range(LOG_ID, LOG_ID + 5):
        world.step(1)
        assert unpack(world.link.take(T_BATCH)[0])[2] == log_id
        world.ack(1, records.RENEW, log_id)
        if log_id > LOG_ID:
            world.step(RENEW_EVERY_MS - 1)
            assert world.log.id == log_id
    world.step(1)
    assert (world.kept(), world.log.id) == (1, LOG_ID + 5)


def test_a_batch_for_which_the_log_cannot_be_renewed_any_more_blocks_nothing():
    world = up()
    world.groups(2)
    world.log.renew = lambda: False
    world.step()
    world.ack(1, records.RENEW)
    world.step(1)
    world.step(1)
    assert (world.kept(), world.uplink.refused) == (1, 1)
    assert world.log.id == LOG_ID


def test_acknowledgements_in_any_order_release_what_is_contiguous():
    for order in ((1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)):
        world = up()
        world.groups(3)
        world.step()
        acked = set()
        for seq in order:
            world.ack(seq)
            world.step(1)
            acked.add(seq)
            contiguous = 0
            while contiguous + 1 in acked:
                contiguous += 1
            assert world.kept() == 3 - contiguous, (order, seq)
            assert world.log.stats().first_seq == contiguous + 1, (order, seq)


def test_a_batch_that_is_not_answered_is_sent_again_byte_for_byte():
    world = up()
    world.group(3)
    world.step()
    (first,) = world.link.take(T_BATCH)
    world.step(ACK_MS_MIN - 1)
    assert world.link.take(T_BATCH) == []
    world.group(2)
    world.step(1)
    assert first in world.link.take(T_BATCH)
    assert world.uplink.resent == 1


def test_a_batch_is_the_same_after_a_reboot():
    world = up()
    for count in (1, 5, 9):
        world.group(count)
    world.writer.sync(0, 0, True)  # of a group that never ended
    world.step()
    sent = world.link.take(T_BATCH)
    assert len(sent) == WINDOW
    after = up(device=world.device, boot=BOOT + 1)
    after.group()
    assert after.link.take(T_BATCH) == sent
    for first_seq in (1, 2, 7):
        after.ack(first_seq)
    after.step(1)
    assert after.sent() == [(16, 1), (17, 1)]


def test_a_backlog_goes_out_with_the_window_full_and_in_order():
    world = World(RamDevice(24, SECTOR_BYTES))
    while world.log.stats().next_seq <= 200:
        world.writer.sync(world.now_ms, 0, True)
    world.step()
    world.step(CLAIM_MS)
    sent = []
    for _ in range(100):
        batches = world.link.take(T_BATCH)
        for batch in batches:
            assert len(batch) <= records.BATCH_BYTES
            _, _, _, first_seq, bin_ = unpack(batch)
            count = len(split(bin_))
            sent.extend(range(first_seq, first_seq + count))
            world.ack(first_seq)
        if not world.kept():
            break
        assert len(batches) == min(WINDOW, BATCHES_PER_STEP) or sent[-1] >= 200
        world.step(1)
    assert sent == list(range(1, 201))


def test_meters_are_read_between_a_few_batches():
    world = up()
    world.uplink._window_max = 2 * BATCHES_PER_STEP
    world.groups(2 * BATCHES_PER_STEP)
    assert world.step() == world.now_ms
    assert len(world.sent()) == BATCHES_PER_STEP
    world.step(1)
    assert len(world.sent()) == BATCHES_PER_STEP
    assert world.step(ACK_MS_MIN) == world.now_ms
    assert len(world.sent()) == BATCHES_PER_STEP


def test_waits_for_an_answer_grow_to_a_bound():
    world = up()
    world.group()
    world.step()
    times = []
    while len(times) < 8:
        world.step(500)
        if world.link.take(T_BATCH):
            times.append(world.now_ms)
    gaps = [times[i + 1] - times[i] for i in range(7)]
    assert gaps[-1] == gaps[-2] == ACK_MS_MAX
    assert max(gaps) <= ACK_MS_MAX


def test_other_acknowledgements_change_nothing():
    world = up()
    world.group(2)
    world.step()
    check = world.link.checks[LOG_ID, 1]
    world.ack(1, None, LOG_ID + 1, check)
    world.ack(2, None, LOG_ID, check)
    world.ack(1, None, LOG_ID, check ^ 1)
    world.link.inbox.append((T_ACK, b"\xff\xff"))
    world.link.inbox.append((T_ACK, pack([1, LOG_ID, 1, check, None])))
    world.link.inbox.append(("wattlog/1/other/a", pack([2, LOG_ID, 1, check, None])))
    world.step()
    assert world.kept() == 2
    world.ack(1)
    world.ack(1)
    world.step()
    assert world.kept() == 0


def test_a_refused_batch_is_counted_said_and_passed_over():
    world = up()
    world.groups(2)
    world.step()
    for _ in range(2):
        world.ack(1, "it is poison")
        world.ack(2)
    world.step()
    assert world.uplink.refused == 1
    assert "it is poison" in world.said[-1]
    assert world.kept() == 0


def fill_until_evicted(world):
    while not world.log.stats().evicted:
        world.group(3)
    return world.log.stats().first_seq


def test_what_is_evicted_while_on_its_way_is_not_sent_again():
    world = up()
    world.groups(2)
    world.step()
    assert world.sent() == [(1, 1), (2, 1)]
    first_seq = fill_until_evicted(world)
    assert first_seq > 2
    world.step(ACK_MS_MIN)
    assert world.sent()[0][0] == first_seq
    world.ack(1)  # late
    world.step(1)
    assert world.log.stats().first_seq == first_seq


def test_what_was_evicted_before_it_was_sent_is_passed_over():
    world = World()
    first_seq = fill_until_evicted(world)
    world.step()
    world.step(CLAIM_MS)
    assert world.sent()[0][0] == first_seq


class RottenLog:
    """A log some of whose records have become unreadable."""

    def __init__(self, log):
        self.log = log
        self.id = log.id
        self.rotten = set()
        self.failure = None

    def read_after(self, seq):
        if self.failure:
            raise self.failure
        return (row for row in self.log.read_after(seq) if row[0] not in self.rotten)

    def stats(self):
        return self.log.stats()

    def release(self, seq):
        self.log.release(seq)


def test_what_cannot_be_read_is_a_hole():
    for rotten, wanted in (
        ((1,), [(1, 4, [1]), (5, 2, [])]),
        ((2, 3), [(1, 4, [2, 3]), (5, 2, [])]),
        ((4,), [(1, 3, []), (5, 2, [])]),
        ((5,), [(1, 4, []), (5, 2, [5])]),
        ((4, 5), [(1, 3, []), (5, 2, [5])]),
        ((1, 2, 3, 4), [(5, 2, [])]),
    ):
        world = up()
        world.group(4)
        world.group(2)
        log = world.uplink._log = RottenLog(world.log)
        log.rotten.update(rotten)
        world.step()
        found = []
        for batch in world.link.take(T_BATCH):
            _, _, _, first_seq, bin_ = unpack(batch)
            parts = split(bin_)
            holes = [first_seq + i for i in range(len(parts)) if not parts[i]]
            found.append((first_seq, len(parts), holes))
            world.ack(first_seq)
        assert found == wanted, (rotten, found)
        world.step()
        assert world.kept() == 0, rotten


def test_a_group_that_grows_is_not_sent_as_it_is_even_behind_what_cannot_be_read():
    world = up()
    world.writer.sync(0, 0, True)
    world.step()  # ends the group, and begins to wait until the next is to be ended
    assert world.sent() == [(1, 1)]
    world.ack(1)
    log = world.uplink._log = RottenLog(world.log)
    log.rotten.add(world.group())
    world.writer.sync(0, 0, True)
    world.step(10)
    assert world.sent() == []
    world.writer.sync(0, 0, True)
    world.step(BATCH_MS)
    assert world.sent() == [(3, 2)]


def test_what_has_become_unreadable_is_a_hole_in_the_same_batch():
    for rotten in ((1,), (3,), (4,), (1, 2, 3, 4)):
        world = up()
        world.group(4)
        world.group(2)
        log = world.uplink._log = RottenLog(world.log)
        world.step()
        first = unpack(world.link.take(T_BATCH)[0])
        log.rotten.update(rotten)
        world.step(ACK_MS_MIN)
        again = unpack(world.link.take(T_BATCH)[0])
        assert again[:4] == first[:4], rotten
        wanted = split(first[4])
        for seq in rotten:
            wanted[seq - 1] = b""
        assert split(again[4]) == wanted, rotten


def test_a_log_that_cannot_be_read_is_said_once_and_tried_again():
    world = up()
    world.group()
    log = world.uplink._log = RottenLog(world.log)
    log.failure = LogError("the disk is gone")
    for _ in range(3):
        assert world.step(10) == world.now_ms + LOG_WAIT_MS
    assert len([line for line in world.said if "the disk is gone" in line]) == 1
    assert world.uplink.state == UP
    log.failure = None
    world.step(LOG_WAIT_MS)
    assert world.sent() == [(1, 1)]


READING = Reading(b"A", 7, [(10, 28, 0)], True)


def lives(world):
    """(server id, uptime) of each reading that was shown since the last time."""
    rows = [unpack(payload) for payload in world.link.take(T_LIVE)]
    for row in rows:
        assert row[:3] == [2, EDGE, BOOT]
    return [(row[4], row[3]) for row in rows]


def test_the_newest_reading_is_shown_at_once_even_with_a_backlog():
    world = World()
    for _ in range(30):
        world.group()
    world.uplink.live.offer(0, 1, READING)
    world.uplink.live.offer(0, 2, READING)
    world.step()
    assert world.link.take(T_LIVE) == []
    world.step(CLAIM_MS)
    topics = [row[0] for row in world.link.sent]
    assert topics.index(T_LIVE) < topics.index(T_BATCH)
    assert not world.link.sent[topics.index(T_LIVE)][2]
    assert lives(world) == [(b"A", 2)]
    world.step(LIVE_EVERY_MS)
    assert lives(world) == []


def test_a_meter_is_shown_seldom_where_nobody_looks():
    world = up()
    shown = []
    other = Reading(b"B", 7, [], True)
    for second in range(61):
        world.uplink.live.offer(0, second, READING)
        if second % 20 == 0:
            world.uplink.live.offer(1, second, other)
        world.step(1_000)
        shown.extend(lives(world))
    assert shown == [
        row
        for second in range(0, 61, 10)
        for row in ([(b"A", second)] + ([(b"B", second)] if second % 20 == 0 else []))
    ]


def test_every_reading_is_shown_while_the_host_wishes_it():
    world = up()
    shown = []
    for second in range(40):
        if second == 5:
            world.link.inbox.append((T_COMMAND, pack([2, "live", 20])))
        if second == 7:  # of others, or of later hosts
            world.link.inbox.append((T_COMMAND, pack([2, "reboot", 1])))
            world.link.inbox.append((T_COMMAND, pack([3, "live", 600])))
            world.link.inbox.append((T_COMMAND, b"\xff"))
        world.uplink.live.offer(0, second, READING)
        world.step(1_000)
        shown.extend([uptime_ms for _, uptime_ms in lives(world)])
    assert shown == [0] + list(range(5, 25)) + [34]


def test_a_lost_connection_is_said_once_and_tried_again_with_growing_waits():
    world = up()
    world.said.clear()
    world.link.failure = "the cable is out"
    world.link.refuse_open = "the cable is out"
    opened = world.link.opened
    times = []
    for _ in range(3000):
        before = world.link.opened
        world.step(100)
        if world.link.opened > before:
            times.append(world.now_ms)
    assert world.uplink.state == DOWN
    assert len(world.said) == 1 and "the cable is out" in world.said[0]
    gaps = [times[i + 1] - times[i] for i in range(len(times) - 1)]
    assert gaps[0] < gaps[-1] <= BACKOFF_MS_MAX + 100
    assert world.link.opened - opened == len(times) >= 300000 // (BACKOFF_MS_MAX + 100)


def test_after_a_lost_connection_what_was_on_its_way_goes_out_again():
    world = up()
    world.groups(2)
    world.step()
    sent = world.link.take(T_BATCH)
    world.link.up = False
    world.step(10)
    assert world.uplink.state == DOWN
    world.link.up = True
    world.step()
    world.step(1000)
    world.step(CLAIM_MS)
    assert world.uplink.state == UP
    assert world.link.take(T_BATCH) == sent
    assert world.uplink.connects == 2


def test_the_wait_begins_when_a_failure_that_took_its_time_is_over():
    world = World()
    world.link.refuse_open = "no answer"
    assert world.step() == world.now_ms, "come again: only then is known how late it is"
    world.step(3 * BACKOFF_MS_MIN)
    world.step(BACKOFF_MS_MIN - 1)
    assert world.link.opened == 1
    world.step(1)
    assert world.link.opened == 2


def test_a_connection_that_never_comes_up_is_given_up():
    world = World()
    world.link.up = False
    assert world.step() == CONNECT_MS_MAX
    world.step(CONNECT_MS_MAX - 1)
    assert world.uplink.state != DOWN
    world.step(1)
    assert world.uplink.state == DOWN
    assert world.link.closed == 1


def test_status_is_sent_regularly_and_when_asked():
    world = up()
    world.step(STATUS_EVERY_MS - 1)
    assert world.states() == []
    world.step(1)
    assert world.states() == ["online"]
    world.uplink.announce()
    world.step(1)
    assert world.states() == ["online"]


def test_a_holder_answers_a_claim():
    world = up()
    world.status(state="claim", boot=77)
    world.step(1)
    ((_, answer, retain),) = world.link.sent
    assert unpack(answer)["state"] == "online"
    assert unpack(answer)["reply_to"] == 77
    assert retain is False  # kept by the broker, it would turn away those to come


def test_a_newcomer_that_is_answered_stays_silent_and_says_why_once():
    world = World()
    world.group()
    for _ in range(600):
        world.step(100)
        if world.states() == ["claim"]:
            world.status(state="online", boot=77, reply_to=BOOT)
    assert world.sent() == []
    assert len(world.said) == 1 and EDGE in world.said[0]
    assert world.kept() == 1


def test_a_newcomer_takes_over_when_the_holder_has_gone():
    world = World()
    world.step()
    world.status(state="online", boot=77, reply_to=BOOT)
    world.step(10)
    assert world.uplink.state == DOWN
    for _ in range(100):
        world.step(100)
    assert world.uplink.state == UP


def test_the_retained_status_of_a_dead_holder_is_no_answer():
    world = World()
    world.step()
    world.status(state="online", boot=77, reply_to=None)
    world.step(CLAIM_MS)
    assert world.uplink.state == UP


def test_of_two_newcomers_the_smaller_boot_yields():
    for other, wanted in ((BOOT + 1, DOWN), (BOOT - 1, UP)):
        world = World()
        world.step()
        world.status(state="claim", boot=other)
        world.step(10)
        world.step(CLAIM_MS - 10) if wanted == UP else None
        assert world.uplink.state == wanted, other


def test_a_newcomer_that_may_not_have_heard_our_claim_hears_it_again():
    world = World()
    world.step()
    assert world.states() == ["claim"]
    world.status(state="claim", boot=BOOT - 1)
    world.step(10)
    assert world.states() == ["claim"]


def test_of_two_that_both_hold_the_id_the_greater_boot_stays():
    world = up()
    world.status(state="online", boot=BOOT - 1)
    world.step(10)
    assert world.states() == ["online"]
    world.status(state="online", boot=BOOT + 1)
    world.step(10)
    assert world.uplink.state == DOWN
    assert EDGE in world.said[-1]


def test_two_agents_end_with_one_whenever_the_second_starts():
    for gap_ms in range(0, 2 * CLAIM_MS, 100):
        for boots in ((3, 4), (4, 3)):
            holders = play(boots, gap_ms)
            assert len(holders) == 1, (gap_ms, boots, holders)


def play(boots, gap_ms):
    """Two agents on one broker, the second started gap_ms later; who holds the id after 60 s."""
    agents = []
    for boot in boots:
        link = FakeLink()
        log = RingLog(RamDevice(2, SECTOR_BYTES))
        agents.append(
            (
                link,
                Uplink(
                    EDGE,
                    boot,
                    log,
                    records.GroupWriter(log, boot),
                    link,
                    lambda n: 0,
                    lambda now: {},
                    lambda text: None,
                    BUF,
                    WINDOW,
                ),
            )
        )
    for now_ms in range(0, 60_000, 50):
        for index, (_, uplink) in enumerate(agents):
            if now_ms >= index * gap_ms:
                uplink.step(now_ms)
        for link, _ in agents:
            sent, link.sent = link.sent, []
            for topic, payload, _ in sent:
                for other, uplink in agents:
                    if uplink.state != DOWN:
                        other.inbox.append((topic, payload))
    return [uplink._boot for _, uplink in agents if uplink.state == UP]


def test_a_late_last_will_of_an_earlier_boot_is_put_right():
    world = up()
    world.status(state="offline", boot=77)
    world.step(1)
    assert world.states() == ["online"]


def test_a_late_last_will_of_its_own_former_connection_is_put_right():
    world = up()
    world.status(state="offline", boot=BOOT)
    world.step(1)
    assert world.states() == ["online"]


def test_an_answer_to_what_another_copy_of_the_log_sent_means_nothing():
    """A message of the card that was replaced may be on its way for as long as it likes."""
    former = up()
    former.group(2)
    former.step()
    world = up()
    world.group(1)
    world.group(1)
    world.writer.sync(world.now_ms, 1, True)
    world.step()
    check = former.link.checks[LOG_ID, 1]
    for reason in (None, "why", records.RENEW):
        world.ack(1, reason, LOG_ID, check)
        world.step(1)
        assert (world.kept(), world.uplink.refused, world.log.id) == (3, 0, LOG_ID), reason
    world.ack(1)
    world.step(1)
    assert world.kept() == 2


def test_an_answer_to_what_has_become_a_hole_meanwhile_means_nothing():
    world = up()
    world.group(4)
    log = world.uplink._log = RottenLog(world.log)
    world.step()
    before = world.link.checks[LOG_ID, 1]
    log.rotten.add(2)
    world.step(ACK_MS_MIN)
    world.ack(1, None, LOG_ID, before)
    world.step(1)
    assert world.uplink.acked == 0
    world.ack(1)
    world.step(1)
    assert (world.uplink.acked, world.kept()) == (1, 0)


def test_its_own_messages_come_back_and_mean_nothing():
    world = up()
    world.status(state="claim", boot=BOOT)
    world.status(state="online", boot=BOOT)
    world.step(1)
    assert world.states() == []


def test_garbage_on_the_status_topic_means_nothing():
    world = up()
    for payload in (b"", b"\xff", pack([1]), pack({"v": 2}), pack({"v": 2, "boot": "x"})):
        world.link.inbox.append((T_STATUS, payload))
    world.status(state="claim", boot="x")
    world.status(state="claim", boot=None)
    world.step(1)
    assert world.states() == []
    assert world.uplink.state == UP


def test_stopping_says_goodbye():
    world = up()
    world.uplink.stop()
    assert world.states() == ["offline"]
    assert world.link.closed == 1


def test_stopping_without_a_connection_is_quiet():
    world = up()
    world.link.failure = "gone"
    world.uplink.stop()
    assert world.uplink.state == DOWN


def test_backoff_is_shortened_by_chance_and_bounded():
    backoff = Backoff(1000, 8000, lambda n: n - 1)
    assert [backoff.next_ms() for _ in range(5)] == [750, 1500, 3000, 6000, 6000]
    backoff.reset()
    assert backoff.next_ms() == 750
