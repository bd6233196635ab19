"""What agents send, checked before it is believed: bounded decoding of batch and status.

Formats: agent/SPEC.md. Whatever the bytes are, the decoders return a typed value or raise
WireError; they never raise anything else and never allocate what a length field merely claims.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

FORMAT_WIRE = 1
MESSAGE_BYTES_MAX = 16_384
DEPTH_MAX = 5
ELEMENTS_MAX = 4_096
RECORDS_MAX = 256
TRIPLES_MAX = 64
SERVER_ID_BYTES_MAX = 32
REASON_BYTES_MAX = 120
TEXT_MAX = 200
METERS_MAX = 16
DROPS_MAX = 32
# Both leave room to add and subtract inside the database's 64 bits, and inside the years that
# a calendar can print: 2**40 ms are 34 years of one boot.
UPTIME_MS_MAX = 2**40
SEQ_MAX = 2**48
EPOCH_MS_MAX = 2**48

_EDGE = re.compile(r"[a-z0-9_-]{1,32}")
_TOPIC = re.compile(r"wattlog/1/([a-z0-9_-]{1,32})/([abs])")
_INT64 = 2**63


class WireError(Exception):
    """A message that is not what the format says.

    reason is a counter's key, one of a fixed few.
    boot, first_seq and count name the batch as far as it could be read; without edge, boot
    and first_seq nobody can be answered.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.edge: str | None = None
        self.boot: int | None = None
        self.first_seq: int | None = None
        self.count = 0


@dataclass(frozen=True, slots=True)
class SyncPoint:
    """At this uptime the edge's clock read so many ms since 1970 UTC."""

    seq: int
    uptime_ms: int
    epoch_ms: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One meter's values at one moment; values are (channel, value, scale)."""

    seq: int
    uptime_ms: int
    server_id: bytes
    sec_index: int | None
    values: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of records named (edge, boot, first_seq); payload is the message as it came.

    rejected holds one reason per record that was not as described and is not in records.
    """

    edge: str
    boot: int
    first_seq: int
    records: tuple[SyncPoint | Reading, ...]
    payload: bytes = field(repr=False)
    rejected: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of records that were sent, the rejected ones included."""
        return len(self.records) + len(self.rejected)


@dataclass(frozen=True, slots=True)
class MeterStatus:
    """What an agent says about one of its ports."""

    port: str
    state: str | None
    trouble: str | None
    server_id: bytes | None
    frames: int | None
    drops: Mapping[str, int] | None
    bytes: int | None
    frame_age_ms: int | None
    full_dataset: bool | None
    hint: str | None
    quarantine: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class Status:
    """What an agent says about itself; None is unknown."""

    edge: str
    state: str
    boot: int | None
    uptime_ms: int | None
    version: str | None
    platform: str | None
    log: Mapping[str, int]
    link: Mapping[str, int]
    meters: tuple[MeterStatus, ...]


def parse_topic(topic: str) -> tuple[str, str] | None:
    """Return (edge, kind) of one of our topics, kind being a, b or s; None for any other."""
    match = _TOPIC.fullmatch(topic)
    return (match[1], match[2]) if match else None


def topic_ack(edge: str) -> str:
    """Return the topic on which an edge hears what became of its batches."""
    return f"wattlog/1/{edge}/a"


def pack_ack(boot: int, first_seq: int, count: int, reason: str | None) -> bytes:
    """Return the acknowledgement of one batch: committed (reason None) or refused for ever."""
    if reason is not None:
        reason = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
    return bytes(msgpack.packb([FORMAT_WIRE, boot, first_seq, count, reason]))


# --- the bounds, before anything is allocated ---------------------------------------------

_SCALAR, _BLOB, _ARRAY, _MAP, _REFUSED = range(5)


def _tag_table() -> list[tuple[int, int, int]]:
    """Return one row per first byte: (kind, bytes of the size field, size where there is none)."""
    rows = [(_REFUSED, 0, 0)] * 256
    for tag in (*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3):
        rows[tag] = (_SCALAR, 0, 0)
    for size in range(16):
        rows[0x80 + size] = (_MAP, 0, size)
        rows[0x90 + size] = (_ARRAY, 0, size)
    for size in range(32):
        rows[0xA0 + size] = (_BLOB, 0, size)
    for power in range(3):
        rows[0xC4 + power] = rows[0xD9 + power] = (_BLOB, 1 << power, 0)
    for power in range(4):
        rows[0xCC + power] = rows[0xD0 + power] = (_SCALAR, 0, 1 << power)
    # Floats pass here so that a later status may carry one in a key we ignore; where we
    # read a number, only an integer will do. Extension types have no place in the format.
    rows[0xCA], rows[0xCB] = (_SCALAR, 0, 4), (_SCALAR, 0, 8)
    rows[0xDC], rows[0xDD] = (_ARRAY, 2, 0), (_ARRAY, 4, 0)
    rows[0xDE], rows[0xDF] = (_MAP, 2, 0), (_MAP, 4, 0)
    return rows


