"""A head that measures nothing: batches of its own packing, made as fast as a bench wants them."""

from wattlog.reading import Reading
from wattlog.records import BATCH, BATCH_BYTES, BatchBuffer, GroupWriter, topic
from wattlog_sim.house import WS_PER_WH_E1
from wattlog_sim.lcg import Lcg

BATCH_READINGS = 60

_IMPORT, _EXPORT, _POWER, _PHASES = 1, 4, 10, (11, 12, 13)


class Meter:
    """Power that wanders between import and export, and what it adds up to."""

    def __init__(self, number: int, interval_s: int) -> None:
        """Make one that is read in this interval; the number says how it wanders."""
        self._lcg = Lcg(number, 0)
        self._interval_s = interval_s
        self._power_w = 500
        self._import_ws = 19_892_750 * WS_PER_WH_E1
        self._export_ws = 5_551_200 * WS_PER_WH_E1

    def next(self) -> tuple[int, int, int]:
        """Return power in W, import and export in 0.1 Wh, one interval later."""
        self._power_w = max(-5_000, min(5_000, self._power_w + self._lcg.below(400) - 200))
        self._import_ws += max(0, self._power_w) * self._interval_s
        self._export_ws += max(0, -self._power_w) * self._interval_s
        return self._power_w, self._import_ws // WS_PER_WH_E1, self._export_ws // WS_PER_WH_E1


class Edge:
    """One agent with a meter of its own; its log is memory that has room."""

    def __init__(
        self,
        number: int,
        start_ms: int,
        interval_s: int,
        *,
        has_phases: bool = False,
        pause_every_s: int | None = None,
    ) -> None:
        """Begin at start_ms; for an hour after each pause nobody reads the meter."""
        self.name = f"edge-{number}"
        self.second = 0
        self._meter = Meter(number, interval_s)
        self._server_id = bytes.fromhex("0a0149534b00042100") + bytes([number])
        self._start_ms, self._interval_s = start_ms, interval_s
        self._has_phases, self._pause_every_s = has_phases, pause_every_s
        self._payloads: list[bytes] = []
        self._count = 0
        self._writer = GroupWriter(self, 1 + number)
        self._batch = BatchBuffer(bytearray(BATCH_BYTES))

    def append(self, payload: bytes | bytearray) -> int:
        """Keep a record, as a ring log does."""
        self._payloads.append(bytes(payload))
        self._count += 1
        return self._count

    def fits(self, size: int) -> bool:
        """Tell whether a record fits beside the newest: here always."""
        return size > 0

    def message(self) -> tuple[str, bytes]:
        """Return the next batch; the first begins with a sync point."""
        first_seq = self._count + 1
        self._payloads.clear()
        if first_seq == 1:
            self._writer.sync(0, self._start_ms, True)
        for _ in range(BATCH_READINGS):
            self._read()
        self._writer.close()
        self._batch.clear()
        for payload in self._payloads:
            self._batch.add(payload)
        return topic(self.name, BATCH), bytes(self._batch.message(self.name, 1, first_seq))

    def _read(self) -> None:
        self.second += self._interval_s
        if self._pause_every_s and self.second % self._pause_every_s < self._interval_s:
            self.second += 3_600
        power_w, import_wh_e1, export_wh_e1 = self._meter.next()
        triples = [
            (_IMPORT, import_wh_e1, -1),
            (_EXPORT, export_wh_e1, -1),
            (_POWER, 10 * power_w, -1),
        ]
        if self._has_phases:
            parts = (power_w // 2, power_w // 4, power_w - power_w // 2 - power_w // 4)
            triples += [(channel, one, 0) for channel, one in zip(_PHASES, parts, strict=True)]
        reading = Reading(self._server_id, self.second, triples, ())
        self._writer.reading(1000 * self.second + 7 * self.second % 90, reading)
