"""Reads what records.GroupWriter has written, for host and tools; never imported on a device.

Whatever the bytes are: each record is decoded or rejected with one of REASONS, in time that
grows with their number and nothing else. A record is only ever completed from its own group.
"""

from collections import namedtuple

from wattlog.records import (
    DELTA,
    DELTA_OF,
    INTERVAL_STEP_MS,
    KEY,
    RECORDS_MAX,
    ROWS_MAX,
    SYNC,
    VALUES_MAX,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

Sync = namedtuple("Sync", ("seq", "uptime_ms", "epoch_ms", "is_sure"))
# At this uptime the clock of the edge read so many ms since 1970 UTC. Not sure: nobody has set it.

Row = namedtuple("Row", ("seq", "uptime_ms", "server_id", "sec_index", "values"))
# One meter's reading; values is a tuple of (channel, value, scale), channels strictly rising.

Group = namedtuple("Group", ("boot", "records", "rejected"))
# boot      of the whole group; None where its first record is not readable
# records   list of Sync and Row, by rising seq
# rejected  list of (seq, reason) of all others

REASONS = (
    "hole",  # the edge could not read it any more
    "no head",  # the group's first record is not there, and with it boot and base
    "no key",  # the record that this one differs from is not there
    "index",  # it is of another group
    "boot",
    "uptime_ms",
    "epoch_ms",
    "key",  # its number
    "server_id",
    "sec_index",
    "values",  # their number
    "channel",
    "scale",
    "value",
    "cut short",
    "number",  # one of more than ten bytes
    "surplus",  # bytes behind it
)
BIN_REASONS = ("empty", "records", "length")  # what split() and decode() refuse as a whole

UPTIME_MS_MAX = (1 << 40) - 1
EPOCH_MS_MAX = (1 << 48) - 1
SEC_INDEX_MAX = (1 << 32) - 1
SERVER_ID_BYTES_MAX = 32
CHANNEL_MAX = 1 << 16
SCALE_MAX = 12
_INT64 = 1 << 63
_UINT_BYTES_MAX = 10


class RecordError(Exception):
    """Bytes that are not as SPEC.md says; `reason` is a counter key."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def split(data: bytes) -> "list[bytes]":
    """Return the records of a batch's bin, b"" for one that the edge could not read.

    Raises RecordError where lengths and bytes do not agree, or there is none or too many.
    """
    if not data:
        raise RecordError("empty")
    out: list[bytes] = []
    cursor = _Cursor(data)
    while cursor.at < len(data):
        if len(out) == RECORDS_MAX:
            raise RecordError("records")
        start = cursor.at + 1
        size = data[cursor.at]
        if size < 128 and start + size <= len(data):  # as nearly all are
            out.append(bytes(data[start : start + size]))
            cursor.at = start + size
            continue
        try:
            out.append(cursor.octets(cursor.unsigned()))
        except RecordError:
            raise RecordError("length") from None
    return out


def decode(first_seq: int, payloads: "Sequence[bytes]") -> Group:
    """Decode the records of one group; the first has first_seq, and none is left out.

    Raises RecordError only where there are none or too many.
    """
    if not payloads:
        raise RecordError("empty")
    if len(payloads) > RECORDS_MAX:
        raise RecordError("records")
    decoder = _Decoder()
    records: list[Sync | Row] = []
    rejected: list[tuple[int, str]] = []
    for index in range(len(payloads)):
        try:
            records.append(decoder.record(first_seq + index, index, payloads[index]))
        except RecordError as err:
            rejected.append((first_seq + index, err.reason))
    return Group(decoder.boot, records, rejected)


class _Decoder:
    def __init__(self) -> None:
        self.boot: int | None = None
        self.base_ms = 0
        self.interval_ms = 0
        self.keys: dict[int, Row] = {}

    def record(self, seq: int, index: int, payload: bytes) -> "Sync | Row":
        if not payload:
            raise RecordError("hole")
        if payload[0] == DELTA << 6 | index:
            row = self._plain_delta(seq, index, payload)
            if row is not None:
                return row
        cursor = _Cursor(payload)
        first = cursor.octet()
        if first & 63 != index:
            raise RecordError("index")
        uptime_ms = self._uptime_ms(cursor, index)
        kind = first >> 6
        if kind == KEY:
            return self._key(seq, uptime_ms, cursor)
        if kind == SYNC:
            epoch_ms = _at_most(cursor.unsigned(), EPOCH_MS_MAX, "epoch_ms")
            is_sure = cursor.is_at_end()
            if not is_sure and cursor.octet() != 1:
                raise RecordError("surplus")
            cursor.finish()
            return Sync(seq, uptime_ms, epoch_ms, is_sure)
        number = cursor.octet() if kind == DELTA_OF else 0
        return self._delta(seq, uptime_ms, number, cursor)

    def _plain_delta(self, seq: int, index: int, payload: bytes) -> "Row | None":
        """Return the row of a delta of meter 0 that has nothing wrong, None for any other.

        Nearly all records are such, and this takes a third of the time of the long way, which
        a host that catches up would notice. What is wrong with the others the long way says.
        """
        key = self.keys.get(0)
        numbers = _numbers(payload[1:])
        if key is None or len(numbers) < 2:
            return None
        uptime_ms = self.base_ms + index * self.interval_ms + _signed(numbers[0])
        changed = numbers[1]
        at = 2
        sec_index = key.sec_index
        if sec_index is not None:
            sec_index += (uptime_ms - key.uptime_ms + 500) // 1000
            if changed & 1 and len(numbers) > 2:
                sec_index += _signed(numbers[2])
                at = 3
        values = _changed(key.values, changed >> 1, numbers[at:])
        if (
            values is None
            or (changed & 1) != at - 2
            or not 0 <= uptime_ms <= UPTIME_MS_MAX
            or not 0 <= (sec_index or 0) <= SEC_INDEX_MAX
        ):
            return None
        return Row(seq, uptime_ms, key.server_id, sec_index, values)

    def _uptime_ms(self, cursor: "_Cursor", index: int) -> int:
        if index:
            if self.boot is None:
                raise RecordError("no head")
            uptime_ms = self.base_ms + index * self.interval_ms + cursor.signed()
            if uptime_ms < 0:
                raise RecordError("uptime_ms")
            return _at_most(uptime_ms, UPTIME_MS_MAX, "uptime_ms")
        boot = int.from_bytes(cursor.octets(4), "little")
        if not boot:
            raise RecordError("boot")
        self.base_ms = _at_most(cursor.unsigned(), UPTIME_MS_MAX, "uptime_ms")
        self.interval_ms = cursor.unsigned() * INTERVAL_STEP_MS
        # Set last: without all of it no other record of the group can be dated.
        self.boot = boot
        return self.base_ms

    def _key(self, seq: int, uptime_ms: int, cursor: "_Cursor") -> Row:
        number = cursor.octet()
        if number >= ROWS_MAX or number in self.keys:
            raise RecordError("key")
        size = cursor.octet()
        if not 1 <= size <= SERVER_ID_BYTES_MAX:
            raise RecordError("server_id")
        server_id = cursor.octets(size)
        sec_index = _at_most(cursor.unsigned(), SEC_INDEX_MAX + 1, "sec_index") - 1
        values = []
        channel_last = -1
        for _ in range(_at_most(cursor.unsigned(), VALUES_MAX, "values")):
            channel = _at_most(cursor.unsigned(), CHANNEL_MAX, "channel")
            if channel <= channel_last:
                raise RecordError("channel")
            channel_last = channel
            scale = cursor.signed()
            if not -SCALE_MAX <= scale <= SCALE_MAX:
                raise RecordError("scale")
            values.append((channel, _value(cursor.signed()), scale))
        cursor.finish()
        seconds = None if sec_index < 0 else sec_index
        row = self.keys[number] = Row(seq, uptime_ms, server_id, seconds, tuple(values))
        return row

    def _delta(self, seq: int, uptime_ms: int, number: int, cursor: "_Cursor") -> Row:
        key = self.keys.get(number)
        if key is None:
            raise RecordError("no key")
        changed = cursor.unsigned()
        if changed >> 1 + len(key.values):
            raise RecordError("values")
        sec_index = key.sec_index
        if sec_index is not None:
            sec_index += (uptime_ms - key.uptime_ms + 500) // 1000
            if changed & 1:
                sec_index += cursor.signed()
            if not 0 <= sec_index <= SEC_INDEX_MAX:
                raise RecordError("sec_index")
        elif changed & 1:
            raise RecordError("sec_index")
        values = []
        for channel, value, scale in key.values:
            changed >>= 1
            change = cursor.signed() if changed & 1 else 0
            values.append((channel, _value(value + change), scale))
        cursor.finish()
        return Row(seq, uptime_ms, key.server_id, sec_index, tuple(values))


class _Cursor:
    """Where we are in some bytes; raises RecordError at their end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def octet(self) -> int:
        if self.at >= len(self.data):
            raise RecordError("cut short")
        value = self.data[self.at]
        self.at += 1
        return value

    def octets(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise RecordError("cut short")
        value = self.data[self.at : self.at + size]
        self.at += size
        return bytes(value)

    def unsigned(self) -> int:
        value = 0
        for place in range(_UINT_BYTES_MAX):
            octet = self.octet()
            value |= (octet & 127) << 7 * place
            if octet < 128:
                return value
        raise RecordError("number")

    def signed(self) -> int:
        return _signed(self.unsigned())

    def is_at_end(self) -> bool:
        return self.at == len(self.data)

    def finish(self) -> None:
        if self.at != len(self.data):
            raise RecordError("surplus")


def _numbers(data: bytes) -> "list[int]":
    """Return the numbers that data consists of; none where it does not."""
    numbers = []
    value = shift = 0
    for octet in data:
        if octet < 128:
            numbers.append(value | octet << shift)
            value = shift = 0
        else:
            value |= (octet & 127) << shift
            shift += 7
            if shift == 7 * _UINT_BYTES_MAX:
                return []
    return [] if shift else numbers


def _changed(
    values: "tuple[tuple[int, int, int], ...]", changed: int, numbers: "list[int]"
) -> "tuple[tuple[int, int, int], ...] | None":
    """Return the key's values, those changed by these numbers whose bits are set; None if odd."""
    if not changed:
        return None if numbers else values
    out = []
    at = 0
    for row in values:
        if changed & 1:
            if at == len(numbers):
                return None
            number = numbers[at]
            value = row[1] + (-(number + 1 >> 1) if number & 1 else number >> 1)
            if not -_INT64 <= value < _INT64:
                return None
            out.append((row[0], value, row[2]))
            at += 1
        else:
            out.append(row)
        changed >>= 1
    return None if changed or at != len(numbers) else tuple(out)


def _signed(number: int) -> int:
    return -(number + 1 >> 1) if number & 1 else number >> 1


def _at_most(value: int, high: int, reason: str) -> int:
    if value > high:
        raise RecordError(reason)
    return value


def _value(value: int) -> int:
    if not -_INT64 <= value < _INT64:
        raise RecordError("value")
    return value
