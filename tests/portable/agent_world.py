"""One agent with its fakes, for the tests of the agent."""

from wattlog.agent import Agent
from wattlog.msgpack import unpack
from wattlog.ramdevice import RamDevice
from wattlog.records import BATCH_BYTES
from wattlog.ringlog import LogError, RingLog
from wattlog.uplink import LinkError
from wattlog_sim import sml_writer as w

SERVER_ID = bytes.fromhex("0a0145534d0000bc614e")
# Small, because all this has to fit beside the code into a device's heap.
FRAME_BYTES_MAX = 512
SENT_MAX = 3
BUF = bytearray(BATCH_BYTES)
IMPORT = bytes.fromhex("0100010800ff")
POWER = bytes.fromhex("0100100700ff")


def frame(seconds, power=28, full=True, import_wh_e1=1989275, server_id=SERVER_ID):
    entries = [w.entry(IMPORT, w.unsigned(import_wh_e1, 4), unit=30, scaler=-1)]
    if full:
        entries.append(w.entry(POWER, w.signed(power, 4), unit=27, scaler=0))
    content = w.get_list_response(server_id, entries, sensor_time=w.sec_index(seconds))
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
    sure = True

    def epoch_ms(self):
        return self.now

    def is_sure(self):
        return self.sure


class DeadLink:
    def open(self, will):
        raise LinkError("no broker")

    def close(self):
        pass


class OpenLink(DeadLink):
    def __init__(self):
        self.sent = []
        self.lives = []

    def open(self, will):
        pass

    def is_up(self):
        return True

    def publish(self, topic, payload, retain):
        if topic.endswith("/s"):
            self.sent = self.sent[1 - SENT_MAX :] + [unpack(bytes(payload))]
        if topic.endswith("/l"):
            self.lives = self.lives[1 - SENT_MAX :] + [unpack(bytes(payload))]

    def receive(self):
        return None


class FailingLog(RingLog):
    """A log whose device fails while the test says so."""

    failure = None

    def append(self, payload):
        if self.failure:
            raise LogError(self.failure)
        return RingLog.append(self, payload)


class World:
    def __init__(self, link=None):
        self.source = FakeSource()
        self.clock = FakeClock()
        self.log = FailingLog(RamDevice(4, 512), lambda: 77)
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
            FRAME_BYTES_MAX,
            BUF,
            2,
        )
        self.noted = []
        self.witness()

    def witness(self):
        """Write down what is logged; to decode it would not fit into the heap beside all this."""
        writer = self.agent._writer
        reading, sync = writer.reading, writer.sync

        def witnessed_reading(uptime_ms, one):
            seq = reading(uptime_ms, one)
            flat = [number for row in one.values for number in row]
            self.noted.append([1, uptime_ms, one.server_id, one.sec_index, flat])
            return seq

        def witnessed_sync(uptime_ms, epoch_ms, is_sure):
            seq = sync(uptime_ms, epoch_ms, is_sure)
            self.noted.append([0, uptime_ms, epoch_ms])
            return seq

        writer.reading, writer.sync = witnessed_reading, witnessed_sync

    def log_sync(self, seq):
        """Tell whether the sync point with this number, whose last byte would say so, is sure."""
        return next(self.log.read_after(seq - 1))[1][-1] != 1

    def records(self):
        """What is logged: [0, uptime_ms, epoch_ms] or [1, uptime_ms, server_id, seconds, flat]."""
        assert self.log.stats().records == len(self.noted)
        return self.noted

    def feed(self, now_ms, data):
        self.source.waiting.append(data)
        return self.agent.step(now_ms)

    def meter(self):
        """What the last status says about the meter."""
        return self.link.sent[-1]["meters"][0]
