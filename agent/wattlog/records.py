"""What is logged and sent: records, batches, acknowledgements, status. See SPEC.md.

A record is packed once, when it is logged; a batch is those bytes behind a head, so that
sending again gives the same bytes without packing again.
"""

from wattlog import msgpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wattlog.reading import Reading

FORMAT_WIRE = 1
TOPIC_ROOT = "wattlog/1"
BATCH = "b"
ACK = "a"
STATUS = "s"

RECORDS_MAX = 64  # in one batch
BATCH_BYTES_MIN = 1_024  # the smallest buffer that a rim may give for batches
BATCH_BYTES_MAX = 4_096
VALUES_MAX = 64
HEAD_BYTES_MAX = 56  # edge 33, numbers 5 + 9, array heads 1 + 3, version 1, and some
RECORD_BYTES_MAX = 768
assert HEAD_BYTES_MAX + RECORD_BYTES_MAX <= BATCH_BYTES_MIN, "a record must fit a batch"

_SYNC = 0
_READING = 1


def topic(edge: str, leaf: str) -> str:
    """Return the topic of one edge: leaf is BATCH, ACK or STATUS."""
    return "%s/%s/%s" % (TOPIC_ROOT, edge, leaf)


def pack_sync(uptime_ms: int, epoch_ms: int) -> bytes:
    """Return the record "at this uptime the clock read so many ms since 1970 UTC"."""
    return msgpack.pack((_SYNC, uptime_ms, epoch_ms))


def pack_reading(uptime_ms: int, reading: "Reading") -> bytes:
    """Return the record of one reading.Reading taken at this uptime."""
    assert len(reading.values) <= VALUES_MAX
    flat: list[int] = []
    for row in reading.values:
        flat.extend(row)
    packed = msgpack.pack((_READING, uptime_ms, reading.server_id, reading.sec_index, flat))
    assert len(packed) <= RECORD_BYTES_MAX
    return packed


def batch_head(edge: str, boot: int, first_seq: int, count: int) -> bytes:
    """Return what stands before count packed records in a batch."""
    assert 1 <= count <= RECORDS_MAX
    parts = [msgpack.pack(value) for value in (FORMAT_WIRE, edge, boot, first_seq)]
    return msgpack.pack_array_head(5) + b"".join(parts) + msgpack.pack_array_head(count)


def pack_batch(
    buf: bytearray, edge: str, boot: int, first_seq: int, packed: "list[bytes]"
) -> memoryview:
    """Write the batch of these packed records into buf; return its bytes there.

    buf is made once, at the start: on a device that has run for months there may be memory
    left, but not so much of it in one piece.
    """
    view = memoryview(buf)
    parts = [batch_head(edge, boot, first_seq, len(packed))]
    parts.extend(packed)
    at = 0
    for part in parts:
        view[at : at + len(part)] = part
        at += len(part)
    return view[:at]


def unpack_ack(payload: bytes) -> tuple[int, int, int, str | None] | None:
    """Return (boot, first_seq, count, reason or None) of an acknowledgement, else None."""
    try:
        value = msgpack.unpack(payload)
    except msgpack.MsgpackError:
        return None
    if not isinstance(value, list) or len(value) != 5 or value[0] != FORMAT_WIRE:
        return None
    numbers = value[1:4]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        return None
    if value[4] is not None and not isinstance(value[4], str):
        return None
    return numbers[0], numbers[1], numbers[2], value[4]


def pack_status(fields: "dict[str, object]") -> bytes:
    """Return a status message; the keys are in SPEC.md."""
    return msgpack.pack(fields)


def unpack_status(payload: bytes) -> "dict[str, object] | None":
    """Return the fields of a status message, None for anything else."""
    try:
        value = msgpack.unpack(payload)
    except msgpack.MsgpackError:
        return None
    return value if isinstance(value, dict) and value.get("v") == FORMAT_WIRE else None
