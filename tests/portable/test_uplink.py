"""The way to the host: commit before release, one id one agent, and no wedge."""

from wattlog import records
from wattlog.memlog import MemoryLog
from wattlog.msgpack import pack, unpack
from wattlog.uplink import (
    ACK_MS_MAX,
    ACK_MS_MIN,
    BACKOFF_MS_MAX,
    BATCH_EVERY_MS,
    CLAIM_MS,
    CONNECT_MS_MAX,
    DOWN,
    STATUS_EVERY_MS,
    UP,
    Backoff,
    LinkError,
    Uplink,
)

EDGE = "cellar"
BOOT = 5
T_BATCH = "wattlog/1/cellar/b"
T_ACK = "wattlog/1/cellar/a"
T_STATUS = "wattlog/1/cellar/s"


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

    def __init__(self):
        self.log = MemoryLog(100000)
        self.link = FakeLink()
        self.said = []
        self.now_ms = 0
        self.uplink = Uplink(
            EDGE,
            BOOT,
            self.log,
            self.link,
            lambda n: 0,
            lambda now: {"n": now},
            self.said.append,
            bytearray(records.BATCH_BYTES_MIN),
        )

    def step(self, pass_ms=0):
        self.now_ms += pass_ms
        return self.uplink.step(self.now_ms)

    def ack(self, first_seq, count, reason=None, boot=BOOT):
        self.link.inbox.append((T_ACK, pack([1, boot, first_seq, count, reason])))

    def status(self, **fields):
        fields["v"] = 1
        self.link.inbox.append((T_STATUS, pack(fields)))

    def states(self):
        return [unpack(payload)["state"] for payload in self.link.take(T_STATUS)]


def up():
    world = World()
    world.step()
    world.step(CLAIM_MS)
    assert world.uplink.state == UP
    assert world.states() == ["claim", "online"]
    return world


def first_seqs(batches):
    return [unpack(batch)[3] for batch in batches]


def test_connecting_claims_the_id_and_then_takes_it():
    world = World()
    assert world.step() == CLAIM_MS
    assert world.link.sent == [
        (T_STATUS, pack({"v": 1, "state": "claim", "edge": EDGE, "boot": BOOT}), False)
    ]
    world.log.append(pack([0, 1, 2]))
    world.step(CLAIM_MS - 1)
    assert world.link.take(T_BATCH) == []
    world.step(1)
    online = [row for row in world.link.sent if row[0] == T_STATUS][-1]
    assert unpack(online[1])["state"] == "online"
    assert online[2] is True
    assert first_seqs(world.link.take(T_BATCH)) == [1]


def test_the_last_will_says_offline():
    world = up()
    assert unpack(world.link.will) == {"v": 1, "state": "offline", "edge": EDGE, "boot": BOOT}


def test_a_record_stays_until_its_batch_is_acknowledged():
    world = up()
    world.log.append(b"\xc0")
    world.log.append(b"\xc0")
    world.step()
    (batch,) = world.link.take(T_BATCH)
    assert unpack(batch) == [1, EDGE, BOOT, 1, [None, None]]
    assert world.log.stats().records == 2
    world.ack(1, 2)
    world.step()
    assert world.log.stats().records == 0


def test_one_batch_is_in_flight_at_a_time():
    world = up()
    world.log.append(b"\xc0")
    world.step()
    world.log.append(b"\xc0")
    world.step(BATCH_EVERY_MS)
    assert first_seqs(world.link.take(T_BATCH)) == [1]
    world.ack(1, 1)
    world.step(1)
    assert first_seqs(world.link.take(T_BATCH)) == [2]


def test_what_comes_within_a_second_shares_a_batch():
    world = up()
    world.log.append(b"\xc0")
    world.step()
    world.ack(1, 1)
    world.log.append(b"\xc0")
    assert world.step(10) == CLAIM_MS + BATCH_EVERY_MS
    world.log.append(b"\xc0")
    world.step(BATCH_EVERY_MS - 11)
    assert first_seqs(world.link.take(T_BATCH)) == [1]
    world.step(1)
    (batch,) = world.link.take(T_BATCH)
    assert unpack(batch)[3:] == [2, [None, None]]


