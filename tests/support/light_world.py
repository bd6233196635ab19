"""A head's job for the PIN by light and the meter before it, in virtual time; MicroPython, too."""

from button import Button
from wattlog import msgpack
from wattlog.uplink import LinkError
from wattlog_esp32 import light
from wattlog_esp32.light import Job

BOOT = 0xDEADBEEF
PIN = "1203"
# entry_count, on_ms, off_ms, gap_ms, menu_count, hold_ms
TIMINGS = [2, 500, 500, 3_500, 3, 5_500]
TICK_MS = 10
STEP_MS = 50
RUN_MS_MAX = 300_000


class Source:
    def __init__(self, name, shines):
        self.name = name
        self.light = shines
        self.asked = ()


class FakeLink:
    def __init__(self):
        self.states = []
        self.raw = []
        self.is_gone = False

    def is_up(self):
        return not self.is_gone

    def publish(self, topic, payload, retain):
        if self.is_gone:
            raise LinkError("gone")
        assert (topic, retain) == ("wattlog/1/cellar/r", False)
        version, edge, boot, uptime_ms, request, state = msgpack.unpack(bytes(payload))
        assert (version, edge, boot) == (2, "cellar", BOOT)
        assert uptime_ms >= 0
        self.raw.append(bytes(payload))
        self.states.append((request, state))


class FakeLamp:
    """Stands for the pin and the timer, and shows the meter what it sees."""

    def __init__(self, world, pin, advance):
        self.world = world
        self.advance = advance
        self.pin = pin
        self.is_open = True
        self.silence_ms = 0
        world.lamps.append(self)

    def shine(self, is_on):
        self.world.is_lit = is_on
        self.world.edges.append((self.world.now_ms, is_on))
        self.world.meter.light(is_on, self.world.now_ms)

    def silent_ms(self):
        return self.silence_ms

    def close(self):
        self.shine(False)
        self.is_open = False


class World:
    """A head's job and a meter before it."""

    def __init__(self, meter=None, shines=(17, 0)):
        self.meter = meter or Button(PIN, 2, 3)
        self.now_ms = 1_000
        self.is_lit = False
        self.edges = []
        self.lamps = []
        self.link = FakeLink()
        self.sources = [Source("uart1", shines), Source("uart2", None)]
        self.job = Job(self.sources, "cellar", BOOT, self.link)
        light.open_lamp = lambda pin, advance: FakeLamp(self, pin, advance)

    def ask(self, *rest, **change):
        message = [2, "pin", change.get("boot", BOOT)]
        message.extend(rest)
        self.job.on_command(msgpack.pack(message), self.now_ms)

    def enter(self, request=7, pin=PIN, timings=TIMINGS, port="uart1"):
        self.ask(request, port, pin, timings)

    def run(self, until_ms=RUN_MS_MAX, tick_ms=TICK_MS):
        """Step until the job says that all is over, or until then; tell whether it is over."""
        while self.now_ms < until_ms:
            if not self.job.step(self.now_ms):
                return True
            for _ in range(max(1, STEP_MS // tick_ms)):
                self.now_ms += tick_ms
                self.meter.wait(self.now_ms)
                if self.lamps and self.lamps[-1].is_open:
                    self.lamps[-1].advance(tick_ms)
        return False

    def said(self):
        return [state for _, state in self.link.states]


STATES = ["started", "digit 1 of 4", "digit 2 of 4", "digit 3 of 4", "digit 4 of 4"]
STATES.extend(("menu", "holding", "done"))


def changed(index, value):
    timings = list(TIMINGS)
    timings[index] = value
    return timings
