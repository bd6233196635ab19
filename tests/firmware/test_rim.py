"""Parts of the rim that know no hardware: pytest runs them, and test_board.py on MicroPython."""

from wattlog import msgpack
from wattlog.uplink import LinkError
from wattlog_esp32 import led
from wattlog_esp32.eyes import RAW_BYTES_MAX, Job
from wattlog_esp32.pulse import Pulse

STALL_MS = 300_000
STEP_MS = 1_000
BOOT = 0xDEADBEEF


class Part:
    """Stands for any part of a meter."""

    def __init__(self, **fields):
        for name in fields:
            setattr(self, name, fields[name])


def make_meter():
    return Part(
        bytes=0,
        source=Part(name="uart1"),
        decoder=Part(frames=0, drops={}),
        diagnosis=Part(text=None),
    )


# What a meter does in each second, and whether the watchdog is fed for ever.
def nothing(meter, second):
    pass


def frames(meter, second):
    meter.bytes += 400
    meter.decoder.frames += 1


def slow_frames(meter, second):
    meter.bytes += 1
    meter.decoder.frames += second % 30 == 0


def swallowed(meter, second):
    meter.bytes += 400


def seldom_swallowed(meter, second):
    meter.bytes += 400 * (second % 5 == 0)


def diagnosed(meter, second):
    meter.bytes += 400
    meter.diagnosis.text = "bytes come, but no SML"


def damaged(meter, second):
    meter.bytes += 400
    meter.decoder.drops["crc"] = second


def no_memory(meter, second):
    meter.bytes += 400
    meter.decoder.drops["memory"] = second
    meter.decoder.drops["memory_layout"] = second


def a_few_bytes_a_minute(meter, second):
    meter.bytes += second % 60 == 0


CASES = (
    (nothing, True),
    (frames, True),
    (slow_frames, True),
    (diagnosed, True),
    (damaged, True),
    (a_few_bytes_a_minute, True),
    (swallowed, False),
    (seldom_swallowed, False),
    (no_memory, False),
)


