"""Learned layouts: a meter repeats its frame's shape, so only what moves has to be read.

After a few frames of one length the parser knows where in the payload the integers stand that
change from frame to frame. From then on a payload of that length has every other byte
compared with the learned ones and just those integers read. On any difference the payload is
parsed in full; so a layout can save work, but never change a result.
"""

from wattlog.compat import Struct, const
from wattlog.sml import GET_LIST_RESPONSE, SmlError, Walker, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.sml import Entry, GetList

    Fields = tuple[tuple[int, int, int, int, bool], ...]
    Spans = tuple[tuple[int, int], ...]

LEARN_AFTER = 2  # payloads of one length that were parsed in full
LAYOUTS_MAX = 4  # a meter that shortens its integers has a few lengths

# What a moving integer is.
STATUS = const(0)
SECONDS = const(1)  # of one entry
VALUE = const(2)
SENSOR_SECONDS = const(3)  # of the whole list


class LearnedList:
    """A sml.GetList that was read through a layout.

    values   the moving integers, in the order of layout.fields
    entries  all registers, parsed from the payload when somebody asks
    """

    def __init__(self, layout: "Layout", payload: bytes, values: "tuple[int, ...]") -> None:
        self.layout = layout
        self.payload = payload
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
        """Return the registers as a full parse has them."""
        return parse(self.payload)[0].entries


# struct's letters for signed integers; other widths are read as bytes first.
_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}


class Layout:
    """Where the moving integers of one shape of payload stand.

    fields      (entry index or -1, what it is, offset, width, signed) of each moving integer
    seconds_at  index in fields of the list's own seconds, or None
    """

    def __init__(
        self, payload: bytes, server_id: bytes | None, fields: "Fields", spans: "Spans"
    ) -> None:
        self.size = len(payload)
        self.server_id = server_id
        self.fields = fields
        self.misses = 0
        self.plan = None  # the interpreter's, for this layout
        self.seconds_at = None
        for index, field in enumerate(fields):
            if field[1] == SENSOR_SECONDS:
                self.seconds_at = index
        self._prepare(payload, spans)

    if Struct is not None:

        def _prepare(self, payload: bytes, spans: "Spans") -> None:
            """Make a mask of what is fixed, and one compiled read of what moves."""
            mask = bytearray(b"\xff" * len(payload))
            for start, width in spans:
                mask[start : start + width] = bytes(width)
            self._mask = int.from_bytes(mask, "little")
            self._fixed = int.from_bytes(payload, "little") & self._mask
            form = ">"
            at = 0
            odd = []
            for index, (_, _, start, width, signed) in enumerate(self.fields):
                code = _CODES.get(width)
                if code is None:
                    code = "%ds" % width
                    odd.append((index, signed))
                elif not signed:
                    code = code.upper()
                form += "%dx%s" % (start - at, code)
                at = start + width
            form += "%dx" % (len(payload) - at)
            self._read = Struct(form).unpack
            self._odd = tuple(odd)

        def match(self, payload: bytes) -> "tuple[int, ...] | None":
            """Return the moving integers of a payload of this size, None if the shape differs."""
            # As one long number: comparing every fixed byte is then one operation in C.
            if int.from_bytes(payload, "little") & self._mask != self._fixed:
                return None
            values = self._read(payload)
            if self._odd:
                changed = list(values)
                for index, signed in self._odd:
                    changed[index] = int.from_bytes(changed[index], "big", signed=signed)
                values = tuple(changed)
            return values

    else:

        def _prepare(self, payload: bytes, spans: "Spans") -> None:
            self._shape = bytearray(payload)
            self._spans = spans

        def match(self, payload: bytes) -> "tuple[int, ...] | None":
            """Return the moving integers of a payload of this size, None if the shape differs."""
            # What moves is copied into the learned bytes; then all must be the same.
            shape = self._shape
            for start, width in self._spans:
                for at in range(start, start + width):
                    shape[at] = payload[at]
            if shape != payload:
                return None
            return tuple([_integer(payload, f[2], f[3], f[4]) for f in self.fields])


def _integer(payload: bytes, at: int, width: int, signed: bool) -> int:
    value = payload[at]
    if signed and value & 0x80:
        value -= 0x100
    for index in range(at + 1, at + width):
        value = value << 8 | payload[index]
    return value


class LearningParser:
    """sml.parse for the payloads of one meter, faster once it knows them.

    hits, misses  payloads that were read through a layout, and in full
    """

    def __init__(self, layouts_max: int = LAYOUTS_MAX) -> None:
        self.hits = 0
        self.misses = 0
        self._layouts_max = layouts_max
        self._layouts: dict[int, Layout] = {}
        self._seen_size = 0
        self._seen_count = 0

    def parse(self, payload: bytes) -> "list[GetList] | list[LearnedList]":
        """Return what sml.parse returns; raise SmlError where it does."""
        layout = self._layouts.get(len(payload))
        if layout is not None:
            values = layout.match(payload)
            if values is not None:
                self.hits += 1
                layout.misses = 0
                return [LearnedList(layout, payload, values)]
        self.misses += 1
        lists = parse(payload)
        self._learn(payload, lists, layout)
        return lists

    def _learn(self, payload: bytes, lists: "list[GetList]", layout: Layout | None) -> None:
        size = len(payload)
        if size != self._seen_size:
            self._seen_size = size
            self._seen_count = 0
        self._seen_count += 1
        if self._seen_count < LEARN_AFTER or len(lists) != 1:
            return
        self._seen_count = 0
        found = locate(payload)
        if found is None:
            return
        if layout is None and len(self._layouts) >= self._layouts_max:
            self._layouts.pop(self._least_used())
        self._layouts[size] = Layout(payload, lists[0].server_id, *found)

    def _least_used(self) -> int:
        # All are young or in use; which one goes matters little, only that one does.
        return min(self._layouts)


def locate(payload: bytes):  # type: ignore[no-untyped-def]
    """Return (fields, spans) of a payload that parses, None for a shape that is not learned.

    spans are the (offset, width) of all bytes that may change without a change of shape.
    """
    walker = Walker(payload)
    try:
        while walker.message_follows():
            _locate_message(walker)
    except SmlError:
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
    walker.free()  # checksum
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
