"""What stands in one sector of a log: a header, then items; and the device that holds the sectors.

agent/SPEC.md has every byte. An item is a record, a release cursor or a seam; its seal is a
checksum over the rest, started with a sequence number, so nothing passes in another's place. The
last byte of a seal is never FF, as erased flash is: what was torn before it is never complete.
"""

from binascii import crc32
from struct import pack, unpack

from wattlog.compat import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import BlockDevice

    Buffer = bytes | bytearray | memoryview
    Header = tuple[int, int, int, int, int, int]

FORMAT_DISK = 1
HEADER_BYTES = const(32)
SEAL_BYTES = const(3)
ITEM_BYTES_MIN = 5
RECORD_EXTRA_BYTES = 5  # what the longest record has beside its payload
SECTOR_BYTES_MIN = const(256)
SECTORS_MIN = const(2)

LONG_HEAD = const(0xF0)  # up to here a head is the payload's length; from here it has two bytes
CURSOR_HEAD = const(0xFC)  # the first of three: a distance of 4, 2 or 1 bytes
BLANK = const(0xFF)
SEAM_HEAD = const(0x00)
_RENEWAL = const(1)  # behind a seam's head
PAYLOAD_BYTES_MAX = LONG_HEAD + (CURSOR_HEAD - LONG_HEAD << 8) - 1

ITEM_MASK = const(0xFFFFFF)  # what verify() compares of the seal
BUT_LAST_MASK = const(0xFFFF)

_MAGIC = const(0x57)
_HEADER = "<BBHIIIIIIB3x"
_CHUNK_BYTES = const(64)
_ERASED = b"\xff" * _CHUNK_BYTES
_ERASED_HEAD = b"\xff\xff"


class LogError(Exception):
    """The log cannot do what it was asked; the message says why, to a person."""


def seal_of(crc: int) -> int:
    """Return the seal for this checksum: its low 24 bits, the top byte never FF."""
    crc &= 0xFFFFFF
    return crc if crc < 0xFF0000 else crc & 0x7FFFFF


def size_of(head: "Buffer") -> int:
    """Return how many bytes the item with this head (two bytes of it) has, 0 if it is none."""
    first = head[0]
    if SEAM_HEAD < first < LONG_HEAD:
        return first + 4
    if first == BLANK:
        return 0
    if first == SEAM_HEAD:
        return ITEM_BYTES_MIN
    if first >= CURSOR_HEAD:
        return (1 << 0xFE - first) + 4
    return (first - 0xF0 << 8 | head[1]) + 0xF0 + 5


def record(payload: "Buffer", seq: int) -> bytearray:
    """Return the payload as an item."""
    length = len(payload)
    at = 1 if length < LONG_HEAD else 2
    item = bytearray(at + length + SEAL_BYTES)
    if at == 1:
        item[0] = length
    else:
        item[0] = LONG_HEAD + (length - LONG_HEAD >> 8)
        item[1] = length - LONG_HEAD & 0xFF
    item[at : at + length] = payload
    return _sealed(item, seq)


def cursor(released_seq: int, next_seq: int) -> bytearray:
    """Return the item that says: everything up to released_seq is free."""
    distance = next_seq - 1 - released_seq
    power = 0 if distance < 0x100 else 1 if distance < 0x10000 else 2
    width = 1 << power
    item = bytearray(1 + width + SEAL_BYTES)
    item[0] = BLANK - 1 - power
    item[1 : 1 + width] = distance.to_bytes(width, "little")
    return _sealed(item, next_seq)


def seam(next_seq: int) -> bytearray:
    """Return the item that says nothing, with a first byte whose bits are all written."""
    return _sealed(bytearray(ITEM_BYTES_MIN), next_seq)


def renewal(next_seq: int) -> bytearray:
    """Return the item that says: from here on the log has the next id."""
    item = bytearray(ITEM_BYTES_MIN)
    item[1] = _RENEWAL
    return _sealed(item, next_seq)


def _sealed(item: bytearray, seed: int) -> bytearray:
    end = len(item) - SEAL_BYTES
    seal = seal_of(crc32(memoryview(item)[:end], seed))
    item[end] = seal & 0xFF
    item[end + 1] = seal >> 8 & 0xFF
    item[end + 2] = seal >> 16
    return item


def pack_header(count: int, size: int, fields: "Header") -> bytearray:
    """Return a header: (log id, gen, first_seq, released_seq, oldest_seq, evicted)."""
    power = 0
    while 1 << power < size:
        power += 1
    header = pack(_HEADER, _MAGIC, FORMAT_DISK, count, *fields, power)
    return _sealed(bytearray(header), 0)


def parse_header(header: "Buffer", count: int, size: int) -> "Header | None":
    """Return the fields of a complete header, None if it is none.

    Raises LogError for a log of a newer version or of another geometry.
    """
    if header[0] != _MAGIC:
        return None
    end = HEADER_BYTES - SEAL_BYTES
    seal = header[end] | header[end + 1] << 8 | header[end + 2] << 16
    if seal_of(crc32(memoryview(header)[:end], 0)) != seal:
        return None
    fields = unpack(_HEADER, header)
    if fields[1] > FORMAT_DISK:
        raise LogError("the log has format %d; this is for %d" % (fields[1], FORMAT_DISK))
    if fields[2] != count or 1 << fields[9] != size:
        found = (fields[2], 1 << fields[9], count, size)
        raise LogError("the log was made for %d sectors of %d bytes; here are %d of %d" % found)
    return fields[3:9]


