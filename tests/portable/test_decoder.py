"""The decoder whole: layouts, the other checksum by evidence, and salvage where it is asked for."""

from wattlog import decoder as module
from wattlog import layout
from wattlog.decoder import SmlDecoder
from wattlog_sim import sml_writer as w

SERVER_ID = bytes.fromhex("0a0145534d0000bc614e")
POWER = bytes.fromhex("0100100700ff")


def messages(power, checksum=w.x25_low_first, server_id=SERVER_ID):
    entries = [w.entry(POWER, w.signed(power, 4), unit=27, scaler=0)]
    opened = w.message(b"\x01", w.TAG_OPEN_RESPONSE, w.open_response(b"\x05", server_id), checksum)
    content = w.get_list_response(server_id, entries, sensor_time=w.sec_index(power + 1000))
    return opened + w.message(b"\x02", w.TAG_GET_LIST_RESPONSE, content, checksum)


def frame(power, checksum=w.x25_low_first, inner=None):
    return w.transport(messages(power, inner or checksum), checksum)


def powers(found):
    return [meter_list.entries[0].value for meter_list in found]


def push_all(decoder, *frames):
    found = []
    for data in frames:
        found.extend(decoder.push(data))
    return powers(found)


def test_frames_of_one_shape_are_learned_and_read_the_same():
    decoder = SmlDecoder()
    assert push_all(decoder, *[frame(n) for n in range(-3, 7)]) == list(range(-3, 7))
    assert decoder.learned == 8
    assert decoder.frames == 10


def test_several_frames_in_one_read():
    decoder = SmlDecoder()
    stream = b"".join([frame(n) for n in range(8)])
    assert powers(decoder.push(stream)) == list(range(8))
    assert decoder.learned == 6


def test_a_damaged_frame_of_a_learned_shape_is_no_reading():
    decoder = SmlDecoder()
    push_all(decoder, frame(1), frame(2), frame(3))
    good = frame(4)
    for at in range(len(good)):
        for bit in (1, 128):
            bad = good[:at] + bytes((good[at] ^ bit,)) + good[at + 1 :]
            # The frame behind shows that nothing more than the damaged one is lost.
            assert push_all(decoder, bad, frame(5)) == [5], (at, bit)


def test_a_value_that_looks_like_an_escape_is_not_read_through_a_layout():
    decoder = SmlDecoder()
    push_all(decoder, frame(1), frame(2), frame(3))
    escape = 0x1B1B1B1B
    assert push_all(decoder, frame(escape), frame(4)) == [escape, 4]
    assert decoder.drops == {}


def test_kermit_is_believed_when_a_list_says_it_too_and_then_remembered():
    decoder = SmlDecoder()
    assert push_all(decoder, frame(1, w.kermit_high_first, w.x25_low_first)) == []
    assert decoder.drops == {"crc": 1}
    assert push_all(decoder, frame(2, w.kermit_high_first)) == [2]
    assert push_all(decoder, frame(3, w.kermit_high_first, w.x25_low_first)) == [3]


def test_salvage_is_asked_for_or_not_done():
    good = frame(7)
    first_message = 8 + 5  # inside Open.Res: the list itself is whole
    bad = good[:first_message] + b"\xaa" + good[first_message + 1 :]
    assert push_all(SmlDecoder(), bad) == []
    decoder = SmlDecoder(salvage=True)
    assert push_all(decoder, bad, good) == [7, 7]
    assert decoder.salvaged == 1
    assert decoder.drops == {"crc": 1}


def test_nothing_is_salvaged_from_a_list_that_is_damaged_itself():
    good = frame(7)
    at = good.index(SERVER_ID, 40)
    bad = good[:at] + b"\x0b" + good[at + 1 :]
    decoder = SmlDecoder(salvage=True)
    assert push_all(decoder, bad) == []
    assert decoder.salvaged == 0


def test_frames_without_the_grammar_are_counted_and_cost_only_themselves():
    decoder = SmlDecoder()
    assert push_all(decoder, w.transport(b"\x05abcdefg"), frame(1)) == [1]
    assert decoder.drops == {"structure": 1}
    assert decoder.frames == 1


def test_a_frame_that_does_not_fit_into_memory_is_counted_and_the_next_is_read():
    def no_room(*_):
        raise MemoryError

    for name, reason, wanted in (("parse", "memory", [2]), ("learn", "memory_layout", [1, 1, 2])):
        kept = getattr(module, name)
        decoder = SmlDecoder()
        setattr(module, name, no_room)
        try:
            found = push_all(decoder, frame(1), frame(1)) if name == "learn" else []
            if name == "parse":
                assert push_all(decoder, frame(1)) == []
        finally:
            setattr(module, name, kept)
        found += push_all(decoder, frame(2))
        assert found == wanted, name
        assert decoder.drops == {reason: 1}, name


def test_a_learned_frame_that_does_not_fit_into_memory_is_counted_and_the_next_is_read():
    kept = layout.LearnedList
    room = []

    def little_room(*arguments):
        if not room:
            raise MemoryError
        room.pop()
        return kept(*arguments)

    for ahead in (0, 2):
        decoder = SmlDecoder(2048, 4096)
        push_all(decoder, *[frame(number) for number in range(4)])
        before = [frame(number) for number in range(10, 10 + ahead)]
        room.extend(before)
        layout.LearnedList = little_room
        try:
            found = push_all(decoder, b"".join(before + [frame(5)]))
        finally:
            layout.LearnedList = kept
        found += push_all(decoder, frame(6), frame(7) + frame(8))
        assert found == list(range(10, 10 + ahead)) + [6, 7, 8], ahead
        assert decoder.drops == {"memory": 1}, ahead
        assert decoder.frames == 4 + len(found), ahead
