"""Damaged messages against the host's way in: decoders, desk and view, and what must hold of each.

Two numbers replay one input. For each:

- every decoder returns a typed value or raises WireError with a short reason, and nothing else;
- what is accepted keeps the bounds of agent/SPEC.md: counts, 64 bits, texts of one line;
- the desk takes it, shows it and never holds more than it may;
- good messages behind it are accepted.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

import msgpack

from wattlog.reading import Reading
from wattlog.records import GroupWriter
from wattlog_host import eyes, updates
from wattlog_host.bounds import INT64, WireError
from wattlog_host.desk import Desk
from wattlog_host.live import HostView, LiveView
from wattlog_host.snapshot import snapshot
from wattlog_host.status import decode_status
from wattlog_host.store.records import METERS_SHOWN_MAX
from wattlog_host.wire import Batch, Live, decode_batch, decode_live, pack_records
from wattlog_pi.system_clock import Trust
from wattlog_sim import mutate
from wattlog_sim.mutate import Lcg

NOW_MS = 1_795_000_000_000
EDGES = ("cellar", "attic", "x" * 32)
METER = bytes.fromhex("0a0149534b0003382939")
REASON_MAX = 120
DAMAGES_MAX = 4
# The desk is emptied so often, as the writer would.
DRAIN_EVERY = 64
SHOW_EVERY = 4_096

DECODERS: tuple[tuple[str, Callable[[bytes], Any]], ...] = (
    ("b", decode_batch),
    ("s", decode_status),
    ("l", decode_live),
    ("u", updates.decode_request),
    ("r", eyes.decode_raw),
    ("r", eyes.decode_progress),
)


class WireCase(NamedTuple):
    """One message, and on which topic it comes."""

    topic: str
    stream: bytes


class _ListLog:
    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def append(self, payload: bytes | bytearray) -> int:
        self.payloads.append(bytes(payload))
        return len(self.payloads)

    def fits(self, size: int) -> bool:
        del size
        return True


def good_messages() -> list[tuple[str, bytes]]:
    """Return one undamaged message of each kind, with the last level of its topic."""
    log = _ListLog()
    writer = GroupWriter(log, 17)
    writer.sync(0, NOW_MS - 100_000, True)
    for index in range(12):
        values = [(1, 19_892_750 + index, -1), (10, -2_314 + 7 * index, -1), (11, 500, 0)]
        writer.reading(1_000 * (index + 1), Reading(METER, 7 + index, values, True))
    status = {
        "v": 2, "state": "online", "edge": "cellar", "boot": 17, "uptime_ms": 90_000,
        "version": "0.1.0", "platform": "esp32", "reply_to": None,
        "log": {"id": 5, "kind": "flash", "first_seq": 1, "next_seq": 14, "records": 13,
                "bytes": 900, "bytes_max": 65_536, "evicted": 0, "damaged": 0, "unlogged": 0,
                "trouble": None, "base_seq": 0},
        "link": {"connects": 1, "resent": 0, "refused": 0},
        "meters": [{"port": "uart1", "state": "open", "trouble": None, "server_id": METER,
                    "frames": 5, "drops": {"crc": 2}, "bytes": 4_000, "frame_age_ms": 300,
                    "full_dataset": True, "hint": "none", "quarantine": {"held": 1}}],
        "board": {"heap_free": 5_000, "heap_min": 4_000, "rssi_dbm": -61, "wdt": None,
                  "crash": {"boot": 7, "uptime_ms": 61_000, "text": "ValueError", "trace": ["a"]},
                  "release": "0.1.0+5"},
    }  # fmt: skip
    live = [2, "cellar", 17, 5_000, METER, 7, [1, 1_989_275, -1, 10, -2_314, -1]]
    return [
        (leaf, msgpack.packb(message))
        for leaf, message in (
            ("b", [2, "cellar", 5, 1, pack_records(log.payloads)]),
            ("s", status),
            ("l", live),
            ("u", [2, "cellar", 17, 5_000, "0.1.0+6", 256, None]),
            ("r", [2, "cellar", 17, 5_000, "uart1", 64, "1b1b1b1b"]),
            ("r", [2, "cellar", 17, 5_000, 1, "digit 2 of 4"]),
        )
    ]


def _bomb(rng: Lcg, data: bytes, _: bytes) -> bytes:
    """Claim far more than there is."""
    at = rng.below(len(data))
    heads = (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF)
    head = heads[rng.below(len(heads))]
    size = (b"\xff\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x00\xff\xff", b"\x00\x00\x10\x00")
    return data[:at] + bytes((head,)) + size[rng.below(4)][-(1 + rng.below(4)) :] + data[at + 1 :]


def _tag(rng: Lcg, data: bytes, _: bytes) -> bytes:
    """Turn one byte into the beginning of another type."""
    at = rng.below(len(data))
    return data[:at] + bytes((0xC0 + rng.below(32),)) + data[at + 1 :]


def _deepen(rng: Lcg, data: bytes, _: bytes) -> bytes:
    """Put it into arrays within arrays."""
    return bytes((0x91,)) * (1, 2, 5, 6, 300, 20_000)[rng.below(6)] + data


def _number(rng: Lcg, data: bytes, _: bytes) -> bytes:
    """Put a number from the edge of what there is somewhere."""
    numbers = (2**64 - 1, -(2**63), 2**63, 2**48, 2**48 + 1, 2**40 + 1, 2**32, 0, -1)
    at = rng.below(len(data))
    return data[:at] + msgpack.packb(numbers[rng.below(9)]) + data[at + 1 :]


def _stretch(rng: Lcg, data: bytes, _: bytes) -> bytes:
    """Say a part of it again and again."""
    start = rng.below(len(data))
    part = data[start : start + 1 + rng.below(40)]
    return data[:start] + part * (1 + rng.below(500)) + data[start:]


def _other_values(rng: Lcg, message: Any, depth: int) -> Any:
    """Return the message with one value changed, so that its sizes stay right."""
    if isinstance(message, list) and message and depth < 4 and rng.below(8):
        at = rng.below(len(message))
        return [*message[:at], _other_values(rng, message[at], depth + 1), *message[at + 1 :]]
    if isinstance(message, dict) and message and depth < 4 and rng.below(8):
        key = sorted(message)[rng.below(len(message))]
        return {**message, key: _other_values(rng, message[key], depth + 1)}
    if isinstance(message, bytes) and message and rng.below(6):
        return _BLIND[rng.below(len(_BLIND))](rng, message, message)
    if isinstance(message, int) and rng.below(2):
        return min(max(message + rng.below(9) - 4, -(2**63)), 2**64 - 1)
    if isinstance(message, str) and rng.below(4):
        marks = ("\n", "\x1b[2J", "\u202e", "\x7f", "\x00", "\u2028", "\ud7ff", "x" * 230)
        at = rng.below(len(message) + 1)
        return message[:at] + marks[rng.below(len(marks))] + message[at:]
    odd: tuple[Any, ...] = (
        None, True, 0, -1, 2**64 - 1, -(2**63), 2**48 + 1, 1.5, float("nan"), "", "x" * 300,
        "a\nb\x1b[2J", "\u202e", b"", b"\0" * 40, [], {}, [[[[[]]]]], [None] * 70, {"": ""},
    )  # fmt: skip
    return odd[rng.below(len(odd))]


def _nonsense(rng: Lcg, _: bytes, __: bytes) -> bytes:
    return rng.octets(1 + rng.below(300))


# What needs to know nothing of the bytes.
_BLIND = (
    mutate.flip_bits, mutate.set_bytes, mutate.drop_bytes, mutate.insert_bytes,
    mutate.double_bytes, mutate.cut_start, mutate.cut_end, mutate.splice,
)  # fmt: skip
_DAMAGES = (
    *_BLIND, _bomb, _tag, _deepen, _number, _stretch, _nonsense,
)  # fmt: skip


class WireFuzz:
    """Runs inputs in order against one desk, as one host gets them.

    counts, drops  how many were accepted by kind, and refused by reason
    error          the exception behind the last failure, if there was one
    """

    def __init__(self, seed: int) -> None:
        """Begin with a host that knows as many meters as it may: it grows no more."""
        self.counts: dict[str, int] = {}
        self.drops: dict[str, int] = {}
        self.error: Exception | None = None
        self._seed = seed
        self._good = good_messages()
        self._view = LiveView(HostView("fuzz", NOW_MS), {})
        self._desk = Desk(self._view)
        for index in range(METERS_SHOWN_MAX):
            server_id = METER if index == 0 else b"other %d" % index
            live = Live("cellar", 17, 1_000, server_id, None, ((1, index, 0),))
            self._view.on_live(live, NOW_MS)

    def case(self, index: int) -> WireCase:
        """Return one input."""
        rng = Lcg(self._seed, index)
        leaf, data = self._good[rng.below(len(self._good))]
        _, other = self._good[rng.below(len(self._good))]
        # Half of them are right as MessagePack, so that what lies behind it is reached.
        if rng.below(2):
            message = msgpack.unpackb(data)
            for _ in range(1 + rng.below(2)):
                message = _other_values(rng, message, 0)
            data = msgpack.packb(message)
        for _ in range(0 if rng.below(2) else 1 + rng.below(DAMAGES_MAX)):
            data = _DAMAGES[rng.below(len(_DAMAGES))](rng, data, other) or b"\xc1"
        return WireCase(f"wattlog/1/{EDGES[rng.below(3) and rng.below(3)]}/{leaf}", data)

    def run(self, first: int, count: int) -> Iterator[tuple[int, WireCase, str | None]]:
        """Yield (index, case, what does not hold or None) of so many inputs."""
        for index in range(first, first + count):
            case = self.case(index)
            yield index, case, self._checked(index, case)

    def _checked(self, index: int, case: WireCase) -> str | None:
        try:
            failure = self._run(index, case)
        except Exception as error:  # noqa: BLE001 - whatever is raised is a finding
            self.error = error
            return f"raised {type(error).__name__}: {error}"
        return failure

    def _run(self, index: int, case: WireCase) -> str | None:
        for leaf, decode in DECODERS:
            try:
                value = decode(case.stream)
            except WireError as err:
                if not err.reason.isprintable() or len(err.reason) > REASON_MAX:
                    return f"{decode.__name__}: the reason is {err.reason!r}"
                if leaf == case.topic[-1]:
                    self.drops[err.reason] = self.drops.get(err.reason, 0) + 1
                continue
            if leaf == case.topic[-1]:
                self.counts[leaf] = self.counts.get(leaf, 0) + 1
            if not _keeps_bounds(value):
                return f"{decode.__name__}: accepted what breaks a bound"
        now_ms = NOW_MS + index
        self._desk.on_message(case.topic, case.stream, now_ms, Trust.NETWORK)
        if index % SHOW_EVERY == 0:
            snapshot(self._view, now_ms)
        return self._drained(now_ms) if index % DRAIN_EVERY == 0 else None

    def _drained(self, now_ms: int) -> str | None:
        """Empty the desk behind two good messages; return what does not hold, or None."""
        for leaf, good in self._good[:2]:
            self._desk.on_message(f"wattlog/1/cellar/{leaf}", good, now_ms, Trust.NETWORK)
        found = False
        while (group := self._desk.take()) is not None:
            found |= any(item.message == self._good[0][1] for item in group.batches)
        if not found or self._view.dropped["queue full"]:
            return "a good batch is lost"
        if self._view.edges["cellar"].state != "online":
            return "a good status is lost"
        return None


def _keeps_bounds(value: Any) -> bool:
    """Tell whether what was accepted is as agent/SPEC.md wants it."""
    if isinstance(value, Batch):
        return (
            1 <= value.count <= 64
            and len(value.records) + len(value.rejected) == value.count
            and len(value.packed) <= 2_048
            and all(_in_64_bits(getattr(row, "values", ())) for row in value.records)
        )
    if isinstance(value, Live):
        return _in_64_bits(value.values) and value.uptime_ms <= 2**40
    return all(" " <= sign != "\x7f" for text in _texts(asdict(value)) for sign in text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _in_64_bits(values: Any) -> bool:
    return all(-INT64 <= value < INT64 for _, value, _ in values)
