"""What a reading takes on the wire and in the log: a simulated house's power, import and export.

The house is that of the simulated MT681 with its solar panels; a reading arrives when the agent
looks, up to one poll late. Figures are of whole days, since at noon numbers change more.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

from wattlog.agent import POLL_MS
from wattlog.ramdevice import RamDevice
from wattlog.reading import Reading
from wattlog.records import BATCH, BATCH_BYTES, RECORDS_MAX, BatchBuffer, GroupWriter, topic
from wattlog.ringlog import RingLog
from wattlog_sim.house import WS_PER_WH_E1, House
from wattlog_sim.lcg import Lcg
from wattlog_sim.meters import model_named

EDGE = "cellar"
SERVER_ID = bytes.fromhex("0a0149534b000432612d")
FIRST_S = 1_781_740_800 + 86_400
"""Two years after the registers began to count, in June: long numbers, and export at noon."""
LOG_BYTES = 1 << 20
SECTOR_BYTES = 4096
BATCH_S = 30
SPREAD_S = 3_607
"""The wire is measured over pieces of a day that are so far apart."""
PIECES = 24
PIECE_READINGS = 192
DAY_S = 86_400

_IMPORT, _EXPORT, _POWER = 1, 4, 10
_MQTT_HEAD_BYTES = 1


class Wire(NamedTuple):
    """Bytes per reading on the way to the host; with MQTT's head and topic, without TCP's."""

    name: str
    message_bytes: float
    mqtt_bytes: float


class Kept(NamedTuple):
    """How long one meter's readings fit into LOG_BYTES, and what each takes of it."""

    name: str
    readings: int
    days: float
    flash_bytes: float


class Figures(NamedTuple):
    """All of it."""

    wire: list[Wire]
    kept: list[Kept]


def measure() -> Figures:
    """Measure all of it; takes some seconds."""
    wire = [
        Wire("1 s, batches of 30 s", *_wire(1, BATCH_S)),
        Wire("1 s, full batches", *_wire(1, RECORDS_MAX)),
        Wire("10 s, batches of 30 s", *_wire(10, BATCH_S // 10)),
        Wire("10 s, full batches", *_wire(10, RECORDS_MAX)),
    ]
    return Figures(wire, [kept(1), kept(10)])


def lines(figures: Figures) -> list[str]:
    """Return the figures for a person."""
    out = ["bytes per reading (power, import, export) on the wire: message, with MQTT and topic"]
    out += [
        f"  {row.name:24}{row.message_bytes:6.2f}{row.mqtt_bytes:8.2f}" for row in figures.wire
    ]
    out.append(f"one meter in a log of {LOG_BYTES >> 20} MiB: readings, days, bytes per reading")
    out += [
        f"  {row.name:24}{row.readings:6}{row.days:8.2f}{row.flash_bytes:8.2f}"
        for row in figures.kept
    ]
    return out


def kept(interval_s: int, log_bytes: int = LOG_BYTES) -> Kept:
    """Fill a log of so many bytes until the first reading is lost, as in an outage."""
    log = RingLog(RamDevice(log_bytes // SECTOR_BYTES, SECTOR_BYTES))
    writer = GroupWriter(log, 1)
    readings = 0
    for uptime_ms, reading in _readings(FIRST_S, interval_s):
        writer.reading(uptime_ms, reading)
        if log.stats().evicted:
            break
        readings += 1
    days = readings * interval_s / DAY_S
    return Kept(f"one in {interval_s} s", readings, days, log_bytes / readings)


def _wire(interval_s: int, group_readings: int) -> tuple[float, float]:
    """Return bytes of messages, and of all that MQTT sends, by reading."""
    buffer = BatchBuffer(bytearray(BATCH_BYTES))
    topic_bytes = len(topic(EDGE, BATCH))
    message_bytes = mqtt_bytes = readings = 0
    for piece in range(PIECES):
        log = _Payloads()
        # A log id and numbers as long as they get; the uptime of a head that has run for months.
        writer = GroupWriter(log, 0xDEADBEEF)
        source = _readings(FIRST_S + piece * SPREAD_S, interval_s, 10_000_000_000)
        for number, (uptime_ms, reading) in zip(range(PIECE_READINGS), source, strict=False):
            writer.reading(uptime_ms, reading)
            if (number + 1) % group_readings:
                continue
            writer.close()
            buffer.clear()
            for payload in log.payloads:
                buffer.add(payload)
            log.payloads.clear()
            size = len(buffer.message(EDGE, 0xDEADBEEF, 10_000_000 + number))
            rest = 2 + topic_bytes + size
            message_bytes += size
            mqtt_bytes += _MQTT_HEAD_BYTES + (1 if rest < 128 else 2) + rest
            readings += group_readings
    return message_bytes / readings, mqtt_bytes / readings


def _readings(
    first_s: int, interval_s: int, uptime_ms: int = 60_000
) -> Iterator[tuple[int, Reading]]:
    house = _house()
    import_ws, export_ws = house.energy_ws(first_s)
    lcg = Lcg(1, first_s)
    seconds = 0
    while True:
        power_w = house.power_w(first_s + seconds)
        values = [
            (_IMPORT, import_ws // WS_PER_WH_E1, -1),
            (_EXPORT, export_ws // WS_PER_WH_E1, -1),
            (_POWER, power_w, 0),
        ]
        late_ms = lcg.below(POLL_MS)
        sec_index = 5_000_000 + seconds
        yield uptime_ms + seconds * 1000 + late_ms, Reading(SERVER_ID, sec_index, values, True)
        # As if drawn until the next: to ask the house for its energy takes 50 times as long.
        import_ws += max(power_w, 0) * interval_s
        export_ws += max(-power_w, 0) * interval_s
        seconds += interval_s


@functools.cache
def _house() -> House:
    model = model_named("mt681")
    assert model is not None
    return House(1, model.solar_peak_w)


class _Payloads:
    """A log that only hands on what a batch is made of."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self._seq = 0

    def append(self, payload: bytes | bytearray) -> int:
        self.payloads.append(bytes(payload))
        self._seq += 1
        return self._seq

    def fits(self, size: int) -> bool:
        del size
        return True
