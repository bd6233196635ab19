"""One agent: bytes in, records logged, status told."""

from wattlog import records
from wattlog.agent import POLL_MS, Agent
from wattlog.memlog import MemoryLog
from wattlog.msgpack import unpack
from wattlog.uplink import CLAIM_MS, LinkError
from wattlog_sim import sml_writer as w

SERVER_ID = bytes.fromhex("0a0145534d0000bc614e")
IMPORT = bytes.fromhex("0100010800ff")
POWER = bytes.fromhex("0100100700ff")


def frame(seconds, power=28, full=True):
    entries = [w.entry(IMPORT, w.unsigned(1989275, 4), unit=30, scaler=-1)]
    if full:
        entries.append(w.entry(POWER, w.signed(power, 4), unit=27, scaler=0))
    content = w.get_list_response(SERVER_ID, entries, sensor_time=w.sec_index(seconds))
    return w.transport(w.message(b"\x01", w.TAG_GET_LIST_RESPONSE, content))


class FakeSource:
    name = "/dev/ttyUSB0"

    def __init__(self):
        self.waiting = []
        self.problem = None

    def read(self, now_ms):
        return self.waiting.pop(0) if self.waiting else b""

    def trouble(self):
        return self.problem


class FakeClock:
    now = None

    def epoch_ms(self):
        return self.now


class DeadLink:
    def open(self, will):
        raise LinkError("no broker")

    def close(self):
        pass


class OpenLink(DeadLink):
    def __init__(self):
        self.sent = []

    def open(self, will):
        pass

    def is_up(self):
        return True

    def publish(self, topic, payload, retain):
        if topic.endswith("/s"):
            self.sent.append(unpack(payload))

    def receive(self):
        return None


class World:
    def __init__(self, link=None):
        self.source = FakeSource()
        self.clock = FakeClock()
        self.log = MemoryLog(20000)
        self.said = []
        self.link = link or DeadLink()
        self.agent = Agent(
            "cellar",
            5,
            "test",
            [self.source],
            self.log,
            self.link,
            self.clock,
            lambda n: 0,
            self.said.append,
            2048,
            bytearray(records.BATCH_BYTES_MIN),
        )

    def records(self):
        return [unpack(payload) for _, payload in self.log.read_after(0)]


def test_a_frame_becomes_a_record():
    world = World()
    world.source.waiting.append(frame(7))
    assert world.agent.step(1234) <= 1234 + POLL_MS
    assert world.records() == [[1, 1234, SERVER_ID, 7, [1, 1989275, -1, 10, 28, 0]]]


def test_a_frame_in_pieces_is_stamped_when_it_is_whole():
    world = World()
    data = frame(7)
    for at in range(0, len(data), 10):
        world.source.waiting.append(data[at : at + 10])
    now_ms = 0
    while world.source.waiting:
        now_ms += 10
        world.agent.step(now_ms)
    assert [record[1] for record in world.records()] == [now_ms]


def test_readings_go_on_while_there_is_no_connection():
    world = World()
    for second in range(5):
        world.source.waiting.append(frame(second))
        world.agent.step(second * 1000)
    assert [record[3] for record in world.records()] == [0, 1, 2, 3, 4]
    assert len([line for line in world.said if "no broker" in line]) == 1


def test_the_time_is_noted_before_the_reading_that_it_dates():
    world = World()
    world.clock.now = 1795296211440
    world.source.waiting.append(frame(7))
    world.agent.step(50)
    assert [record[0] for record in world.records()] == [0, 1]
    assert world.records()[0] == [0, 50, 1795296211440]


def test_a_clock_that_is_not_set_is_not_noted():
    world = World()
    world.source.waiting.append(frame(7))
    world.agent.step(50)
    assert [record[0] for record in world.records()] == [1]
    world.clock.now = 1795296211440
    world.agent.step(60)
    assert [record[0] for record in world.records()] == [1, 0]


def test_what_is_dropped_is_told_by_reason():
    world = World(OpenLink())
    good = frame(7)
    nonsense = w.transport(b"\x05abcdefg")
    world.source.waiting.append(good[:30] + b"\xff" + good[31:] + nonsense + good)
    world.agent.step(0)
    world.agent.step(CLAIM_MS)
    status = world.link.sent[-1]
    (meter,) = status["meters"]
    assert meter["frames"] == 1
    assert meter["drops"] == {"crc": 1, "structure": 1}
    assert meter["bytes"] == 2 * len(good) + len(nonsense)
    assert meter["server_id"] == SERVER_ID
    assert meter["frame_age_ms"] == CLAIM_MS
    assert meter["full_dataset"] is True
    assert meter["hint"] is None
    assert status["log"]["records"] == 1
    assert status["platform"] == "test"


def test_a_meter_without_its_pin_gets_a_hint():
    world = World(OpenLink())
    world.source.waiting.append(frame(7, full=False))
    world.agent.step(0)
    assert any("PIN" in line for line in world.said)
    world.agent.step(CLAIM_MS)
    assert "PIN" in world.link.sent[-1]["meters"][0]["hint"]


def test_a_meter_that_says_nothing_is_told_as_unknown():
    world = World(OpenLink())
    world.agent.step(0)
    world.agent.step(CLAIM_MS)
    (meter,) = world.link.sent[-1]["meters"]
    for key in ("server_id", "frame_age_ms", "full_dataset", "hint", "trouble"):
        assert meter[key] is None, key


def test_trouble_with_a_port_is_said_once_and_told_at_once():
    world = World(OpenLink())
    world.agent.step(0)
    world.agent.step(CLAIM_MS)
    del world.link.sent[:]
    del world.said[:]
    world.source.problem = "the port is gone"
    for now_ms in range(CLAIM_MS, CLAIM_MS + 2000, 50):
        world.agent.step(now_ms)
    assert world.said == ["/dev/ttyUSB0: the port is gone"]
    states = [body["meters"][0]["state"] for body in world.link.sent]
    assert states == ["closed"]
    world.source.problem = None
    world.agent.step(CLAIM_MS + 2000)
    assert world.said[-1] == "/dev/ttyUSB0: open"


def test_two_lists_in_one_frame_are_two_readings():
    world = World()
    message = w.message(
        b"\x01",
        w.TAG_GET_LIST_RESPONSE,
        w.get_list_response(SERVER_ID, [w.entry(POWER, w.signed(1, 1), unit=27, scaler=0)]),
    )
    world.source.waiting.append(w.transport(message + message))
    world.agent.step(0)
    assert len(world.records()) == 2
