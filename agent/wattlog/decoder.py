"""The decoder: bytes from a meter in, its lists of registers out.

Transport, parsing and learned layouts in one: most frames of a meter are read through the
layout of an earlier one, and give what a full parse would.
"""

from wattlog.crc import crc16_kermit, crc16_x25
from wattlog.framing import CRC, END_BYTES, FRAME_BYTES_MAX, START_BYTES, FrameDecoder
from wattlog.layout import learn
from wattlog.sml import SmlError, good_lists, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from wattlog.framing import Buffer
    from wattlog.layout import Layout, LearnedList
    from wattlog.sml import GetList

# Reasons beside those of framing and sml: no room for a frame's registers, or for its layout.
MEMORY = "memory"
MEMORY_LAYOUT = "memory_layout"

LEARN_AFTER = 2  # frames of one length in a row that were parsed in full
LAYOUTS_MAX = 4  # a meter that shortens its integers has frames of a few lengths


class SmlDecoder(FrameDecoder):
    """Finds and reads SML in a stream of bytes.

    push() returns sml.GetList and layout.LearnedList, which are read alike. Frames whose
    payload does not follow the grammar are counted in `drops` by sml's reason.

    learned   frames that were read through a layout; they count in `frames` too
    salvaged  lists from frames whose transport checksum was wrong and whose own was right;
              only where salvage is asked for, and beside the drop of their frame
    """

    def __init__(
        self,
        frame_bytes_max: int = FRAME_BYTES_MAX,
        feed_bytes: int = 0,
        layouts_max: int = LAYOUTS_MAX,
        salvage: bool = False,
    ) -> None:
        super().__init__(frame_bytes_max, feed_bytes)
        self.salvaged = 0
        self._salvage = salvage
        self.learned = 0
        self._layouts_max = layouts_max
        self._layouts: dict[int, Layout] = {}
        self._known: Layout | None = None  # the layout that was used last
        self._parsed_bytes = 0  # length of the last frame that was parsed in full
        self._parsed_count = 0  # how many of that length came in a row

    if TYPE_CHECKING:

        def push(self, data: "Buffer") -> "Sequence[GetList | LearnedList]":  # type: ignore[override]
            """Take the next bytes of the stream; return the lists they complete, in order."""

    def _take(self, base: int, end: int, found: "list[Any]") -> str | None:
        layout = self._layouts.get(end - base)
        try:
            if layout is not None and layout.take(self._buf, base, end, found) == end:
                self._known = layout
                self._known_bytes = layout.size
                self._count_learned(1)
                return None
        except MemoryError:
            # Where there is no room for its integers, there is none for all its registers.
            self._count(MEMORY)
            return None
        reason = self._reason(base, end)
        if reason is not None:
            if reason == CRC and self._salvage:
                lists = good_lists(self._payload(base, end), crc16_x25, True)
                self.salvaged += len(lists)
                found.extend(lists)
            return reason
        try:
            lists = parse(self._payload(base, end))
        except SmlError as err:
            # The transport was right, so nothing hides in there: the whole frame is passed.
            self._count(err.reason)
            return None
        except MemoryError:
            # A device may hold a frame and not have room for what is in it. Kept, the frame
            # would be tried again with every read, and nothing behind it would be seen.
            self._count(MEMORY)
            return None
        found.extend(lists)
        self.frames += 1
        try:
            self._learn(base, end, lists)
        except MemoryError:
            self._count(MEMORY_LAYOUT)
        return None

    def _is_kermit_likely(self, base: int, end: int) -> bool:
        # A list whose own checksum is a Kermit too says it as well as the maker's name.
        if super()._is_kermit_likely(base, end):
            return True
        return bool(good_lists(self._payload(base, end), crc16_kermit, False))

    def _take_known(self, base: int, fill: int, found: "list[Any]") -> int:
        # A large read holds several frames: those of the last layout need no search at all.
        layout = self._known
        assert layout is not None
        before = len(found)
        try:
            layout.take(self._buf, base, fill, found)
        except MemoryError:
            pass  # those before it count; the one without room is found, and passed, by _take
        count = len(found) - before
        self._count_learned(count)
        return base + count * layout.size

    def _count_learned(self, count: int) -> None:
        self.frames += count
        self.learned += count

    def _learn(self, base: int, end: int, lists: "list[GetList]") -> None:
        """Learn the layout of the frame in base..end, if it is the second of its length."""
        size = end - base
        if size != self._parsed_bytes:
            self._parsed_bytes = size
            self._parsed_count = 0
        self._parsed_count += 1
        if self._parsed_count < LEARN_AFTER or self._escaped:
            return
        self._parsed_count = 0
        stop = size - END_BYTES - self._buf[end - 3]
        layout = learn(bytes(self._view[base:end]), START_BYTES, stop, lists)
        if layout is None:
            return
        if size not in self._layouts and len(self._layouts) >= self._layouts_max:
            # Which one goes matters little: it is learned again when it comes back.
            gone = self._layouts.pop(min(self._layouts))
            if gone is self._known:
                self._known_bytes = 0
        self._layouts[size] = layout
