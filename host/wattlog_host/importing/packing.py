"""Rows become batches as an agent would have packed them: the same writer, one sure sync point."""

from collections.abc import Sequence

import msgpack

from wattlog.reading import Reading
from wattlog.records import FORMAT_WIRE, GroupWriter
from wattlog_host.importing.rows import Value
from wattlog_host.store.records import Incoming
from wattlog_host.wire import decode_batch, pack_records

# A row's uptime counts from here, so that all of an import is one boot with one clock.
START_MS = 1_104_537_600_000
"""2005-01-01; what is older cannot be imported."""
# Where that clock was set: the first day of which the host believes one.
_SYNC_MS = 1_577_836_800_000
# No group is longer: a question for a day would have to look at it from far away.
GROUP_MS_MAX = 6 * 3_600_000


class _Groups:
    """A log that keeps what is appended to it, by group."""

    def __init__(self, next_seq: int) -> None:
        self.next_seq = next_seq
        self.groups: list[tuple[int, list[bytes]]] = []

    def append(self, payload: bytes | bytearray) -> int:
        if not payload[0] & 63:
            self.groups.append((self.next_seq, []))
        self.groups[-1][1].append(bytes(payload))
        self.next_seq += 1
        return self.next_seq - 1

    def fits(self, _size: int) -> bool:
        return True


class Packer:
    """Packs rows, which come in any order, but best in that of time."""

    def __init__(self, edge: str, log: int, next_seq: int, *, is_new: bool) -> None:
        """Go on with a log at this number; one that is new is told the time first."""
        self._edge = edge
        self._log = log
        self._groups = _Groups(next_seq)
        self._writer = GroupWriter(self._groups, log or 1)
        self._group_ms: int | None = None
        # Values differ little from their key's only where they have the same scale.
        self._scales: dict[tuple[bytes, int], int] = {}
        if is_new:
            self._writer.sync(_SYNC_MS - START_MS, _SYNC_MS, True)
            self._writer.close()

    def add(self, time_ms: int, server_id: bytes, values: Sequence[Value]) -> None:
        """Pack a row."""
        if self._group_ms is not None and abs(time_ms - self._group_ms) > GROUP_MS_MAX:
            self._writer.close()
        scaled = [self._with_scale(server_id, *value) for value in values]
        self._writer.reading(time_ms - START_MS, Reading(server_id, None, scaled, True))
        if self._writer.open_seq is None or self._writer.open_seq == self._groups.next_seq - 1:
            self._group_ms = time_ms

    def count(self) -> int:
        """Return how many batches were begun."""
        return len(self._groups.groups)

    def take(self, now_ms: int) -> list[Incoming]:
        """Return all batches that were packed since, as if they came now."""
        self._writer.close()
        self._group_ms = None
        groups, self._groups.groups = self._groups.groups, []
        items = []
        for first_seq, payloads in groups:
            name = [FORMAT_WIRE, self._edge, self._log, first_seq]
            message = bytes(msgpack.packb([*name, pack_records(payloads)]))
            items.append(Incoming("", decode_batch(message), now_ms, message))
        return items

    def _with_scale(self, server_id: bytes, channel: int, value: int, scale: int) -> Value:
        key = server_id, channel
        finest = min(scale, self._scales.get(key, scale))
        self._scales[key] = finest
        return channel, value * 10 ** (scale - finest), finest
