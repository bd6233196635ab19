"""Damage for SML streams that knows their structure; two numbers replay one input.

An input is what a bad line or a hostile lamp might send, and behind it two undamaged frames of
one meter. Half of the damage is done inside a payload, which is then wrapped with a right
checksum, so that the parser behind the checksum is reached; the rest is done to whole frames.
Runs on MicroPython and CPython, with the same result for the same frames.
"""

from array import array
from collections import namedtuple

from wattlog_sim import lcg
from wattlog_sim.sml_writer import (
    ESCAPE,
    START,
    kermit_high_first,
    transport,
    type_length,
    x25_low_first,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Operation = Callable[["Lcg", bytes, bytes], bytes]
    Offsets = array[int]

DAMAGE_BYTES_MAX = 2600  # longer than the longest frame that a device takes
BLOCK = 64
"""Inputs that follow one another with the same meter: a parser learns across them."""

_LIST = 7
_TL_BYTES_MAX = 6  # longer than any decoder may accept
_BYTES_MAX = 4096
_HEAD_BYTES = 8
_END_BYTES = 8

_KINDS = (0, 1, 4, 5, 6, 7)
_BYTES = (0x00, 0x01, 0x0F, 0x1A, 0x1B, 0x42, 0x55, 0x62, 0x65, 0x71, 0x76, 0x77, 0x80, 0x8F, 0xFF)
_COUNTS = (0, 1, 2, 5, 6, 8, 15, 16, 17, 127, 128, 129, 255, 300, 4095, 65_535, 1 << 24)
_RUNS = (1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 12, 13, 16, 40)

Case = namedtuple("Case", ("stream", "damage_bytes", "payload", "first", "second", "rng"))
# stream        the damage and the two good frames behind it
# damage_bytes  how long the damage is
# payload       what comes out of the damage first, where that is known: a payload that was
#               damaged, but then sent as it should be; else None
# first, second the payloads of the good frames
# rng           for more choices that the same two numbers replay


class Lcg(lcg.Lcg):
    """Numbers that also make bytes."""

    def octets(self, count: int) -> bytes:
        """Return so many bytes, a third of them such as have a meaning in SML."""
        return bytes(
            [
                _BYTES[self.below(len(_BYTES))] if self.below(3) == 0 else self.below(256)
                for _ in range(count)
            ]
        )


class Mutator:
    """Makes inputs from good frames.

    families  the good frames, in one list for each meter
    """

    def __init__(
        self, families: "Sequence[Sequence[bytes]]", damage_bytes_max: int = DAMAGE_BYTES_MAX
    ) -> None:
        """Take the good frames; none of them may need an escape, as no real one does."""
        self.families = families
        self._damage_bytes_max = damage_bytes_max
        frame_bytes = [len(frame) for family in families for frame in family]
        self.frame_bytes_max = max(frame_bytes)

    def case(self, seed: int, index: int) -> Case:
        """Return the input of that number; the same two numbers give the same input."""
        rng = Lcg(seed, index)
        family = self.families[index // BLOCK % len(self.families)]
        damage, payload = self._damage(rng, family)
        if len(damage) > self._damage_bytes_max:
            damage, payload = damage[: self._damage_bytes_max], None
        first = family[rng.below(len(family))]
        second = family[rng.below(len(family))]
        stream = damage + first + second
        return Case(stream, len(damage), payload, payload_of(first), payload_of(second), rng)

    def _damage(self, rng: Lcg, family: "Sequence[bytes]") -> "tuple[bytes, bytes | None]":
        frame = family[rng.below(len(family))]
        if rng.below(4) == 0:
            stray = self.families[rng.below(len(self.families))]
            frame = stray[rng.below(len(stray))]
        others = self.families[rng.below(len(self.families))]
        other = others[rng.below(len(others))]
        way = rng.below(16)
        if way < 8:
            payload = _changed(rng, PAYLOAD_OPERATIONS, payload_of(frame), other)
            if rng.below(8) == 0:
                return transport(payload, kermit_high_first), None
            return transport(payload, x25_low_first, rng.below(4) == 0), payload
        if way < 14:
            return _changed(rng, FRAME_OPERATIONS, frame, other), None
        out = b""
        for _ in range(2 + rng.below(3)):
            part = rng.below(4)
            if part == 0:
                out += frame
            elif part == 1:
                out += rng.octets(rng.below(80))
            elif part == 2:
                out += _changed(rng, FRAME_OPERATIONS, frame, other)
            else:
                payload = _changed(rng, PAYLOAD_OPERATIONS, payload_of(frame), other)
                out += transport(payload)
        return out, None


def payload_of(frame: bytes) -> bytes:
    """Return the payload of a frame that is known to be good and to need no escape."""
    assert frame[:_HEAD_BYTES] == START
    assert frame[-_END_BYTES:-3] == ESCAPE + b"\x1a"
    return frame[_HEAD_BYTES : len(frame) - _END_BYTES - frame[-3]]


def offsets_of(data: bytes) -> "Offsets":
    """Return where the type-length fields stand.

    Whatever stands there is taken as such, so damage may be done to what is damaged already.
    """
    offsets = array("H")
    at = 0
    while at < len(data):
        offsets.append(at)
        kind, tl_bytes, length = field_at(data, at)
        at += tl_bytes if kind == _LIST else tl_bytes + length
    return offsets


def field_at(data: bytes, start: int) -> "tuple[int, int, int]":
    """Return the type, the bytes of the type-length field, and the length that it tells.

    The length is that of the content, which ends with the data, and for lists the number of
    elements.
    """
    at = start
    kind = data[at] >> 4 & 7
    length = data[at] & 0x0F
    while data[at] & 0x80 and at + 1 < len(data) and at - start < _TL_BYTES_MAX:
        at += 1
        length = length << 4 | data[at] & 0x0F
    tl_bytes = at + 1 - start
    if kind != _LIST:
        length = max(0, min(length - tl_bytes, len(data) - start - tl_bytes))
    return kind, tl_bytes, length


def checked_frame_across(stream: bytes, border: int, end: int) -> bool:
    """Tell whether a run of bytes from before border to behind it passes as a frame.

    Such a thing is rare, but a decoder is right to take it, and then has nothing left of what
    begins at the border.
    """
    start = stream.find(START)
    while 0 <= start < border:
        at = stream.find(ESCAPE + b"\x1a", max(start + _HEAD_BYTES, border - 7))
        while at >= 0 and at + _END_BYTES <= end:
            frame = stream[start : at + _END_BYTES]
            body = frame[:-2]
            if len(frame) % 4 == 0 and frame[-2:] in (
                x25_low_first(body),
                kermit_high_first(body),
            ):
                return True
            at = stream.find(ESCAPE + b"\x1a", at + 1)
        start = stream.find(START, start + 1)
    return False


# ---- how damage is put together --------------------------------------------------------------


def _changed(
    rng: Lcg, operations: "tuple[Operation, ...]", data: bytes, other_frame: bytes
) -> bytes:
    other = other_frame if operations is FRAME_OPERATIONS else payload_of(other_frame)
    # Most often one single damage: two may hide each other.
    for _ in range((1, 1, 1, 1, 2, 2, 3, 5)[rng.below(8)]):
        if len(data) > 1:
            data = operations[rng.below(len(operations))](rng, data, other)[:_BYTES_MAX]
    return data


def _span(rng: Lcg, data: bytes, bytes_max: int = 24) -> "tuple[int, int]":
    start = rng.below(len(data))
    return start, min(len(data), start + 1 + rng.below(bytes_max))


# ---- damage that any bytes can take ----------------------------------------------------------


def flip_bits(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Flip one to four bits."""
    out = bytearray(data)
    for _ in range(1 + rng.below(4)):
        out[rng.below(len(out))] ^= 1 << rng.below(8)
    return bytes(out)


def set_bytes(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Overwrite a few bytes."""
    start, end = _span(rng, data, 4)
    return data[:start] + rng.octets(end - start) + data[end:]


def drop_bytes(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Lose a run of bytes."""
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def insert_bytes(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Receive bytes that nobody sent."""
    at = rng.below(len(data) + 1)
    return data[:at] + rng.octets(1 + rng.below(12)) + data[at:]


def double_bytes(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Receive a run of bytes twice."""
    start, end = _span(rng, data, 60)
    return data[:end] + data[start:]


def lose_every_other(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Lose every second byte of a stretch, as when two programs read one port."""
    start, end = _span(rng, data, 100)
    return data[:start] + bytes([data[at] for at in range(start, end, 2)]) + data[end:]


def cut_start(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Lose the beginning."""
    return data[rng.below(len(data)) :]


def cut_end(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Lose the end, half of the times within its last bytes."""
    lost = rng.below(12) if rng.below(2) else rng.below(len(data))
    return data[: max(1, len(data) - lost)]


def splice(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Go on with the tail of something else."""
    return data[: rng.below(len(data))] + other[rng.below(len(other)) :]


def repeat_escapes(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Insert a run of escape bytes, anywhere or at the end."""
    at = len(data) if rng.below(3) == 0 else rng.below(len(data))
    return data[:at] + b"\x1b" * _RUNS[rng.below(len(_RUNS))] + data[at:]


def grow(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Blow up with one byte, beyond what a frame may have."""
    at = rng.below(len(data))
    return data[:at] + data[at : at + 1] * (200 + rng.below(2300)) + data[at:]


# ---- damage to a payload ---------------------------------------------------------------------


def _site(rng: Lcg, data: bytes) -> "tuple[int, int, int, int]":
    offsets = offsets_of(data)
    start: int = offsets[rng.below(len(offsets))]
    kind, tl_bytes, length = field_at(data, start)
    return start, kind, tl_bytes, length


def _list_site(rng: Lcg, data: bytes) -> "tuple[int, int, int, int]":
    starts = [at for at in offsets_of(data) if data[at] & 0x70 == _LIST << 4]
    start = starts[rng.below(len(starts))] if starts else 0
    kind, tl_bytes, length = field_at(data, start)
    return start, kind, tl_bytes, length


def _element_end(data: bytes, start: int) -> int:
    """Return where the element that begins at start ends, with all that is in it."""
    left = 1
    while left and start < len(data):
        kind, tl_bytes, length = field_at(data, start)
        start += tl_bytes if kind == _LIST else tl_bytes + length
        left += length - 1 if kind == _LIST else -1
    return start


def lie_about_length(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Let a type-length field tell another length, near or huge, in any number of bytes."""
    start, kind, tl_bytes, length = _site(rng, data)
    if rng.below(2):
        told = max(0, (data[start] & 0x0F) + (-2, -1, 1, 2)[rng.below(4)]) & 0x0F
        return data[:start] + bytes((data[start] & 0xF0 | told,)) + data[start + 1 :]
    told = _COUNTS[rng.below(len(_COUNTS))] if rng.below(2) else max(0, length + rng.below(7) - 3)
    field = type_length(kind << 4, told, 1 + rng.below(_TL_BYTES_MAX))
    return data[:start] + field + data[start + tl_bytes :]


def lie_about_count(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Let a list tell another number of elements."""
    start, kind, tl_bytes, length = _list_site(rng, data)
    told = _COUNTS[rng.below(len(_COUNTS))] if rng.below(2) else max(0, length + rng.below(5) - 2)
    field = type_length(kind << 4, told, 1 + rng.below(3))
    return data[:start] + field + data[start + tl_bytes :]


def change_type(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Call an element something else, at the same length."""
    start = _site(rng, data)[0]
    kind = rng.below(8)
    return data[:start] + bytes((data[start] & 0x8F | kind << 4,)) + data[start + 1 :]


def change_content(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Change values and nothing of the shape: what a meter does all day."""
    out = bytearray(data)
    offsets = offsets_of(data)
    for _ in range(1 + rng.below(8)):
        start = offsets[rng.below(len(offsets))]
        kind, tl_bytes, length = field_at(data, start)
        if kind != _LIST and length:
            out[start + tl_bytes + rng.below(length)] = rng.below(256)
    return bytes(out)


def fill_with_escapes(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Let the content of an element be escape bytes: on the wire that is another length."""
    offsets = offsets_of(data)
    for _ in range(8):
        start = offsets[rng.below(len(offsets))]
        kind, tl_bytes, length = field_at(data, start)
        if kind != _LIST and length >= 4:
            count = length if rng.below(2) else 4
            at = start + tl_bytes + rng.below(length - count + 1)
            return data[:at] + b"\x1b" * count + data[at + count :]
    return flip_bits(rng, data, other)


def resize(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Give an element another width and tell so, as meters do that shorten integers."""
    start, kind, tl_bytes, length = _site(rng, data)
    if kind == _LIST:
        return change_content(rng, data, other)
    width = rng.below(11) if rng.below(8) else rng.below(600)
    content = (rng.octets(width) + data[start + tl_bytes : start + tl_bytes + length])[-width:]
    return _element(
        kind, content if width else b"", data[:start], data[start + tl_bytes + length :]
    )


def replace(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Put another kind of element in the place of one: absent, a time, any value, an end mark."""
    start = _site(rng, data)[0]
    end = _element_end(data, start)
    choice = rng.below(6)
    if choice == 0:
        return data[:start] + b"\x01" + data[end:]
    if choice == 1:
        return data[:start] + b"\x72\x62" + rng.octets(1) + b"\x65" + rng.octets(4) + data[end:]
    if choice == 2:
        return (
            data[:start] + b"\x73\x65" + rng.octets(4) + b"\x53\x00\x3c\x53\x00\x00" + data[end:]
        )
    if choice == 3:
        return data[:start] + b"\x00" + data[end:]
    kind = _KINDS[rng.below(len(_KINDS) - 1)]
    return _element(kind, rng.octets(rng.below(10)), data[:start], data[end:])


def nest(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Put an element into lists within lists."""
    start = _site(rng, data)[0]
    end = _element_end(data, start)
    depth = 1 + rng.below(12) if rng.below(2) else 1 + rng.below(400)
    if rng.below(2):
        return data[:start] + b"\x71" * depth + data[start:]
    return data[:start] + b"\x72\x01" * depth + data[start:end] + data[end:]


def multiply(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Repeat an element of a list and let the list tell so: more registers than any meter has."""
    start, _, tl_bytes, length = _list_site(rng, data)
    inside = start + tl_bytes
    end = _element_end(data, inside) if inside < len(data) else inside
    times = 1 + rng.below(4) if rng.below(3) else 1 + rng.below(200)
    times = min(times, 4000 // max(1, end - inside))
    field = type_length(_LIST << 4, (length + times) & 0xFFFF)
    return data[:start] + field + data[inside:end] * times + data[inside:]


def drop_element(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Take an element away without telling its list."""
    start = _site(rng, data)[0]
    return data[:start] + data[_element_end(data, start) :]


def swap_elements(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Exchange two neighbours."""
    start = _site(rng, data)[0]
    middle = _element_end(data, start)
    if middle >= len(data):
        return data
    end = _element_end(data, middle)
    return data[:start] + data[middle:end] + data[start:middle] + data[end:]


def _element(kind: int, content: bytes, head: bytes, tail: bytes) -> bytes:
    tl_bytes = 1
    while (len(content) + tl_bytes) >> (4 * tl_bytes):
        tl_bytes += 1
    return head + type_length(kind << 4, len(content) + tl_bytes, tl_bytes) + content + tail


# ---- damage to a frame -----------------------------------------------------------------------


def start_inside(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Let a frame begin, or nearly, in the middle."""
    at = rng.below(len(data))
    return data[:at] + b"\x1b" * rng.below(4) + START[: 1 + rng.below(8)] + data[at:]


def end_inside(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Let a frame end in the middle, its checksum right half of the times."""
    at = rng.below(len(data))
    at = at & ~3 if rng.below(4) else at
    out = data[:at] + ESCAPE + bytes((0x1A, rng.below(6)))
    return out + (x25_low_first(out) if rng.below(2) else rng.octets(2)) + data[at:]


def odd_mark(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Put something unknown behind an escape."""
    at = rng.below(len(data))
    return data[:at] + ESCAPE + bytes((rng.below(256),)) + data[at:]


def wrong_pad(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Tell another number of fill bytes, with a right checksum."""
    pad = rng.below(8) if rng.below(2) else rng.below(256)
    out = data[:-3] + bytes((pad,))
    return out + x25_low_first(out)


def right_checksum(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Damage the frame in some way and make its checksum right again."""
    if len(data) <= _HEAD_BYTES + _END_BYTES:
        return data
    ways = (
        flip_bits,
        set_bytes,
        drop_bytes,
        insert_bytes,
        repeat_escapes,
        double_bytes,
        change_content,
        fill_with_escapes,
    )
    body = ways[rng.below(len(ways))](rng, data[_HEAD_BYTES:-_END_BYTES], other)
    out = START + body + b"\x00" * (-len(body) % 4) + ESCAPE + bytes((0x1A, -len(body) % 4))
    return out + (kermit_high_first(out) if rng.below(6) == 0 else x25_low_first(out))


def surround(rng: Lcg, data: bytes, other: bytes) -> bytes:
    """Put noise before and behind."""
    return rng.octets(rng.below(40)) + data + rng.octets(rng.below(40))


BYTE_OPERATIONS: "tuple[Operation, ...]" = (
    flip_bits,
    set_bytes,
    drop_bytes,
    insert_bytes,
    double_bytes,
    lose_every_other,
    cut_start,
    cut_end,
    splice,
    repeat_escapes,
    grow,
)
PAYLOAD_OPERATIONS: "tuple[Operation, ...]" = BYTE_OPERATIONS + (
    lie_about_length,
    lie_about_length,
    lie_about_count,
    change_type,
    change_content,
    change_content,
    fill_with_escapes,
    resize,
    resize,
    replace,
    replace,
    nest,
    multiply,
    drop_element,
    swap_elements,
)
FRAME_OPERATIONS: "tuple[Operation, ...]" = BYTE_OPERATIONS + (
    start_inside,
    end_inside,
    odd_mark,
    wrong_pad,
    right_checksum,
    surround,
)
