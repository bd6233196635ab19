"""Learned layouts: a meter repeats its frame's shape, so only what moves has to be read.

A layout knows where in a frame of one length the integers stand that change from frame to
frame. Every other byte is compared with the learned one; on any difference the frame is
parsed in full, so a layout can save work but never change a result.
"""

from wattlog.compat import Struct, const
from wattlog.crc import ends_in_kermit, ends_in_x25
from wattlog.sml import GET_LIST_RESPONSE, SmlError, Walker, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wattlog.sml import Entry, GetList

    Fields = tuple[tuple[int, int, int, int, bool], ...]
    Spans = tuple[tuple[int, int], ...]

# What a moving integer is.
STATUS = const(0)
SECONDS = const(1)  # of one entry
VALUE = const(2)
SENSOR_SECONDS = const(3)  # of the whole list

_ESCAPE = b"\x1b\x1b\x1b\x1b"
_EDGE_BYTES = const(8)  # a start sequence
_BEFORE_END = const(-5)  # one byte short of the escape that ends a frame, which is the fourth

_from_bytes = int.from_bytes

# Width of an integer: how many bytes are read for it, and struct's letter for those if signed.
_READS = ((0, ""), (1, "b"), (2, "h"), (4, "i"), (4, "i"), (8, "q"), (8, "q"), (8, "q"), (8, "q"))


class LearnedList:
    """A sml.GetList that was read through a layout.

    layout  the Layout
    values  the moving integers, in the order of layout.fields
    """

    __slots__ = ("layout", "values")

    def __init__(self, layout: "Layout", values: "tuple[int, ...]") -> None:
        self.layout = layout
        self.values = values

    @property
    def server_id(self) -> bytes | None:
        """Return the meter's id."""
        return self.layout.server_id

    @property
    def sec_index(self) -> int | None:
        """Return the meter's own seconds counter."""
        at = self.layout.seconds_at
        return None if at is None else self.values[at]

    @property
    def entries(self) -> "list[Entry]":
        """Return all registers: parsed in full, when somebody asks."""
        return self.layout.entries(self.values)


class Layout:
    """Where the moving integers stand in frames of one shape.

    size        bytes of such a frame, start and end included
    fields      (entry index or -1, what it is, offset, width, signed) of each moving integer
    seconds_at  index in fields of the list's own seconds, or None
    server_id   the meter's
    """

    def __init__(
        self,
        frame: bytes,
        start: int,
        stop: int,
        server_id: bytes | None,
        fields: "Fields",
        spans: "Spans",
        is_kermit: bool,
    ) -> None:
        self.size = len(frame)
        self.fields = fields
        self.seconds_at = None
        self.server_id = server_id
        self.plan: Any = None  # what the interpreter makes of this layout
        self._start = start
        self._stop = stop
        self._ends_right = ends_in_kermit if is_kermit else ends_in_x25
        for index, field in enumerate(fields):
            if field[1] == SENSOR_SECONDS:
                self.seconds_at = index
        self._prepare(frame, spans)

    def entries(self, values: "tuple[int, ...]") -> "list[Entry]":
        """Return the registers of the frame that had these moving integers."""
        payload = self._frame[self._start : self._stop]
        for index, field in enumerate(self.fields):
            at = field[2] - self._start
            value = values[index]
            for shift in range(field[3]):
                payload[at + field[3] - 1 - shift] = value >> 8 * shift & 0xFF
        return parse(bytes(payload))[0].entries

    if Struct is not None:

        def _prepare(self, frame: bytes, spans: "Spans") -> None:
            """Make a mask of what is fixed, and one compiled read of what moves."""
            mask = bytearray(b"\xff" * len(frame))
            for start, width in spans:
                mask[start : start + width] = bytes(width)
            self._frame = bytearray(frame)
            self._mask = int.from_bytes(mask, "little")
            self._fixed = int.from_bytes(frame, "little") & self._mask
            form = ">"
            at = 0
            odd = []
            for index, (_, _, start, width, signed) in enumerate(self.fields):
                # Odd widths are read with bytes that follow, which are then shifted out.
                taken, code = _READS[width]
                if taken != width:
                    odd.append((index, 8 * (taken - width)))
                form += "%dx%s" % (start - at, code if signed else code.upper())
                at = start + taken
            self._read = Struct(form + "%dx" % (len(frame) - at)).unpack
            self._odd = tuple(odd)

        def take(self, buf: bytearray, base: int, fill: int, found: "list[Any]") -> int:
            """Add a LearnedList for each frame of this shape from base on; return their end."""
            size = self.size
            mask = self._mask
            fixed = self._fixed
            ends_right = self._ends_right
            read = self._read
            odd = self._odd
            while base + size <= fill:
                frame = buf[base : base + size]
                # As one long number: comparing every fixed byte is then one operation in C.
                if _from_bytes(frame, "little") & mask != fixed:
                    break
                # An escape among the bytes that move would change what the frame means.
                if frame.rfind(_ESCAPE, _EDGE_BYTES, _BEFORE_END) >= 0 or not ends_right(frame):
                    break
                values = read(frame)
                if odd:
                    numbers = list(values)
                    for index, shift in odd:
                        numbers[index] >>= shift
                    values = tuple(numbers)
                found.append(LearnedList(self, values))
                base += size
            return base

    else:

        def _prepare(self, frame: bytes, spans: "Spans") -> None:
            self._frame = bytearray(frame)
            self._spans = spans

        def take(self, buf: bytearray, base: int, fill: int, found: "list[Any]") -> int:
            """Add a LearnedList for each frame of this shape from base on; return their end."""
            frame = self._frame
            while base + self.size <= fill:
                # What moves is copied into the learned bytes; then all must be the same.
                for start, width in self._spans:
                    for at in range(start, start + width):
                        frame[at] = buf[base + at]
                end = base + self.size
                view = memoryview(buf)[base:end]
                if view != frame or buf.find(_ESCAPE, base + _EDGE_BYTES, end + _BEFORE_END) >= 0:
                    break
                if not self._ends_right(view):
                    break
                values = tuple([_integer(frame, f[2], f[3], f[4]) for f in self.fields])
                found.append(LearnedList(self, values))
                base = end
            return base