def test_what_feeds_the_watchdog():
    for act, is_fed in CASES:
        meter = make_meter()
        pulse = Pulse(meter)
        stalled_at = None
        for second in range(1, 1_000):
            act(meter, second)
            text = pulse.trouble(second * STEP_MS)
            assert stalled_at is None or text, act
            if text and stalled_at is None:
                stalled_at = second
        assert stalled_at == (None if is_fed else STALL_MS // STEP_MS), act
        if not is_fed:
            assert text == "uart1: for 300 s bytes came, and nothing was made of them"


def test_one_frame_ends_the_trouble():
    meter = make_meter()
    pulse = Pulse(meter)
    for second in range(1, 400):
        swallowed(meter, second)
        pulse.trouble(second * STEP_MS)
    assert pulse.trouble(400 * STEP_MS)
    frames(meter, 401)
    assert pulse.trouble(401 * STEP_MS) is None


def test_frames_come_until_the_slowest_meter_would_have_sent_one():
    meter = make_meter()
    pulse = Pulse(meter)
    pulse.trouble(0)
    assert not pulse.has_frames(0)
    meter.decoder.frames = 1
    pulse.trouble(5_000)
    assert pulse.has_frames(5_000)
    pulse.trouble(40_000)
    assert pulse.has_frames(40_000)
    assert not pulse.has_frames(40_001)


# uptime, frames, Wi-Fi, broker: what is shown
SHOWN = (
    (0, False, False, False, led.STARTING),
    (14_999, True, True, False, led.STARTING),
    (3_000, True, True, True, led.WELL),
    (15_000, False, False, False, led.NO_FRAMES),
    (15_000, False, True, True, led.NO_FRAMES),
    (15_000, True, False, False, led.NO_WIFI),
    (15_000, True, True, False, led.NO_BROKER),
    (15_000, True, True, True, led.WELL),
)


def test_what_the_led_shows():
    for now_ms, has_frames, has_wifi, has_broker, shown in SHOWN:
        found = led.pattern(now_ms, has_frames, has_wifi, has_broker)
        assert found == shown, (now_ms, has_frames, has_wifi, has_broker)


def flashes(shown):
    """How long it is light and dark by turns, in slots, over a while: what a person sees."""
    line = (shown * 100)[:200]
    out = []
    for slot in line:
        if out and out[-1][0] == slot:
            out[-1][1] += 1
        else:
            out.append([slot, 1])
    return [tuple(one) for one in out[:8]]


def test_no_two_patterns_look_alike():
    patterns = (led.STARTING, led.NO_FRAMES, led.NO_WIFI, led.NO_BROKER, led.WELL)
    seen = [flashes(shown) for shown in patterns]
    for index, one in enumerate(seen):
        assert one not in seen[:index], patterns[index]


class FakePin:
    def __init__(self):
        self.levels = []

    def value(self, level):
        self.levels.append(bool(level))


def test_the_led_is_stepped_and_may_be_the_other_way_round():
    for active_low in (False, True):
        pin = FakePin()
        lamp = led.Led(pin, active_low)
        for now_ms in range(20_000, 22_000, 50):
            lamp.step(now_ms, True, False, False)
        slots = [level != active_low for level in pin.levels[::4]]
        assert slots == [letter == "1" for letter in led.NO_WIFI], active_low
        # Another one begins at its own beginning.
        lamp.step(22_050, False, False, False)
        assert pin.levels[-1] != active_low


class FakeLink:
    def __init__(self):
        self.sent = []
        self.fails = False

    def publish(self, topic, payload, retain):
        if self.fails:
            raise LinkError("gone")
        assert (topic, retain) == ("wattlog/1/cellar/r", False)
        self.sent.append(msgpack.unpack(bytes(payload)))


def make_eyes(*names):
    link = FakeLink()
    sources = [Part(name=name, tap=None) for name in names]
    return Job(sources, "cellar", BOOT, link), link, sources


def command(name, number):
    return msgpack.pack([2, name, number])


def test_what_comes_is_sent_in_hex_and_in_pieces():
    eyes, link, (port,) = make_eyes("uart1")
    eyes.on_command(command("raw", 300), 1_000)
    port.tap = b"\x1b" * 66
    assert eyes.step(1_050)
    assert link.sent[0] == [2, "cellar", BOOT, 1_050, "uart1", 0, "1b" * 64]
    assert link.sent[1][4:] == ["uart1", 64, "1b1b"]
    port.tap = b""
    assert eyes.step(1_100)
    port.tap = b"\x02" * 500
    assert not eyes.step(1_150), "no more than was asked for"
    assert [one[5] for one in link.sent] == [0, 64, 66, 130, 194, 258]
    assert sum(len(one[6]) for one in link.sent) == 2 * 300
    assert port.tap is None, "nothing is told any more"


def test_it_ends_by_itself():
    eyes, link, ports = make_eyes("uart1", "uart2")
    eyes.on_command(command("raw", RAW_BYTES_MAX), 0)
    ports[1].tap = b"\x07"
    assert eyes.step(10_000)
    assert [one[4:] for one in link.sent] == [["uart2", 0, "07"]]
    assert eyes.step(59_999)
    assert not eyes.step(60_000)
    assert ports[0].tap is None and ports[1].tap is None


def test_a_lost_link_ends_it():
    eyes, link, (port,) = make_eyes("uart1")
    eyes.on_command(command("raw", 300), 0)
    port.tap = bytes(200)
    link.fails = True
    assert not eyes.step(50)
    assert port.tap is None


WRONG_COMMANDS = (
    b"",
    b"\xc1",
    msgpack.pack([2, "raw"]),
    msgpack.pack([1, "raw", 300]),
    command("raw", 0),
    command("raw", RAW_BYTES_MAX + 1),
    command("raw", True),
    command("raw", "300"),
    command("restart", BOOT - 1),
    command("restart", None),
    command("dance", BOOT),
)


def test_anything_else_means_nothing():
    for payload in WRONG_COMMANDS:
        eyes, _, (port,) = make_eyes("uart1")
        eyes.on_command(payload, 0)
        assert port.tap is None, payload
        assert not eyes.wants_restart, payload
        assert not eyes.step(0)


def test_a_restart_is_for_this_start_only():
    eyes, _, _ = make_eyes("uart1")
    eyes.on_command(command("restart", BOOT), 0)
    assert eyes.wants_restart