def test_a_batch_that_is_not_answered_is_sent_again_byte_for_byte():
    world = up()
    world.log.append(b"\xc0")
    world.step()
    (first,) = world.link.take(T_BATCH)
    world.log.append(b"\xc0")
    world.step(ACK_MS_MIN - 1)
    assert world.link.take(T_BATCH) == []
    world.step(1)
    assert world.link.take(T_BATCH) == [first]
    assert world.uplink.resent == 1


def test_waits_for_an_answer_grow_to_a_bound():
    world = up()
    world.log.append(b"\xc0")
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
    world.log.append(b"\xc0")
    world.step()
    world.ack(1, 1, boot=BOOT + 1)
    world.ack(2, 1)
    world.ack(1, 2)
    world.link.inbox.append((T_ACK, b"\xff\xff"))
    world.link.inbox.append(("wattlog/1/other/a", pack([1, BOOT, 1, 1, None])))
    world.step()
    assert world.log.stats().records == 1
    world.ack(1, 1)
    world.ack(1, 1)
    world.step()
    assert world.log.stats().records == 0


def test_a_refused_batch_is_counted_said_and_passed_over():
    world = up()
    world.log.append(b"\xc0")
    world.step()
    world.ack(1, 1, "it is poison")
    world.log.append(b"\xc0")
    world.step(BATCH_EVERY_MS)
    assert world.uplink.refused == 1
    assert "it is poison" in world.said[-1]
    assert first_seqs(world.link.take(T_BATCH)) == [1, 2]


def test_a_backlog_goes_out_in_bounded_batches():
    world = up()
    for _ in range(100):
        world.log.append(pack(b"x" * 60))
    sent = []
    for _ in range(20):
        world.step(1)
        for batch in world.link.take(T_BATCH):
            _, _, _, first_seq, rows = unpack(batch)
            assert len(rows) <= records.RECORDS_MAX
            assert len(batch) <= records.BATCH_BYTES_MIN
            sent.extend(range(first_seq, first_seq + len(rows)))
            world.ack(first_seq, len(rows))
    assert sent == list(range(1, 101))
    assert world.log.stats().records == 0


def test_records_evicted_while_in_flight_are_not_sent_twice():
    world = up()
    world.log = world.uplink._log = MemoryLog(3 * 33)
    world.log.append(b"\xc0")
    world.step()
    for _ in range(4):
        world.log.append(b"\xc0")  # seq 1 and 2 give way
    world.ack(1, 1)
    world.step(BATCH_EVERY_MS)
    assert first_seqs(world.link.take(T_BATCH)) == [1, 3]


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


def test_after_a_lost_connection_the_open_batch_goes_out_again():
    world = up()
    world.log.append(b"\xc0")
    world.step()
    (first,) = world.link.take(T_BATCH)
    world.link.up = False
    world.step(10)
    assert world.uplink.state == DOWN
    world.link.up = True
    for _ in range(100):
        world.step(100)
    assert world.uplink.state == UP
    assert first in world.link.take(T_BATCH)
    assert world.uplink.connects == 2


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
    world.log.append(b"\xc0")
    for _ in range(600):
        world.step(100)
        if world.states() == ["claim"]:
            world.status(state="online", boot=77, reply_to=BOOT)
    assert world.link.take(T_BATCH) == []
    assert len(world.said) == 1 and EDGE in world.said[0]
    assert world.log.stats().records == 1


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
        log = MemoryLog(1000)
        agents.append(
            (
                link,
                Uplink(
                    EDGE,
                    boot,
                    log,
                    link,
                    lambda n: 0,
                    lambda now: {},
                    lambda text: None,
                    bytearray(records.BATCH_BYTES_MIN),
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


def test_a_refusal_may_come_without_a_count():
    world = up()
    world.log.append(b"\xc0")
    world.log.append(b"\xc0")
    world.step()
    world.ack(1, 0, "its records are no array")
    world.step()
    assert world.uplink.refused == 1
    assert world.log.stats().records == 0


def test_its_own_messages_come_back_and_mean_nothing():
    world = up()
    world.status(state="claim", boot=BOOT)
    world.status(state="online", boot=BOOT)
    world.step(1)
    assert world.states() == []


def test_garbage_on_the_status_topic_means_nothing():
    world = up()
    for payload in (b"", b"\xff", pack([1]), pack({"v": 1}), pack({"v": 1, "boot": "x"})):
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
