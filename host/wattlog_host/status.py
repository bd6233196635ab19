"""What an agent says about itself, checked before it is believed. Format: agent/SPEC.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wattlog_host.bounds import (
    INT64,
    SEQ_MAX,
    UINT32_MAX,
    UPTIME_MS_MAX,
    WireError,
    decode,
    is_edge,
    is_format,
    is_int,
    is_server_id,
    is_uint,
)

TEXT_MAX = 200
METERS_MAX = 16
DROPS_MAX = 32
TRACE_MAX = 5
RSSI_MAX = 200


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
class LogStatus:
    """What an agent says about its log; counts are by name.

    id and first_seq belong together: of the log with this id, nothing below first_seq comes
    any more. Up to base_seq it was settled before the log had this id.
    """

    counts: Mapping[str, int]
    kind: str | None = None
    trouble: str | None = None
    id: int | None = None
    first_seq: int | None = None
    base_seq: int | None = None

    def fill_percent(self) -> float | None:
        """Return how full it is, None where that was not said."""
        if "bytes" not in self.counts or not self.counts.get("bytes_max"):
            return None
        return round(100 * self.counts["bytes"] / self.counts["bytes_max"], 1)


@dataclass(frozen=True, slots=True)
class Crash:
    """Why an earlier start of an agent ended; the innermost place in trace is the last."""

    boot: int | None
    uptime_ms: int | None
    text: str | None
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoardStatus:
    """What an agent says about the board that it runs on."""

    heap_free: int | None
    heap_min: int | None
    rssi_dbm: int | None
    wifi_reconnects: int | None
    reset_cause: str | None
    wdt: str | None
    crash: Crash | None
    release: str | None = None
    update: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What an agent says about itself; None is unknown."""

    edge: str
    state: str
    boot: int | None
    uptime_ms: int | None
    version: str | None
    platform: str | None
    log: "LogStatus"
    link: Mapping[str, int]
    meters: tuple[MeterStatus, ...]
    board: BoardStatus | None = None


# Characters that would forge a line of the log, drive a terminal, or turn the text around them:
# C0, DEL and C1; line and paragraph separator; marks, embeddings and isolates of direction.
_FORGING = (
    *range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F,
    *range(0x2028, 0x202F), *range(0x2066, 0x206A),
)  # fmt: skip
_CLEAN = dict.fromkeys(_FORGING, "\ufffd")


def decode_status(data: bytes) -> Status:
    """Return the status in data; raise WireError where a known key is not what it should be."""
    message = decode(data)
    if not isinstance(message, dict):
        raise WireError("status is not a map")
    if not is_format(message.get("v")):
        raise WireError("v is not 2")
    edge, state = message.get("edge"), message.get("state")
    if not isinstance(edge, str) or not is_edge(edge):
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
        _maybe_uint(message, "boot", UINT32_MAX),
        _maybe_uint(message, "uptime_ms", UPTIME_MS_MAX),
        _maybe_text(message, "version"),
        _maybe_text(message, "platform"),
        _log_status(message.get("log")),
        _counts(message, "link"),
        tuple(_meter_status(row) for row in meters),
        _board_status(message.get("board")),
    )


def _log_status(log: Any) -> LogStatus:
    if log is None:
        return LogStatus({})
    if not isinstance(log, dict):
        raise WireError("log")
    log_id, first_seq = _maybe_uint(log, "id", UINT32_MAX), _maybe_uint(log, "first_seq", SEQ_MAX)
    if None in (log_id, first_seq) or first_seq == 0:
        log_id = first_seq = None
    counts = {
        name: count
        for name, count in _counts({"log": log}, "log").items()
        if name not in ("id", "base_seq", "first_seq", "next_seq")
    }
    return LogStatus(
        counts,
        _maybe_text(log, "kind"),
        _maybe_text(log, "trouble", cut=True),
        log_id,
        first_seq,
        _maybe_uint(log, "base_seq", SEQ_MAX),
    )


def _meter_status(row: Any) -> MeterStatus:
    if not isinstance(row, dict):
        raise WireError("meters: not a map")
    port = _maybe_text(row, "port")
    if port is None:
        raise WireError("meters: port")
    server_id, full = row.get("server_id"), row.get("full_dataset")
    if server_id is not None and not is_server_id(server_id):
        raise WireError("meters: server_id")
    if full is not None and not isinstance(full, bool):
        raise WireError("meters: full_dataset")
    return MeterStatus(
        port,
        _maybe_text(row, "state"),
        _maybe_text(row, "trouble", cut=True),
        server_id,
        _maybe_uint(row, "frames", INT64),
        _maybe_counts(row, "drops"),
        _maybe_uint(row, "bytes", INT64),
        _maybe_uint(row, "frame_age_ms", UPTIME_MS_MAX),
        full,
        _maybe_text(row, "hint", cut=True),
        _maybe_counts(row, "quarantine"),
    )


def _board_status(board: Any) -> BoardStatus | None:
    if board is None:
        return None
    if not isinstance(board, dict):
        raise WireError("board")
    rssi_dbm = board.get("rssi_dbm")
    if rssi_dbm is not None and not (is_int(rssi_dbm) and -RSSI_MAX <= rssi_dbm <= RSSI_MAX):
        raise WireError("rssi_dbm")
    return BoardStatus(
        _maybe_uint(board, "heap_free", UINT32_MAX),
        _maybe_uint(board, "heap_min", UINT32_MAX),
        rssi_dbm,
        _maybe_uint(board, "wifi_reconnects", UINT32_MAX),
        _maybe_text(board, "reset_cause", cut=True),
        _maybe_text(board, "wdt", cut=True),
        _crash(board.get("crash")),
        _maybe_text(board, "release", cut=True),
        _maybe_text(board, "update", cut=True),
    )


def _crash(crash: Any) -> Crash | None:
    if crash is None:
        return None
    if not isinstance(crash, dict):
        raise WireError("crash")
    trace = crash.get("trace")
    if trace is None:
        trace = []
    if not isinstance(trace, list) or not all(isinstance(line, str) for line in trace):
        raise WireError("trace")
    return Crash(
        _maybe_uint(crash, "boot", UINT32_MAX),
        _maybe_uint(crash, "uptime_ms", UPTIME_MS_MAX),
        _maybe_text(crash, "text", cut=True),
        # The innermost ones say most, should a later agent send more.
        tuple(safe_text(line) for line in trace[-TRACE_MAX:]),
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
        if isinstance(name, str) and len(name) <= TEXT_MAX and is_uint(count, INT64)
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
    return safe_text(text)


def safe_text(text: str) -> str:
    """Return a text that forges nothing where it is shown, and is not too long."""
    if len(text) > TEXT_MAX:
        text = text[: TEXT_MAX - 1] + "\u2026"
    return text.translate(_CLEAN)


def _maybe_uint(message: Mapping[str, Any], key: str, high: int) -> int | None:
    value = message.get(key)
    if value is None:
        return None
    if not is_uint(value, high):
        raise WireError(key)
    return int(value)
