"""The transport: every good frame is found, whatever stands around it, and every drop counted."""

from wattlog.crc import crc16_x25
from wattlog.framing import FrameDecoder
from wattlog_sim.sml_writer import ESCAPE, START, kermit_high_first, transport

PAYLOAD = bytes(range(64))
FRAME = transport(PAYLOAD)
OTHER = bytes(range(100, 160))
OTHER_FRAME = transport(OTHER)

# Three well-known decoders lose the frame behind one or the other of these.
NOISE = (
    ("nothing", b""),
    ("a stray escape byte", b"\x1b"),
    ("two stray escape bytes", b"\x1b\x1b"),
    ("three stray escape bytes", b"\x1b\x1b\x1b"),
    ("a stray escape", ESCAPE),
    ("half a start", START[:6]),
    ("text", b"/EMH5\\@01LZQJL0014E\r\n"),
    ("zeros", b"\x00" * 50),
    ("another frame's tail", OTHER_FRAME[30:]),
    ("another frame's head", OTHER_FRAME[:30]),
    ("a start of its own", START),
)


def with_crc(frame):
    crc = crc16_x25(frame)
    return frame + bytes((crc & 255, crc >> 8))


def pieces(data, size):
    # One at a time: on a device a list of all of them would not fit.
    for at in range(0, len(data), size):
        yield data[at : at + size]


def decode(stream, size=None):
    decoder = FrameDecoder()
    payloads = []
    for piece in pieces(stream, size or max(1, len(stream))):
        payloads.extend(decoder.push(piece))
    return payloads, decoder


def test_a_good_frame_is_found_behind():
    for name, noise in NOISE:
        for size in (1, 3, None):
            payloads, _ = decode(noise + FRAME, size)
            assert payloads == [PAYLOAD], (name, size)


def test_how_the_stream_is_cut_never_matters():
    stream = FRAME + b"\x1b\x1b" + OTHER_FRAME + b"junk" + FRAME
    for size in (1, 2, 3, 5, 7, 8, 9, 64, 511, 512, 513, None):
        payloads, decoder = decode(stream, size)
        assert payloads == [PAYLOAD, OTHER, PAYLOAD], size
        assert decoder.drops == {}, size
        assert decoder.junk_bytes == 6, size
        assert decoder.frames == 3, size


# One byte and several at a time are taken on ways of their own, and may follow each other.
CUTS = ((1, 2), (1, 1, 1, 5), (3, 1, 1), (7, 1), (1, 1, 1, 1, 1, 1, 1, 9), (4, 4, 1), (60, 1, 3))


def test_single_bytes_and_more_may_take_turns():
    literal = b"\x00" + ESCAPE + b"\x00\x1b\x00\x1b\x1b\x00\x1b\x1b\x1b\x00" + ESCAPE
    stream = b"".join(
        (
            b"\x1b\x1b" + FRAME + transport(literal),
            ESCAPE + b"junk" + FRAME[:50] + OTHER_FRAME,
            FRAME[:-5] + b"\x00" + FRAME[-4:] + transport(b"\x1b" * 16) + FRAME + b"\x00" * 8,
        )
    )
    wanted, whole = decode(stream)
    assert wanted == [PAYLOAD, literal, OTHER, b"\x1b" * 16, PAYLOAD]
    for cut in CUTS:
        for ahead in range(9):
            decoder = FrameDecoder()
            payloads = list(decoder.push(stream[:ahead]))
            at = ahead
            turn = 0
            while at < len(stream):
                size = cut[turn % len(cut)]
                payloads.extend(decoder.push(stream[at : at + size]))
                at += size
                turn += 1
            assert payloads == wanted, (cut, ahead)
            assert decoder.drops == whole.drops, (cut, ahead)
            assert decoder.junk_bytes == whole.junk_bytes, (cut, ahead)


def test_a_frame_comes_out_with_its_last_byte_and_not_later():
    for name, noise in NOISE[:8]:
        for run in range(1, 10):
            payload = (
                b"\x76\x00" + b"\x1b" * run + b"\x00\x1b\x1b\x1b" + b"\x1a" * 4 + b"\x1b" * run
            )
            frame = transport(payload)
            for size in (1, 2, 5):
                decoder = FrameDecoder()
                for piece in pieces(noise + frame[:-1], size):
                    assert list(decoder.push(piece)) == [], (name, run, size)
                assert decoder.push(frame[-1:]) == [payload], (name, run, size)


def test_an_overlong_frame_is_dropped_by_the_byte_that_makes_it_so():
    for tail in (b"\x01" * 8, b"\x01\x01" + ESCAPE + b"\x01\x01", b"\x01" * 5 + ESCAPE[:3]):
        frame = START + b"\x01" * 32 + tail
        for size in (1, 2, None):
            decoder = FrameDecoder(len(frame) + 1)
            for piece in pieces(frame + b"\x1b", size or len(frame) + 1):
                decoder.push(piece)
            assert decoder.drops == {}, (tail, size)
            decoder.push(b"\x1b")
            assert decoder.drops == {"overlong": 1}, (tail, size)


def test_an_escape_in_the_payload_comes_back_at_any_alignment():
    for run in range(1, 14):
        for ahead in range(4):
            payload = b"\x76" * ahead + b"\x1b" * run + b"\x00"
            for size in (1, 2, 3, 5, None):
                payloads, decoder = decode(transport(payload), size)
                assert payloads == [payload], (run, ahead, size, decoder.drops)


