"""What agents send and hear: topics, batch, live reading, acknowledgement, command.

Formats: agent/SPEC.md. Whatever the bytes are, the decoders return a typed value or raise
WireError; they never raise anything else and never allocate what a length field merely claims.
"""

import re
from binascii import crc32
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from wattlog.recordreader import RecordError, Row, Sync, decode, split
from wattlog_host import bounds
from wattlog_host.bounds import (
    FORMAT_WIRE,
    INT64,
    SEQ_MAX,
    UINT32_MAX,
    WireError,
    is_edge,
    is_format,
    is_int,
    is_server_id,
    is_uint,
)

# A batch and a live reading; a status may be longer.
BATCH_BYTES_MAX = 2_048
TRIPLES_MAX = 64
SCALE_MAX = 12
CHANNEL_MAX = 2**16
REASON_BYTES_MAX = 120
LIVE_S_MAX = 600

# How recordreader calls what a record was not, where it is missing through no fault of its own.
HOLE = "hole"

_TOPIC = re.compile(r"wattlog/1/([a-z0-9_-]{1,32})/([bslu])")


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of records of one boot, named (edge, log, first_seq).

    packed    its records as they came: the batch without its name
    records   what could be read, by rising seq
    rejected  (seq, reason) of each record that is not in records
    boot      None where the head of the run could not be read, and then no record of it
    """

    edge: str
    log: int
    first_seq: int
    count: int
    boot: int | None
    records: Sequence[Row | Sync] = field(repr=False)
    rejected: Sequence[tuple[int, str]] = field(repr=False)
    packed: bytes = field(repr=False)

    @property
    def last_seq(self) -> int:
        """The seq of its last record, whether it could be read or not."""
        return self.first_seq + self.count - 1


@dataclass(frozen=True, slots=True)
class Live:
    """A meter's newest reading, sent at once and perhaps never seen again."""

    edge: str
    boot: int
    uptime_ms: int
    server_id: bytes
    sec_index: int | None
    values: tuple[tuple[int, int, int], ...]


def parse_topic(topic: str) -> tuple[str, str] | None:
    """Return (edge, kind) of one of our topics, kind being b, l, s or u; None for any other."""
    match = _TOPIC.fullmatch(topic)
    return (match[1], match[2]) if match else None


def topic_ack(edge: str) -> str:
    """Return the topic on which an edge hears what became of its batches."""
    return f"wattlog/1/{edge}/a"


def topic_answer(edge: str) -> str:
    """Return the topic on which an edge answers a person's command."""
    return f"wattlog/1/{edge}/r"


def topic_status(edge: str) -> str:
    """Return the topic on which an edge says how it is."""
    return f"wattlog/1/{edge}/s"


def topic_command(edge: str) -> str:
    """Return the topic on which an edge hears what the host wishes."""
    return f"wattlog/1/{edge}/c"


def pack_ack(log: int, first_seq: int, message: bytes, reason: str | None) -> bytes:
    """Return the acknowledgement of one batch: committed (reason None) or refused for ever.

    message is all of it as it came, for two may have one name: see SPEC.md.
    """
    if reason is not None:
        reason = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
    return bytes(msgpack.packb([FORMAT_WIRE, log, first_seq, crc32(message), reason]))


def pack_live_wish(seconds: int) -> bytes:
    """Return the command to send every reading at once for so many seconds."""
    assert 1 <= seconds <= LIVE_S_MAX
    return bytes(msgpack.packb([FORMAT_WIRE, "live", seconds]))


def decode_batch(data: bytes) -> Batch:
    """Return the batch in data; raise WireError, with the batch's name where it is readable.

    A record that is not as described is passed over, and named in rejected: one odd meter must
    not keep the others' readings from the store.
    """
    message = bounds.decode(data, BATCH_BYTES_MAX)
    if not isinstance(message, list) or len(message) != 5:
        raise WireError("batch is not an array of 5")
    version, edge, log, first_seq, packed = message
    # Nobody is answered: an older agent would not understand, and a newer one's readings are
    # safe in its log until this host is updated.
    if not is_format(version):
        newer = is_int(version) and version > FORMAT_WIRE
        raise WireError(f"format is not 2: update the {'host' if newer else 'agent'}")
    try:
        return _batch(edge, log, first_seq, packed)
    except WireError as err:
        err.edge = edge if is_edge(edge) else None
        err.log = log if is_uint(log, UINT32_MAX) else None
        err.first_seq = first_seq if is_uint(first_seq, SEQ_MAX) and first_seq else None
        raise


def _batch(edge: Any, log: Any, first_seq: Any, packed: Any) -> Batch:
    if not is_edge(edge):
        raise WireError("edge is not an id")
    if not is_uint(log, UINT32_MAX):
        raise WireError("log is not 0..2^32-1")
    if not is_uint(first_seq, SEQ_MAX) or first_seq == 0:
        raise WireError("first_seq is not 1..2^48")
    if not isinstance(packed, bytes):
        raise WireError("records are not bytes")
    try:
        payloads = split(packed)
    except RecordError as err:
        raise WireError(f"records: {err.reason}") from err
    return batch_of(edge, log, first_seq, payloads, packed)


def batch_of(
    edge: str, log: int, first_seq: int, payloads: Sequence[bytes], packed: bytes
) -> Batch:
    """Return the batch of these records, as many as there may be; packed is all of them."""
    group = decode(first_seq, payloads)
    return Batch(
        edge, log, first_seq, len(payloads), group.boot, group.records, group.rejected, packed
    )


def pack_records(payloads: Sequence[bytes]) -> bytes:
    """Return what split() takes apart."""
    out = bytearray()
    for payload in payloads:
        size = len(payload)
        while size > 127:
            out.append(size & 127 | 128)
            size >>= 7
        out.append(size)
        out += payload
    return bytes(out)


def decode_live(data: bytes) -> Live:
    """Return the live reading in data; raise WireError for anything else."""
    edge, boot, uptime_ms, others = bounds.decode_of_agent(data, BATCH_BYTES_MAX, 7, "live")
    server_id, sec_index, flat = others
    if not is_server_id(server_id):
        raise WireError("server_id")
    if sec_index is not None and not is_uint(sec_index, UINT32_MAX):
        raise WireError("sec_index")
    return Live(edge, boot, uptime_ms, server_id, sec_index, _triples(flat))


def _triples(flat: Any) -> tuple[tuple[int, int, int], ...]:
    if not isinstance(flat, list) or len(flat) % 3 or len(flat) > 3 * TRIPLES_MAX:
        raise WireError("values")
    values = tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    channel_last = -1
    for channel, value, scale in values:
        if not is_uint(channel, CHANNEL_MAX) or channel <= channel_last:
            raise WireError("channels do not rise")
        if not is_int(value) or not -INT64 <= value < INT64:
            raise WireError("value")
        if not is_int(scale) or not -SCALE_MAX <= scale <= SCALE_MAX:
            raise WireError("scale")
        channel_last = channel
    return values