class Sectors:
    """The device, by sector and offset. Everything here raises what the device raises.

    count, size  of the sectors
    head         the two bytes that item_size() has found; verify() and payload() go by them
    header       the bytes that load_header() has found
    """

    def __init__(self, device: "BlockDevice") -> None:
        self._device = device
        self.count = _number(device.ioctl(4, 0))
        self.size = _number(device.ioctl(5, 0))
        if self.count < SECTORS_MIN or self.size < SECTOR_BYTES_MIN or self.size & self.size - 1:
            raise LogError("%d sectors of %d bytes cannot hold a log" % (self.count, self.size))
        self.head = bytearray(2)
        self._chunk = bytearray(_CHUNK_BYTES)
        self._view = memoryview(self._chunk)
        self.header = self._view[:HEADER_BYTES]

    def read(self, block: int, buf: "bytearray | memoryview", offset: int) -> None:
        """Fill buf from this place."""
        self._device.readblocks(block, buf, offset)

    def load_header(self, block: int) -> "Header | None":
        """Read the sector's header; return its fields if it is complete. May raise LogError."""
        self._device.readblocks(block, self.header, 0)
        return parse_header(self.header, self.count, self.size)

    def claimed_gen(self) -> int:
        """Return what the header that was loaded says it is, complete or not."""
        gen: int = unpack(_HEADER, self.header)[4]
        return gen

    def item_size(self, block: int, offset: int) -> int:
        """Load the head of what stands there; return the size it announces, 0 if it is none."""
        room = self.size - offset
        if room < ITEM_BYTES_MIN:
            return 0
        self._device.readblocks(block, self.head, offset)
        size = size_of(self.head)
        return size if size <= room else 0

    def is_record(self) -> bool:
        """Tell whether the head that was loaded is a record's."""
        return bool(SEAM_HEAD < self.head[0] < CURSOR_HEAD)

    def is_renewal(self) -> bool:
        """Tell whether the head that was loaded is a renewal's."""
        return bool(self.head[0] == SEAM_HEAD and self.head[1] == _RENEWAL)

    def is_cursor(self) -> bool:
        """Tell whether the head that was loaded is a cursor's."""
        return bool(CURSOR_HEAD <= self.head[0] < BLANK)

    def verify(self, block: int, offset: int, seq: int, size: int, mask: int = ITEM_MASK) -> bool:
        """Tell whether the item of the loaded head is complete under seq."""
        view = self._view
        crc = crc32(self.head, seq)
        offset += 2
        left = size - 2
        while left > _CHUNK_BYTES:
            length = min(_CHUNK_BYTES, left - SEAL_BYTES)
            part = view[:length]
            self._device.readblocks(block, part, offset)
            crc = crc32(part, crc)
            offset += length
            left -= length
        self._device.readblocks(block, view[:left], offset)
        end = left - SEAL_BYTES
        chunk = self._chunk
        seal = chunk[end] | chunk[end + 1] << 8 | chunk[end + 2] << 16
        return not (seal ^ seal_of(crc32(view[:end], crc))) & mask

    def payload(self, block: int, offset: int, seq: int, size: int) -> bytes | None:
        """Return the payload of the item of the loaded head, None if it is not complete."""
        item = bytearray(size)
        view = memoryview(item)
        item[0] = self.head[0]
        item[1] = self.head[1]
        self._device.readblocks(block, view[2:], offset + 2)
        end = size - SEAL_BYTES
        # Checked are the very bytes that are returned: another read may give others.
        seal = item[end] | item[end + 1] << 8 | item[end + 2] << 16
        if seal_of(crc32(view[:end], seq)) != seal:
            return None
        return bytes(view[2 if LONG_HEAD <= item[0] < CURSOR_HEAD else 1 : end])

    def chunk(self, block: int, offset: int) -> memoryview:
        """Return some bytes from offset on, good until the next call of anything here."""
        part = self._view[: min(_CHUNK_BYTES, self.size - offset)]
        self._device.readblocks(block, part, offset)
        return part

    def is_blank(self, block: int, offset: int) -> bool:
        """Tell whether nothing is written from offset on."""
        while offset < self.size:
            part = self.chunk(block, offset)
            if part != _ERASED[: len(part)]:
                return False
            offset += len(part)
        return True

    def is_end(self, block: int, offset: int) -> bool:
        """Tell whether nothing is written from here on, where item_size() has looked just now."""
        if self.size - offset >= ITEM_BYTES_MIN:
            if self.head != _ERASED_HEAD:
                return False
            offset += 2
        return self.is_blank(block, offset)

    def program(self, block: int, offset: int, data: "bytes | bytearray") -> bool:
        """Write, and tell whether it reads back as written."""
        back = bytearray(len(data))  # before the write: no memory, no write
        self._device.writeblocks(block, data, offset)
        self._device.readblocks(block, back, offset)
        return back == data

    def erase(self, block: int) -> None:
        """Erase the sector; raise OSError also where the device only returns its error."""
        result = self._device.ioctl(6, block)
        if result is not None and result < 0:
            raise OSError(-result)


def _number(answer: int | None) -> int:
    if answer is None:
        raise LogError("the device does not tell its size")
    return answer
