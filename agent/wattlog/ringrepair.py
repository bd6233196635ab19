"""What can still be read of a damaged sector; imported only when damage is met.

One wrong bit costs one record at most: a rotten head is found by trying its bits, anything else
by the head that says where the next item stands. What is damaged worse is searched for the next
two items in a row: one checksum of 24 bits is not enough evidence for a hundred places.
"""

from binascii import crc32

from wattlog.compat import const
from wattlog.ringsector import (
    BLANK,
    BUT_LAST_MASK,
    CURSOR_HEAD,
    HEADER_BYTES,
    ITEM_BYTES_MIN,
    SEAL_BYTES,
    SEAM_HEAD,
    pack_header,
    parse_header,
    seal_of,
    size_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ringsector import Header, Sectors

    Found = tuple[int, int, int]  # offset, seq, size; the head is loaded

HOPS_MAX = const(4)  # damaged items in a row that are passed
SEARCH_BYTES_MAX = const(512)
_GEOMETRY_AT = (0, 2, 3, 28)  # of a header's bytes those that are the same in all, but the version


def repaired_header(sectors: "Sectors", block: int) -> "Header | None":
    """Return the one header within one bit of what was loaded and is at home in this block."""
    header = bytearray(sectors.header)
    found = None
    # A device may be full of something else: most of that needs no trial.
    ours = pack_header(sectors.count, sectors.size, (0, 0, 0, 0, 0, 0))
    if sum([bin(header[at] ^ ours[at]).count("1") for at in _GEOMETRY_AT]) > 1:
        return None
    for bit in range(8 * HEADER_BYTES):
        header[bit >> 3] ^= 1 << (bit & 7)
        fields = parse_header(header, sectors.count, sectors.size)
        header[bit >> 3] ^= 1 << (bit & 7)
        if fields is not None and fields[1] % sectors.count == block:
            if found is not None:
                return None
            found = fields
    return found


def resume(
    sectors: "Sectors", block: int, offset: int, seq: int, end: int | None
) -> "Found | None":
    """Return the next item that can be read where the one at offset cannot, None if there is none.

    It is that item itself where only its head is damaged. end is the seq behind the sector's
    last, None if it is not known.
    """
    # The head comes first: a wrong one leads anywhere, even to the head of a later item.
    return (
        _with_head_repaired(sectors, block, offset, seq, end)
        or _behind(sectors, block, offset, seq, end)
        or _searched(sectors, block, offset, seq, end)
    )


def next_seq(sectors: "Sectors", block: int, offset: int, seq: int) -> int:
    """Return the first seq that cannot have been promised, given an unreadable tail at offset.

    A record that may have been written to its end may have been promised: its seq is burnt.
    """
    extent = _extent(sectors, block, offset)
    while offset < extent and sectors.size - offset >= ITEM_BYTES_MIN:
        flipped = _flipped_head(sectors, block, offset, seq)
        size = flipped or sectors.item_size(block, offset)
        if not size:
            break  # no whole record has such a head
        if sectors.is_record():
            # Without its last byte it may have been complete at an earlier mount: bits that
            # were written while the power failed may read differently from time to time.
            if not (
                flipped
                or offset + size <= extent
                or sectors.verify(block, offset, seq, size, BUT_LAST_MASK)
            ):
                break
            seq += 1
        offset += size
    return seq


def _behind(
    sectors: "Sectors", block: int, offset: int, seq: int, end: int | None
) -> "Found | None":
    size = sectors.item_size(block, offset)
    for _ in range(HOPS_MAX):
        if not size:
            break
        if sectors.is_record():
            seq += 1
        offset += size
        size = sectors.item_size(block, offset)
        if seq == end:
            break
        if size and sectors.verify(block, offset, seq, size):
            return offset, seq, size
    return None


def _with_head_repaired(
    sectors: "Sectors", block: int, offset: int, seq: int, end: int | None
) -> "Found | None":
    size = _flipped_head(sectors, block, offset, seq)
    if not size:
        return None
    head = bytes(sectors.head)
    behind = seq + 1 if sectors.is_record() else seq
    sound = behind == end or _stands(sectors, block, offset + size, behind)
    if not sound and not sectors.is_blank(block, offset + size):
        return None
    sectors.head[:] = head
    return offset, seq, size


def _searched(
    sectors: "Sectors", block: int, offset: int, seq: int, end: int | None
) -> "Found | None":
    window = bytearray(min(SEARCH_BYTES_MAX, sectors.size - offset))
    sectors.read(block, window, offset)
    view = memoryview(window)
    for at in range(1, len(window) - ITEM_BYTES_MIN + 1):
        size = size_of(view[at : at + 2])
        stop = at + size - SEAL_BYTES
        if not size or at + size > len(window) or window[at + size - 1] == BLANK:
            continue
        seal = window[stop] | window[stop + 1] << 8 | window[stop + 2] << 16
        for found in range(seq, seq + HOPS_MAX + 1):
            if found == end:
                break
            if seal_of(crc32(view[at:stop], found)) == seal:
                behind = found + 1 if SEAM_HEAD < window[at] < CURSOR_HEAD else found
                if _stands(sectors, block, offset + at + size, behind):
                    sectors.item_size(block, offset + at)
                    return offset + at, found, size
    return None


def _flipped_head(sectors: "Sectors", block: int, offset: int, seq: int) -> int:
    """Load a head that makes an item of what stands there, one bit off; return the size or 0."""
    if sectors.size - offset < ITEM_BYTES_MIN:
        return 0
    size = sectors.item_size(block, offset)
    if size and sectors.verify(block, offset, seq, size):
        return size  # now it reads well
    head = sectors.head
    for bit in range(16):
        head[bit >> 3] ^= 1 << (bit & 7)
        size = size_of(head)
        if 0 < size <= sectors.size - offset and sectors.verify(block, offset, seq, size):
            return size
        head[bit >> 3] ^= 1 << (bit & 7)
    return 0


def _stands(sectors: "Sectors", block: int, offset: int, seq: int) -> bool:
    """Tell whether an item stands there, or no other fits."""
    if sectors.size - offset < ITEM_BYTES_MIN:
        return True
    size = sectors.item_size(block, offset)
    return size > 0 and sectors.verify(block, offset, seq, size)


def _extent(sectors: "Sectors", block: int, offset: int) -> int:
    """Return the offset behind the last byte that is not blank."""
    extent = offset
    while offset < sectors.size:
        for byte in sectors.chunk(block, offset):
            offset += 1
            if byte != BLANK:
                extent = offset
    return extent