def _integer(buf: bytearray, at: int, width: int, signed: bool) -> int:
    value = buf[at]
    if signed and value & 0x80:
        value -= 0x100
    for index in range(at + 1, at + width):
        value = value << 8 | buf[index]
    return value


def learn(frame: bytes, start: int, stop: int, lists: "list[GetList]") -> Layout | None:
    """Return the layout of a good frame whose payload stands at start..stop without escapes.

    lists is what a full parse found in it. None for a shape that is not learned: one that does
    not hold exactly one list, or holds something that may change its shape unseen.
    """
    if len(lists) != 1:
        return None
    found = locate(frame[start:stop])
    if found is None or _is_crowded(found[0]):
        return None
    fields = tuple([(i, what, at + start, n, signed) for i, what, at, n, signed in found[0]])
    spans = [(at + start, width) for at, width in found[1]]
    spans.append((len(frame) - 2, 2))  # the checksum
    is_kermit = not ends_in_x25(frame)
    return Layout(frame, start, stop, lists[0].server_id, fields, tuple(spans), is_kermit)


def _is_crowded(fields: "Fields") -> bool:
    """Tell whether two integers stand so close that _READS would overlap."""
    free = 0
    for _, _, at, width, _ in fields:
        if at < free:
            return True
        free = at + _READS[width][0]
    return False


def locate(payload: bytes) -> "tuple[Fields, Spans] | None":
    """Return (fields, spans) of a payload that parses, None for a shape that is not learned.

    spans are the (offset, width) of all bytes that may change without a change of shape.
    """
    walker = Walker(payload)
    try:
        while walker.message_follows():
            _locate_message(walker)
    except (SmlError, IndexError):
        # Behind a list that no layout can hold, the walker may be anywhere.
        return None
    return (tuple(walker.fields), tuple(walker.spans)) if walker.is_plain else None


def _locate_message(walker: Walker) -> None:
    walker.list_of(6)
    walker.free()  # transaction id
    walker.keep()  # group
    walker.keep()  # what to do on an error
    walker.list_of(2)
    tag = walker.unsigned()
    if tag == GET_LIST_RESPONSE:
        _locate_list(walker)
    else:
        walker.free_all()
    walker.number()  # checksum
    walker.end_of_message()


def _locate_list(walker: Walker) -> None:
    fields = walker.list_of(5)
    walker.keep()  # client id
    walker.keep()  # server id
    walker.keep()  # list name
    walker.time(-1, SENSOR_SECONDS)
    for index in range(walker.list_of(0)):
        rest = walker.list_of(6) - 6
        walker.keep()  # OBIS
        walker.integer(index, STATUS)
        walker.time(index, SECONDS)
        walker.keep()  # unit
        walker.keep()  # scaler
        walker.integer(index, VALUE)
        for _ in range(rest):  # signature
            walker.free_all()
    for _ in range(fields - 5):  # signature, gateway time
        walker.free_all()
