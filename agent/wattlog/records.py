"""What is logged and sent: records in groups, batches, acknowledgements, status. See SPEC.md.

A record is encoded once, when it is logged; a batch is those bytes behind a head, so that
sending again gives the same bytes without encoding again. recordreader.py decodes.
"""

from wattlog import msgpack
from wattlog.compat import const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.ports import LogEnd
    from wattlog.reading import Reading

    Values = list[tuple[int, int, int]]
    Row = tuple[bytes, int | None, int, Values]  # server_id, sec_index, uptime_ms, values

FORMAT_WIRE = 2
TOPIC_ROOT = "wattlog/1"
BATCH = "b"
ACK = "a"
STATUS = "s"
LIVE = "l"
COMMAND = "c"
RAW = "r"
UPDATE = "u"

RECORDS_MAX = 64  # in one group
GROUP_BYTES_MAX = 1_536  # records with their lengths
ROWS_MAX = 16  # keys in one group
VALUES_MAX = 64
RECORD_BYTES_MAX = 1_024
HEAD_BYTES_MAX = 56  # array 1, version 1, edge 34, log id 5, first_seq 9, length 3
BATCH_BYTES = HEAD_BYTES_MAX + GROUP_BYTES_MAX
MESSAGE_BYTES_MAX = 2_048
LIVE_S_MAX = 600
RENEW = "renew"  # the reason of a host that has other records under these numbers
assert RECORD_BYTES_MAX + 2 <= GROUP_BYTES_MAX, "a record must fit a group"
assert BATCH_BYTES <= MESSAGE_BYTES_MAX

INTERVAL_STEP_MS = 100
SYNC = 0
KEY = 1
DELTA = 2
DELTA_OF = 3
_KIND_SHIFT = const(6)
_INDEX_MASK = const(63)


def topic(edge: str, leaf: str) -> str:
    """Return the topic of one edge: leaf is BATCH, ACK, STATUS, LIVE, COMMAND or RAW."""
    return "%s/%s/%s" % (TOPIC_ROOT, edge, leaf)


def group_seq(seq: int, payload: "bytes | memoryview") -> int:
    """Return the seq of the first record of the group that this record belongs to."""
    return seq - (payload[0] & _INDEX_MASK) if payload else seq


def put_uint(out: bytearray, value: int) -> None:
    """Add an unsigned number in LEB128."""
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def put_int(out: bytearray, value: int) -> None:
    """Add a signed number, small ones of either sign in few bytes."""
    put_uint(out, 2 * value if value >= 0 else -2 * value - 1)


