"""Why no frame comes: each trouble of a port has its own words."""

from wattlog.diagnosis import Diagnosis
from wattlog.framing import FrameDecoder
from wattlog_sim import sml_writer as w

SERVER_ID = bytes.fromhex("0a0145534d0000bc614e")
D0 = (
    b"/ESY5Q3DA1004 V3.04\r\n\r\n1-0:0.0.0*255(0123456789012)\r\n1-0:1.8.0*255(00000123.4*kWh)\r\n"
    b"1-0:16.7.0*255(000123.45*W)\r\n1-0:96.5.5*255(82)\r\n!\r\n"
)


def frame(second):
    entries = [
        w.entry(
            bytes.fromhex("0100010800ff"), w.unsigned(1989275 + second, 8), unit=30, scaler=-1
        ),
        w.entry(bytes.fromhex("0100100700ff"), w.signed(28, 4), unit=27, scaler=0),
        w.entry(bytes.fromhex("8181c78205ff"), w.octets(bytes(range(0x20, 0x50)))),
    ]
    content = w.get_list_response(SERVER_ID, entries, sensor_time=w.sec_index(second))
    return w.transport(w.message(bytes((second,)), w.TAG_GET_LIST_RESPONSE, content))


def frames(count=20):
    return b"".join([frame(second) for second in range(count)])


def each(data, change):
    """The bytes after change(byte, index), without those that it makes None."""
    out = bytearray(data)  # in place: a device has no room for a list of them
    count = 0
    for index, byte in enumerate(data):
        byte = change(byte, index)
        if byte is not None:
            out[count] = byte
            count += 1
    return bytes(out[:count])


def with_even_parity(data):
    """What a reader with eight bits sees of seven and a parity bit."""
    return each(
        data, lambda byte, _: byte & 0x7F | sum([byte >> n & 1 for n in range(7)]) % 2 << 7
    )


def every_second(data):
    return each(data, lambda byte, index: byte if index % 2 else None)


def swallowed(data):
    """What is left behind a terminal that is not raw."""
    return each(data, lambda byte, _: None if byte in b"\x03\x04\x11\x13\x15\x1a\x1c" else byte)


NOISE = b"\xff\xfe\xf8\xe0\x80\x00" * 200


class Port:
    """A port that is read every 50 ms at 9600 baud."""

    def __init__(self):
        self.diagnosis = Diagnosis()
        self.decoder = FrameDecoder()
        self.now_ms = 0
        self.said = []

    def step(self, data):
        self.decoder.push(data)
        damaged = self.decoder.drops.get("crc", 0)
        self.diagnosis.feed(data, self.now_ms, self.decoder.frames, damaged)
        text = self.diagnosis.text
        if text and text not in self.said:
            self.said.append(text)
        self.now_ms += 50

    def hear(self, data, read_bytes=48):
        for at in range(0, len(data), read_bytes):
            self.step(data[at : at + read_bytes])

    def wait(self, seconds):
        for _ in range(seconds * 20):
            self.step(b"")


def said_of(data):
    port = Port()
    port.hear(data)
    port.wait(11)
    return port.said


def test_a_good_meter_is_not_spoken_of():
    assert said_of(frames()) == []
    assert said_of(frames(2)[100:]) == []


def test_each_trouble_has_its_words():
    good = frames()
    cases = (
        ("silence", lambda: b"", "no byte comes"),
        ("D0 read as 8N1", lambda: with_even_parity(D0) * 8, "ASCII (D0, 7E1)"),
        ("D0 without its parity", lambda: D0 * 8, "ASCII (D0, 7E1)"),
        ("a terminal that is not raw", lambda: swallowed(good), "not raw"),
        ("two readers at one port", lambda: every_second(good), "every second byte"),
        ("SML read as 7E1", lambda: each(good, lambda byte, _: byte & 0x7F), "damaged"),
        ("an inverted signal", lambda: each(good, lambda byte, _: byte ^ 0xFF), "no SML"),
        ("flicker", lambda: b"\xff\xfe\xf8\xe0\x80\x00" * 300, "no SML"),
        ("little flicker", lambda: b"\xff\x00", "no SML"),
        ("a line and a half start", lambda: b"\xf0\r\n\x1b\x1b\x01\x01" + NOISE, "no SML"),
        ("the beginning of a frame", lambda: swallowed(good)[:150], "no byte comes"),
    )
    for name, data, words in cases:
        said = said_of(data())
        assert len(said) == 1, (name, said)
        assert words in said[0], (name, said)


def test_a_frame_that_is_damaged_now_and_then_is_no_trouble():
    data = bytearray(frames(40))
    for at in range(50, len(data), 700):
        data[at] ^= 0x10
    assert said_of(bytes(data)) == []


def test_frames_without_their_ends_are_not_taken_for_something_else():
    cut = b"".join([frame(second)[:-8] for second in range(10)])
    for read_bytes in (48, 47):  # 47: now and then a start is torn by the end of a read
        port = Port()
        while port.now_ms < 25_000:
            port.hear(cut, read_bytes)
        assert port.decoder.frames == 0
        assert port.said == []


def test_damage_of_old_does_not_count():
    diagnosis = Diagnosis()
    for now_ms in range(0, 70_000, 1_000):
        diagnosis.feed(b"", now_ms, 5, 7)
    assert "no byte comes" in diagnosis.text


def test_silence_is_said_after_ten_seconds_and_of_a_meter_that_worked_after_sixty():
    port = Port()
    port.wait(10)
    assert port.said == []
    port.wait(1)
    assert "no byte comes" in port.diagnosis.text
    port.hear(frames(2))
    assert port.diagnosis.text is None
    port.wait(59)
    assert port.diagnosis.text is None
    port.wait(2)
    assert "no byte comes" in port.diagnosis.text


def test_a_meter_that_stops_being_readable_is_told():
    port = Port()
    port.hear(frames())
    port.wait(10)
    port.hear(every_second(frames(40)))
    assert "every second byte" in port.diagnosis.text
    port.hear(frames(3))
    assert port.diagnosis.text is None


def test_what_was_seen_before_a_pause_is_forgotten():
    port = Port()
    port.hear(D0 * 8)
    port.diagnosis.pause()
    assert port.diagnosis.text is None
    port.now_ms += 100_000
    port.step(b"")
    assert port.diagnosis.text is None
    port.wait(11)
    assert "no byte comes" in port.diagnosis.text


def test_a_short_recording_is_judged_at_its_end():
    diagnosis = Diagnosis()
    diagnosis.feed(D0, 0, 0, 0)
    assert diagnosis.text is None
    diagnosis.conclude(0, 0)
    assert "D0" in diagnosis.text


def test_texts_fit_the_status():
    # The host takes up to 200 characters.
    for data in (b"", D0 * 8, every_second(frames()), b"\xff" * 2000):
        assert 40 < len(said_of(data)[0]) <= 80
