"""A power-safe log on a ring of flash sectors: what is appended is kept until it is released.

    log = RingLog(device)           # mounts; formats a device that holds no log
    seq = log.append(payload)       # durable when it returns
    for seq, payload in log.read_after(0): ...
    log.release(seq)                # free everything up to and including seq; durable, too
    log.renew()                     # go on under another id; durable, too

Sequence numbers begin with 1, rise by 1 and never come again, whatever happens to the power.
A record that was torn by a power cut is never read; one that rots is skipped, its neighbours
are not. When the ring is full the oldest sector gives way, and what it held is counted.
"""

from collections import namedtuple

from wattlog.compat import const
from wattlog.ringsector import (
    HEADER_BYTES,
    LONG_HEAD,
    PAYLOAD_BYTES_MAX,
    RECORD_EXTRA_BYTES,
    SEAL_BYTES,
    LogError,
    Sectors,
    cursor,
    pack_header,
    record,
    renewal,
    seam,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from wattlog.ports import BlockDevice
    from wattlog.ringsector import Header

_SECTORS_TRIED = const(2)
_RENEWALS_MAX = const(256)  # older sectors have the ids before the present one
_FORGETS = "the log's device does not keep what is written"
_FAILS = "the log's device fails: %s"
_ERASED_HEADER = b"\xff" * HEADER_BYTES

__all__ = ("LogError", "RingLog", "Stats")

SEQ_MAX = 0xFFFF_0000

Stats = namedtuple(
    "Stats", ("records", "bytes", "bytes_max", "evicted", "damaged", "first_seq", "next_seq")
)
# records    seqs that wait to be released, with those that turn out to be unreadable
# bytes      of the device that they take: their share of what is in use
# bytes_max  of the device
# evicted    records ever lost to the ring's size, unreleased
# damaged    records that were found unreadable since the mount
# first_seq  nothing below it can be read; next_seq when the log is empty
# next_seq   of the next append


class _Place:
    """Where a reader stands, or has stood.

    gen, offset  of the next item; seq is the one it has if it is a record
    next_gen     the next sector that can be read, 0 while this is the newest
    end          seq of the first record there
    """

    def __init__(self, gen: int, offset: int, seq: int, next_gen: int = 0, end: int = 0) -> None:
        self.gen = gen
        self.offset = offset
        self.seq = seq
        self.next_gen = next_gen
        self.end = end

    def become(self, other: "_Place") -> None:
        """Stand where the other one does."""
        self.gen = other.gen
        self.offset = other.offset
        self.seq = other.seq
        self.next_gen = other.next_gen
        self.end = other.end


class RingLog:
    """One log on one device, which nobody else writes to.

    id  drawn when the device was formatted, and 1 more after each renew(): another one means
        other records under the same seqs
    base_seq  what was released when the log got this id, as far back as its sectors tell: what
        was lost since then was lost under this id
    """

    def __init__(self, device: "BlockDevice", new_id: "Callable[[], int] | None" = None) -> None:
        """Mount; raise LogError where the device fails, or holds what is not for us.

        A device without any valid header is formatted; new_id() gives the uint32 for it.
        """
        self.id = 0
        self.base_seq = 0
        self._gen = -1  # of the newest sector; its place in the ring is gen % sectors
        self._gen_seq = 1  # of the newest sector's first record
        self._tail = 0  # where the next item goes; the sector's size when nothing more goes in
        self._skip = 0  # 1 when the sector that comes next is passed over
        self._header_is_sound = True
        # What to write again before the first item after a mount; None when that is done.
        self._seam: bytes | None = None
        self._next = 1
        self._first = 1  # the lowest seq that was neither released nor evicted
        self._released = 0
        self._oldest_gen = 0
        self._oldest = 1  # seq of the oldest sector's first record
        self._evicted = 0
        self._damaged = 0
        self._damaged_to = 0  # no unreadable record below it is counted again
        # Where the last reader stands, and where it stood before what it has read last: who sends
        # groups reads the first record of the next one to see where its own ends.
        self._place = _Place(-1, 0, 0)
        self._place_before = _Place(-1, 0, 0)
        try:
            self._sectors = Sectors(device)
            size = self._sectors.size
            self.payload_bytes_max = min(
                PAYLOAD_BYTES_MAX, size - HEADER_BYTES - RECORD_EXTRA_BYTES
            )
            oldest_gen = self._find_newest()
            if self._gen < 0:
                self.id = 0 if new_id is None else new_id() & 0xFFFFFFFF
                self._open()
            else:
                self._find_tail()
                self._find_oldest(oldest_gen)
        except OSError as error:
            raise LogError(_FAILS % error) from None

    # -- writing ---------------------------------------------------------------------------

    def append(self, payload: "bytes | bytearray | memoryview") -> int:
        """Keep the payload and return its seq; once this returns, a power cut cannot lose it.

        Raises LogError where the device fails: nothing is promised then, and the log goes on.
        """
        if not 0 < len(payload) <= self.payload_bytes_max:
            raise ValueError("a record has 1 to %d bytes" % self.payload_bytes_max)
        seq = self._next
        self._store(record(payload, seq))
        self._next = seq + 1
        return seq

    def fits(self, size: int) -> bool:
        """Tell whether a payload of this size would join the newest record in its sector."""
        size += SEAL_BYTES + (1 if size < LONG_HEAD else 2)
        room = self._sectors.size - self._tail
        return self._seam is None and self._next > self._gen_seq and size <= room

    def release(self, seq: int) -> None:
        """Free all records up to and including seq; once this returns, they stay free.

        Raises LogError as append does. What is beyond the last record is the last record.
        """
        seq = min(seq, self._next - 1)
        if seq < self._first:
            return
        before = self._released
        self._released = seq
        self._first = seq + 1
        is_stored = False
        try:
            self._store(cursor(seq, self._next))
            is_stored = True
        finally:
            if not is_stored:  # the next try has to write it
                self._released = before
                self._first = max(before + 1, self._oldest)

    def renew(self) -> bool:
        """Go on under the next id, with all that is kept; once this returns, it stays.

        For a device that was put back from an older copy: it gives numbers that were given
        before, and only another id tells those records from these. False, and nothing is
        changed, where that was done so often that the oldest sector would seem a stranger's.
        Raises LogError as append does; then the id may be the next one after a mount.
        """
        following = self.id + 1 & 0xFFFFFFFF
        try:
            oldest = self._header(self._oldest_gen % self._sectors.count)
        except OSError as error:
            raise LogError(_FAILS % error) from None
        if oldest is not None and following - oldest[0] & 0xFFFFFFFF >= _RENEWALS_MAX:
            return False
        self._store(renewal(self._next))
        self.id = following
        self.base_seq = self._released
        return True

    def _store(self, item: bytearray) -> None:
        try:
            if self._seam is not None:
                self._close_seam(self._seam)
            if len(item) <= self._sectors.size - self._tail and self._program(item):
                return
            for _ in range(_SECTORS_TRIED):
                self._open()
                if self._program(item):
                    return
        except OSError as error:
            raise LogError(_FAILS % error) from None
        raise LogError(_FORGETS)

    def _program(self, item: bytearray) -> bool:
        """Write at the tail; on any failure nothing more goes into this sector."""
        offset = self._tail
        self._tail = self._sectors.size
        try:
            if not self._sectors.program(self._block(), offset, item):
                return False
        except (OSError, MemoryError):
            # Unless nothing was written: a device that refuses must not use up the ring.
            if self._sectors.is_blank(self._block(), offset):
                self._tail = offset
                self._seam = self._seam or b""
            raise
        self._tail = offset + len(item)
        return True

    def _close_seam(self, header: bytes) -> None:
        """Write firmly what a power cut may have left half written, though it reads well.

        That is the header's last byte, if nothing stands behind it, and else the first byte of
        what seems blank: it gets an item whose first byte has no bit left that could waver.
        """
        if header and not self._sectors.program(self._block(), 0, header):
            self._tail = self._sectors.size
        item = seam(self._next)
        if len(item) <= self._sectors.size - self._tail:
            self._program(item)
        self._seam = None

    def _open(self) -> None:
        """Begin the next sector; what it held gives way."""
        self._seam = None
        self._tail = self._sectors.size  # once its successor is touched, the newest is closed
        if self._next > SEQ_MAX:
            raise LogError("all sequence numbers are used up")
        if not self._try_open() and not self._try_open():
            raise LogError(_FORGETS)

    def _try_open(self) -> bool:
        # A sector that fails is passed over, and never come back to: what was left behind it may
        # look newer. One that is dead does not stop the log; two do, and no device eats more.
        sectors = self._sectors
        gen = self._gen + 1 + self._skip
        oldest_gen, oldest = self._oldest_gen, self._oldest
        if gen - sectors.count >= oldest_gen:
            oldest_gen, oldest = self._sector_from(gen - sectors.count + 1)
        self._skip = 1 if sectors.count > 2 else 0
        sectors.erase(gen % sectors.count)
        self._set_oldest(oldest_gen, oldest)
        fields = (self.id, gen, self._next, self._released, self._oldest, self._evicted)
        header = pack_header(sectors.count, sectors.size, fields)
        if not sectors.program(gen % sectors.count, 0, header):
            return False
        self._skip = 0
        self._gen = gen
        self._gen_seq = self._next
        self._tail = HEADER_BYTES
        return True

    def _set_oldest(self, gen: int, seq: int) -> None:
        self._oldest_gen = gen
        self._oldest = seq
        if seq > self._first:
            self._evicted += seq - self._first
            self._first = seq

    # -- mounting --------------------------------------------------------------------------

    def _find_newest(self) -> int:
        """Read every header; take over the newest; return a gen not above the oldest."""
        first = behind = None
        base_gen = -1
        # What the two headers behind the newest claim to be, and those where the ring begins.
        ahead = [-1, -1]
        start = [-1, -1]
        for block in range(self._sectors.count):
            fields = self._header(block)
            claim = self._sectors.claimed_gen()
            distance = block - self._block()
            if block < len(start):
                start[block] = claim
            if 0 < distance <= len(ahead):
                ahead[distance - 1] = claim
            if fields is None or fields[1] % self._sectors.count != block:
                continue
            gen = fields[1]
            is_same_id = base_gen >= 0 and fields[0] == self.id
            if gen < base_gen if is_same_id else gen > self._gen:
                base_gen, self.base_seq = gen, fields[3]
            if gen > self._gen:
                self.id, self._gen, self._gen_seq = fields[:3]
                self._next = self._gen_seq
                self._released, self._oldest, self._evicted = fields[3:]
                self._seam = bytes(self._sectors.header) if self._header_is_sound else None
                behind = None
                ahead[0] = ahead[1] = -1
                if first is None:
                    first = gen
            elif behind is None:
                behind = gen
        self._see_begun(ahead, start)
        # Round the ring from the newest on, the first sector there is the oldest.
        oldest = behind if behind is not None else first or 0
        return max(oldest, self._gen - self._sectors.count + 1)

    def _see_begun(self, ahead: "list[int]", start: "list[int]") -> None:
        """Close the newest sector where one behind it has got a part of a header.

        What was written there might be hidden by that header, which may read well next time.
        """
        if self._gen < 0:
            return
        for distance in (1, 2):
            at = self._block() + distance - self._sectors.count
            if (ahead[distance - 1] if at < 0 else start[at]) == self._gen + distance:
                self._seam = None
                self._skip = distance - 1

    def _find_tail(self) -> None:
        """Scan the newest sector: its last record, its last cursor, and where to go on."""
        sectors = self._sectors
        block = self._block()
        offset = HEADER_BYTES
        while True:
            size = sectors.item_size(block, offset)
            if not (size and self._look(block, offset, size)):
                if sectors.is_end(block, offset):
                    break
                found = _repair().resume(sectors, block, offset, self._next, None)
                if found is None:
                    self._next = _repair().next_seq(sectors, block, offset, self._next)
                    offset = sectors.size
                    break
                offset, self._next, size = found
                self._look(block, offset, size)
            if sectors.is_record():
                self._next += 1
            elif sectors.is_renewal():
                self.id = self.id + 1 & 0xFFFFFFFF
                self.base_seq = self._released
            offset += size
        if self._seam is None:
            # Its header has a wrong bit, and another one would be one too many; or the next
            # sector is begun.
            offset = sectors.size
        elif offset > HEADER_BYTES:
            self._seam = b""
        self._tail = offset

    def _look(self, block: int, offset: int, size: int) -> bool:
        """Tell whether the item is complete; take over what a cursor says."""
        if not self._sectors.is_cursor():
            return self._sectors.verify(block, offset, self._next, size)
        distance = self._sectors.payload(block, offset, self._next, size)
        if distance is None:
            return False
        released = self._next - 1 - int.from_bytes(distance, "little")
        self._released = max(self._released, released)
        return True

    def _find_oldest(self, gen: int) -> None:
        self._first = max(self._oldest, self._released + 1)
        evicted = self._evicted
        gen, seq = self._sector_from(gen)
        self._set_oldest(gen, seq)
        if self._evicted != evicted:
            # The power went between the erase and the header that would have counted it. A new
            # header does, and must come before a cursor that would hide it.
            self._tail = self._sectors.size

    # -- reading ---------------------------------------------------------------------------

    def read_after(self, seq: int) -> "Iterator[tuple[int, bytes]]":
        """Yield (seq, payload) of what is kept with a greater seq, oldest first.

        Unreadable records are passed over and counted. Meanwhile anything may be appended,
        released and evicted. Raises LogError where the device fails.
        """
        wanted = seq + 1
        place = None
        while True:
            wanted = max(wanted, self._first)
            if wanted >= self._next:
                return
            try:
                if place is None or place.gen < self._oldest_gen:
                    place = self._find(wanted)
                    self._place = place
                if place is self._place:  # and not another reader's
                    self._place_before.become(place)
                payload = self._step(place, wanted)
            except OSError as error:
                raise LogError(_FAILS % error) from None
            wanted = max(wanted, place.seq)
            if payload is not None:
                yield wanted - 1, payload

    def stats(self) -> Stats:
        """Return the fill and the losses."""
        size = self._sectors.size
        records = self._next - self._first
        in_use = (self._gen - self._oldest_gen) * size + self._tail
        share = in_use * records // max(1, self._next - self._oldest)
        space = (share, self._sectors.count * size)
        return Stats(records, *space, self._evicted, self._damaged, self._first, self._next)

    def _find(self, wanted: int) -> _Place:
        """Return a place in the right sector, not behind the record that is wanted."""
        for known in (self._place, self._place_before):
            if self._oldest_gen <= known.gen and known.seq <= wanted < self._end(known):
                place = _Place(0, 0, 0)
                place.become(known)
                return place
        low, seq = self._sector_from(self._oldest_gen)
        high = self._gen + 1
        while high - low > 1:
            middle = (low + high) // 2
            gen, gen_seq = self._sector_from(middle)
            if gen < high and gen_seq <= wanted:
                low, seq = gen, gen_seq
            else:
                high = middle
        self._lose(wanted, seq, wanted)
        return _Place(low, HEADER_BYTES, seq)

    def _step(self, place: _Place, wanted: int) -> bytes | None:
        """Go on by one item or one sector; return the payload if that was a record wanted."""
        sectors = self._sectors
        end = self._end(place)
        if place.seq >= end:
            place.gen, place.offset, place.next_gen = place.next_gen, HEADER_BYTES, 0
            return None
        block = place.gen % sectors.count
        size = sectors.item_size(block, place.offset)
        payload = self._take(place, size, wanted) if size else None
        if payload is None:
            found = _repair().resume(sectors, block, place.offset, place.seq, end)
            if found is None:
                self._lose(place.seq, end, wanted)
                place.seq = end
                place.offset = self._tail
                return None
            self._lose(place.seq, found[1], wanted)
            place.offset, place.seq, size = found
            payload = self._take(place, size, wanted)
        place.offset += size
        if not sectors.is_record():
            return None
        place.seq += 1
        if payload is None:  # bits that read well a moment ago
            self._lose(place.seq - 1, place.seq, wanted)
        return payload or None

    def _take(self, place: _Place, size: int, wanted: int) -> bytes | None:
        """Return the payload of the item there, empty if it is not wanted, None if it is bad."""
        sectors = self._sectors
        block = place.gen % sectors.count
        if place.seq < wanted or not sectors.is_record():
            return b"" if sectors.verify(block, place.offset, place.seq, size) else None
        return sectors.payload(block, place.offset, place.seq, size)

    def _lose(self, seq: int, end: int, wanted: int) -> None:
        seq = max(seq, wanted, self._damaged_to)
        if seq < end:
            self._damaged += end - seq
            self._damaged_to = end

    def _end(self, place: _Place) -> int:
        """Return the seq behind the last record of this place's sector."""
        if place.gen == self._gen:
            return self._next
        if place.next_gen == 0:
            place.next_gen, place.end = self._sector_from(place.gen + 1)
        return place.end

    def _sector_from(self, gen: int) -> tuple[int, int]:
        """Return (gen, seq of its first record) of the first readable sector from this gen on."""
        while gen < self._gen:
            fields = self._header(gen % self._sectors.count)
            if (
                fields is not None
                and self.id - fields[0] & 0xFFFFFFFF < _RENEWALS_MAX
                and fields[1] == gen
            ):
                return gen, fields[2]
            gen += 1
        return self._gen, self._gen_seq

    def _header(self, block: int) -> "Header | None":
        """Return the fields of the sector's header, repaired if need be, or None."""
        fields = self._sectors.load_header(block)
        self._header_is_sound = fields is not None
        if fields is None and self._sectors.header != _ERASED_HEADER:
            fields = _repair().repaired_header(self._sectors, block)
        return fields

    def _block(self) -> int:
        return self._gen % self._sectors.count


def _repair() -> "ModuleType":
    """Import the repair shop when it is needed: most logs never need it."""
    from wattlog import ringrepair  # noqa: PLC0415

    return ringrepair