class GroupWriter:
    """Encodes what is logged, in groups that are readable by themselves.

    log   where the records go (ports.LogEnd)
    boot  random number of this start

    A group is one batch. It ends when it is full, when the log opens its next sector, after a
    failure of the log, and by close().
    open_seq  seq of the first record of the group that is still growing, or None
    """

    def __init__(self, log: "LogEnd", boot: int) -> None:
        self.open_seq: int | None = None
        self._log = log
        self._boot = boot
        self._count = 0
        self._bytes = 0
        self._base_ms = 0
        self._last_ms = 0
        self._interval = 0  # expected distance of two records, in INTERVAL_STEP_MS
        self._rows: list[Row] = []

    def reading(self, uptime_ms: int, reading: "Reading") -> int:
        """Log a reading taken at this uptime; return its seq. Raises what the log raises."""
        number = self._row_of(reading)
        packed = None if number == ROWS_MAX else self._pack(uptime_ms, reading, number)
        if packed is None or not self._has_room(len(packed)):
            self.close()
            number = 0
            packed = self._pack(uptime_ms, reading, 0)
        if number == len(self._rows):
            self._rows.append((reading.server_id, reading.sec_index, uptime_ms, reading.values))
        return self._append(uptime_ms, packed)

    def sync(self, uptime_ms: int, epoch_ms: int, is_sure: bool) -> int:
        """Log "at this uptime the clock read so many ms since 1970 UTC"; return the seq.

        is_sure: that clock has been set from the network.
        """
        for _ in range(2):
            packed = self._head(SYNC, uptime_ms)
            put_uint(packed, epoch_ms)
            if not is_sure:
                packed.append(1)
            if self._has_room(len(packed)):
                break
            self.close()
        return self._append(uptime_ms, packed)

    def close(self) -> None:
        """End the group: the next record begins another."""
        if self._count > 1 and self._last_ms >= self._base_ms:
            step_ms = (self._count - 1) * INTERVAL_STEP_MS
            self._interval = (self._last_ms - self._base_ms + step_ms // 2) // step_ms
        self.open_seq = None
        self._count = 0
        self._bytes = 0
        self._rows = []

    def _row_of(self, reading: "Reading") -> int:
        """Return the number of the row that this reading differs little from, or of a new one."""
        rows = self._rows
        for number in range(len(rows)):
            server_id, sec_index, _, values = rows[number]
            if (
                server_id == reading.server_id
                and (sec_index is None) == (reading.sec_index is None)
                and _is_alike(values, reading.values)
            ):
                return number
        return len(rows)

    def _has_room(self, size: int) -> bool:
        if not self._count:
            return True
        # 2: the length before it.
        return self._bytes + size + 2 <= GROUP_BYTES_MAX and self._log.fits(size)

    def _append(self, uptime_ms: int, packed: bytearray) -> int:
        assert len(packed) <= RECORD_BYTES_MAX
        seq = None
        try:
            seq = self._log.append(packed)
        finally:
            if seq is None:
                self.close()
        if not self._count:
            self.open_seq = seq
            self._base_ms = uptime_ms
        self._last_ms = uptime_ms
        self._count += 1
        self._bytes += len(packed) + 2
        if self._count == RECORDS_MAX:
            self.close()
        return seq

    def _head(self, kind: int, uptime_ms: int) -> bytearray:
        out = bytearray(1)
        out[0] = kind << _KIND_SHIFT | self._count
        if self._count:
            expected_ms = self._base_ms + self._count * self._interval * INTERVAL_STEP_MS
            put_int(out, uptime_ms - expected_ms)
        else:
            for shift in (0, 8, 16, 24):
                out.append(self._boot >> shift & 0xFF)
            put_uint(out, uptime_ms)
            put_uint(out, self._interval)
        return out

    def _pack(self, uptime_ms: int, reading: "Reading", number: int) -> bytearray:
        values = reading.values
        if number == len(self._rows):
            assert len(values) <= VALUES_MAX
            out = self._head(KEY, uptime_ms)
            out.append(number)
            out.append(len(reading.server_id))
            out.extend(reading.server_id)
            put_uint(out, 0 if reading.sec_index is None else reading.sec_index + 1)
            put_uint(out, len(values))
            for channel, value, scale in values:
                put_uint(out, channel)
                put_int(out, scale)
                put_int(out, value)
            return out
        _, key_index, key_ms, key_values = self._rows[number]
        out = self._head(DELTA_OF if number else DELTA, uptime_ms)
        if number:
            out.append(number)
        drift = 0
        if key_index is not None:
            drift = reading.sec_index - key_index - (uptime_ms - key_ms + 500) // 1000
        changed = 1 if drift else 0
        for index in range(len(values)):
            if values[index][1] != key_values[index][1]:
                changed |= 2 << index
        put_uint(out, changed)
        if drift:
            put_int(out, drift)
        for index in range(len(values)):
            if values[index][1] != key_values[index][1]:
                put_int(out, values[index][1] - key_values[index][1])
        return out


def _is_alike(values: "Values", others: "Values") -> bool:
    """Tell whether both have the same channels with the same scales."""
    if len(values) != len(others):
        return False
    for index in range(len(values)):
        if values[index][0] != others[index][0] or values[index][2] != others[index][2]:
            return False
    return True


class BatchBuffer:
    """Where a batch is built: made once, at the start.

    On a device that has run for months there may be memory left, but not so much of it in one
    piece.
    """

    def __init__(self, buf: bytearray) -> None:
        assert len(buf) >= BATCH_BYTES
        self._view = memoryview(buf)[:BATCH_BYTES]
        self._end = HEAD_BYTES_MAX
        self.count = 0

    def clear(self) -> None:
        """Begin a batch."""
        self._end = HEAD_BYTES_MAX
        self.count = 0

    def add(self, payload: "bytes | memoryview") -> None:
        """Add a record; b"" stands for one that cannot be read."""
        size = len(payload)
        at = self._end
        if at + 2 + size > len(self._view) or size >= 1 << 14:
            size = 0  # of another writer than ours: as good as unreadable
        if size > 127:
            self._view[at] = size & 127 | 128
            at += 1
        self._view[at] = size >> 7 if size > 127 else size
        at += 1
        if size:
            self._view[at : at + size] = payload
        self._end = at + size
        self.count += 1

    def status(self, fields: "dict[str, object]") -> memoryview:
        """Return a status message; like a batch it is good until clear().

        Where it fits it takes no memory but the batch's: one that grows asks a small heap for
        twice its size in one piece.
        """
        try:
            return self._view[: msgpack.pack_into(self._view, fields)]
        except IndexError:
            return memoryview(pack_status(fields))

    def message(self, edge: str, log_id: int, first_seq: int) -> memoryview:
        """Return the batch of what was added; it is good until clear()."""
        head = bytearray(b"\x95")
        for value in (FORMAT_WIRE, edge, log_id, first_seq):
            head.extend(msgpack.pack(value))
        head.extend(msgpack.pack_bytes_head(self._end - HEAD_BYTES_MAX))
        start = HEAD_BYTES_MAX - len(head)
        self._view[start:HEAD_BYTES_MAX] = head
        return self._view[start : self._end]


def unpack_ack(payload: bytes) -> tuple[int, int, int, str | None] | None:
    """Return (log_id, first_seq, check, reason or None) of an acknowledgement, else None."""
    value = _unpack(payload)
    if not isinstance(value, list) or len(value) != 5 or value[0] != FORMAT_WIRE:
        return None
    numbers = value[1:4]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        return None
    if value[4] is not None and not isinstance(value[4], str):
        return None
    return numbers[0], numbers[1], numbers[2], value[4]


def unpack_live_wish(payload: bytes) -> int | None:
    """Return for how many seconds the host wants every reading at once; None for anything else."""
    value = _unpack(payload)
    if not isinstance(value, list) or len(value) != 3 or value[:2] != [FORMAT_WIRE, "live"]:
        return None
    seconds = value[2]
    is_number = isinstance(seconds, int) and not isinstance(seconds, bool)
    return seconds if is_number and 1 <= seconds <= LIVE_S_MAX else None


def pack_live(edge: str, boot: int, uptime_ms: int, reading: "Reading") -> bytes:
    """Return the message that shows a reading at once; what counts is its batch."""
    flat: list[int] = []
    for row in reading.values:
        flat.extend(row)
    return msgpack.pack(
        (FORMAT_WIRE, edge, boot, uptime_ms, reading.server_id, reading.sec_index, flat)
    )


def pack_status(fields: "dict[str, object]") -> bytearray:
    """Return a status message; the keys are in SPEC.md."""
    return msgpack.pack_long(fields)


def boot_mark(boot: int) -> bytes:
    """Return what is in each status message of this boot, and in no other agent's."""
    return msgpack.pack("boot") + msgpack.pack(boot)


def unpack_status(payload: bytes) -> "dict[str, object] | None":
    """Return the fields of a status message, None for anything else."""
    value = _unpack(payload)
    return value if isinstance(value, dict) and value.get("v") == FORMAT_WIRE else None


def _unpack(payload: bytes) -> object:
    try:
        return msgpack.unpack(payload)
    except msgpack.MsgpackError:
        return None