def test_a_payload_that_ends_in_escape_bytes():
    for run in range(1, 4):
        payload = b"\x00" * (8 - run) + b"\x1b" * run
        assert decode(transport(payload))[0] == [payload], run


def test_the_escape_and_the_start_inside_a_payload_are_payload():
    payload = b"\x00" + START + b"\x00\x00" + ESCAPE + b"\x1a\x00\x00\x00"
    for size in (1, None):
        assert decode(transport(payload), size)[0] == [payload], size


def test_pad_counts_nought_to_four():
    for pad in range(5):
        payload = b"\x01" * (16 - pad % 4)
        frame = with_crc(START + payload + b"\x00" * pad + ESCAPE + bytes((0x1A, pad)))
        assert decode(frame)[0] == [payload], pad


def test_a_pad_count_of_five_is_refused():
    frame = with_crc(START + b"\x01" * 11 + b"\x00" * 5 + ESCAPE + b"\x1a\x05")
    payloads, decoder = decode(frame)
    assert payloads == []
    assert decoder.drops == {"pad": 1}


def test_every_single_flipped_bit_is_noticed_and_costs_that_frame_only():
    for at in range(len(FRAME)):
        for bit in range(8):
            bad = bytearray(FRAME)
            bad[at] ^= 1 << bit
            payloads, _ = decode(bytes(bad) + OTHER_FRAME)
            assert payloads == [OTHER], (at, bit)


def test_every_lost_byte_is_noticed_and_costs_that_frame_only():
    for at in range(len(FRAME)):
        payloads, _ = decode(FRAME[:at] + FRAME[at + 1 :] + OTHER_FRAME)
        assert payloads == [OTHER], at


def test_a_frame_cut_short_costs_that_frame_only():
    for size in range(len(FRAME)):
        payloads, _ = decode(FRAME[:size] + OTHER_FRAME)
        assert payloads == [OTHER], size


def test_a_new_start_inside_a_frame_keeps_the_new_one():
    payloads, decoder = decode(FRAME[:40] + OTHER_FRAME)
    assert payloads == [OTHER]
    assert decoder.drops == {"truncated": 1}


def test_drops_are_counted_by_reason():
    bad_crc = FRAME[:20] + b"\xff" + FRAME[21:]
    unaligned = with_crc(START + b"\x01" * 14 + ESCAPE + b"\x1a\x00")
    odd_escape = START + b"\x01" * 8 + ESCAPE + b"\x02\x00\x00\x00"
    cases = (
        ("crc", bad_crc),
        ("length", unaligned),
        ("length", with_crc(START + ESCAPE + b"\x1a\x00")),
        ("escape", odd_escape),
        ("overlong", START + b"\x01" * 2100),
        ("overlong", transport(b"\x01" * 2100)),
    )
    for reason, stream in cases:
        for size in (1, None):
            payloads, decoder = decode(stream, size)
            assert payloads == [], reason
            assert decoder.drops == {reason: 1}, (reason, decoder.drops)


def test_the_end_of_the_stream_counts_an_open_frame():
    _, decoder = decode(FRAME + FRAME[:50])
    decoder.finish()
    assert decoder.drops == {"truncated": 1}
    assert decoder.push(OTHER_FRAME) == [OTHER]


def test_the_longest_frame_that_is_allowed():
    decoder = FrameDecoder(len(FRAME))
    assert decoder.push(FRAME) == [PAYLOAD]
    assert FrameDecoder(len(FRAME) - 4).push(FRAME) == []


def test_memory_stays_bounded_whatever_comes():
    for filler in (b"\x00", b"\x1b", START, START + b"\x01", ESCAPE, b"\x1b\x1b\x1b\x1b\x1b"):
        decoder = FrameDecoder()
        for _ in range(200):
            decoder.push(filler * (400 // len(filler)))
            assert len(decoder._buf) == 2048 + 64, filler
        # Bytes that look like the beginning of an escape may still be open: two frames settle it.
        assert OTHER in decoder.push(OTHER_FRAME + OTHER_FRAME), filler


def test_kermit_is_believed_of_a_frame_that_names_its_maker_only():
    holley = b"\x0a\x01HLY\x00\x12\x34\x56" + PAYLOAD
    assert decode(transport(holley, kermit_high_first))[0] == [holley]
    assert decode(transport(PAYLOAD, kermit_high_first))[0] == []


def test_kermit_once_proven_is_remembered():
    holley = b"\x0a\x01HLY\x00\x12\x34\x56" + PAYLOAD
    decoder = FrameDecoder()
    assert decoder.push(transport(holley, kermit_high_first)) == [holley]
    assert decoder.push(transport(PAYLOAD, kermit_high_first)) == [PAYLOAD]
    # A broken frame that passed as Kermit by chance must not shut out the meter's own checksum.
    assert decoder.push(FRAME) == [PAYLOAD]


def test_what_raises_in_a_frame_costs_the_bytes_at_hand_and_not_the_port():
    class Broken(FrameDecoder):
        is_broken = True

        def _take(self, base, end, payloads):
            if self.is_broken:
                raise ValueError
            return super()._take(base, end, payloads)

    frame = transport(b"payload")
    decoder = Broken(64, 64)
    for _ in range(3):
        try:
            decoder.push(frame)
        except ValueError:
            continue
        raise AssertionError("it did not raise")
    decoder.is_broken = False
    found = []
    for _ in range(3):
        found += decoder.push(frame)
    assert b"payload" in found and len(found) >= 2