_TAGS = _tag_table()


def _check_bounds(data: bytes) -> None:
    """Walk the tags of one message; raise WireError where it breaks a bound or its own sizes."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise WireError("message too long")
    pending = [1]
    elements = pos = 0
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        pending[-1] -= 1
        children, pos = _step(data, pos)
        if children is None:
            continue
        elements += children
        if elements > ELEMENTS_MAX:
            raise WireError("too many elements")
        if len(pending) > DEPTH_MAX:
            raise WireError("nested too deep")
        pending.append(children)
    if pos != len(data):
        raise WireError("bytes after the message")


def _step(data: bytes, pos: int) -> tuple[int | None, int]:
    """Return how many elements the one at pos holds, None for no container, and the next pos."""
    if pos >= len(data):
        raise WireError("message cut short")
    kind, width, size = _TAGS[data[pos]]
    if kind == _REFUSED:
        raise WireError("type not in the format")
    pos += 1 + width
    if width:
        size = int.from_bytes(data[pos - width : pos])
    if kind in (_SCALAR, _BLOB):
        pos += size
    if pos > len(data):
        raise WireError("message cut short")
    return {_ARRAY: size, _MAP: 2 * size}.get(kind), pos


def _decode(data: bytes) -> Any:
    _check_bounds(data)
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, TypeError) as err:
        # What is left after the walk: text that is not UTF-8, a map key that is no text.
        raise WireError("not MessagePack as we use it") from err


# --- batch ---------------------------------------------------------------------------------


def decode_batch(data: bytes) -> Batch:
    """Return the batch in data; raise WireError, with the batch's name where it is readable.

    A record that is not as described is passed over, and named in rejected: one odd meter must
    not keep the others' readings from the store.
    """
    message = _decode(data)
    if not isinstance(message, list) or len(message) != 5:
        raise WireError("batch is not an array of 5")
    try:
        return _batch(message, data)
    except WireError as err:
        _, edge, boot, first_seq, records = message
        err.edge = edge if _is_edge(edge) else None
        err.boot = boot if _is_uint(boot, 2**32 - 1) else None
        err.first_seq = first_seq if _is_uint(first_seq, SEQ_MAX) else None
        err.count = len(records) if isinstance(records, list) else 0
        raise


def _batch(message: list[Any], data: bytes) -> Batch:
    version, edge, boot, first_seq, rows = message
    if version is True or version != FORMAT_WIRE or not isinstance(version, int):
        raise WireError("format is not 1")
    if not _is_edge(edge):
        raise WireError("edge is not an id")
    if not _is_uint(boot, 2**32 - 1) or boot == 0:
        raise WireError("boot is not 1..2^32-1")
    if not _is_uint(first_seq, SEQ_MAX) or first_seq == 0:
        raise WireError("first_seq is not 1..2^48")
    if not isinstance(rows, list) or not 1 <= len(rows) <= RECORDS_MAX:
        raise WireError("records are not an array of 1..256")
    records, rejected = [], []
    for seq, row in enumerate(rows, first_seq):
        try:
            records.append(_record(seq, row))
        except WireError as err:
            rejected.append(err.reason)
    return Batch(edge, boot, first_seq, tuple(records), bytes(data), tuple(rejected))


def _record(seq: int, row: Any) -> SyncPoint | Reading:
    if not isinstance(row, list) or not row:
        raise WireError("not an array")
    kind = row[0]
    maybe_decode = (
        None if isinstance(kind, bool) or not isinstance(kind, int) else _KINDS.get(kind)
    )
    if maybe_decode is None:
        raise WireError("unknown kind")
    length, decode = maybe_decode
    if len(row) != length:
        raise WireError("wrong number of elements")
    if not _is_uint(row[1], UPTIME_MS_MAX):
        raise WireError("uptime_ms")
    return decode(seq, row)


def _sync_point(seq: int, row: list[Any]) -> SyncPoint:
    if not _is_uint(row[2], EPOCH_MS_MAX):
        raise WireError("epoch_ms")
    return SyncPoint(seq, row[1], row[2])


def _reading(seq: int, row: list[Any]) -> Reading:
    _, uptime_ms, server_id, sec_index, flat = row
    if not isinstance(server_id, bytes) or not 1 <= len(server_id) <= SERVER_ID_BYTES_MAX:
        raise WireError("server_id")
    if sec_index is not None and not _is_uint(sec_index, 2**32 - 1):
        raise WireError("sec_index")
    if not isinstance(flat, list) or len(flat) % 3 or len(flat) > 3 * TRIPLES_MAX:
        raise WireError("values")
    values = tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    channel_last = -1
    for channel, value, scale in values:
        if not _is_uint(channel, 2**16) or channel <= channel_last:
            raise WireError("channels do not rise")
        if not _is_int(value) or not -_INT64 <= value < _INT64:
            raise WireError("value")
        if not _is_int(scale) or not -12 <= scale <= 12:
            raise WireError("scale")
        channel_last = channel
    return Reading(seq, uptime_ms, server_id, sec_index, values)


_KINDS: Mapping[int, tuple[int, Callable[[int, list[Any]], SyncPoint | Reading]]] = {
    0: (3, _sync_point),
    1: (5, _reading),
}


# --- status --------------------------------------------------------------------------------

# Characters that would forge a line of the log, drive a terminal, or turn the text around them:
# C0, DEL and C1; line and paragraph separator; marks, embeddings and isolates of direction.
_FORGING = (
    *range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F,
    *range(0x2028, 0x202F), *range(0x2066, 0x206A),
)  # fmt: skip
_CLEAN = dict.fromkeys(_FORGING, "\ufffd")


def decode_status(data: bytes) -> Status:
    """Return the status in data; raise WireError where a known key is not what it should be."""
    message = _decode(data)
    if not isinstance(message, dict):
        raise WireError("status is not a map")
    if message.get("v") is True or message.get("v") != FORMAT_WIRE:
        raise WireError("v is not 1")
    edge, state = message.get("edge"), message.get("state")
    if not isinstance(edge, str) or not _is_edge(edge):
        raise WireError("edge is not an id")
    if state not in ("online", "offline", "claim"):
        raise WireError("state is unknown")
    meters = message.get("meters")
    if meters is None:
        meters = []
    if not isinstance(meters, list) or len(meters) > METERS_MAX:
        raise WireError("meters")
    return Status(
        edge,
        state,
        _maybe_uint(message, "boot", 2**32 - 1),
        _maybe_uint(message, "uptime_ms", UPTIME_MS_MAX),
        _maybe_text(message, "version"),
        _maybe_text(message, "platform"),
        _counts(message, "log"),
        _counts(message, "link"),
        tuple(_meter_status(row) for row in meters),
    )


def _meter_status(row: Any) -> MeterStatus:
    if not isinstance(row, dict):
        raise WireError("meters: not a map")
    port = _maybe_text(row, "port")
    if port is None:
        raise WireError("meters: port")
    server_id, full = row.get("server_id"), row.get("full_dataset")
    if server_id is not None and not (
        isinstance(server_id, bytes) and 1 <= len(server_id) <= SERVER_ID_BYTES_MAX
    ):
        raise WireError("meters: server_id")
    if full is not None and not isinstance(full, bool):
        raise WireError("meters: full_dataset")
    return MeterStatus(
        port,
        _maybe_text(row, "state"),
        _maybe_text(row, "trouble", cut=True),
        server_id,
        _maybe_uint(row, "frames", _INT64),
        _maybe_counts(row, "drops"),
        _maybe_uint(row, "bytes", _INT64),
        _maybe_uint(row, "frame_age_ms", UPTIME_MS_MAX),
        full,
        _maybe_text(row, "hint", cut=True),
        _maybe_counts(row, "quarantine"),
    )


def _counts(message: Mapping[str, Any], key: str) -> Mapping[str, int]:
    counts = message.get(key)
    if counts is None:
        return {}
    if not isinstance(counts, dict) or len(counts) > DROPS_MAX:
        raise WireError(key)
    # A later agent may add to log and link what is no count; a key we do not know is ignored.
    return {
        name.translate(_CLEAN): count
        for name, count in counts.items()
        if isinstance(name, str) and len(name) <= TEXT_MAX and _is_uint(count, _INT64)
    }


def _maybe_counts(message: Mapping[str, Any], key: str) -> Mapping[str, int] | None:
    return None if message.get(key) is None else _counts(message, key)


def _maybe_text(message: Mapping[str, Any], key: str, *, cut: bool = False) -> str | None:
    """Return a text that is safe to show; one that is too long is refused, or cut where told."""
    text = message.get(key)
    if text is None:
        return None
    if not isinstance(text, str) or (len(text) > TEXT_MAX and not cut):
        raise WireError(key)
    if len(text) > TEXT_MAX:
        text = text[: TEXT_MAX - 1] + "\u2026"
    return text.translate(_CLEAN)


def _maybe_uint(message: Mapping[str, Any], key: str, high: int) -> int | None:
    value = message.get(key)
    if value is None:
        return None
    if not _is_uint(value, high):
        raise WireError(key)
    return int(value)


def _is_edge(value: Any) -> bool:
    return isinstance(value, str) and _EDGE.fullmatch(value) is not None


def _is_int(value: Any) -> bool:
    # bool is a subclass of int, and True is not the number 1 here.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_uint(value: Any, high: int) -> bool:
    return _is_int(value) and 0 <= value <= high
